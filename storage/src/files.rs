//! Turning rows into data files.
//!
//! 1. [`order`]: sort the rows by (window of time, part, the table's sort columns).
//! 2. Cut where the window or the part changes: each piece becomes one file.
//! 3. [`write`]: write each as Parquet under a temporary name, sync it, give it its name.
//!
//! All of it is CPU and file work without suspension points: run it on a blocking thread.

mod label_column;
mod labels;
mod numbers;
pub(crate) mod order;
pub(crate) mod properties;
pub(crate) mod row_groups;
pub(crate) mod stats;
pub(crate) mod write;

use arrow::array::RecordBatch;
use thiserror::Error;

use self::stats::FileStats;
use crate::durable::FileError;
use crate::part::PartCount;
use crate::paths::{DataDir, Partition};
use crate::spec::TableSpec;

/// Why rows could not be written to files.
#[derive(Debug, Error)]
pub(crate) enum FilesError {
    #[error("cannot arrange the rows of a file: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("cannot write {}: {source}", path.display())]
    Parquet { path: std::path::PathBuf, source: parquet::errors::ParquetError },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("column `{0}` is not what the table's specification says")]
    Column(&'static str),
    #[error("window {0} lies beyond the calendar")]
    Time(i64),
}

/// A file that is written and synced, and belongs to no commit yet.
#[derive(Debug)]
pub(crate) struct NewFile {
    /// Path below the table's folder.
    pub(crate) path: String,
    pub(crate) partition: Partition,
    pub(crate) size: u64,
    pub(crate) stats: FileStats,
}

/// Sorts rows, splits them and writes the files. After an error nothing of it is left.
pub(crate) fn write_files(
    dir: &DataDir,
    spec: &TableSpec,
    parts: PartCount,
    batches: &[RecordBatch],
) -> Result<Vec<NewFile>, FilesError> {
    let mut files = Vec::new();
    let done = (|| {
        let arranged = order::arrange(spec, batches, parts)?;
        for piece in &arranged.pieces {
            let date = spec.window.date(piece.window).ok_or(FilesError::Time(piece.window))?;
            let partition = Partition { date, part: piece.part };
            let path = partition.new_file(dir, &spec.window.start(piece.window));
            let full = dir.table(spec.name).join(&path);
            let written = write::write_file(dir, &full, spec, &arranged, piece)?;
            files.push(NewFile { path, partition, size: written.0, stats: written.1 });
        }
        Ok(())
    })();
    match done {
        Ok(()) => Ok(files),
        Err(error) => {
            remove_files(dir, spec, files.iter().map(|f| f.path.as_str()));
            Err(error)
        }
    }
}

/// Removes files that no commit names. What cannot be removed now is removed at the next open.
pub(crate) fn remove_files<'a>(
    dir: &DataDir,
    spec: &TableSpec,
    paths: impl IntoIterator<Item = &'a str>,
) {
    for path in paths {
        if let Err(error) =
            crate::durable::remove(dir.disk().as_ref(), &dir.table(spec.name).join(path))
        {
            tracing::warn!(%error, "a data file that is not needed stays for now");
        }
    }
}

#[cfg(test)]
mod tests;
