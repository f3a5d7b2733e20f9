//! Opening a data directory.
//!
//! 1. Lock the directory, check its version, empty its `tmp`.
//! 2. Load the checkpoint: who sent what, how far the log was trimmed, where the tables were then.
//! 3. Load each table's log: its files, and the LSN up to which they hold its rows. A table that is
//!    behind the checkpoint has lost commits, and rows that nothing else has: it is refused.
//!    Tables in an object store are claimed first: see [`crate::objects`].
//! 4. Remove data files that no table names: a crash came between writing and committing them, or
//!    between removing them from the table and from disk. Not so while files are missing that the
//!    table does name: others may hold their rows.
//! 5. Replay the log: each entry's rows enter memory for those tables whose files do not hold them yet.

mod replay;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use self::replay::{Reader, ReplayError};
use crate::checkpoint::{Checkpoint, CheckpointError, Known};
use crate::delta::log::{LOG_FOLDER, LogError, Origin, TableLog};
use crate::directory::{self, DirectoryError, DirectoryLock};
use crate::disk::Disk;
use crate::durable::{self, At, FileError};
use crate::entry::Decode;
use crate::error::{Error, ErrorKind};
use crate::memory::Budget;
use crate::objects::{self, Bucket, BucketError};
use crate::options::Options;
use crate::paths::DataDir;
use crate::place::Place;
use crate::spec::TableSpec;
use crate::state::{State, TableState};
use crate::wal::recovery::{RecoveryError, recover};
use crate::wal::segments::Segments;

/// A table that has less than the checkpoint says.
#[derive(Debug, Error)]
#[error(
    "table `{table}` has lost commits: its log has the rows of entries up to {found}, and had those up to {recorded}, which the log in the wal folder has no more; restore its folder from a copy, or run `weir inspect --repair` to go on without the rows"
)]
pub(crate) struct Behind {
    pub(crate) table: String,
    pub(crate) found: u64,
    pub(crate) recorded: u64,
}

impl Behind {
    /// Refuses a table whose rows are in files up to the LSN `found`, if there was more of it.
    pub(crate) fn check(checkpoint: Option<&Checkpoint>, table: &str, found: u64) -> Option<Self> {
        let recorded = checkpoint.map_or(0, |c| c.of(table));
        (found < recorded).then(|| Self { table: table.to_owned(), found, recorded })
    }
}

