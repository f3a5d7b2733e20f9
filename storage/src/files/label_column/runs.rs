//! Runs of equal values as Parquet writes them.
//!
//! ```text
//! hybrid     runs, one after the other (Parquet, Encodings.md, "RLE / Bit-Packing Hybrid")
//! repeated   count << 1 as a varint, the value in as many bytes as its bits need
//! packed     groups << 1 | 1 as a varint, eight values a group, least significant bits first
//! ```

/// Groups of eight that one header announces: as many as one byte can say.
const MAX_GROUPS: usize = 63;

/// Writes values of `width` bits each, given as runs of value and count.
pub(super) fn encode(out: &mut Vec<u8>, width: u32, runs: impl Iterator<Item = (u32, usize)>) {
    let mut hybrid = Hybrid { out, width, packed: Vec::new(), group: [0; 8], filled: 0 };
    for (value, count) in runs {
        hybrid.put(value, count);
    }
    hybrid.finish();
}

struct Hybrid<'a> {
    out: &'a mut Vec<u8>,
    width: u32,
    /// Whole groups that are not written yet.
    packed: Vec<[u32; 8]>,
    /// The group that is being filled.
    group: [u32; 8],
    filled: usize,
}

impl Hybrid<'_> {
    fn put(&mut self, value: u32, mut count: usize) {
        if self.filled > 0 || count < 8 {
            count -= self.fill(value, count);
        }
        if count >= 8 {
            self.write_packed();
            varint(self.out, count << 1);
            let bytes = usize::try_from(self.width.div_ceil(8)).unwrap_or_default();
            self.out.extend(value.to_le_bytes().iter().take(bytes));
        } else if count > 0 {
            self.fill(value, count);
        }
    }

    /// Puts values into the group; returns how many went in.
    fn fill(&mut self, value: u32, count: usize) -> usize {
        let free = self.group.iter_mut().skip(self.filled).take(count);
        let mut taken = 0;
        for slot in free {
            *slot = value;
            taken += 1;
        }
        self.filled += taken;
        if self.filled == self.group.len() {
            self.packed.push(std::mem::take(&mut self.group));
            self.filled = 0;
            if self.packed.len() == MAX_GROUPS {
                self.write_packed();
            }
        }
        taken
    }

    fn write_packed(&mut self) {
        if self.packed.is_empty() {
            return;
        }
        varint(self.out, self.packed.len() << 1 | 1);
        for group in self.packed.drain(..) {
            let (mut bits, mut held) = (0u64, 0u32);
            for value in group {
                bits |= u64::from(value) << held;
                held += self.width;
                while held >= 8 {
                    let [byte, ..] = bits.to_le_bytes();
                    self.out.push(byte);
                    bits >>= 8;
                    held -= 8;
                }
            }
        }
    }

    /// What is missing from the last group is 0; whoever reads knows how many values there are.
    fn finish(&mut self) {
        if self.filled > 0 {
            self.packed.push(std::mem::take(&mut self.group));
            self.filled = 0;
        }
        self.write_packed();
    }
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let [low, ..] = (value & 0x7f).to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(mut bytes: &[u8], width: u32, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        let mut byte = || {
            let (first, rest) = bytes.split_first().unwrap();
            bytes = rest;
            *first
        };
        while values.len() < count {
            let (mut header, mut shift) = (0usize, 0);
            loop {
                let b = byte();
                header |= usize::from(b & 0x7f) << shift;
                shift += 7;
                if b & 0x80 == 0 {
                    break;
                }
            }
            if header & 1 == 0 {
                let value = (0..width.div_ceil(8)).fold(0, |v, i| v | u32::from(byte()) << (8 * i));
                values.extend(std::iter::repeat_n(value, header >> 1));
            } else {
                let length = (header >> 1) * width as usize;
                let packed: Vec<u8> = (0..length).map(|_| byte()).collect();
                for i in 0..(header >> 1) * 8 {
                    values.push((0..width as usize).fold(0, |v, bit| {
                        let at = i * width as usize + bit;
                        v | u32::from(packed[at / 8] >> (at % 8) & 1) << bit
                    }));
                }
            }
        }
        values.truncate(count);
        values
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            width in 0u32..=20,
            runs in prop::collection::vec((any::<u32>(), prop_oneof![1usize..12, 1usize..900]), 0..80),
        ) {
            let mask = (1u32 << width) - 1;
            let runs: Vec<_> = runs.into_iter().map(|(v, n)| (v & mask, n)).collect();
            let values: Vec<u32> =
                runs.iter().flat_map(|(v, n)| std::iter::repeat_n(*v, *n)).collect();
            let mut out = Vec::new();
            encode(&mut out, width, runs.into_iter());
            prop_assert_eq!(decode(&out, width, values.len()), values);
        }
    }
}
