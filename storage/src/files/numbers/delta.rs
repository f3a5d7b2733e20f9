//! DELTA_BINARY_PACKED (Parquet format, "Encodings", delta encoding).
//!
//! ```text
//! page       values of a block | miniblocks of a block | values | first value       variable length
//! block      least difference (zigzag) | width of each miniblock u8 | miniblocks
//! miniblock  32 differences less the least one, each of that many bits
//! ```

use super::bits::{Packer, put_varint, put_zigzag};

/// Values of a block and of a miniblock: the least that the format allows. Fewer values spread less.
const BLOCK: usize = 128;
const MINIBLOCK: usize = 32;

/// How wide a miniblock is made. Any width that is enough is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// As few bits as are needed: for noise, which no compression makes smaller.
    Bits,
    /// Whole bytes: for what repeats, since compression finds repetitions of bytes.
    Bytes,
}

/// What the values are stored as; differences wrap around at its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Physical {
    Int32,
    Int64,
}

impl Physical {
    /// A difference as it is stored.
    fn difference(self, from: i64, to: i64) -> i64 {
        let difference = to.wrapping_sub(from);
        match self {
            Self::Int64 => difference,
            // The low half, with its sign.
            Self::Int32 => (difference << 32) >> 32,
        }
    }

    /// A value as it is stored alone.
    pub(super) fn plain(self, value: i64) -> Vec<u8> {
        let bytes = value.to_le_bytes();
        match self {
            Self::Int64 => bytes.to_vec(),
            // The low half: values come from this type.
            Self::Int32 => bytes.get(..4).unwrap_or(&bytes).to_vec(),
        }
    }

    /// How far a difference is above the least one.
    fn above(self, least: i64, difference: i64) -> u64 {
        let above = difference.wrapping_sub(least).cast_unsigned();
        match self {
            Self::Int64 => above,
            Self::Int32 => above & u64::from(u32::MAX),
        }
    }
}

/// Appends the values as a page has them.
pub(super) fn encode(values: &[i64], physical: Physical, width: Width, out: &mut Vec<u8>) {
    put_varint(BLOCK as u64, out);
    put_varint((BLOCK / MINIBLOCK) as u64, out);
    put_varint(values.len() as u64, out);
    put_zigzag(values.first().copied().unwrap_or(0), out);
    let mut previous = values.first().copied().unwrap_or(0);
    let mut differences = Vec::with_capacity(BLOCK);
    for block in values.get(1..).unwrap_or_default().chunks(BLOCK) {
        differences.clear();
        for value in block {
            differences.push(physical.difference(previous, *value));
            previous = *value;
        }
        let least = differences.iter().copied().min().unwrap_or(0);
        put_zigzag(least, out);
        for difference in &mut differences {
            *difference = physical.above(least, *difference).cast_signed();
        }
        let widths = out.len();
        out.resize(widths + BLOCK / MINIBLOCK, 0);
        for (number, miniblock) in differences.chunks(MINIBLOCK).enumerate() {
            let used = miniblock.iter().fold(0, |bits, value| bits | value.cast_unsigned());
            let bits = match width {
                Width::Bits => u64::BITS - used.leading_zeros(),
                Width::Bytes => (u64::BITS - used.leading_zeros()).next_multiple_of(8),
            };
            if let Some(slot) = out.get_mut(widths + number) {
                *slot = bits.to_le_bytes()[0];
            }
            let mut packer = Packer::new(bits, out);
            for value in miniblock {
                packer.put(value.cast_unsigned());
            }
            // A last miniblock is as long as any; what the values do not fill is not read.
            for _ in miniblock.len()..MINIBLOCK {
                packer.put(0);
            }
            packer.finish();
        }
    }
}
