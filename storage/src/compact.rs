//! Rewriting many small files as few large ones, beside ingest and flushes.
//!
//! 1. [`plan`] picks files of one window and part of a table.
//! 2. [`merge`] streams them into one new file, on a thread of low priority, at a bounded rate. The
//!    tables are not locked meanwhile.
//! 3. Under the tables' lock: if the inputs are still part of the table, one commit puts the new file
//!    in their place. They stay on disk for readers that have them, as with retention.
//!
//! One job runs at a time. An input that cannot be merged is left alone for [`SET_ASIDE`]; when the
//! disk refuses, the next attempt waits. A crash leaves files that no commit names, which are removed
//! at open. A job never begins with less free disk space than what it may write, twice over.

pub(crate) mod input;
pub(crate) mod job;
pub(crate) mod merge;
pub(crate) mod plan;
pub(crate) mod reader;
pub(crate) mod throttle;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::path::Path;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use self::job::Job;
use self::merge::MergeError;
use self::plan::{Candidate, Policy};
use self::throttle::Throttle;
use crate::apart::Apart;
use crate::delta::log::LogError;
use crate::durable::FileError;
use crate::expire;
use crate::flush::FlushError;
use crate::inner::Inner;
use crate::options::Options;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;

/// How long a file that cannot be merged is left alone.
const SET_ASIDE: Duration = Duration::from_secs(3600);
/// Without a sign of change the plan is made anew after this: windows settle by time alone.
const IDLE: Duration = Duration::from_secs(60);
/// Wait after a failed job; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(600);

/// Why files could not be rewritten.
#[derive(Debug, Error)]
pub(crate) enum CompactError {
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(transparent)]
    Flush(#[from] FlushError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "the disk has {available} bytes left, rewriting these files takes up to {needed}; free disk space"
    )]
    NoRoom { needed: u64, available: u64 },
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    #[error("the work was cut short")]
    CutShort,
}

impl From<Apart> for CompactError {
    fn from(error: Apart) -> Self {
        match error {
            Apart::Thread(error) => Self::Thread(error),
            Apart::Panicked => Self::CutShort,
        }
    }
}

impl CompactError {
    /// The inputs of a job that it is to go on without.
    fn blames(&self, inputs: Vec<Path>) -> Vec<Path> {
        match self {
            Self::Merge(error) => match error.culprit() {
                Some(path) => vec![path.clone()],
                // Some of them do not go together; without the job the others can go on.
                None if error.is_lasting() => inputs,
                None => Vec::new(),
            },
            Self::CutShort => inputs,
            _ => Vec::new(),
        }
    }
}

/// Name of the thread that merges.
pub(crate) const THREAD: &str = "weir-compact";

/// What compaction has done since the store was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactionStats {
    /// Jobs that replaced files.
    pub jobs: u64,
    /// Jobs that failed.
    pub failures: u64,
    /// Bytes of the files that were replaced.
    pub bytes_read: u64,
    /// Bytes of the files that replaced them.
    pub bytes_written: u64,
    /// Rows that were rewritten.
    pub rows: u64,
    /// Why the last job failed; `None` after one that succeeded.
    pub last_error: Option<String>,
}

/// Compaction's part of an open store.
#[derive(Debug)]
pub(crate) struct Compaction {
    /// Held by whoever runs a job.
    turn: tokio::sync::Mutex<Turn>,
    pub(crate) stats: Mutex<CompactionStats>,
    /// Told when a table has changed.
    pub(crate) changed: Notify,
    /// Jobs end early from now on.
    stop: AtomicBool,
    target: u64,
}

/// What jobs hand on.
#[derive(Debug)]
struct Turn {
    throttle: Throttle,
    /// Files that could not be merged, and until when they are left alone.
    aside: HashMap<Path, Instant>,
}

impl Compaction {
    pub(crate) fn new(options: &Options) -> Self {
        let throttle = Throttle::new(options.compaction_bytes_per_second);
        Self {
            turn: tokio::sync::Mutex::new(Turn { throttle, aside: HashMap::new() }),
            stats: Mutex::default(),
            changed: Notify::new(),
            stop: AtomicBool::new(false),
            target: options.target_file_bytes,
        }
    }

    /// Lets no job go on or begin.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits until no job runs.
    pub(crate) async fn ended(&self) {
        drop(self.turn.lock().await);
    }
}

