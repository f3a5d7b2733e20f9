//! The table of samples: ordinary Prometheus series.
//!
//! ```text
//! selector -> wanted -> files by their bounds, rows by their label index        (files)
//!          -> rows of each file in order of series, page by page                (rows)
//!          -> merged with each other and with points in memory, series by series (merge)
//!          -> blocks of chunks -> decoded on whichever thread has time           (block)
//! ```
//!
//! [`SampleTable`] is the same in SQL, `catalog` tells which series there are. At no time more is in memory than a page of each file, the blocks that are being read, and what is
//! made of them.

mod block;
mod catalog;
mod files;
mod input;
mod label;
mod merge;
mod rows;
mod source;
mod table;
mod wanted;

#[cfg(test)]
mod tests;

pub(crate) use catalog::Span;
pub(crate) use label::label;
pub(crate) use source::SampleSource;
pub(crate) use table::SampleTable;