/// Everything that was found.
pub(crate) struct Opened {
    pub(crate) dir: DataDir,
    pub(crate) place: Place,
    pub(crate) lock: Arc<DirectoryLock>,
    pub(crate) tables: Vec<(&'static str, TableLog)>,
    pub(crate) state: State,
    pub(crate) segments: Segments,
    pub(crate) budget: Arc<Budget>,
    pub(crate) next_lsn: u64,
}

/// Opens a directory and brings everything in it up to date.
pub(crate) async fn open(options: &Options, disk: Arc<dyn Disk>) -> Result<Opened, Error> {
    let dir = DataDir::on(disk, options.dir.clone());
    let (dir, lock) = blocking(move || {
        let lock = directory::acquire(&dir).map_err(from_directory)?;
        // The process may change its working directory.
        let root = dir.disk().canonicalize(dir.root()).at("find", dir.root());
        Ok((DataDir::on(dir.disk().clone(), root.map_err(unavailable)?), Arc::new(lock)))
    })
    .await?;
    let place = Place::new(dir.clone(), lock.clone(), bucket(options, &dir).await?);
    let of = dir.clone();
    let checkpoint = blocking(move || Checkpoint::load(&of).map_err(from_checkpoint)).await?;
    let behind = |table: &str, found| match Behind::check(checkpoint.as_ref(), table, found) {
        Some(e) => {
            let message = "cannot use the data directory";
            Err(Error::with_source(ErrorKind::Directory, message, e))
        }
        None => Ok(()),
    };
    let mut tables: Vec<(&'static str, TableLog)> = Vec::new();
    let mut state = State::default();
    // Tiers come after what they sum up.
    let (tiers, own): (Vec<_>, Vec<_>) =
        options.tables.iter().cloned().partition(|s| s.rollup.is_some());
    for spec in own.into_iter().chain(tiers).map(Arc::new) {
        let origin = origin(&spec, &tables, &state)?;
        if place.bucket().is_none() && !dir.disk().exists(&dir.table(spec.name).join(LOG_FOLDER)) {
            behind(spec.name, 0)?;
        }
        let log = TableLog::open(&place, spec.clone(), origin).await.map_err(|e| {
            let kind = match &e {
                LogError::Spec(_) => ErrorKind::Invalid,
                LogError::File(_) | LogError::Bucket(_) => ErrorKind::Unavailable,
                _ => ErrorKind::Directory,
            };
            let message = format!("cannot open table `{}` in {}", spec.name, dir.root().display());
            Error::with_source(kind, message, e)
        })?;
        behind(spec.name, log.lsn())?;
        let table = TableState::new(spec.clone(), log.files(), log.complete_after());
        if state.tables.insert(spec.name, table).is_some() {
            let message = format!("table `{}` is specified twice", spec.name);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        tables.push((spec.name, log));
    }
    let budget = Budget::new(options.memtable_bytes.saturating_mul(2));
    let decode = options.decode.clone();
    blocking(move || {
        if place.bucket().is_some() {
            objects::empty_outbox(&dir).map_err(unavailable)?;
        } else {
            for (name, log) in &tables {
                remove_orphans(&dir, name, log).map_err(unavailable)?;
            }
        }
        let (segments, next_lsn) = replay(&dir, checkpoint, &tables, &mut state, &budget, &decode)?;
        Ok(Opened { dir, place, lock, tables, state, segments, budget, next_lsn })
    })
    .await
}

/// Where a tier begins that is made now. A directory from before there were tiers has rows in files
/// that no log entry brings back: the tier is whole after the newest of them.
fn origin(
    spec: &TableSpec,
    tables: &[(&'static str, TableLog)],
    state: &State,
) -> Result<Origin, Error> {
    let Some(rollup) = &spec.rollup else { return Ok(Origin::START) };
    let source = tables.iter().find(|(name, _)| *name == rollup.source);
    let source = source.and_then(|(name, log)| Some((log, state.tables.get(name)?)));
    let fault = match source {
        None => Some("there is no such table"),
        Some((_, source)) if source.spec.time != spec.time => Some("its time is another column"),
        Some((_, source)) if source.spec.rollup.is_some() => Some("that is a tier itself"),
        Some((_, source)) => rollup.check(spec, &source.spec.schema).err(),
    };
    if let Some(fault) = fault {
        let message = format!("table `{}` cannot sum up `{}`: {fault}", spec.name, rollup.source);
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let Some((log, _)) = source else { return Ok(Origin::START) };
    let newest = log.files().iter().map(|f| f.max_time).max();
    let complete_after = newest.map_or(i64::MIN, |time| rollup.width.end_of(time));
    Ok(Origin { lsn: log.lsn(), complete_after })
}

/// Connects to the object store, if there is to be one.
async fn bucket(options: &Options, dir: &DataDir) -> Result<Option<Arc<Bucket>>, Error> {
    let opened = match &options.objects {
        Some(objects) => {
            Bucket::open(objects, dir, options.clock.now()).await.map(|b| Some(Arc::new(b)))
        }
        None => objects::refuse_bound(dir).map(|()| None),
    };
    opened.map_err(|error| match error {
        BucketError::File(error) => unavailable(error),
        error => {
            let passing = error.is_passing();
            let kind = if passing { ErrorKind::Unavailable } else { ErrorKind::Directory };
            Error::with_source(kind, "cannot use the object store", error)
        }
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
        Err(Error::with_source(ErrorKind::Unavailable, "opening was cut short", e))
    })
}

fn from_directory(error: DirectoryError) -> Error {
    match error {
        DirectoryError::File(e) => unavailable(e),
        refused => {
            Error::with_source(ErrorKind::Directory, "cannot use the data directory", refused)
        }
    }
}

fn from_checkpoint(error: CheckpointError) -> Error {
    match error {
        CheckpointError::File(e) => unavailable(e),
        damaged => {
            Error::with_source(ErrorKind::Directory, "cannot use the data directory", damaged)
        }
    }
}

fn unavailable(error: FileError) -> Error {
    Error::with_source(ErrorKind::Unavailable, "cannot open the data directory", error)
}

/// Removes data files below a table's folder that are not part of the table, unless files of the
/// table are missing.
fn remove_orphans(dir: &DataDir, table: &str, log: &TableLog) -> Result<(), FileError> {
    let root = dir.table(table);
    let mut folders = vec![root.clone()];
    let (mut there, mut orphans) = (HashSet::new(), Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in dir.disk().read_dir(&folder).at("read folder", &folder)? {
            let path = folder.join(&entry.name);
            let below = path.strip_prefix(&root).ok().and_then(Path::to_str);
            if entry.is_folder {
                // Only partition folders: the log's own folder holds Parquet files too.
                if entry.name.to_string_lossy().contains('=') {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "parquet")
                && let Some(below) = below
            {
                if log.has_file(below) {
                    there.insert(below.to_owned());
                } else {
                    orphans.push(path);
                }
            }
        }
    }
    let missing = log.paths().filter(|path| !there.contains(*path)).count();
    if missing > 0 {
        tracing::error!(
            table,
            missing,
            unnamed = orphans.len(),
            "data files of the table are missing; run `weir inspect` on the directory. Files that no commit names stay, since they may hold the rows"
        );
        return Ok(());
    }
    for path in orphans {
        tracing::info!(path = %path.display(), "removed a data file that no commit names");
        durable::remove(dir.disk().as_ref(), &path)?;
    }
    Ok(())
}

fn replay(
    dir: &DataDir,
    checkpoint: Option<Checkpoint>,
    tables: &[(&'static str, TableLog)],
    state: &mut State,
    budget: &Arc<Budget>,
    decode: &Decode,
) -> Result<(Segments, u64), Error> {
    let committed = tables.iter().map(|(_, log)| log.lsn()).max().unwrap_or(0);
    let known = Known::new(checkpoint.as_ref(), committed);
    state.last_lsn = known.acknowledged;
    let mut rows = 0u64;
    if checkpoint.is_none() && committed > 0 {
        tracing::warn!(
            path = %dir.sources().display(),
            "no list of senders: batches that they repeat now may be stored twice"
        );
    }
    state.sources = checkpoint.map(|c| c.sources).unwrap_or_default();
    let recovered = recover(dir, known, |entries| {
        let runs = Reader { tables, state, decode }.read(entries)?;
        rows += replay::enter(state, budget, entries, runs)?;
        Ok::<(), (u64, ReplayError)>(())
    })
    .map_err(|e| match e {
        RecoveryError::File(e) => unavailable(e),
        damaged => Error::with_source(ErrorKind::Directory, "cannot replay the log", damaged),
    })?;
    if rows > 0 {
        tracing::info!(rows, "replayed the log");
    }
    let next_lsn = recovered.end_lsn.unwrap_or(0).max(state.last_lsn + 1);
    Ok((recovered.segments, next_lsn))
}
