//! How to open a store.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::entry::{Decode, decode_stream};
use crate::objects::ObjectStorage;
use crate::retention::Retention;
use crate::spec::TableSpec;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory; made if it is not there.
    pub dir: PathBuf,
    /// The tables that it has.
    pub tables: Vec<TableSpec>,
    /// What is kept, and for how long.
    pub retention: Retention,
    /// Bytes of rows in memory at which they are written to files. At twice this, appends fail with
    /// [`crate::ErrorKind::Busy`].
    pub memtable_bytes: usize,
    /// Rows stay in memory no longer than this.
    pub flush_interval: Duration,
    /// Files that retention removes stay on disk at least this long, for readers of the directory
    /// other than this store's snapshots (which hold their files by themselves).
    pub removal_grace: Duration,
    /// Whether files are compacted in the background. [`crate::Store::compact`] does it in any case.
    pub compaction: bool,
    /// Bytes per second that compaction reads and writes; `None` for no bound.
    pub compaction_bytes_per_second: Option<NonZeroU64>,
    /// Bytes of a full file: compaction leaves files of half of it and more as they are.
    pub target_file_bytes: u64,
    /// A bucket that the tables are in; `None` for tables on local disk.
    pub objects: Option<ObjectStorage>,
    /// Most bytes of one part of a window of time: beyond, a table's rows are divided among twice as
    /// many parts, by workload.
    pub part_bytes: u64,
    /// A flush has at least as many rows for each part: there are no more parts than that allows.
    pub part_rows: u64,
    /// Reads the bytes of the log that [`crate::Part::ipc`] left there.
    pub decode: Decode,
    /// Where the current time comes from: arrival of entries, retention, commit times.
    pub clock: Clock,
}

impl Options {
    /// Keeps everything, 128 MiB of rows in memory, ten minutes until rows are in files.
    ///
    /// A flush makes one file for each two-hour window and table that it has rows of. Compaction
    /// makes files of 128 MiB of them, reading and writing 64 MiB a second together at the most.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, tables: Vec<TableSpec>) -> Self {
        Self {
            dir: dir.into(),
            tables,
            retention: Retention::default(),
            memtable_bytes: 128 << 20,
            flush_interval: Duration::from_secs(600),
            removal_grace: Duration::from_secs(60),
            compaction: true,
            compaction_bytes_per_second: NonZeroU64::new(64 << 20),
            target_file_bytes: 128 << 20,
            objects: None,
            part_bytes: 192 << 20,
            part_rows: 32 * 1024,
            decode: Decode::new(decode_stream),
            clock: Clock::system(),
        }
    }
}
