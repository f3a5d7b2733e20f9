//! From runs of values to the bytes of an index.

use arrow::array::RecordBatch;
use roaring::RoaringBitmap;

use super::collect::{ABSENT, Collector, Column};
use super::{INDEXED, MAGIC, MIN_BYTES, PREFIX, TOO_LARGE, TOO_MANY, VERSION};
use crate::spec::TableSpec;

/// Bodies are small beside the rows: more work takes hardly more time.
const ZSTD_LEVEL: i32 = 9;

/// The index of a file; nothing when no column is in it.
pub(crate) fn encode(collected: &Collector) -> std::io::Result<Option<Vec<u8>>> {
    let Ok(rows) = u32::try_from(collected.rows) else { return Ok(None) };
    let mut columns = Vec::new();
    for column in collected.columns() {
        let block = if column.given_up { None } else { block(column, rows)? };
        columns.push((
            column.name.as_str(),
            if block.is_some() { INDEXED } else { TOO_MANY },
            block,
        ));
    }
    let mut by_cost: Vec<usize> = (0..columns.len()).collect();
    by_cost.sort_by_key(|i| columns.get(*i).and_then(|c| c.2.as_ref()).map_or(0, Vec::len));
    let budget = MIN_BYTES.max(collected.rows.saturating_mul(collected.bytes_per_krow) / 1024);
    let mut spent = 0;
    for i in by_cost {
        let Some((_, state, block)) = columns.get_mut(i) else { continue };
        let Some(size) = block.as_ref().map(Vec::len) else { continue };
        spent += size;
        if spent > budget {
            *state = TOO_LARGE;
            *block = None;
        }
    }
    Ok(assemble(rows, &columns))
}

/// Bytes of the index of a file with these rows. Public for the benchmark of the layout.
///
/// # Errors
/// When memory is refused to the compression.
pub fn length_of(spec: &TableSpec, rows: &RecordBatch) -> std::io::Result<usize> {
    let mut collected = Collector::of(spec);
    collected.add(rows);
    Ok(encode(&collected)?.map_or(0, |index| index.len()))
}

fn assemble(rows: u32, columns: &[(&str, u8, Option<Vec<u8>>)]) -> Option<Vec<u8>> {
    if columns.iter().all(|(_, _, block)| block.is_none()) {
        return None;
    }
    let entry = |name: &str| 2 + name.len() + 1 + 12;
    let directory_length = 8 + columns.iter().map(|(name, ..)| entry(name)).sum::<usize>();
    let mut offset = PREFIX + directory_length + 4;
    let mut index = Vec::with_capacity(offset);
    index.extend(MAGIC);
    index.extend(VERSION.to_le_bytes());
    index.extend(length(directory_length)?.to_le_bytes());
    index.extend(rows.to_le_bytes());
    index.extend(length(columns.len())?.to_le_bytes());
    for (name, state, block) in columns {
        index.extend(u16::try_from(name.len()).ok()?.to_le_bytes());
        index.extend(name.as_bytes());
        index.push(*state);
        let (start, size, crc) = match block {
            Some(block) => (length(offset)?, length(block.len())?, crc32fast::hash(block)),
            None => (0, 0, 0),
        };
        for number in [start, size, crc] {
            index.extend(number.to_le_bytes());
        }
        offset += block.as_ref().map_or(0, Vec::len);
    }
    index.extend(crc32fast::hash(&index).to_le_bytes());
    for (_, _, block) in columns {
        index.extend(block.iter().flatten());
    }
    Some(index)
}

fn length(n: usize) -> Option<u32> {
    u32::try_from(n).ok()
}

/// A column's block.
fn block(column: &Column, rows: u32) -> std::io::Result<Option<Vec<u8>>> {
    let mut order: Vec<(&str, u32)> = column.values.iter().map(AsRef::as_ref).zip(0u32..).collect();
    order.sort_unstable();
    let mut places = vec![0usize; order.len()];
    for (place, (_, id)) in (1..).zip(&order) {
        if let Some(slot) = usize::try_from(*id).ok().and_then(|id| places.get_mut(id)) {
            *slot = place;
        }
    }
    // Place 0 is for rows without a value.
    let mut bitmaps: Vec<RoaringBitmap> = vec![RoaringBitmap::new(); order.len() + 1];
    let ends = column.runs.iter().skip(1).map(|(_, start)| *start).chain([rows]);
    for ((id, start), end) in column.runs.iter().zip(ends) {
        let place = if *id == ABSENT {
            Some(&0)
        } else {
            usize::try_from(*id).ok().and_then(|id| places.get(id))
        };
        if let Some(bitmap) = place.and_then(|place| bitmaps.get_mut(*place)) {
            bitmap.insert_range(*start..end);
        }
    }
    let absent = bitmaps.first().is_some_and(|b| !b.is_empty());
    let bitmaps = bitmaps.iter_mut().skip(usize::from(!absent));
    let (mut sizes, mut bytes) = (Vec::new(), Vec::new());
    for bitmap in bitmaps {
        bitmap.optimize();
        let before = bytes.len();
        bitmap.serialize_into(&mut bytes)?;
        sizes.push(bytes.len() - before);
    }
    let mut body = Vec::with_capacity(bytes.len() + order.len() * 24);
    let lengths = [order.len()].into_iter().chain(order.iter().map(|(v, _)| v.len())).chain(sizes);
    for (i, n) in lengths.enumerate() {
        let Some(n) = length(n) else { return Ok(None) };
        body.extend(n.to_le_bytes());
        if i == 0 {
            body.push(u8::from(absent));
        }
    }
    for (value, _) in &order {
        body.extend(value.as_bytes());
    }
    body.extend(bytes);
    let Some(size) = length(body.len()) else { return Ok(None) };
    let mut block = size.to_le_bytes().to_vec();
    block.extend(zstd::bulk::compress(&body, ZSTD_LEVEL)?);
    Ok(Some(block))
}
