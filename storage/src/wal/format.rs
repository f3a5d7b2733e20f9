//! Layout of log segments, version 1. Integers are little-endian.
//!
//! ```text
//! segment   header, then frames
//! header    magic      8  "WEIRWAL\n"
//!           version   u32  1
//!           salt      u64  random; goes into every checksum of the segment
//!           first lsn u64  LSN of the first entry
//!           crc       u32  of salt and the 28 bytes before
//! frame     magic     u32  "WFRM"
//!           entries   u32  number of them, at least 1
//!           lsn       u64  of the first one; the others follow without a gap
//!           length    u32  bytes of the payload
//!           crc       u32  of salt and the payload
//!           crc       u32  of salt and the 24 bytes before
//!           payload        the entries, one after the other
//! entry     length    u32  bytes that follow
//!           arrived   i64  microseconds since the Unix epoch
//!           source     u8  0: none; 1: agent (text), boot (text), sequence (i64)
//!           parts     u16  number of them
//!           part           table (text), length of the IPC stream (u32), the stream as it came
//! text                length (u16), UTF-8
//! ```
//!
//! A frame is what one write and one sync make durable: the next frame is not begun before. Bytes
//! after a frame therefore prove that the frame was whole once, and a broken one among them is
//! damage, not a torn tail. The salt keeps bytes that a sender chose (they are stored as they came)
//! from passing for a frame. CRC-32 is the one of IEEE 802.3.

use thiserror::Error;

use crate::entry::Source;

/// Version of the layout.
pub(crate) const VERSION: u32 = 1;
/// Bytes of a segment's header.
pub(crate) const HEADER: usize = 32;
/// Bytes of a frame's header.
pub(crate) const FRAME: usize = 28;

const MAGIC: [u8; 8] = *b"WEIRWAL\n";
const FRAME_MAGIC: [u8; 4] = *b"WFRM";

/// What the header of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) salt: u64,
    pub(crate) first_lsn: u64,
}

/// One part of an entry, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredPart<'a> {
    pub(crate) table: &'a str,
    pub(crate) ipc: &'a [u8],
}

/// An entry, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredEntry<'a> {
    /// Microseconds since the Unix epoch.
    pub(crate) arrived: i64,
    pub(crate) source: Option<Source>,
    pub(crate) parts: Vec<StoredPart<'a>>,
}

/// A frame, checked against its checksums.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) lsn: u64,
    pub(crate) entries: u32,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of the frame in the file.
    pub(crate) fn size(&self) -> usize {
        FRAME + self.payload.len()
    }
}

