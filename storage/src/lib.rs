//! The embedded history store: a write-ahead log, memtables, and sorted Parquet files committed to a
//! Delta Lake table.
//!
//! It knows table specifications (schema, time column, workload columns, sort order), not flows.
//! Rows are durable and visible from the moment [`Store::append`] returns.

mod conform;
mod error;
mod snapshot;
mod spec;
mod store;

pub use conform::{ConformError, conform};
pub use error::{Error, ErrorKind};
pub use snapshot::{DataFile, Snapshot};
pub use spec::TableSpec;
pub use store::{Appended, Entry, Options, Part, Source, Stats, Store};
