//! Several sorted files become one.
//!
//! Rows are compared by the table's sort columns, nulls first and labels by their text, as
//! [`crate::files::order`] sorts them; equal rows stay in the order of the inputs. Runs of rows from
//! one input are copied at once.
//!
//! Memory, for k inputs: of each the compressed columns of one row group and one decoded batch of
//! 4096 rows with their keys, and of the output 8192 rows and one row group being encoded. For 16
//! inputs of flows that is some 100 MiB by estimate (not measured).
//!
//! The merge counts: rows read are rows written, dropped and combined, or there is no outcome.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use object_store::ObjectStore;
use thiserror::Error;
use tokio::runtime::Handle;

use self::output::{Chunk, Output};
use super::input::{Input, Opened};
use super::throttle::Throttle;
use crate::conform::ConformError;
use crate::disk::Disk;
use crate::files::FilesError;
use crate::files::order::column;
use crate::files::properties::Effort;
use crate::files::stats::FileStats;
use crate::files::write::FileWriter;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;

mod output;
#[cfg(test)]
mod tests;

/// Rows that are handed to the writer at a time.
const CHUNK: usize = 8192;
/// A waiting merge looks this often whether it is to stop.
const NAP: Duration = Duration::from_millis(50);

/// Why files could not be merged.
#[derive(Debug, Error)]
pub(crate) enum MergeError {
    #[error("cannot read data file {path}: {source}")]
    Read { path: object_store::path::Path, source: parquet::errors::ParquetError },
    #[error("data file {path} has {found} rows, the table's log says {listed}")]
    Rows { path: object_store::path::Path, found: u64, listed: u64 },
    #[error("data file {path} is not in the table's order at row {row}")]
    Disorder { path: object_store::path::Path, row: u64 },
    #[error("data file {path} has a column `{column}` that this version of weir does not know")]
    Unknown { path: object_store::path::Path, column: String },
    #[error("data file {path}: {source}")]
    Misfit { path: object_store::path::Path, source: ConformError },
    #[error(
        "{read} rows were read, but {written} written, {dropped} dropped and {combined} combined"
    )]
    Balance { read: u64, written: u64, dropped: u64, combined: u64 },
    #[error("cannot merge rows: {0}")]
    Arrow(#[from] ArrowError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("the store is closing")]
    Stopped,
}

impl MergeError {
    /// Whether the same inputs would fail again.
    pub(crate) fn is_lasting(&self) -> bool {
        !matches!(
            self,
            Self::Files(FilesError::File(_) | FilesError::Parquet { .. }) | Self::Stopped
        )
    }

    /// The input that cannot be merged, now or later.
    pub(crate) fn culprit(&self) -> Option<&object_store::path::Path> {
        match self {
            Self::Read { path, .. }
            | Self::Rows { path, .. }
            | Self::Disorder { path, .. }
            | Self::Unknown { path, .. }
            | Self::Misfit { path, .. } => Some(path),
            Self::Balance { .. } | Self::Arrow(_) | Self::Files(_) | Self::Stopped => None,
        }
    }
}

/// Makes rows that stand for the same thing one row.
pub(crate) trait Combine {
    /// Takes the rows that come next in the table's order; gives those that are done, in order.
    fn push(&mut self, rows: &RecordBatch) -> Result<Vec<RecordBatch>, ArrowError>;

    /// Gives the rows that were held back.
    fn finish(&mut self) -> Result<Vec<RecordBatch>, ArrowError>;
}

/// What a merge needs beside its inputs.
pub(crate) struct Setting<'a> {
    pub(crate) runtime: &'a Handle,
    pub(crate) disk: &'a dyn Disk,
    pub(crate) store: &'a Arc<dyn ObjectStore>,
    pub(crate) spec: &'a TableSpec,
    pub(crate) combine: Option<Box<dyn Combine>>,
    /// How much work the new file is worth.
    pub(crate) effort: Effort,
    pub(crate) throttle: &'a mut Throttle,
    /// Set when the merge is to end early.
    pub(crate) stop: &'a AtomicBool,
}

/// What became of the rows.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) size: u64,
    pub(crate) stats: FileStats,
    pub(crate) dropped: u64,
    pub(crate) combined: u64,
    /// Points were taken out of rows.
    pub(crate) changed: bool,
}

