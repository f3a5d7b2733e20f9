//! The embedded history store: a write-ahead log, memtables, and sorted Parquet files committed to
//! Delta Lake tables.
//!
//! It knows table specifications (schema, time column, workload columns, sort order), not flows.
//! Rows are durable and visible from the moment [`Store::append`] returns.
//!
//! The way of a row, one module each:
//!
//! - `store`: the face; [`conform()`] brings a batch into its table's shape;
//! - `wal`: one thread makes groups of entries durable; `sources` recognises repetitions, and
//!   `checkpoint` keeps them when the log is cut;
//! - `state`, `memory`: rows become visible, within a bound of bytes;
//! - `rollup`: rows of one table become sums in another;
//! - [`series`]: points of time series become chunks;
//! - `flush`, `files`: rows become sorted Parquet files, cut by `window` and `part`;
//! - `index`: which rows of a file have which value of a label, inside of the file itself;
//! - `delta`: files and log position become part of the table in one commit;
//! - `compact`: many small files become few large ones, beside all of that;
//! - `retention`: what is kept and for how long; `expire` removes the rest, file by file;
//! - `matcher`, `hidden`, `hiding`: which rows of a file must not be seen;
//! - `delete`: rows are deleted by a `tombstone`, and by compaction after that;
//! - `open` puts everything together again after a stop or a
//!   crash; `background` decides when to do what.
//!
//! `place` says where the tables are: on local disk, or in a bucket (`objects`).
//! - [`inspect`]: what a directory has that no server holds, and whether it is sound.
//!
//! `paths` has the layout of the data directory, `durable` the rules for files that survive a power
//! failure, `disk` everything that storage asks of a file system.

mod apart;
mod background;
mod bounds;
mod checkpoint;
mod clock;
mod coalesce;
mod compact;
mod conform;
mod delete;
mod delta;
mod directory;
mod disk;
mod durable;
mod entry;
mod error;
mod expire;
mod files;
mod flush;
mod growth;
mod hidden;
mod hiding;
mod index;
mod inner;
pub mod inspect;
mod local;
mod matcher;
mod memory;
mod objects;
mod open;
mod options;
mod part;
mod paths;
mod place;
mod retention;
mod revise;
mod rollup;
pub mod series;
#[cfg(test)]
mod simulation;
mod snapshot;
mod sources;
mod spec;
mod state;
mod store;
mod tombstone;
mod wal;
mod window;

pub use bounds::LabelBounds;
pub use clock::Clock;
pub use compact::CompactionStats;
pub use conform::{ConformError, conform};
pub use delete::{Deleted, Deletion};
pub use entry::{Appended, Decode, DecodeFailure, Decoded, Entry, Part, Source, decode_stream};
pub use error::{Error, ErrorKind};
pub use files::properties::{Effort, writer_properties};
pub use files::row_groups::RowGroups;
pub use hidden::{Hidden, columns as hidden_columns, visible};
pub use index::{ColumnIndex, IndexError, LabelIndex, length_of as index_length};
pub use local::{LocalFile, LocalFiles};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use objects::ObjectStorage;
pub use objects::cache::CacheStats;
pub use options::Options;
pub use part::PartId;
pub use retention::{Retention, RetentionRule};
pub use rollup::{Detail, Fold, Merge, Rollup};
pub use snapshot::{DataFile, Memory, Pin, Snapshot};
pub use spec::TableSpec;
pub use store::{Stats, Store};
pub use window::Window;
