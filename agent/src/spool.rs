//! Batches on their way to the server, on disk until it has them.
//!
//! ```text
//! DIR/lock                            held by the one agent that uses the directory
//! DIR/agent-id                        id of this agent, kept across restarts
//! DIR/losses                          what was lost and no batch has declared yet
//! DIR/00000000000000000042.batch      a batch (see `format`); delivered in the order of the names
//! DIR/refused/, DIR/damaged/          the last few batches that cannot be delivered
//! ```
//!
//! Damaged is what is no batch. One in the format of a newer agent stays where it is, for that agent;
//! one that cannot be read just now is tried again.
//!
//! A batch is written to a temporary file, synced and renamed, so that a crash leaves it whole or
//! not at all. Over the bound the oldest batches are dropped and counted; the count travels in the
//! next batch's header. When the disk refuses a batch it waits in memory, within a bound of its own; what is there when
//! the agent ends is lost and counted like the rest.

mod format;
mod queue;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use thiserror::Error;
use weir_wire::Loss;

use format::FormatError;

pub(crate) use format::Batch;
use queue::{Entry, Queue};

/// Batches kept for inspection in each of `refused/` and `damaged/`.
const KEPT_ASIDE: usize = 8;
/// Until a batch that could not be read is read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Why the spool cannot be used.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// Another agent uses the directory.
    #[error("spool {0} is in use by another agent; give each its own with --spool DIR")]
    Locked(PathBuf),
    /// The directory or a file in it cannot be made or read.
    #[error("spool: cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { what, path, source }
}

/// The spool; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    max_bytes: u64,
    agent: String,
    state: Mutex<State>,
    changed: Condvar,
    _lock: File,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    next_ordinal: u64,
    /// Batches that the disk refused.
    memory: HashMap<u64, Arc<Batch>>,
    disk_failing: bool,
}

/// A batch that is under way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    ordinal: u64,
    pub(crate) batch: Arc<Batch>,
}