/// Merges files into a new one at `path`, without the rows that are hidden. The file is there even if no row is left. It is the
/// caller's to remove, also when it is unfinished after an error.
pub(crate) fn merge(
    mut setting: Setting<'_>,
    files: &[Arc<DataFile>],
    path: &Path,
) -> Result<Merged, MergeError> {
    let mut opened = Vec::with_capacity(files.len());
    for file in files {
        opened.push(Opened::open(setting.runtime, setting.store, setting.spec, file.clone())?);
    }
    let spec = with_nulls(setting.spec, opened.iter());
    let combine = setting.combine.take();
    let setting = Setting { spec: &spec, ..setting };
    let mut fields = Vec::with_capacity(spec.sort.len());
    let empty = RecordBatch::new_empty(spec.schema.clone());
    for name in spec.sort {
        fields.push(SortField::new(column(&empty, name)?.data_type().clone()));
    }
    let converter = RowConverter::new(fields)?;
    let mut inputs = Vec::with_capacity(opened.len());
    for file in opened {
        inputs.push(Input::new(file, &spec, &converter)?);
    }
    let output =
        Output::new(FileWriter::create(setting.disk, path, &spec, setting.effort)?, combine);
    // Each row is read once and written once.
    let bytes: u64 = files.iter().map(|file| file.size).sum();
    let listed: u64 = files.iter().map(|file| file.rows).sum();
    let bytes_per_row = 2 * bytes / listed.max(1);
    let mut merge = Merge { setting, converter, inputs, output, bytes_per_row };
    merge.run()?;
    let Merge { inputs, output, .. } = merge;
    let (size, stats, combined) = output.finish()?;
    let read = inputs.iter().map(|i| i.read).sum();
    let dropped = inputs.iter().map(|i| i.dropped).sum();
    let changed = inputs.iter().any(|i| i.changed);
    let written = stats.rows;
    if read != written + dropped + combined {
        return Err(MergeError::Balance { read, written, dropped, combined });
    }
    Ok(Merged { size, stats, dropped, combined, changed })
}

/// The specification, with columns nullable that are younger than a file.
fn with_nulls<'a>(spec: &TableSpec, files: impl Iterator<Item = &'a Opened> + Clone) -> TableSpec {
    let fields = spec.schema.fields().iter().map(|field| {
        let everywhere = files.clone().all(|file| file.has_column(field.name()));
        if everywhere { field.clone() } else { Arc::new(Field::clone(field).with_nullable(true)) }
    });
    TableSpec { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), ..spec.clone() }
}

struct Merge<'a> {
    setting: Setting<'a>,
    converter: RowConverter,
    inputs: Vec<Input>,
    output: Output<'a>,
    bytes_per_row: u64,
}

impl Merge<'_> {
    fn run(&mut self) -> Result<(), MergeError> {
        // Inputs that have rows, in order of their next row.
        let mut order = Vec::with_capacity(self.inputs.len());
        for (index, input) in self.inputs.iter_mut().enumerate() {
            if input.advance(self.setting.runtime, self.setting.spec, &self.converter)? {
                order.push(index);
            }
        }
        order.sort_by(|a, b| before(&self.inputs, *a, *b));
        let mut chunk = Chunk::default();
        while let Some(first) = order.first().copied() {
            self.take_run(first, order.get(1).copied(), &mut chunk);
            if chunk.rows >= CHUNK {
                self.emit(&mut chunk)?;
            }
            let Some(input) = self.inputs.get_mut(first) else { break };
            let more = input.key().is_some()
                || input.advance(self.setting.runtime, self.setting.spec, &self.converter)?;
            order.remove(0);
            if more {
                let at = order.partition_point(|other| before(&self.inputs, *other, first).is_lt());
                order.insert(at, first);
            }
        }
        self.emit(&mut chunk)
    }

    /// Takes the rows of an input that come before the next row of every other.
    fn take_run(&mut self, first: usize, second: Option<usize>, chunk: &mut Chunk) {
        let Some(second) = second else {
            if let Some(input) = self.inputs.get_mut(first) {
                chunk.add(input, |_| true);
            }
            return;
        };
        let Ok([input, other]) = self.inputs.get_disjoint_mut([first, second]) else { return };
        let Some(limit) = other.key() else { return };
        // Among equal rows those of the earlier input come first.
        chunk.add(input, |key| if first < second { key <= limit } else { key < limit });
    }

    fn emit(&mut self, chunk: &mut Chunk) -> Result<(), MergeError> {
        if self.setting.stop.load(Ordering::Relaxed) {
            return Err(MergeError::Stopped);
        }
        let rows = u64::try_from(chunk.rows).unwrap_or(u64::MAX);
        if let Some(batch) = chunk.take()? {
            self.output.write(&batch)?;
        }
        self.inputs.iter_mut().for_each(|input| input.slot = None);
        let cost = rows.saturating_mul(self.bytes_per_row);
        let mut wait = self.setting.throttle.pay(cost, Instant::now());
        while !wait.is_zero() {
            if self.setting.stop.load(Ordering::Relaxed) {
                return Err(MergeError::Stopped);
            }
            std::thread::sleep(wait.min(NAP));
            wait = wait.saturating_sub(NAP);
        }
        Ok(())
    }
}

/// Order of the next rows of two inputs.
fn before(inputs: &[Input], a: usize, b: usize) -> std::cmp::Ordering {
    let key = |index: usize| inputs.get(index).and_then(Input::key);
    (key(a), a).cmp(&(key(b), b))
}
