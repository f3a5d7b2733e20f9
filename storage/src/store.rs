//! The store: one data directory, several tables.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use url::Url;

use crate::background::{self, Schedule};
use crate::compact::{self, CompactError, Compaction, CompactionStats};
use crate::conform::conform;
use crate::delete::{self, DeleteError, Deleted, Deletion};
use crate::disk::Disk;
use crate::disk::real::RealDisk;
use crate::entry::{Appended, Entry};
use crate::error::{Error, ErrorKind};
use crate::expire;
use crate::files::order::times;
use crate::flush::{self, FlushError, Table};
use crate::growth::Growth;
use crate::hiding::Hiding;
use crate::inner::Inner;
use crate::memory::detach;
use crate::objects::CheckError;
use crate::objects::cache::CacheStats;
use crate::objects::watch::run as watch_objects;
use crate::open::{self, Opened};
use crate::options::Options;
use crate::place::Place;
use crate::retention::graveyard::Graveyard;
use crate::series::{Points, PointsError};
use crate::snapshot::{Memory, Snapshot};
use crate::spec::TableSpec;
use crate::state::{Incoming, State, TableState};
use crate::tombstone::{TombstoneError, Tombstones};
use crate::wal::writer::{self, Append, Shared, Writer};
use crate::window::Window;

/// Closing waits this long for an object store. The log keeps what does not get there.
const CLOSE_LIMIT: Duration = Duration::from_secs(45);

/// Last microsecond that a row may be dated: the calendar of files ends with the year 9999.
const MAX_TIME: i64 = 253_402_207_200_000_000;

/// Windows of time that one part of an entry may touch: three weeks, or a file each.
const MAX_WINDOWS: usize = 256;

/// Figures for the server's own metrics.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Bytes of the log that commits do not cover yet.
    pub wal_bytes: u64,
    /// Segments of the log.
    pub wal_segments: u64,
    /// Bytes of rows in memory.
    pub memory_bytes: u64,
    /// Rows in memory.
    pub memory_rows: u64,
    /// The cache of the object store, where there is one.
    pub cache: Option<CacheStats>,
    /// For each table: name, files, bytes, rows in files.
    pub tables: Vec<(&'static str, u64, u64, u64)>,
    /// What compaction has done.
    pub compaction: CompactionStats,
}

/// An open data directory.
///
/// It lives in a Tokio runtime, and keeps a task there and a thread of its own. Dropping the store
/// without [`Store::close`] loses nothing that was acknowledged: the next open replays the log.
#[derive(Debug)]
pub struct Store {
    inner: Arc<Inner>,
    specs: std::collections::HashMap<&'static str, Arc<TableSpec>>,
    object_store_url: Url,
    running: Mutex<Option<Running>>,
}

/// What runs while the store is open.
#[derive(Debug)]
struct Running {
    append: mpsc::Sender<Append>,
    wal_ended: oneshot::Receiver<()>,
    stop: watch::Sender<()>,
    background: JoinHandle<()>,
    compaction: Option<JoinHandle<()>>,
    inner: Arc<Inner>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.inner.compaction.stop();
        self.background.abort();
        if let Some(compaction) = &self.compaction {
            compaction.abort();
        }
    }
}

impl Store {
    /// Opens the directory: takes its lock, loads the tables, replays the log.
    ///
    /// # Errors
    /// [`ErrorKind::Directory`] when another process holds it or it is damaged;
    /// [`ErrorKind::Unavailable`] when the disk refuses; [`ErrorKind::Invalid`] when a table's
    /// specification cannot be kept.
    pub async fn open(options: Options) -> Result<Arc<Self>, Error> {
        Self::start(options, Arc::new(RealDisk), true).await
    }

    /// Opens a directory of another disk than the system's.
    #[cfg(test)]
    pub(crate) async fn open_on(options: Options, disk: Arc<dyn Disk>) -> Result<Arc<Self>, Error> {
        Self::start(options, disk, true).await
    }

    /// As [`Store::open_on`], but nothing happens by itself.
    #[cfg(test)]
    pub(crate) async fn open_quietly(
        options: Options,
        disk: Arc<dyn Disk>,
    ) -> Result<Arc<Self>, Error> {
        Self::start(options, disk, false).await
    }

