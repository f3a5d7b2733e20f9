//! The thread that writes the log.
//!
//! 1. Take every append that waits, up to [`GROUP_BYTES`].
//! 2. Set repetitions aside: one of an entry that is durable is acknowledged at once; one of an entry
//!    of this same group shares its fate.
//! 3. Write the group as one frame and sync the file once.
//! 4. Make the rows visible, then acknowledge.
//! 5. Put small batches in memory together, where there are many by now.
//!
//! When the write or the sync fails, the group fails as a whole and nothing of it becomes visible.
//! The file is cut back and never written again: after a failed sync the kernel may have dropped the
//! pages and report success next time. The next group begins a new segment with the same LSN, which
//! tells recovery to ignore whatever the old one holds from there on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use super::format::{self, HEADER, StoredEntry, StoredPart};
use super::segments::Segments;
use crate::clock::Clock;
use crate::coalesce::coalesce;
use crate::directory::DirectoryLock;
use crate::disk::{File, Mode};
use crate::durable::{self, At, FileError};
use crate::entry::{Appended, Source};
use crate::error::{Error, ErrorKind};
use crate::paths::DataDir;
use crate::state::{Incoming, State};

/// A segment that has grown to this is closed.
const SEGMENT_BYTES: u64 = 64 << 20;
/// A group takes no further entry once it has this many bytes.
const GROUP_BYTES: usize = 16 << 20;
/// Appends that may wait before senders wait too.
const QUEUE: usize = 1024;

/// An entry that waits to be made durable.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) source: Option<Source>,
    /// Table and IPC stream of each part, for the log.
    pub(crate) ipc: Vec<(&'static str, Bytes)>,
    /// The same rows, for memory.
    pub(crate) rows: Vec<Incoming>,
    pub(crate) reply: oneshot::Sender<Result<Appended, Error>>,
}

/// What the log's thread shares with the store.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) segments: Mutex<Segments>,
    rotate: AtomicBool,
}

impl Shared {
    /// Closes the current segment before the next entry, so that it can go as soon as commits cover
    /// what is in it now.
    pub(crate) fn rotate(&self) {
        self.rotate.store(true, Ordering::Release);
    }
}

/// What the log's thread needs.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) dir: DataDir,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    /// Told whenever rows became visible.
    pub(crate) grown: Arc<Notify>,
    pub(crate) next_lsn: u64,
    /// Kept until the last append is done.
    pub(crate) lock: Arc<DirectoryLock>,
}

/// Starts the thread. It ends, everything that waits done, when the sender is dropped; the receiver
/// then resolves.
pub(crate) fn spawn(
    writer: Writer,
) -> Result<(mpsc::Sender<Append>, oneshot::Receiver<()>), std::io::Error> {
    let (sender, queue) = mpsc::channel(QUEUE);
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("weir-wal".into()).spawn(move || {
        let lock = writer.lock.clone();
        Run { segment: None, writer }.run(queue);
        let _ = ended.send(());
        drop(lock);
    })?;
    Ok((sender, end))
}

/// The segment that is being written.
#[derive(Debug)]
struct Open {
    file: Box<dyn File>,
    path: PathBuf,
    salt: u64,
    first_lsn: u64,
    length: u64,
}

struct Run {
    segment: Option<Open>,
    writer: Writer,
}

impl Run {
    fn run(&mut self, mut queue: mpsc::Receiver<Append>) {
        while let Some(first) = queue.blocking_recv() {
            let size = |a: &Append| a.ipc.iter().map(|(_, ipc)| ipc.len()).sum::<usize>();
            let mut bytes = size(&first);
            let mut group = vec![first];
            while bytes < GROUP_BYTES
                && let Ok(next) = queue.try_recv()
            {
                bytes += size(&next);
                group.push(next);
            }
            self.commit(group, bytes);
        }
        self.seal();
    }

    fn commit(&mut self, group: Vec<Append>, bytes: usize) {
        let now = self.writer.clock.now();
        let mut payload = Vec::with_capacity(bytes + 256 * group.len());
        let mut accepted = Vec::with_capacity(group.len());
        let mut repeated = Vec::new();
        {
            let mut in_group: HashMap<(String, String), i64> = HashMap::new();
            for append in group {
                if let Some(source) = &append.source {
                    if self.writer.state.lock().sources.is_repeated(source) {
                        let _ = append.reply.send(Ok(Appended::Repeated));
                        continue;
                    }
                    let key = (source.agent.clone(), source.boot.clone());
                    if in_group.get(&key).is_some_and(|highest| source.sequence <= *highest) {
                        repeated.push(append.reply);
                        continue;
                    }
                    in_group.insert(key, source.sequence);
                }
                let stored = StoredEntry {
                    arrived: now,
                    source: append.source.clone(),
                    parts: append
                        .ipc
                        .iter()
                        // The bytes of another part give its rows as well.
                        .filter(|(_, ipc)| !ipc.is_empty())
                        .map(|(table, ipc)| StoredPart { table, ipc })
                        .collect(),
                };
                match format::encode_entry(&mut payload, &stored) {
                    Ok(()) => accepted.push(append),
                    Err(e) => {
                        let message = "entry does not fit into the log";
                        let error = Error::with_source(ErrorKind::Invalid, message, e);
                        let _ = append.reply.send(Err(error));
                    }
                }
            }
        }
        if accepted.is_empty() {
            return;
        }
        match self.write(&payload, accepted.len()) {
            Ok(lsn) => self.acknowledge(lsn, now, accepted, repeated),
            Err(error) => {
                self.abandon();
                let error = Arc::new(error);
                let replies = accepted.into_iter().map(|a| a.reply).chain(repeated);
                for reply in replies {
                    let _ = reply.send(Err(Error::with_source(
                        ErrorKind::Unavailable,
                        "rows cannot be made durable; free disk space or mend the disk, then send them again",
                        error.clone(),
                    )));
                }
            }
        }
    }

