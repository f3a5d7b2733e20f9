//! The points of one series as bytes: the column `chunk`.

use thiserror::Error;

/// Most points of one chunk.
pub const MAX_POINTS: usize = 1 << 16;

/// Bytes that are not those of a chunk.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ChunkError {
    /// Bytes that no writer makes.
    #[error("a chunk of samples is damaged: {0}")]
    Damaged(&'static str),
    /// A chunk that a later version wrote.
    #[error("a chunk of samples has version {0}, which this weir does not read")]
    Version(u8),
}

/// Appends the bytes of a chunk to `out`: points in ascending order of time, at most [`MAX_POINTS`].
///
/// Of lists that differ in length the longer one is cut.
pub fn encode(times: &[i64], values: &[f64], out: &mut Vec<u8>) {
    out.push(0);
    let n = times.len().min(values.len()).min(MAX_POINTS);
    times.iter().take(n).for_each(|t| out.extend(t.to_le_bytes()));
    values.iter().take(n).for_each(|v| out.extend(v.to_le_bytes()));
}

/// Appends the points of a chunk to `times` (milliseconds since the Unix epoch, ascending, each once)
/// and `values`. `count` is the row's column `count`; memory is taken for that many at most.
///
/// # Errors
/// [`ChunkError`] when bytes and count are not of one chunk. `times` and `values` are as they were then.
pub fn decode(
    bytes: &[u8],
    count: i32,
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    let count = usize::try_from(count).ok().filter(|n| *n <= MAX_POINTS);
    let count = count.ok_or(ChunkError::Damaged("its count"))?;
    let (version, body) = bytes.split_first().ok_or(ChunkError::Damaged("it is empty"))?;
    if *version != 0 {
        return Err(ChunkError::Version(*version));
    }
    let (words, []) = body.as_chunks::<8>() else { return Err(ChunkError::Damaged("its length")) };
    if words.len() != 2 * count {
        return Err(ChunkError::Damaged("its length"));
    }
    let (t, v) = words.split_at(count);
    times.extend(t.iter().map(|w| i64::from_le_bytes(*w)));
    values.extend(v.iter().map(|w| f64::from_le_bytes(*w)));
    Ok(())
}