    async fn start(options: Options, disk: Arc<dyn Disk>, acts: bool) -> Result<Arc<Self>, Error> {
        options.retention.check(&options.tables).map_err(|e| {
            Error::with_source(ErrorKind::Invalid, "retention cannot be applied", e)
        })?;
        let Opened { dir, place, lock, tables, state, segments, budget, next_lsn } =
            open::open(&options, disk).await?;
        let refused = |e: Box<dyn std::error::Error + Send + Sync>| {
            Error::with_source(ErrorKind::Unavailable, "cannot open the data directory", e)
        };
        let object_store = place.reader();
        let object_store_url = Url::parse("weir://tables/").map_err(|e| refused(e.into()))?;
        let policies = state.tables.values().map(|t| (t.spec.name, options.retention.of(&t.spec)));
        let policies = policies.collect();
        let tombstones = load_tombstones(&place).await?;
        let specs = state.tables.iter().map(|(name, t)| (*name, t.spec.clone())).collect();
        let inner = Arc::new(Inner {
            dir: dir.clone(),
            place,
            clock: options.clock.clone(),
            hiding: Mutex::new(Hiding::new(policies, tombstones)),
            retention: options.retention.clone(),
            removal_grace: options.removal_grace,
            state: Arc::new(Mutex::new(state)),
            wal: Arc::new(Shared::default()),
            budget,
            grown: Arc::new(Notify::new()),
            tables: tokio::sync::Mutex::new(
                tables.into_iter().map(|(name, log)| (name, Table::new(log))).collect(),
            ),
            compaction: Compaction::new(&options),
            objects: object_store,
            growth: Growth { part_bytes: options.part_bytes, part_rows: options.part_rows },
            graveyard: Mutex::new(Graveyard::default()),
            flush_failure: Mutex::new(None),
            lock: lock.clone(),
        });
        *inner.wal.segments.lock() = segments;
        expire::show(&inner).await;
        let (append, wal_ended) = writer::spawn(Writer {
            dir,
            state: inner.state.clone(),
            shared: inner.wal.clone(),
            clock: options.clock,
            grown: inner.grown.clone(),
            next_lsn,
            lock,
        })
        .map_err(|e| refused(e.into()))?;
        let schedule = Schedule::new(options.memtable_bytes, options.flush_interval);
        let (stop, stopped) = watch::channel(());
        let compaction = (acts && options.compaction)
            .then(|| tokio::spawn(compact::run(inner.clone(), stopped.clone())));
        let background = if acts {
            let looking_after = watch_objects(inner.clone(), stopped.clone());
            let background = background::run(inner.clone(), schedule, stopped);
            tokio::spawn(async { tokio::join!(background, looking_after).0 })
        } else {
            tokio::spawn(std::future::ready(()))
        };
        let running =
            Running { append, wal_ended, stop, background, compaction, inner: inner.clone() };
        Ok(Arc::new(Self { inner, specs, object_store_url, running: Mutex::new(Some(running)) }))
    }

    /// The specification of a table.
    #[must_use]
    pub fn spec(&self, table: &str) -> Option<&Arc<TableSpec>> {
        self.specs.get(table)
    }

