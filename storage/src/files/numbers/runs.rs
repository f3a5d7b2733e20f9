//! Runs and packed groups in turn (Parquet format, "Encodings", RLE / bit-packing hybrid): levels and
//! references into dictionaries.
//!
//! ```text
//! run     length << 1 | value in as many bytes as its width needs
//! groups  (eights of values << 1) | 1 | the values, packed
//! ```

use super::bits::{Packer, put_varint};

/// Appends values of `width` bits. What repeats at least `run` times becomes a run.
pub(super) fn encode(values: &[u16], width: u32, run: usize, out: &mut Vec<u8>) {
    let mut rest = values;
    // Values before `rest` that are in no run.
    let mut packed = 0usize;
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|value| *value == first).count();
        // Groups are of eight values: a run gives what fills up the last one before it.
        let filling = packed.next_multiple_of(8) - packed;
        if same < run.saturating_add(filling) {
            packed += same;
            rest = rest.get(same..).unwrap_or_default();
            continue;
        }
        let end = values.len() - rest.len() + filling;
        put_groups(values.get(end - packed - filling..end).unwrap_or_default(), width, out);
        put_varint((same - filling) as u64 * 2, out);
        let bytes = first.to_le_bytes();
        let used = if width <= 8 { 1 } else { 2 };
        out.extend_from_slice(bytes.get(..used).unwrap_or(&bytes));
        packed = 0;
        rest = rest.get(same..).unwrap_or_default();
    }
    put_groups(values.get(values.len() - packed..).unwrap_or_default(), width, out);
}

fn put_groups(values: &[u16], width: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(8);
    put_varint(groups as u64 * 2 + 1, out);
    let mut packer = Packer::new(width, out);
    for value in values {
        packer.put(u64::from(*value));
    }
    for _ in values.len()..groups * 8 {
        packer.put(0);
    }
    packer.finish();
}
