//! Every path of the data directory is built here.
//!
//! ```text
//! DIR/LOCK                      held (flock) by the process that has the directory open; its pid
//! DIR/FORMAT                    name and version of the layout
//! DIR/tombstones                deletions that are not over
//! DIR/quarantine/TIME/          what a repair put aside, and NOTE about it
//! DIR/tmp/                      files being written; emptied at open
//! DIR/spill/                    intermediate results of queries; the query engine's own
//! DIR/wal/LSN.wal               log segments, named after their first LSN (20 digits)
//! DIR/wal/sources               highest sequence of each sender
//! DIR/tables/NAME/              a Delta table
//!   _delta_log/
//!   date=YYYY-MM-DD/part=NN/STARTHHMM-UUID.parquet
//! DIR/store                     which object store the directory belongs to, if any
//! DIR/cache/                    blocks of data files in that store
//! ```
//!
//! With an object store, the tables are there, and DIR/tables holds data files on their way to it: see
//! [`crate::objects`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::Disk;

use crate::part::PartId;

/// Extension of a log segment.
const SEGMENT: &str = "wal";

/// The data directory, and the disk that it is on.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    /// Folders whose entries this process made durable or found so.
    durable: Arc<Mutex<HashSet<PathBuf>>>,
}

impl DataDir {
    /// A directory of the system's file system.
    #[cfg(test)]
    pub(crate) fn new(root: PathBuf) -> Self {
        Self::on(Arc::new(crate::disk::real::RealDisk), root)
    }

    pub(crate) fn on(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        Self { root, disk, durable: Arc::default() }
    }

    /// Whether a folder's own entry is known to be durable.
    pub(crate) fn is_durable(&self, folder: &Path) -> bool {
        self.durable.lock().contains(folder)
    }

    pub(crate) fn set_durable(&self, folder: &Path) {
        self.durable.lock().insert(folder.to_owned());
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.root.join("FORMAT")
    }

    pub(crate) fn tombstones(&self) -> PathBuf {
        self.root.join("tombstones")
    }

    /// Where a repair at `now` (microseconds) puts damage aside.
    pub(crate) fn quarantine(&self, now: i64) -> PathBuf {
        let time = jiff::Timestamp::from_microsecond(now).unwrap_or_default();
        self.root.join("quarantine").join(time.strftime("%Y%m%dT%H%M%S%.6fZ").to_string())
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Where queries may put intermediate results.
    pub(crate) fn spill(&self) -> PathBuf {
        self.root.join("spill")
    }

    /// A new name in the directory of unfinished files.
    pub(crate) fn new_tmp(&self) -> PathBuf {
        self.tmp().join(self.disk.unique().simple().to_string())
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }

    pub(crate) fn segment(&self, first_lsn: u64) -> PathBuf {
        self.wal().join(format!("{first_lsn:020}.{SEGMENT}"))
    }

    /// The first LSN of a segment, from its path; `None` for other files.
    pub(crate) fn segment_lsn(path: &Path) -> Option<u64> {
        if path.extension()? != SEGMENT {
            return None;
        }
        let stem = path.file_stem()?.to_str()?;
        if stem.len() == 20 { stem.parse().ok() } else { None }
    }

    pub(crate) fn sources(&self) -> PathBuf {
        self.wal().join("sources")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub(crate) fn tables(&self) -> PathBuf {
        self.root.join("tables")
    }

    pub(crate) fn table(&self, name: &str) -> PathBuf {
        self.tables().join(name)
    }
}

/// Values of the partition columns of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// UTC date of the rows, `YYYY-MM-DD`.
    pub(crate) date: String,
    /// The part, see [`crate::part`].
    pub(crate) part: PartId,
}

impl Partition {
    /// Folder of the partition below its table.
    pub(crate) fn folder(&self) -> String {
        format!("date={}/part={:02}", self.date, self.part.number())
    }

    /// Path of a new data file below its table; `start` names the window, as `HHMM`.
    pub(crate) fn new_file(&self, dir: &DataDir, start: &str) -> String {
        format!("{}/{start}-{}.parquet", self.folder(), dir.disk.unique().simple())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_told_from_other_files() {
        let dir = DataDir::new("/d".into());
        assert_eq!(DataDir::segment_lsn(&dir.segment(42)), Some(42));
        for other in ["/d/wal/sources", "/d/wal/42.wal", "/d/wal/x.wal", "/d/wal/.wal"] {
            assert_eq!(DataDir::segment_lsn(Path::new(other)), None, "{other}");
        }
    }
}
