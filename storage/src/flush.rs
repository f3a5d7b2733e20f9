//! Moving rows from memory to files.
//!
//! 1. Freeze: the active memtables are closed under the state's lock; the log goes on in a new
//!    segment.
//! 2. For each table: sort its frozen rows, write them as files (synced), commit the files together
//!    with the LSN up to which they hold the table's rows, and show the files in place of the
//!    memtables in one step. A tier sums up the rows of its source before that; its commit is one of
//!    its own, with its own LSN.
//! 3. Save who sent what and where everything is ([`crate::checkpoint`]), then remove the log segments that no table needs any more.
//!
//! A failure leaves everything where it was: rows in memory and in the log. When the commit itself
//! reported an error, it may have happened: the table's log is loaded anew before the next attempt,
//! and its LSN tells. A crash between the steps leaves files that no commit names (removed at open)
//! or log entries that commits cover already (not replayed).

use std::collections::HashSet;
use std::sync::Arc;

use thiserror::Error;

use crate::apart::{Apart, apart};
use crate::checkpoint::Checkpoint;
use crate::delta::log::{LogError, TableLog};
use crate::durable::{self, FileError};
use crate::files::{self, FilesError};
use crate::growth;
use crate::inner::Inner;
use crate::objects::CheckError;
use crate::objects::upload::UploadError;
use crate::part::PartCount;
use crate::rollup::RollupError;
use crate::rollup::cascade::Cascade;
use crate::series;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;