/// Why bytes are not what they should be.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum FormatError {
    #[error("the file ends in the middle of {0}")]
    Short(&'static str),
    #[error("the checksum of {0} does not match")]
    Checksum(&'static str),
    #[error("{0} is not well formed")]
    Malformed(&'static str),
    #[error("log version {0} is not supported, this version reads {VERSION}")]
    Version(u32),
}

/// An entry that cannot be written because a field is beyond what the layout can say.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0} is too large for the log")]
pub(crate) struct TooLarge(&'static str);

fn checksum(salt: u64, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(data);
    hasher.finalize()
}

/// Writes a segment's header.
pub(crate) fn encode_header(header: Header) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER);
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend(header.salt.to_le_bytes());
    out.extend(header.first_lsn.to_le_bytes());
    out.extend(checksum(header.salt, &out).to_le_bytes());
    out
}

/// Reads a segment's header.
pub(crate) fn decode_header(bytes: &[u8]) -> Result<Header, FormatError> {
    const WHAT: &str = "the segment's header";
    let mut cursor = Cursor { rest: bytes, what: WHAT };
    let magic: [u8; 8] = cursor.array()?;
    let version = cursor.u32()?;
    if magic != MAGIC {
        return Err(FormatError::Malformed(WHAT));
    }
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    let header = Header { salt: cursor.u64()?, first_lsn: cursor.u64()? };
    let crc = cursor.u32()?;
    let covered = bytes.get(..HEADER - 4).ok_or(FormatError::Short(WHAT))?;
    if crc == checksum(header.salt, covered) {
        Ok(header)
    } else {
        Err(FormatError::Checksum(WHAT))
    }
}

/// Writes the header of a frame for a payload.
pub(crate) fn encode_frame(
    salt: u64,
    lsn: u64,
    entries: u32,
    payload: &[u8],
) -> Result<Vec<u8>, TooLarge> {
    let length = u32::try_from(payload.len()).map_err(|_| TooLarge("a group of entries"))?;
    let mut out = Vec::with_capacity(FRAME);
    out.extend(FRAME_MAGIC);
    out.extend(entries.to_le_bytes());
    out.extend(lsn.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(checksum(salt, payload).to_le_bytes());
    out.extend(checksum(salt, &out).to_le_bytes());
    Ok(out)
}

struct FrameHeader {
    entries: u32,
    lsn: u64,
    length: u32,
    crc: u32,
}

fn decode_frame_header(salt: u64, bytes: &[u8]) -> Result<FrameHeader, FormatError> {
    const WHAT: &str = "a frame's header";
    let mut cursor = Cursor { rest: bytes, what: WHAT };
    let magic: [u8; 4] = cursor.array()?;
    let header = FrameHeader {
        entries: cursor.u32()?,
        lsn: cursor.u64()?,
        length: cursor.u32()?,
        crc: cursor.u32()?,
    };
    let crc = cursor.u32()?;
    let covered = bytes.get(..FRAME - 4).ok_or(FormatError::Short(WHAT))?;
    if magic != FRAME_MAGIC || header.entries == 0 {
        return Err(FormatError::Malformed(WHAT));
    }
    if crc != checksum(salt, covered) {
        return Err(FormatError::Checksum(WHAT));
    }
    Ok(header)
}

/// Reads the frame at the start of `bytes`.
pub(crate) fn decode_frame(salt: u64, bytes: &[u8]) -> Result<Frame<'_>, FormatError> {
    const WHAT: &str = "a frame";
    let header = decode_frame_header(salt, bytes)?;
    let length = usize::try_from(header.length).map_err(|_| FormatError::Malformed(WHAT))?;
    let payload =
        bytes.get(FRAME..).and_then(|rest| rest.get(..length)).ok_or(FormatError::Short(WHAT))?;
    if header.crc != checksum(salt, payload) {
        return Err(FormatError::Checksum(WHAT));
    }
    Ok(Frame { lsn: header.lsn, entries: header.entries, payload })
}

/// Whether a broken frame at the start of `bytes` can be the tail that a crash leaves: nothing was
/// written after it.
pub(crate) fn is_torn_tail(salt: u64, bytes: &[u8]) -> bool {
    if let Ok(header) = decode_frame_header(salt, bytes) {
        let end = usize::try_from(header.length).ok().and_then(|n| n.checked_add(FRAME));
        return end.is_none_or(|end| end >= bytes.len());
    }
    let mut rest = bytes.get(1..).unwrap_or(&[]);
    while let Some(at) = find(rest, &FRAME_MAGIC) {
        let found = rest.get(at..).unwrap_or(&[]);
        if decode_frame_header(salt, found).is_ok() {
            return false;
        }
        rest = found.get(1..).unwrap_or(&[]);
    }
    true
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// Appends an entry to the payload of a frame.
pub(crate) fn encode_entry(out: &mut Vec<u8>, entry: &StoredEntry<'_>) -> Result<(), TooLarge> {
    let start = out.len();
    let done = encode_entry_body(out, entry, start);
    if done.is_err() {
        out.truncate(start);
    }
    done
}

fn encode_entry_body(
    out: &mut Vec<u8>,
    entry: &StoredEntry<'_>,
    start: usize,
) -> Result<(), TooLarge> {
    out.extend([0; 4]);
    out.extend(entry.arrived.to_le_bytes());
    match &entry.source {
        None => out.push(0),
        Some(Source { agent, boot, sequence }) => {
            out.push(1);
            put_text(out, agent, "the agent's id")?;
            put_text(out, boot, "the boot id")?;
            out.extend(sequence.to_le_bytes());
        }
    }
    let parts = u16::try_from(entry.parts.len()).map_err(|_| TooLarge("the number of tables"))?;
    out.extend(parts.to_le_bytes());
    for part in &entry.parts {
        put_text(out, part.table, "a table's name")?;
        let length = u32::try_from(part.ipc.len()).map_err(|_| TooLarge("a batch"))?;
        out.extend(length.to_le_bytes());
        out.extend(part.ipc);
    }
    let length = u32::try_from(out.len() - start - 4).map_err(|_| TooLarge("an entry"))?;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &str, what: &'static str) -> Result<(), TooLarge> {
    let length = u16::try_from(text.len()).map_err(|_| TooLarge(what))?;
    out.extend(length.to_le_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

/// Reads the entries of a frame.
pub(crate) fn decode_entries<'a>(frame: &Frame<'a>) -> Result<Vec<StoredEntry<'a>>, FormatError> {
    const WHAT: &str = "an entry";
    let mut cursor = Cursor { rest: frame.payload, what: WHAT };
    let mut entries = Vec::new();
    for _ in 0..frame.entries {
        let length = cursor.u32()?;
        entries.push(decode_entry(cursor.bytes(length)?)?);
    }
    if cursor.rest.is_empty() { Ok(entries) } else { Err(FormatError::Malformed(WHAT)) }
}

fn decode_entry(bytes: &[u8]) -> Result<StoredEntry<'_>, FormatError> {
    const WHAT: &str = "an entry";
    let mut cursor = Cursor { rest: bytes, what: WHAT };
    let arrived = cursor.i64()?;
    let [kind] = cursor.array()?;
    let source = match kind {
        0 => None,
        1 => Some(Source {
            agent: cursor.text()?.to_owned(),
            boot: cursor.text()?.to_owned(),
            sequence: cursor.i64()?,
        }),
        _ => return Err(FormatError::Malformed(WHAT)),
    };
    let count = u16::from_le_bytes(cursor.array()?);
    let mut parts = Vec::new();
    for _ in 0..count {
        let table = cursor.text()?;
        let length = cursor.u32()?;
        parts.push(StoredPart { table, ipc: cursor.bytes(length)? });
    }
    if cursor.rest.is_empty() {
        Ok(StoredEntry { arrived, source, parts })
    } else {
        Err(FormatError::Malformed(WHAT))
    }
}

/// Reads fields off the front of a slice.
pub(crate) struct Cursor<'a> {
    pub(crate) rest: &'a [u8],
    pub(crate) what: &'static str,
}

impl<'a> Cursor<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(FormatError::Short(self.what))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, FormatError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(crate) fn bytes(&mut self, length: u32) -> Result<&'a [u8], FormatError> {
        let length = usize::try_from(length).map_err(|_| FormatError::Malformed(self.what))?;
        let (head, rest) =
            self.rest.split_at_checked(length).ok_or(FormatError::Short(self.what))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, FormatError> {
        let length = u16::from_le_bytes(self.array()?);
        let bytes = self.bytes(u32::from(length))?;
        std::str::from_utf8(bytes).map_err(|_| FormatError::Malformed(self.what))
    }
}

#[cfg(test)]
mod tests;
