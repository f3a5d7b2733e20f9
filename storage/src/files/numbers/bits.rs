//! Variable-length numbers and numbers of a few bits, as Parquet's encodings put them together.

/// Appends a number, seven bits a byte, the least ones first (ULEB128).
pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let byte = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

/// Appends a signed number such that small ones are short.
pub(super) fn put_zigzag(value: i64, out: &mut Vec<u8>) {
    put_varint(((value << 1) ^ (value >> 63)).cast_unsigned(), out);
}

/// Appends numbers of the same few bits, the least significant bit first.
pub(super) struct Packer<'a> {
    width: u32,
    /// Bits that are not yet bytes, and how many.
    waiting: u128,
    count: u32,
    out: &'a mut Vec<u8>,
}

impl<'a> Packer<'a> {
    /// `width` is at most 64.
    pub(super) fn new(width: u32, out: &'a mut Vec<u8>) -> Self {
        Self { width, waiting: 0, count: 0, out }
    }

    /// Appends a number of no more bits than the width.
    pub(super) fn put(&mut self, value: u64) {
        self.waiting |= u128::from(value) << self.count;
        self.count += self.width;
        if self.count >= 64 {
            let word = (self.waiting & u128::from(u64::MAX)) as u64;
            self.out.extend_from_slice(&word.to_le_bytes());
            self.waiting >>= 64;
            self.count -= 64;
        }
    }

    /// Writes what is left, filled up to a whole byte.
    pub(super) fn finish(self) {
        let bytes = self.waiting.to_le_bytes();
        let used = usize::try_from(self.count.div_ceil(8)).unwrap_or(bytes.len());
        self.out.extend_from_slice(bytes.get(..used).unwrap_or(&bytes));
    }
}