/// Why rows could not be moved to files, or files not be removed.
#[derive(Debug, Error)]
pub(crate) enum FlushError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Rollup(#[from] RollupError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Bucket(#[from] CheckError),
    #[error("the work was cut short: {0}")]
    Cancelled(#[from] tokio::task::JoinError),
    #[error(transparent)]
    Apart(#[from] Apart),
}

/// Name of the thread that sorts rows and writes them to files.
const THREAD: &str = "weir-flush";

/// A table's log, and what an attempt of unknown outcome left behind.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) log: TableLog,
    /// A commit that reported an error.
    pub(crate) doubtful: Option<Doubtful>,
}

/// What a commit that reported an error was to do.
#[derive(Debug, Default)]
pub(crate) struct Doubtful {
    /// Add files of these paths below the table's folder.
    pub(crate) added: Vec<String>,
    /// Remove these files.
    pub(crate) removed: Vec<Arc<DataFile>>,
}

impl Table {
    pub(crate) fn new(log: TableLog) -> Self {
        Self { log, doubtful: None }
    }

    /// Finds out what became of a commit that reported an error.
    pub(crate) async fn settle(
        &mut self,
        inner: &Inner,
        name: &'static str,
    ) -> Result<(), FlushError> {
        let Some(doubtful) = &self.doubtful else { return Ok(()) };
        self.log.reload().await?;
        inner.committed(name, &self.log.files(), self.log.lsn());
        let Doubtful { added, removed } = doubtful;
        let unused: Vec<String> =
            added.iter().filter(|path| !self.log.has_file(path)).cloned().collect();
        if !unused.is_empty() {
            inner.place.discard(name, unused).await;
        }
        let listed: HashSet<_> = self.log.files().iter().map(|f| f.path.clone()).collect();
        let gone = removed.iter().filter(|f| !listed.contains(&f.path)).cloned().collect();
        inner.graveyard.lock().bury(gone, inner.clock.now());
        self.doubtful = None;
        Ok(())
    }
}

/// Moves every row that is in memory now to files.
pub(crate) async fn flush(inner: Arc<Inner>) -> Result<(), FlushError> {
    let outcome = flush_all(&inner).await;
    *inner.flush_failure.lock() = outcome.as_ref().err().map(ToString::to_string);
    outcome
}

async fn flush_all(inner: &Arc<Inner>) -> Result<(), FlushError> {
    // Before files are written that could not be brought there.
    inner.place.check().await?;
    let mut tables = inner.tables.lock().await;
    if inner.state.lock().freeze() {
        inner.wal.rotate();
    }
    let mut outcome = Ok(());
    let mut cascade = Cascade::default();
    for (name, table) in tables.iter_mut() {
        if let Err(error) = flush_table(inner, name, table, &mut cascade).await
            && outcome.is_ok()
        {
            outcome = Err(error);
            // A bucket that is gone would make every other table wait as long.
            if inner.place.check().await.is_err() {
                break;
            }
        }
    }
    // Also after a failure: tables that did commit need less of the log now.
    let worker = inner.clone();
    let positions = tables.iter().map(|(name, t)| ((*name).to_owned(), t.log.lsn())).collect();
    tokio::task::spawn_blocking(move || trim_log(&worker, positions)).await??;
    outcome
}

async fn flush_table(
    inner: &Arc<Inner>,
    name: &'static str,
    table: &mut Table,
    cascade: &mut Cascade,
) -> Result<(), FlushError> {
    table.settle(inner, name).await?;
    let (spec, frozen) = {
        let state = inner.state.lock();
        let Some(state) = state.tables.get(name) else { return Ok(()) };
        (state.spec.clone(), state.frozen())
    };
    let Some(lsn) = frozen.iter().map(|m| m.last_lsn).max() else { return Ok(()) };
    let parts = grow(inner, table, &spec, frozen.iter().map(|m| m.rows).sum()).await?;
    let worker = inner.clone();
    let mut finer = std::mem::take(cascade);
    let work = move || {
        let batches = match &spec.rollup {
            Some(rollup) => finer.roll_up(&spec, rollup, &frozen)?,
            None if spec.series => {
                let runs: Vec<_> = frozen.iter().filter_map(|m| m.run()).collect();
                series::from_memory(spec.window, &runs).map_err(FilesError::from)?
            }
            None => frozen.iter().flat_map(|m| m.batches.iter().cloned()).collect(),
        };
        // Once the rows are in files nothing but the state may hold the memtables.
        drop(frozen);
        Ok::<_, FlushError>((files::write_files(&worker.dir, &spec, parts, &batches)?, finer))
    };
    let (new, done) = tokio::task::spawn_blocking(move || apart(THREAD, 0, work)).await???;
    *cascade = done;
    let added: Vec<String> = new.iter().map(|f| f.path.clone()).collect();
    if let Err(error) = inner.place.publish(name, &added).await {
        inner.place.discard(name, added).await;
        return Err(error.into());
    }
    table.doubtful = Some(Doubtful { added, ..Doubtful::default() });
    table.log.add(&new, lsn, inner.clock.now()).await?;
    inner.committed(name, &table.log.files(), lsn);
    table.doubtful = None;
    let rows: u64 = new.iter().map(|f| f.stats.rows).sum();
    tracing::debug!(table = name, rows, files = new.len(), lsn, "flushed");
    inner.compaction.changed.notify_one();
    Ok(())
}

/// The number of parts for a flush of `rows` rows; raised first if the table has outgrown it.
async fn grow(
    inner: &Inner,
    table: &mut Table,
    spec: &TableSpec,
    rows: u64,
) -> Result<PartCount, FlushError> {
    let current = table.log.parts();
    let volumes = growth::volumes(&table.log.files(), spec.window);
    let wanted = inner.growth.count(current, &volumes, rows);
    if wanted > current {
        // A commit that reports an error may have happened: then the log is loaded anew.
        table.doubtful = Some(Doubtful::default());
        table.log.set_parts(wanted).await?;
        table.doubtful = None;
        tracing::info!(table = spec.name, parts = wanted.get(), "divided the table further");
    }
    Ok(wanted)
}

/// Removes log segments that commits cover. `tables` has the LSN up to which the rows of each are in
/// files.
pub(crate) fn trim_log(inner: &Inner, tables: Vec<(String, u64)>) -> Result<(), FlushError> {
    let (mut sources, lsn, needed) = {
        let state = inner.state.lock();
        (state.sources.clone(), state.last_lsn, state.needed_lsn())
    };
    let (removable, trimmed) = {
        let segments = inner.wal.segments.lock();
        let removable = segments.removable(needed);
        let trimmed = removable.last().and_then(|last| segments.last_lsn(*last));
        (removable, trimmed)
    };
    let Some(trimmed) = trimmed else { return Ok(()) };
    let disk = inner.dir.disk().as_ref();
    // By the rows as well as by the clock: one that jumps ahead forgets nobody.
    let now = inner.hiding.lock().present;
    sources.forget(now);
    Checkpoint { sources, lsn, trimmed, tables }.save(&inner.dir)?;
    inner.state.lock().sources.forget(now);
    for lsn in removable {
        durable::remove(disk, &inner.dir.segment(lsn))?;
        inner.wal.segments.lock().forget(lsn);
    }
    durable::sync_dir(disk, &inner.dir.wal())?;
    Ok(())
}