    /// Makes an entry durable and visible.
    ///
    /// A caller that goes away does not take an entry back that is on its way to the log.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for rows that do not fit, [`ErrorKind::Busy`] at the memory bound,
    /// [`ErrorKind::Unavailable`] when the log cannot be written, [`ErrorKind::Closed`] after close.
    /// After an error nothing of the entry is visible.
    pub async fn append(&self, entry: Entry) -> Result<Appended, Error> {
        let queue = match &*self.running.lock() {
            Some(running) => running.append.clone(),
            None => return Err(closed()),
        };
        if let Some(by) = self.inner.place.fenced() {
            return Err(Error::with_source(
                ErrorKind::Unavailable,
                "this server takes no rows any more",
                CheckError::Fenced { by },
            ));
        }
        if let Some(source) = &entry.source
            && self.inner.state.lock().sources.is_repeated(source)
        {
            // Recorded sequences are durable.
            return Ok(Appended::Repeated);
        }
        let mut parts = Vec::with_capacity(entry.parts.len());
        let mut points = Vec::new();
        let mut ipc = Vec::with_capacity(entry.parts.len());
        for part in entry.parts {
            let spec = self.specs.get(part.table).ok_or_else(|| no_table(part.table))?;
            if let Some(rollup) = &spec.rollup {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!(
                        "table `{}` sums up `{}` and takes no rows of its own; append them there",
                        spec.name, rollup.source
                    ),
                ));
            }
            if spec.series {
                points.push(self.points(spec, &part.batches)?);
                ipc.push((spec.name, part.ipc));
                continue;
            }
            let mut batches = Vec::with_capacity(part.batches.len());
            let mut windows = HashSet::new();
            let mut bytes = 0usize;
            for batch in &part.batches {
                let batch = conform(spec, batch).map_err(|e| {
                    Error::with_source(ErrorKind::Invalid, "batch does not fit its table", e)
                })?;
                let times = times(spec, &batch).map_err(|e| {
                    Error::with_source(ErrorKind::Invalid, "batch does not fit its table", e)
                })?;
                if let Some(row) = times.iter().position(|t| !(0..=MAX_TIME).contains(t)) {
                    return Err(Error::new(
                        ErrorKind::Invalid,
                        format!(
                            "column `{}` of table `{}` is before 1970 or after 9999 in row {row}",
                            spec.time, spec.name
                        ),
                    ));
                }
                note_windows(spec.window, times, &mut windows);
                if windows.len() > MAX_WINDOWS {
                    return Err(Error::new(
                        ErrorKind::Invalid,
                        format!(
                            "rows for table `{}` fall into more than {MAX_WINDOWS} windows of {} s by column `{}`, each of which becomes a file; check the sender's clock, or send less time at once",
                            spec.name,
                            spec.window.length().as_secs(),
                            spec.time
                        ),
                    ));
                }
                let (batch, size) = detach(batch).map_err(|e| {
                    Error::with_source(ErrorKind::Invalid, "batch cannot be copied", e)
                })?;
                bytes += size;
                batches.push(batch);
            }
            parts.push((spec.name, batches, bytes));
            ipc.push((spec.name, part.ipc));
        }
        let bytes = parts.iter().map(|(_, _, bytes)| bytes).sum();
        let Some(mut reserved) = self.inner.budget.reserve(bytes) else {
            return Err(self.no_room());
        };
        let rows = parts
            .into_iter()
            .map(|(table, batches, bytes)| Incoming {
                table,
                batches,
                registry: None,
                reserved: reserved.split(bytes),
            })
            .chain(points)
            .collect();
        let (reply, replied) = oneshot::channel();
        let append = Append { source: entry.source, ipc, rows, reply };
        queue.send(append).await.map_err(|_| closed())?;
        drop(queue);
        replied.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Makes rows of a table that are still in memory anew: `revise` gives, for a batch of which more is known by now, the
    /// same rows in the same order. Readers see each batch as it was or as it is then. Returns how many were
    /// replaced.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for another number of rows, or rows that do not fit the table.
    pub async fn revise(
        &self,
        table: &'static str,
        revise: impl Fn(&RecordBatch) -> Option<RecordBatch> + Send + 'static,
    ) -> Result<usize, Error> {
        crate::revise::revise(self.inner.clone(), table, revise).await
    }

    /// The points of a part, with their series numbered.
    fn points(&self, spec: &TableSpec, batches: &[RecordBatch]) -> Result<Incoming, Error> {
        let registry = {
            let state = self.inner.state.lock();
            state.tables.get(spec.name).and_then(TableState::registry)
        };
        let registry = registry.ok_or_else(|| no_table(spec.name))?;
        let refused = |e: PointsError| match e {
            PointsError::Full => self.no_room(),
            e => Error::with_source(ErrorKind::Invalid, "points do not fit their table", e),
        };
        let mut rows = Vec::with_capacity(batches.len());
        let mut bytes = 0;
        for batch in batches {
            let points = Points::of(batch).map_err(refused)?;
            points.check_times(spec.window, MAX_WINDOWS).map_err(refused)?;
            let interned = points.intern(&registry, &self.inner.budget, false).map_err(refused)?;
            let (batch, size) = detach(interned).map_err(|e| refused(e.into()))?;
            bytes += size;
            rows.push(batch);
        }
        let reserved = self.inner.budget.reserve(bytes).ok_or_else(|| self.no_room())?;
        Ok(Incoming { table: spec.name, batches: rows, registry: Some(registry), reserved })
    }

    /// Memory is full: because files are slow, or because they cannot be written at all.
    fn no_room(&self) -> Error {
        let mend = match self.inner.place.bucket() {
            Some(_) => "mend the object store or the way to it",
            None => "free disk space or mend the disk",
        };
        match &*self.inner.flush_failure.lock() {
            Some(why) => Error::new(
                ErrorKind::Unavailable,
                format!(
                    "memory is full of rows that cannot be written to files: {why}; {mend}, then send them again"
                ),
            ),
            None => Error::new(
                ErrorKind::Busy,
                "rows arrive faster than they can be written to files; send them again in a second",
            ),
        }
    }

    /// The rows of a table as they are now.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when there is no such table.
    pub fn snapshot(&self, table: &str) -> Result<Snapshot, Error> {
        let state = self.inner.state.lock();
        let table = state.tables.get(table).ok_or_else(|| no_table(table))?;
        Ok(self.view(&state, table))
    }

    /// The rows of every table as they are at one moment.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let state = self.inner.state.lock();
        state.tables.values().map(|table| self.view(&state, table)).collect()
    }

    fn view(&self, state: &State, table: &TableState) -> Snapshot {
        Snapshot {
            spec: table.spec.clone(),
            files: table.files.clone(),
            memory: if table.spec.series {
                Memory::of_series(&table.spec, state.runs(table))
            } else {
                Memory::new(&table.spec, state.memory(table))
            },
            complete_after: table.complete_after,
            hidden_in_memory: self.inner.hiding.lock().in_memory(table.spec.name),
            object_store: self.inner.objects.clone(),
            object_store_url: self.object_store_url.clone(),
            local: self.inner.place.local(),
        }
    }

    /// Writes all rows in memory to files and commits them.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the disk refuses; the rows stay in memory and in the log.
    pub async fn flush(&self) -> Result<(), Error> {
        self.spawn(flush::flush).await.map_err(cannot_flush)
    }

    /// Deletes rows that were acknowledged before this was called. They are invisible when it returns,
    /// for good; compaction removes them from disk.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when a table or label does not exist, a tier cannot tell the rows apart,
    /// or the range does not fit one; [`ErrorKind::Unavailable`] when the disk refuses. Nothing is
    /// deleted then.
    pub async fn delete(&self, deletion: Deletion) -> Result<Deleted, Error> {
        let work = tokio::spawn(delete::delete(self.inner.clone(), deletion));
        let outcome = work.await.unwrap_or_else(|e| Err(e.into()));
        outcome.map_err(|e| {
            let invalid = e.is_invalid();
            let kind = if invalid { ErrorKind::Invalid } else { ErrorKind::Unavailable };
            Error::with_source(kind, "rows are not deleted", e)
        })
    }

    /// Removes deleted rows, and those that retention hides for good, from disk now. The store does so
    /// by itself.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when a file cannot be read or the disk refuses; the rows stay
    /// invisible.
    pub async fn clean(&self) -> Result<(), Error> {
        while self.spawn(expire::expire).await.map_err(cannot_expire)? {}
        self.compact().await?;
        self.expire().await
    }

    /// Removes what is beyond retention now. The store does so by itself from time to time.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the disk refuses.
    pub async fn expire(&self) -> Result<(), Error> {
        self.spawn(expire::expire).await.map(|_| ()).map_err(cannot_expire)
    }

    /// Rewrites small files as large ones until there is nothing left to do. The store does so by
    /// itself unless [`Options::compaction`] is off.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when a file cannot be read or the disk refuses; the files stay as
    /// they are.
    pub async fn compact(&self) -> Result<(), Error> {
        if self.running.lock().is_none() {
            return Err(closed());
        }
        let work = tokio::spawn(compact::run_all(self.inner.clone()));
        work.await
            .unwrap_or(Err(CompactError::CutShort))
            .map_err(|e| Error::with_source(ErrorKind::Unavailable, "files cannot be compacted", e))
    }

    /// Flushes and lets go of the directory. Appends fail from then on; snapshots stay readable.
    ///
    /// # Errors
    /// As [`Store::flush`]; the store is closed all the same, and the next open replays the log.
    pub async fn close(&self) -> Result<(), Error> {
        let Some(mut running) = self.running.lock().take() else { return Ok(()) };
        // The log's thread ends when every sender is gone: this one, and those of appends under way.
        let (unused, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut running.append, unused));
        let _ = (&mut running.wal_ended).await;
        self.inner.compaction.stop();
        let _ = running.stop.send(());
        let _ = (&mut running.background).await;
        if let Some(compaction) = &mut running.compaction {
            let _ = compaction.await;
        }
        self.inner.compaction.ended().await;
        let flushed = self.spawn_within(CLOSE_LIMIT, flush::flush).await.map_err(cannot_flush);
        if self.inner.place.bucket().is_none() {
            // The next open would remove them without waiting, too.
            expire::bury(&self.inner).await;
        }
        self.inner.lock.release();
        flushed
    }

    /// As [`Store::spawn`], with a limit where an object store may not answer.
    async fn spawn_within<F>(
        &self,
        limit: Duration,
        work: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<(), FlushError>
    where
        F: Future<Output = Result<(), FlushError>> + Send + 'static,
    {
        let mut task = tokio::spawn(work(self.inner.clone()));
        if self.inner.place.bucket().is_none() {
            return task.await?;
        }
        match tokio::time::timeout(limit, &mut task).await {
            Ok(done) => done?,
            Err(_) => {
                task.abort();
                Err(CheckError::Slow { limit }.into())
            }
        }
    }

    /// Runs to the end even if the caller goes away: a commit is not left half known.
    async fn spawn<F, T, E>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<tokio::task::JoinError> + Send + 'static,
    {
        tokio::spawn(work(self.inner.clone())).await?
    }

    /// A folder below the data directory for intermediate results of queries. The store never looks
    /// into it; what is in it when the store opens is left over.
    #[must_use]
    pub fn spill_folder(&self) -> std::path::PathBuf {
        self.inner.dir.spill()
    }

    /// Figures for the server's own metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (wal_bytes, wal_segments) = {
            let segments = self.inner.wal.segments.lock();
            (segments.bytes(), u64::try_from(segments.len()).unwrap_or(u64::MAX))
        };
        let state = self.inner.state.lock();
        let mut tables: Vec<_> = state
            .tables
            .iter()
            .map(|(name, t)| {
                let files = u64::try_from(t.files.len()).unwrap_or(u64::MAX);
                let bytes = t.files.iter().map(|f| f.size).sum();
                (*name, files, bytes, t.files.iter().map(|f| f.rows).sum())
            })
            .collect();
        tables.sort_unstable();
        Stats {
            wal_bytes,
            wal_segments,
            memory_bytes: u64::try_from(self.inner.budget.used()).unwrap_or(u64::MAX),
            memory_rows: state.memory_rows(),
            cache: self.inner.place.bucket().map(|bucket| bucket.cache().stats()),
            tables,
            compaction: self.inner.compaction.stats.lock().clone(),
        }
    }
}

