//! The table of samples: ordinary Prometheus series.
//!
//! ```text
//! selector -> wanted -> files by their bounds, rows by their label index        (files)
//!          -> rows of each file in order of series, page by page                (rows, columns, pages),
//!             whose labels and times are often known from other queries           (heads)
//!          -> merged with each other and with points in memory, series by series (merge)
//!          -> blocks of chunks -> decoded on whichever thread has time           (block)
//! ```
//!
//! [`SampleTable`] is the same in SQL, `catalog` tells which series there are. At no time more is in memory
//! than a page of each file, the blocks that are being read, what is made of them, and the known heads.

mod block;
mod catalog;
mod columns;
mod files;
mod heads;
mod input;
mod label;
mod merge;
mod pages;
mod rows;
mod source;
mod table;
mod wanted;

#[cfg(test)]
mod tests;

pub(crate) use catalog::Span;
pub(crate) use heads::HeadCache;
pub(crate) use label::label;
pub(crate) use source::SampleSource;
pub(crate) use table::SampleTable;
