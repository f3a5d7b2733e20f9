//! What a reader sees: the files and memtables of one table at one moment.

use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use crate::bounds::LabelBounds;
use crate::error::{Error, ErrorKind};
use crate::hidden::Hidden;
use crate::local::LocalFiles;
use crate::part::PartId;
use crate::rollup::{RollupError, derive::derive};
use crate::series::{self, Run, SeriesPoints};
use crate::spec::TableSpec;
use crate::window::Window;

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
    /// When rows in it were last new to the table, microseconds since the Unix epoch.
    pub committed: i64,
    /// The part of the table that all its rows are in; `None` if another program added the file
    /// without saying.
    pub part: Option<PartId>,
    /// Bounds of its labels.
    pub labels: LabelBounds,
    /// CRC-32 (IEEE 802.3) of the whole file, if its writer told.
    pub checksum: Option<u32>,
    /// Rows of it that must not be seen.
    pub hidden: Arc<[Arc<Hidden>]>,
    /// Keeps the file on disk.
    pub pin: Pin,
}

impl DataFile {
    /// A file of which nothing but path and size is known.
    #[must_use]
    pub fn unknown(path: Path, size: u64) -> Self {
        Self {
            path,
            size,
            rows: 0,
            min_time: i64::MIN,
            max_time: i64::MAX,
            committed: i64::MIN,
            part: None,
            labels: LabelBounds::default(),
            checksum: None,
            hidden: Arc::default(),
            pin: Pin::default(),
        }
    }

    /// Bounds of a label column: every value that is not null lies between them, both included.
    ///
    /// They are cut values where values are long, so neither need occur. `None` when they are not
    /// known, and when every value is null: [`DataFile::null_count`] tells these apart. Text compares
    /// by bytes.
    #[must_use]
    pub fn text_bounds(&self, column: &str) -> Option<(&str, &str)> {
        let (min, max) = self.labels.column(column)?.bounds.as_ref()?;
        Some((min, max))
    }

    /// Rows whose value of a label column is null; `None` when unknown.
    #[must_use]
    pub fn null_count(&self, column: &str) -> Option<u64> {
        self.labels.column(column)?.nulls
    }

    /// Whether a row may have this value in a label column; the empty text stands for null too.
    #[must_use]
    pub fn may_hold(&self, column: &str, value: &str) -> bool {
        // A file without statistics says that it has no rows.
        self.rows == 0 || self.labels.may_hold(column, value, self.rows)
    }

    /// Whether a row may have these values in the columns [`TableSpec::workload`], in their order;
    /// the empty text stands for null too.
    ///
    /// Right for files of every count of parts. To plan a rewrite, group files by
    /// [`DataFile::part`]: files of different counts never have the same.
    #[must_use]
    pub fn may_hold_workload(&self, spec: &TableSpec, values: &[&str]) -> bool {
        let in_part = values.len() != spec.workload.len()
            || self.part.is_none_or(|part| part.holds(values.iter().copied()));
        in_part
            && spec.workload.iter().zip(values).all(|(column, value)| self.may_hold(column, value))
    }
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
    /// Rows that are not in files yet.
    pub memory: Memory,
    /// A tier has no sums of rows that had been in files when it was made: windows that end later
    /// than this, microseconds since the Unix epoch, are whole. `i64::MIN` for every other table.
    pub complete_after: i64,
    /// Rows in memory that must not be seen.
    pub hidden_in_memory: Arc<[Arc<Hidden>]>,
    /// The store that `files` are in: the folder of all tables.
    pub object_store: Arc<dyn ObjectStore>,
    /// Url that stands for `object_store` in a query engine's registry.
    pub object_store_url: Url,
    /// The same store, if it is on local disk.
    pub local: Option<LocalFiles>,
}

impl Snapshot {
    /// The points in memory of a table of series: of each series whose canonical labels `pick` wants,
    /// those whose time (milliseconds since the Unix epoch) is in `times`. Sorted by labels; a series
    /// without such a point is not among them.
    ///
    /// Labels are looked at once for each series, not for each point. `files` may have points of the
    /// same series and time: see [`crate::series::settle`].
    ///
    /// Nothing for a table that is none of series.
    #[must_use]
    pub fn series_in_memory(
        &self,
        times: std::ops::RangeInclusive<i64>,
        pick: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Vec<SeriesPoints> {
        series::read(&self.memory.0.runs, &times, &self.hidden_in_memory, pick)
    }
}

/// Rows of one table that are not in files.
///
/// A tier has the rows of the table that it sums up: they become its own when they are first read,
/// so that a snapshot that nobody reads costs nothing. So do the points of a table of series become
/// chunks; [`Snapshot::series_in_memory`] gives them without that.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Rows>);

#[derive(Debug, Default)]
struct Rows {
    came_in: Vec<RecordBatch>,
    /// Points, of a table of series.
    runs: Vec<Run>,
    /// The tier that sums them up, if one does.
    tier: Option<Arc<TableSpec>>,
    /// Files of points have such windows.
    window: Option<Window>,
    derived: OnceLock<Result<Vec<RecordBatch>, Arc<RollupError>>>,
}

impl Memory {
    /// Rows as they came in, seen by the table `spec`.
    pub(crate) fn new(spec: &Arc<TableSpec>, came_in: Vec<RecordBatch>) -> Self {
        let tier = spec.rollup.is_some().then(|| spec.clone());
        Self(Arc::new(Rows { came_in, tier, ..Rows::default() }))
    }

    /// Points of a table of series.
    pub(crate) fn of_series(spec: &TableSpec, runs: Vec<Run>) -> Self {
        Self(Arc::new(Rows { runs, window: Some(spec.window), ..Rows::default() }))
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let points = self.0.runs.iter().flat_map(|run| &run.batches);
        self.0.came_in.iter().chain(points).all(|batch| batch.num_rows() == 0)
    }

    /// The rows, in the table's schema; of a tier each is a partial sum.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when rows cannot be made into those of the tier, which its
    /// specification should have told when the store was opened.
    pub fn batches(&self) -> Result<&[RecordBatch], Error> {
        let Rows { came_in, runs, tier, window, derived } = &*self.0;
        if let Some(window) = window {
            let rows = derived
                .get_or_init(|| series::from_memory(*window, runs).map_err(|e| Arc::new(e.into())));
            return rows.as_deref().map_err(|e| {
                Error::with_source(ErrorKind::Invalid, "points cannot become chunks", e.clone())
            });
        }
        let Some((spec, rollup)) = tier.as_ref().and_then(|s| Some((s, s.rollup.as_ref()?))) else {
            return Ok(came_in);
        };
        let rows = derived.get_or_init(|| {
            came_in.iter().map(|b| derive(spec, rollup, b).map_err(Arc::new)).collect()
        });
        match rows {
            Ok(rows) => Ok(rows),
            Err(e) => {
                let message = format!("table `{}` cannot take rows in", spec.name);
                Err(Error::with_source(ErrorKind::Invalid, message, e.clone()))
            }
        }
    }
}

impl From<Vec<RecordBatch>> for Memory {
    fn from(came_in: Vec<RecordBatch>) -> Self {
        Self(Arc::new(Rows { came_in, ..Rows::default() }))
    }
}
