//! One block of an object as a file.
//!
//! ```text
//! DIR/cache/NAME!NAME!...!NAME.BLOCK    the object's path below the tables, and the block's number
//!
//! offset  bytes
//! 0       8      magic "WEIRBLK1", version in its last byte
//! 8       4      CRC-32 of the file's name and all that follows, little endian
//! 12      8      bytes of the whole object, little endian
//! 20      ..     bytes BLOCK * SIZE and following of the object: SIZE of them, or what there is
//! ```
//!
//! Files are not synced. What a power failure leaves of one is told by its length and checksum.

use bytes::Bytes;
use object_store::path::Path;

/// Bytes of a block. A request costs tens of milliseconds however little it fetches, in which a
/// connection carries about this much; and a row group of compressed flows is one or two of them.
pub(crate) const SIZE: u64 = 1 << 20;

/// Bytes before the object's own.
pub(crate) const HEADER: u64 = 20;

const MAGIC: [u8; 8] = *b"WEIRBLK1";
/// File systems allow 255.
const LONGEST_NAME: usize = 230;

/// File name of a block; `None` for objects that are not cached.
pub(crate) fn name(object: &Path, block: u64) -> Option<String> {
    let path = object.as_ref();
    let plain = path.len() <= LONGEST_NAME && !path.contains('!') && path.ends_with(".parquet");
    plain.then(|| format!("{}.{block}", path.replace('/', "!")))
}

/// Bytes that come before those of the object.
pub(crate) fn header(name: &str, object_size: u64, body: &[u8]) -> Vec<u8> {
    let size = object_size.to_le_bytes();
    let mut header = MAGIC.to_vec();
    header.extend(checksum(name, &[&size, body]).to_le_bytes());
    header.extend(size);
    header
}

fn checksum(name: &str, parts: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(name.as_bytes());
    parts.iter().for_each(|part| crc.update(part));
    crc.finalize()
}

/// The object's size and its bytes in a block; `None` if the file is not whole.
pub(crate) fn decode(file: &Bytes, name: &str, block: u64) -> Option<(u64, Bytes)> {
    let (magic, rest) = file.split_first_chunk::<8>()?;
    let (crc, summed) = rest.split_first_chunk::<4>()?;
    let (size, body) = summed.split_first_chunk::<8>()?;
    let size = u64::from_le_bytes(*size);
    let whole = *magic == MAGIC
        && u64::try_from(body.len()).ok() == Some(length(size, block))
        && u32::from_le_bytes(*crc) == checksum(name, &[summed]);
    whole.then(|| (size, file.slice_ref(body)))
}

/// Bytes of an object of a size that are in a block.
pub(crate) fn length(object_size: u64, block: u64) -> u64 {
    object_size.saturating_sub(block.saturating_mul(SIZE)).min(SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(object_size: u64, body: &[u8]) -> Bytes {
        let mut file = header("n.0", object_size, body);
        file.extend(body);
        file.into()
    }

    #[test]
    fn only_a_whole_file_is_believed() {
        let good = file(5, b"hello");
        assert_eq!(decode(&good, "n.0", 0), Some((5, Bytes::from("hello"))));
        for cut in 0..good.len() {
            assert_eq!(decode(&good.slice(..cut), "n.0", 0), None, "cut at {cut}");
            let mut bad = good.to_vec();
            bad[cut] ^= 0x10;
            assert_eq!(decode(&bad.into(), "n.0", 0), None, "byte {cut}");
        }
        assert_eq!(decode(&good, "m.0", 0), None, "another object");
        assert_eq!(decode(&good, "n.0", 1), None, "another block");
        let short = file(SIZE + 1, b"hello");
        assert_eq!(decode(&short, "n.0", 0), None, "a block in the middle is full");
    }

    #[test]
    fn version_1_is_read_for_ever() {
        let frozen = Bytes::from_static(b"WEIRBLK1\xae\xb0\x05\xd6\x05\0\0\0\0\0\0\0hello");
        assert_eq!(file(5, b"hello"), frozen);
        assert_eq!(decode(&frozen, "n.0", 0), Some((5, Bytes::from("hello"))));
    }

    #[test]
    fn names_are_one_for_each_object_and_block() {
        let path = Path::from("flows/date=2026-11-22/part=00/1200-abc.parquet");
        let wanted = "flows!date=2026-11-22!part=00!1200-abc.parquet.7";
        assert_eq!(name(&path, 7).as_deref(), Some(wanted));
        let log = Path::from("flows/_delta_log/00000000000000000000.json");
        let long = Path::from(format!("{}.parquet", "x".repeat(300)));
        for other in [Path::from("a!b.parquet"), log, long] {
            assert_eq!(name(&other, 0), None, "{other}");
        }
    }
}