    /// Makes a group durable; returns the LSN of its first entry.
    fn write(&mut self, payload: &[u8], entries: usize) -> Result<u64, WriteError> {
        let lsn = self.writer.next_lsn;
        let entries = u32::try_from(entries).map_err(|_| WriteError::Group)?;
        if self.writer.shared.rotate.swap(false, Ordering::AcqRel)
            || self.segment.as_ref().is_some_and(|s| s.length >= SEGMENT_BYTES)
        {
            self.seal();
        }
        let segment = match &mut self.segment {
            Some(segment) => segment,
            none => none.insert(create(&self.writer.dir, lsn)?),
        };
        let head = format::encode_frame(segment.salt, lsn, entries, payload)
            .map_err(|_| WriteError::Group)?;
        segment.file.write_all(&head).at("write", &segment.path)?;
        segment.file.write_all(payload).at("write", &segment.path)?;
        segment.file.sync_data().at("sync", &segment.path)?;
        let written = u64::try_from(head.len() + payload.len()).unwrap_or(u64::MAX);
        segment.length = segment.length.saturating_add(written);
        self.writer.next_lsn = lsn + u64::from(entries);
        self.writer.shared.segments.lock().set(
            segment.first_lsn,
            self.writer.next_lsn,
            segment.length,
            false,
        );
        Ok(lsn)
    }

    fn acknowledge(
        &mut self,
        first_lsn: u64,
        now: i64,
        accepted: Vec<Append>,
        repeated: Vec<oneshot::Sender<Result<Appended, Error>>>,
    ) {
        let mut replies = Vec::with_capacity(accepted.len());
        {
            let mut state = self.writer.state.lock();
            for (lsn, append) in (first_lsn..).zip(accepted) {
                if let Some(source) = &append.source {
                    state.sources.record(source, now);
                }
                state.apply(lsn, append.rows);
                replies.push(append.reply);
            }
        }
        self.writer.grown.notify_one();
        for reply in replies {
            let _ = reply.send(Ok(Appended::Stored));
        }
        for reply in repeated {
            let _ = reply.send(Ok(Appended::Repeated));
        }
        self.put_together();
    }

    /// Only this thread adds to memtables, so nothing comes in between.
    fn put_together(&self) {
        while let Some(crowd) = { self.writer.state.lock().crowd() } {
            match coalesce(&crowd.schema, &crowd.batches) {
                Ok(one) => self.writer.state.lock().replace(&crowd, one),
                Err(error) => {
                    tracing::debug!(%error, "batches in memory stay apart");
                    return;
                }
            }
        }
    }

    /// Closes the segment: everything in it is synced.
    fn seal(&mut self) {
        if let Some(segment) = self.segment.take() {
            self.writer.shared.segments.lock().seal(segment.first_lsn);
        }
    }

    /// Gives a segment up after an error, cut back to what is durable as far as the disk allows.
    fn abandon(&mut self) {
        let Some(segment) = self.segment.take() else { return };
        let cut = segment.file.set_length(segment.length).and_then(|()| segment.file.sync_all());
        let begun = segment.length > u64::try_from(HEADER).unwrap_or(u64::MAX);
        let mut segments = self.writer.shared.segments.lock();
        if begun {
            segments.seal(segment.first_lsn);
        } else {
            segments.forget(segment.first_lsn);
        }
        drop(segments);
        if !begun {
            // Else the next segment, of the same LSN, finds the name taken; it tries again.
            let _ = durable::remove(self.writer.dir.disk().as_ref(), &segment.path);
        }
        if let Err(error) = cut {
            // The rows were refused, so this alone loses nothing.
            tracing::warn!(path = %segment.path.display(), %error, "cannot cut a log segment back");
        }
    }
}

fn create(dir: &DataDir, lsn: u64) -> Result<Open, FileError> {
    let disk = dir.disk().as_ref();
    let path = dir.segment(lsn);
    // A segment of this LSN is one that was abandoned before its first entry was durable.
    durable::remove(disk, &path)?;
    let salt = disk.unique().as_u64_pair().1;
    let header = format::encode_header(format::Header { salt, first_lsn: lsn });
    let created = (|| {
        let mut file = disk.open(&path, Mode::Create).at("create", &path)?;
        file.write_all(&header).at("write", &path)?;
        file.sync_data().at("sync", &path)?;
        durable::sync_dir(disk, &dir.wal())?;
        Ok(file)
    })();
    match created {
        Ok(file) => {
            let length = u64::try_from(header.len()).unwrap_or(u64::MAX);
            Ok(Open { file, path, salt, first_lsn: lsn, length })
        }
        Err(error) => {
            let _ = durable::remove(disk, &path);
            Err(error)
        }
    }
}

/// Why a group was not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the group of entries is too large for one write")]
    Group,
}