/// Adds the windows of `times`, and stops when there are too many.
fn note_windows(window: Window, times: &[i64], windows: &mut HashSet<i64>) {
    let (Some(min), Some(max)) = (times.iter().min(), times.iter().max()) else { return };
    let (first, last) = (window.of(*min), window.of(*max));
    if first == last {
        windows.insert(first);
        return;
    }
    for time in times {
        windows.insert(window.of(*time));
        if windows.len() > MAX_WINDOWS {
            return;
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store is closed")
}

fn no_table(name: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("there is no table `{name}`"))
}

fn cannot_expire(error: DeleteError) -> Error {
    let message = "cannot remove files beyond retention";
    Error::with_source(ErrorKind::Unavailable, message, error)
}

async fn load_tombstones(place: &Place) -> Result<Tombstones, Error> {
    place.load_tombstones().await.map_err(|e| {
        let damaged = matches!(
            e,
            TombstoneError::Damaged { .. } | TombstoneError::Bucket(CheckError::Tombstones { .. })
        );
        let kind = if damaged { ErrorKind::Directory } else { ErrorKind::Unavailable };
        Error::with_source(kind, "cannot open the data directory", e)
    })
}

fn cannot_flush(error: FlushError) -> Error {
    Error::with_source(
        ErrorKind::Unavailable,
        "rows cannot be written to files; they stay in memory and in the log",
        error,
    )
}

#[cfg(test)]
mod tests;
