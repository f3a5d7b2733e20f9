//! What a reader sees: the files and memtables of one table at one moment.

use std::sync::Arc;

use arrow::array::RecordBatch;
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use crate::hidden::Hidden;
use crate::spec::TableSpec;

/// One Parquet file of a table.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Where it is in [`Snapshot::object_store`].
    pub path: Path,
    /// Size in bytes.
    pub size: u64,
    /// Rows in it; 0 if another program added the file without statistics.
    pub rows: u64,
    /// Smallest value of the time column, microseconds since the Unix epoch; `i64::MIN` if the file
    /// came without statistics.
    pub min_time: i64,
    /// Largest value of the time column, inclusive; `i64::MAX` if the file came without statistics.
    pub max_time: i64,
    /// Rows of it that must not be seen.
    pub hidden: Arc<[Arc<Hidden>]>,
    /// Keeps the file on disk.
    pub pin: Pin,
}

/// Keeps a file on disk as long as any clone of it lives.
#[derive(Debug, Clone, Default)]
pub struct Pin(Arc<()>);

impl Pin {
    /// Whether this is the only clone. No other can come about then but from this one.
    pub(crate) fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// The rows of one table at one moment: every acknowledged row exactly once.
///
/// Rows are in `files` or in `memory`, never in both. The files stay on disk at least as long as the
/// snapshot lives.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The table.
    pub spec: Arc<TableSpec>,
    /// Committed files, with the table's columns (labels as plain UTF-8 in Parquet).
    pub files: Arc<[Arc<DataFile>]>,
    /// Rows that are not in files yet, in the table's schema.
    pub memory: Vec<RecordBatch>,
    /// The store that `files` are in: the folder of all tables.
    pub object_store: Arc<dyn ObjectStore>,
    /// Url that stands for `object_store` in a query engine's registry.
    pub object_store_url: Url,
}