impl Spool {
    /// Opens or makes the directory, with what an earlier run left in it.
    pub(crate) fn open(directory: &Path, max_bytes: u64, node: &str) -> Result<Self, SpoolError> {
        // Who talks to whom is nobody else's business.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(io_error("make", directory))?;
        let lock_path = directory.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(SpoolError::Locked(directory.to_owned()));
            }
            Err(fs::TryLockError::Error(source)) => {
                return Err(io_error("lock", &lock_path)(source));
            }
        }
        let agent = agent_id(directory, node)?;
        let (mut queue, next_ordinal) = scan(directory)?;
        queue.take_over(&read_losses(directory));
        let state = State { queue, next_ordinal, memory: HashMap::new(), disk_failing: false };
        let shared = Shared {
            directory: directory.to_owned(),
            max_bytes,
            agent,
            state: Mutex::new(state),
            changed: Condvar::new(),
            _lock: lock,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Id of this agent, the same across restarts.
    pub(crate) fn agent(&self) -> &str {
        &self.shared.agent
    }

    /// Batches that wait.
    pub(crate) fn len(&self) -> usize {
        self.shared.state.lock().queue.len()
    }

    /// Losses that no batch has declared yet; the caller declares them in the batch that it pushes
    /// next, which then strikes them off.
    pub(crate) fn undeclared_losses(&self) -> BTreeMap<String, i64> {
        self.shared.state.lock().queue.losses.clone()
    }

    /// Puts a batch at the end. Never fails: what cannot be kept is dropped and counted.
    /// `declared` are the undeclared losses that its header carries.
    pub(crate) fn push(&self, batch: Batch, declared: &BTreeMap<String, i64>) {
        let shared = &*self.shared;
        let ordinal = {
            let mut state = shared.state.lock();
            let ordinal = state.next_ordinal;
            state.next_ordinal += 1;
            ordinal
        };
        self.retry_memory();
        let bytes = batch.to_bytes();
        let written = shared.write(ordinal, &bytes);
        let entry = Entry {
            ordinal,
            bytes: bytes.len() as u64,
            rows: batch.rows,
            losses: batch.losses.clone(),
            in_memory: written.is_err(),
        };
        let mut state = shared.state.lock();
        match written {
            Ok(()) if state.disk_failing => {
                state.disk_failing = false;
                tracing::info!("spool can be written again");
            }
            Ok(()) => {}
            Err(error) => {
                if !std::mem::replace(&mut state.disk_failing, true) {
                    tracing::warn!(%error, spool = %shared.directory.display(), "spool cannot be written, batches wait in memory");
                }
                state.memory.insert(ordinal, Arc::new(batch));
            }
        }
        state.queue.push(entry);
        for (reason, count) in declared {
            if let Some(total) = state.queue.losses.get_mut(reason) {
                *total = total.saturating_sub(*count);
            }
        }
        state.queue.losses.retain(|_, count| *count > 0);
        let dropped = state.queue.enforce(shared.max_bytes);
        if !dropped.is_empty() {
            tracing::warn!(
                batches = dropped.len(),
                bound = shared.max_bytes,
                "spool is full, oldest batches dropped"
            );
        }
        // First what is lost, then the loss itself: a crash in between counts it twice, never not.
        shared.write_losses(&state.queue.losses);
        for entry in dropped {
            state.memory.remove(&entry.ordinal);
            if !entry.in_memory {
                shared.delete(entry.ordinal);
            }
        }
        drop(state);
        shared.changed.notify_all();
    }

    /// Tries the disk again for batches that wait in memory.
    pub(crate) fn retry_memory(&self) {
        let shared = &*self.shared;
        let waiting: Vec<(u64, Arc<Batch>)> = {
            let state = shared.state.lock();
            let ordinals = state.queue.in_memory().map(|e| e.ordinal);
            ordinals.filter_map(|o| Some((o, Arc::clone(state.memory.get(&o)?)))).collect()
        };
        for (ordinal, batch) in waiting {
            if shared.write(ordinal, &batch.to_bytes()).is_err() {
                return;
            }
            let mut state = shared.state.lock();
            if state.memory.remove(&ordinal).is_some() {
                state.queue.now_on_disk(ordinal);
            } else {
                // Delivered meanwhile.
                shared.delete(ordinal);
            }
        }
    }

    /// The agent ends: what the disk still refuses is lost with its memory, and is noted for the batch that declares it
    /// after the next start. How many batches wait on disk, and how many are lost.
    pub(crate) fn leave(&self) -> (usize, usize) {
        self.retry_memory();
        let shared = &*self.shared;
        let mut state = shared.state.lock();
        let lost = state.queue.give_up_memory();
        state.memory.clear();
        if lost > 0 {
            shared.write_losses(&state.queue.losses);
        }
        (state.queue.len(), lost)
    }

    /// The oldest batch, waiting for one to come until `awake` says otherwise (asked at each
    /// [`Spool::wake`]). A damaged one is set aside; one that cannot be read just now is waited for.
    pub(crate) fn next(&self, awake: impl Fn() -> bool) -> Option<Outgoing> {
        let shared = &*self.shared;
        let mut unreadable = false;
        loop {
            let (entry, memory) = {
                let mut state = shared.state.lock();
                loop {
                    if let Some(entry) = state.queue.take_next() {
                        let memory = state.memory.get(&entry.ordinal).cloned();
                        break (entry, memory);
                    }
                    if awake() {
                        return None;
                    }
                    shared.changed.wait(&mut state);
                }
            };
            if let Some(batch) = memory {
                return Some(Outgoing { ordinal: entry.ordinal, batch });
            }
            let path = shared.path(entry.ordinal);
            let problem = match read(&path) {
                Ok(batch) => {
                    return Some(Outgoing { ordinal: entry.ordinal, batch: Arc::new(batch) });
                }
                // No descriptor left, no memory, a bad moment of the disk: nothing is wrong with the
                // batch itself.
                Err(ReadError::Io(error)) if error.kind() != io::ErrorKind::NotFound => {
                    if !std::mem::replace(&mut unreadable, true) {
                        tracing::warn!(file = %path.display(), %error, "spooled batch cannot be read, trying again");
                    }
                    self.returned();
                    self.sleep(Instant::now() + READ_AGAIN, &awake);
                    if awake() {
                        return None;
                    }
                    continue;
                }
                Err(problem) => problem,
            };
            if problem.is_newer() {
                tracing::warn!(file = %path.display(), %problem, "spooled batch left for a newer agent");
                shared.state.lock().queue.remove(entry.ordinal);
                continue;
            }
            tracing::warn!(file = %path.display(), %problem, "spooled batch is damaged, set aside");
            let mut state = shared.state.lock();
            state.queue.remove(entry.ordinal);
            state.queue.lost(Loss::SpoolDamaged, 1);
            state.queue.take_over(&entry.losses);
            shared.write_losses(&state.queue.losses);
            shared.set_aside(entry.ordinal, "damaged");
        }
    }

    /// The server has it.
    pub(crate) fn delivered(&self, outgoing: &Outgoing) {
        let mut state = self.shared.state.lock();
        state.queue.remove(outgoing.ordinal);
        if state.memory.remove(&outgoing.ordinal).is_none() {
            self.shared.delete(outgoing.ordinal);
        }
    }

    /// The server will never take it.
    pub(crate) fn refused(&self, outgoing: &Outgoing) {
        let shared = &*self.shared;
        let mut state = shared.state.lock();
        if let Some(entry) = state.queue.remove(outgoing.ordinal) {
            state.queue.lost(Loss::RefusedBatches, 1);
            state.queue.take_over(&entry.losses);
        }
        shared.write_losses(&state.queue.losses);
        if state.memory.remove(&outgoing.ordinal).is_none() {
            shared.set_aside(outgoing.ordinal, "refused");
        }
    }

    /// It stays at the front.
    pub(crate) fn returned(&self) {
        self.shared.state.lock().queue.release();
    }

    /// Sleeps until `deadline`, or until [`Spool::wake`].
    pub(crate) fn sleep(&self, deadline: Instant, awake: impl Fn() -> bool) {
        let mut state = self.shared.state.lock();
        while !awake() && !self.shared.changed.wait_until(&mut state, deadline).timed_out() {}
    }

    /// Ends every [`Spool::next`] and [`Spool::sleep`] that has nothing to wait for any more.
    pub(crate) fn wake(&self) {
        let _state = self.shared.state.lock();
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn path(&self, ordinal: u64) -> PathBuf {
        self.directory.join(file_name(ordinal))
    }

    fn write(&self, ordinal: u64, bytes: &[u8]) -> io::Result<()> {
        write_durably(&self.directory, &file_name(ordinal), bytes)
    }

    fn write_losses(&self, losses: &BTreeMap<String, i64>) {
        let path = self.directory.join("losses");
        let text: String = losses.iter().map(|(r, n)| format!("{r} {n}\n")).collect();
        let unchanged = fs::read_to_string(&path).unwrap_or_default() == text;
        if !unchanged && let Err(error) = write_durably(&self.directory, "losses", text.as_bytes())
        {
            tracing::debug!(%error, "losses are remembered in memory alone");
        }
    }

    fn delete(&self, ordinal: u64) {
        let path = self.path(ordinal);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(file = %path.display(), %error, "delivered batch cannot be removed; the server will ignore its repetition");
        }
    }

    fn set_aside(&self, ordinal: u64, folder: &str) {
        set_aside(&self.directory, &file_name(ordinal), folder);
    }
}

