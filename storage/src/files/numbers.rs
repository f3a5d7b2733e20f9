//! Column chunks of whole numbers, times and lists of numbers.
//!
//! ```text
//! page    repetition levels | definition levels | values; zstd as a whole (data page, version 1)
//! values  DELTA_BINARY_PACKED, or RLE_DICTIONARY on pages that are smaller with it
//! ```
//!
//! Why not by the Parquet crate: the format leaves a writer choices that decide the size, and the crate
//! makes them for speed.
//!
//! - Miniblocks of 32 differences, not 64: the widest one decides for all of them.
//! - Widths in whole bytes where what is packed repeats, as times do: zstd finds repeated bytes, not
//!   repeated bits. Both are tried and the smaller one is kept.
//! - References into a dictionary are a byte each, so that zstd's entropy coder sees one value as one
//!   symbol. Up to 256 distinct values; pages with others do without.
//! - The compression level by column: noise is as long at any.
//!
//! Every reader of the format takes all of that.

mod bits;
mod chunk;
mod delta;
mod levels;
mod runs;
#[cfg(test)]
mod tests;

pub(crate) use chunk::Chunk;
