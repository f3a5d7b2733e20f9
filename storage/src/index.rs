//! The label index of a data file: which rows have which value of a label.
//!
//! It lies inside the Parquet file, between the last row group and the footer, where other readers
//! do not look. The footer's key-value metadata says where: `weir.index.offset` and
//! `weir.index.length`, both decimal. Numbers are little-endian.
//!
//! ```text
//! index      head, then one block for each indexed column
//! head       magic "WEIRLIDX" | version u32 = 1 | length of the directory u32 | directory
//!            | CRC-32 u32 of everything before it
//! directory  rows of the file u32 | columns u32, then for each column
//!            length of the name u16 | name, UTF-8 | state u8
//!            | offset of the block from the index's start u32 | its length u32 | its CRC-32 u32
//! state      0 indexed; 1 left out, too many values; 2 left out, too large
//!            (a column that is left out has offset, length and CRC 0)
//! block      length of the body u32 | body, zstd
//! body       values u32 | rows without a value: 0 or 1, u8
//!            | length of each value u32 | length of each bitmap u32 | values, UTF-8 | bitmaps
//! bitmap     row numbers from 0, in the portable format of Roaring (RoaringFormatSpec)
//! ```
//!
//! Values are in ascending byte order. Where some rows have no value, there is one bitmap more than
//! values, the first one. Every row is in exactly one bitmap of a column.
//!
//! Rows are sorted, so a bitmap is a few runs and a column costs little. All columns together take at
//! most [`BYTES_PER_KROW`] bytes for 1024 rows: the cheapest come first, and what does not fit any
//! more is left out. A query then reads that column without an index.
//!
//! A table of series has one column for each label in its texts of labels, called `labels["job"]` (see
//! [`crate::series::column_of`]). Neighbouring rows differ in them, so each costs up to two bytes a row,
//! of rows that have hundreds: they may have [`SERIES_BYTES_PER_KROW`].

mod collect;
mod decode;
mod encode;
mod label_sets;
mod read;
#[cfg(test)]
mod tests;

use object_store::path::Path;
use thiserror::Error;

pub(crate) use collect::Collector;
pub use decode::ColumnIndex;
pub(crate) use encode::encode;
pub use encode::length_of;
pub use read::LabelIndex;

/// First bytes of an index.
const MAGIC: &[u8; 8] = b"WEIRLIDX";
/// The version of the layout that is written.
const VERSION: u32 = 1;
/// Bytes before the directory.
const PREFIX: usize = 16;
/// Key of the footer's metadata: where the index begins.
pub(crate) const OFFSET_KEY: &str = "weir.index.offset";
/// Key of the footer's metadata: how many bytes it has.
pub(crate) const LENGTH_KEY: &str = "weir.index.length";
/// Values of a column beyond which it is not indexed.
const MAX_VALUES: usize = 1 << 16;
/// Most bytes of an index for each 1024 rows of its file.
const BYTES_PER_KROW: usize = 300;
/// The same for a table of series, whose rows are chunks of many points.
const SERIES_BYTES_PER_KROW: usize = 8 << 10;
/// What an index may have however few the rows.
const MIN_BYTES: usize = 16 << 10;
/// Longest body of a column that is read, uncompressed.
const MAX_BODY: usize = 256 << 20;

const INDEXED: u8 = 0;
const TOO_MANY: u8 = 1;
const TOO_LARGE: u8 = 2;

/// Why the index of a file cannot be used. The file's rows can still be read.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The object store refused.
    #[error("cannot read the label index of {path}: {source}")]
    Read {
        /// The file.
        path: Path,
        /// What the store says.
        source: object_store::Error,
    },
    /// Bytes that no writer makes, or whose checksum is wrong.
    #[error(
        "label index of {path} is damaged at byte {offset} of the file: {what}; queries read the file without it"
    )]
    Damaged {
        /// The file.
        path: Path,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// An index that a later version wrote.
    #[error(
        "label index of {path} has version {version}, this weir reads version {VERSION}; queries read the file without it"
    )]
    Version {
        /// The file.
        path: Path,
        /// What the index says.
        version: u32,
    },
}