/// Why a spooled batch was not to be had.
#[derive(Debug, Error)]
enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl ReadError {
    fn is_newer(&self) -> bool {
        matches!(self, Self::Format(FormatError::Version(_)))
    }
}

fn read(path: &Path) -> Result<Batch, ReadError> {
    Ok(Batch::from_bytes(&fs::read(path)?)?)
}

fn file_name(ordinal: u64) -> String {
    format!("{ordinal:020}.batch")
}

fn write_durably(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!("{name}.tmp"));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, directory.join(name))?;
        File::open(directory)?.sync_all()
    };
    write().inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// Moves a file into a folder of its own, where only the newest few are kept.
fn set_aside(directory: &Path, name: &str, folder: &str) {
    let target = directory.join(folder);
    let moved = fs::create_dir_all(&target)
        .and_then(|()| fs::rename(directory.join(name), target.join(name)));
    if moved.is_err() {
        // It must not come up again at the next start.
        drop(fs::remove_file(directory.join(name)));
    }
    let Ok(entries) = fs::read_dir(&target) else { return };
    let mut kept: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    kept.sort_unstable();
    let surplus = kept.len().saturating_sub(KEPT_ASIDE);
    for path in kept.iter().take(surplus) {
        drop(fs::remove_file(path));
    }
}

fn agent_id(directory: &Path, node: &str) -> Result<String, SpoolError> {
    let path = directory.join("agent-id");
    if let Ok(text) = fs::read_to_string(&path) {
        let id = text.trim();
        if !id.is_empty() && id.len() <= 128 && id.bytes().all(is_id_byte) {
            return Ok(id.to_owned());
        }
    }
    let prefix: String = node.bytes().filter(|b| is_id_byte(*b)).take(64).map(char::from).collect();
    let id = format!("{prefix}-{}", uuid::Uuid::new_v4());
    let id = id.trim_start_matches('-').to_owned();
    write_durably(directory, "agent-id", id.as_bytes()).map_err(io_error("write", &path))?;
    Ok(id)
}

/// Characters of ids in the wire format.
fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:-".contains(&byte)
}

/// What an earlier run left.
fn scan(directory: &Path) -> Result<(Queue, u64), SpoolError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error("list", directory))? {
        let entry = entry.map_err(io_error("list", directory))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".tmp") {
            drop(fs::remove_file(entry.path()));
        } else if let Some(ordinal) = name.strip_suffix(".batch").and_then(|n| n.parse().ok()) {
            names.push((ordinal, entry.path()));
        }
    }
    names.sort_unstable();
    let mut queue = Queue::default();
    let mut next: u64 = 0;
    for (ordinal, path) in names {
        next = ordinal + 1;
        let read = fs::read(&path).map_err(io_error("read", &path))?;
        match Batch::from_bytes(&read) {
            Ok(batch) => queue.push(Entry {
                ordinal,
                bytes: read.len() as u64,
                rows: batch.rows,
                losses: batch.losses,
                in_memory: false,
            }),
            Err(error @ FormatError::Version(_)) => {
                tracing::warn!(file = %path.display(), %error, "spooled batch left for a newer agent");
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "spooled batch is damaged, set aside");
                queue.lost(Loss::SpoolDamaged, 1);
                set_aside(directory, &file_name(ordinal), "damaged");
            }
        }
    }
    Ok((queue, next))
}

fn read_losses(directory: &Path) -> BTreeMap<String, i64> {
    let text = fs::read_to_string(directory.join("losses")).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (reason, count) = line.split_once(' ')?;
            let known = Loss::ALL.iter().any(|l| l.name() == reason);
            Some((reason.to_owned(), count.parse().ok().filter(|n| known && *n > 0)?))
        })
        .collect()
}

#[cfg(test)]
mod tests;