/// Runs one job, if there is one to do.
async fn step(inner: &Arc<Inner>) -> Result<bool, CompactError> {
    let mut turn = inner.compaction.turn.lock().await;
    if inner.compaction.is_stopped() {
        return Ok(false);
    }
    let now = Instant::now();
    turn.aside.retain(|_, until| *until > now);
    let Some(job) = choose(inner, &turn.aside) else { return Ok(false) };
    let inputs: Vec<Path> = job.inputs.iter().map(|file| file.path.clone()).collect();
    let outcome = job::run(inner, job, &mut turn.throttle).await;
    if let Err(error) = &outcome {
        let blamed = error.blames(inputs).into_iter().map(|path| (path, now + SET_ASIDE));
        turn.aside.extend(blamed);
    }
    let mut stats = inner.compaction.stats.lock();
    match outcome {
        Ok(()) => stats.last_error = None,
        Err(CompactError::Merge(MergeError::Stopped)) => return Ok(false),
        Err(error) => {
            stats.failures += 1;
            stats.last_error = Some(error.to_string());
            return Err(error);
        }
    }
    Ok(true)
}

/// The next job over all tables: where most files go at once.
fn choose(inner: &Inner, aside: &HashMap<Path, Instant>) -> Option<Job> {
    let now = inner.clock.now();
    let mut tables: Vec<_> = {
        let state = inner.state.lock();
        state.tables.values().map(|t| (t.spec.clone(), t.files.clone())).collect()
    };
    // The map's order is another in every run.
    tables.sort_unstable_by_key(|(spec, _)| spec.name);
    let root = inner.dir.root();
    // Without room for large files there may be some for small ones.
    let room = inner.dir.disk().available(root).map_or(u64::MAX, |bytes| bytes / job::ROOM);
    let jobs = tables.into_iter().filter_map(|(spec, files)| {
        let policy = Policy { window: spec.window, target: inner.compaction.target.min(room) };
        let (files, candidates): (Vec<&Arc<DataFile>>, Vec<Candidate>) = files
            .iter()
            .filter(|file| !aside.contains_key(&file.path))
            .filter_map(|file| Some((file, candidate(&spec, file, inner)?)))
            .unzip();
        let group = plan::next(&policy, &candidates, now)?;
        let inputs = group.iter().filter_map(|at| files.get(*at).copied().cloned()).collect();
        let place = candidates.get(*group.first()?)?;
        Some(Job { spec, window: place.window, part: place.part, inputs })
    });
    jobs.max_by_key(|job| job.inputs.len())
}

/// What the plan must know of a file; `None` if it is not one of this store's making.
fn candidate(spec: &TableSpec, file: &DataFile, inner: &Inner) -> Option<Candidate> {
    let window = spec.window.of(file.min_time);
    if file.rows == 0 || window != spec.window.of(file.max_time) {
        return None;
    }
    Some(Candidate {
        window,
        part: file.part?,
        size: file.size,
        // Rows of series become one: their number says nothing of the work.
        rows: if spec.series { file.size } else { file.rows },
        committed: file.committed,
        rewrite: inner.hiding.lock().wants_rewrite(file),
    })
}

/// Runs jobs until there is nothing left to do.
pub(crate) async fn run_all(inner: Arc<Inner>) -> Result<(), CompactError> {
    while step(&inner).await? {}
    Ok(())
}

/// The task beside ingest: runs until `stop` changes or its sender is gone.
pub(crate) async fn run(inner: Arc<Inner>, mut stop: watch::Receiver<()>) {
    let mut retry = RETRY_MIN;
    loop {
        // A job ends early when the store closes; it is not left in the middle of its commit.
        let wait = match step(&inner).await {
            Ok(true) => {
                retry = RETRY_MIN;
                Duration::ZERO
            }
            Ok(false) => IDLE,
            Err(error) => {
                let wait = retry;
                retry = (retry * 2).min(RETRY_MAX);
                tracing::error!(%error, again_in = ?wait, "files cannot be compacted; they stay as they are");
                wait
            }
        };
        if let Err(error) = expire::remove_dead(&inner).await {
            tracing::error!(%error, "replaced files stay on disk for now");
        }
        if wait.is_zero() {
            continue;
        }
        tokio::select! {
            _ = stop.changed() => return,
            () = inner.compaction.changed.notified(), if wait == IDLE => {}
            () = sleep(wait) => {}
        }
    }
}
