//! The points of one series as bytes: the columns `times` and `values`.
//!
//! They are apart because all series of a target have the same times: a file then keeps them once,
//! as an entry of the column's dictionary. How many points there are is the column `count`.
//!
//! ```text
//! times     version u8 = 1 | numbers: milliseconds since the Unix epoch, ascending
//! values    version u8 = 1 | form u8 | body
//! form      0..=14  decimal: number / 10^form, in double precision
//!           15      bits, made to compare like the values: numbers
//! body      numbers | exceptions: values that are not number / 10^form, NaNs among them, to the end:
//!           distance from the place after the one before, varint | bits u64
//! numbers   head u8 | divisor varint | offset zigzag varint | first difference zigzag varint (order 2)
//!           | blocks
//! head      bits 0 and 1: order 0, 1 or 2; bit 2: all that follows is one number, zigzag varint, in
//!           place of blocks
//! block     64 numbers, the last one fewer
//!           width u8: 0..=64, or 65 + 0..=61; +128 if patches follow
//!           | for widths up to 64 the base, zigzag varint | bits, little-endian, as few bytes as they take
//!           | patches: how many u8, each its place u8 and what is left of it varint
//! varint    unsigned LEB128; zigzag: -1 is 1, 1 is 2
//! ```
//!
//! A number of a block is base + bits, or zigzag bits for widths from 65 on; a patch is added to the
//! bits before that, shifted by the width. The numbers of all blocks, times the divisor, are: for order
//! 0 distances from the offset; for order 1 differences, the first of them missing: the offset is the
//! first number; for order 2 differences of differences, the first two missing. All arithmetic wraps.
//!
//! What is left for a file's compression is little, and it looks for it across many chunks.

use std::ops::Range;

use thiserror::Error;

mod block;
mod numbers;
mod values;

/// Most points of one chunk.
pub const MAX_POINTS: usize = 1 << 16;

/// The layout that is written.
const VERSION: u8 = 1;

/// Bytes that are not those of a chunk.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum ChunkError {
    /// Bytes that no writer makes.
    #[error("a chunk of samples is damaged: {0}")]
    Damaged(&'static str),
    /// A chunk that a later version wrote.
    #[error("a chunk of samples has version {0}, this weir reads version {VERSION}")]
    Version(u8),
}

/// Appends the bytes of times in ascending order, at most [`MAX_POINTS`], to `out`.
pub fn encode_times(times: &[i64], out: &mut Vec<u8>) {
    out.push(VERSION);
    numbers::encode(times, true, out);
}

/// Appends the bytes of values, at most [`MAX_POINTS`], to `out`.
pub fn encode_values(values: &[f64], out: &mut Vec<u8>) {
    out.push(VERSION);
    values::encode(values, out);
}

/// Appends the times of a chunk with `count` points to `to`: milliseconds since the Unix epoch.
///
/// Equal bytes mean equal times, so rows that follow one another and have the same need decoding once.
///
/// # Errors
/// [`ChunkError`] when these are not that many times; `to` is as it was then. Their order is not checked.
pub fn decode_times(bytes: &[u8], count: i32, to: &mut Vec<i64>) -> Result<(), ChunkError> {
    let (count, body) = begin(bytes, count)?;
    let start = to.len();
    let done = numbers::decode(body, count, count, to, |n| n).and_then(|rest| match rest {
        [] => Ok(()),
        _ => Err(ChunkError::Damaged("more bytes than times")),
    });
    if done.is_err() {
        to.truncate(start);
    }
    done
}

/// Appends the values of a chunk with `count` points to `to`, bit by bit what they were.
///
/// # Errors
/// [`ChunkError`] when these are not that many values; `to` is as it was then.
pub fn decode_values(bytes: &[u8], count: i32, to: &mut Vec<f64>) -> Result<(), ChunkError> {
    decode_values_in(bytes, count, 0..MAX_POINTS, to)
}

/// [`decode_values`] of the points at some places only. What comes after them is passed over without
/// being decoded.
///
/// # Errors
/// Those of [`decode_values`], as far as what is looked at shows them.
pub fn decode_values_in(
    bytes: &[u8],
    count: i32,
    places: Range<usize>,
    to: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    let (count, body) = begin(bytes, count)?;
    let start = to.len();
    let places = places.start.min(count)..places.end.min(count);
    let done = values::decode(body, count, places, to);
    if done.is_err() {
        to.truncate(start);
    }
    done
}

/// The number of points, which bounds all memory that is taken, and what follows the version.
fn begin(bytes: &[u8], count: i32) -> Result<(usize, &[u8]), ChunkError> {
    let count = usize::try_from(count).ok().filter(|n| *n <= MAX_POINTS);
    let count = count.ok_or(ChunkError::Damaged("more points than a chunk can have"))?;
    match bytes.split_first() {
        None => Err(ChunkError::Damaged("it is empty")),
        Some((&VERSION, body)) => Ok((count, body)),
        Some((version, _)) => Err(ChunkError::Version(*version)),
    }
}

impl From<ChunkError> for arrow::error::ArrowError {
    fn from(error: ChunkError) -> Self {
        Self::ExternalError(error.into())
    }
}

const CUT_OFF: ChunkError = ChunkError::Damaged("it is cut off");

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}

fn varint_len(number: u64) -> u32 {
    (64 - number.leading_zeros()).div_ceil(7).max(1)
}

fn take_byte(bytes: &mut &[u8]) -> Result<u8, ChunkError> {
    let (byte, rest) = bytes.split_first().ok_or(CUT_OFF)?;
    *bytes = rest;
    Ok(*byte)
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, ChunkError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(bytes)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(ChunkError::Damaged("a number has no end"))
}

/// Small numbers of either sign become small ones without.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests;
