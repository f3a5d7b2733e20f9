//! Looking into a data directory that no server holds: what it has, whether it is sound, and what can
//! be saved of one that is not.
//!
//! 1. Take the directory's lock, so that nothing changes meanwhile.
//! 2. Load each table's log; list files, the values of their labels as their indexes have them, and
//!    data files that no table names. Those are no damage: compaction and stops leave them behind, and
//!    the next start removes them.
//! 3. [`Depth::Verify`]: read everything. Log frames, senders and tombstones by their checksums; data
//!    files by decoding every page, against the rows, times, order and label bounds that the table's
//!    log promises, and their label index by its checksums ([`file`], [`wal`]).
//! 4. [`Depth::Repair`]: what is damaged moves to `DIR/quarantine/TIME`, beside a note of what and why
//!    ([`repair`]). Nothing is deleted. Before that, nothing in the directory is changed.
//!
//! What must be there is what [`crate::open`] demands as well.

mod file;
mod labels;
mod repair;
mod table;
mod wal;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::checkpoint::{Checkpoint, Known};
use crate::clock::Clock;
use crate::delta::log::{LOG_FOLDER, TableLog};
use crate::directory;
use crate::disk::Disk;
use crate::disk::real::RealDisk;
use crate::error::{Error, ErrorKind};
use crate::objects;
use crate::open::Behind;
use crate::paths::DataDir;
use crate::place::Place;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;
use crate::tombstone::Tombstones;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// What the tables' logs, the folders and the label indexes of files say.
    List,
    /// All contents.
    Verify,
    /// All contents, and put damage aside.
    Repair,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Inspection {
    /// The tables that there are.
    pub tables: Vec<TableReport>,
    /// The log's segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Deletions that are not over: matchers, and files to be rewritten.
    pub tombstones: Vec<(String, usize)>,
    /// Data files that no table names: their rows are in others. The next start removes them.
    pub left_over: Vec<(PathBuf, u64)>,
    /// What is not as it should be.
    pub damage: Vec<Damage>,
    /// Where damage was moved to.
    pub quarantine: Option<PathBuf>,
}

/// A table.
#[derive(Debug)]
pub struct TableReport {
    /// Its name.
    pub name: &'static str,
    /// Data files.
    pub files: usize,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Smallest and largest time of a row, microseconds.
    pub times: Option<(i64, i64)>,
    /// Folders that its files are in.
    pub partitions: usize,
    /// LSN up to which its rows are in files.
    pub lsn: u64,
    /// Each of its files, oldest first.
    pub list: Vec<FileReport>,
    /// Distinct values by label.
    pub labels: BTreeMap<String, Distinct>,
}

/// A data file.
#[derive(Debug)]
pub struct FileReport {
    /// Where it is.
    pub path: PathBuf,
    /// Its rows; 0 if another program added it and did not say.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Smallest and largest time of a row, microseconds; `None` if that is not known.
    pub times: Option<(i64, i64)>,
}

/// Distinct values of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distinct {
    /// How many were found.
    pub values: u64,
    /// There may be more: some file has too many of them to list, and was not read.
    pub at_least: bool,
}

/// A segment of the log.
#[derive(Debug)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// LSN of its first entry.
    pub first_lsn: u64,
    /// Its size.
    pub bytes: u64,
    /// Sound entries; only when it was read.
    pub entries: Option<u64>,
}

/// Something that is not as it should be.
#[derive(Debug)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it, bytes, if that can be told.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// Rows that cannot be read because of it, if known.
    pub rows: Option<u64>,
    /// Times of these rows, microseconds.
    pub times: Option<(i64, i64)>,
    /// What was done about it.
    pub repaired: Option<String>,
    pub(crate) kind: Kind,
}

/// What a repair has to do.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A file of a table.
    DataFile { table: &'static str, file: Arc<DataFile> },
    /// A file that nothing needs, or that the rest can do without.
    Whole,
    /// Something is missing, and the rest can go on: what the log must have begins after this LSN.
    Missing { up_to: u64 },
    /// The log from an offset of a segment on.
    Wal { offset: u64, later: Vec<PathBuf> },
    /// Nothing can be done here.
    Beyond,
}

impl Damage {
    fn new(path: PathBuf, offset: Option<u64>, what: impl Into<String>, kind: Kind) -> Self {
        let what = what.into();
        Self { path, offset, what, rows: None, times: None, repaired: None, kind }
    }
}

/// Looks into a data directory.
///
/// # Errors
/// [`ErrorKind::Directory`] when it is none, a server holds it, or its tables are in an object store;
/// [`ErrorKind::Unavailable`] when the disk refuses.
pub async fn inspect(
    dir: impl Into<PathBuf>,
    specs: &[TableSpec],
    depth: Depth,
    clock: &Clock,
) -> Result<Inspection, Error> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let dir = DataDir::on(disk, dir.into());
    let refused = |kind, e: Box<dyn std::error::Error + Send + Sync>| {
        Error::with_source(kind, "cannot inspect the data directory", e)
    };
    let mut lock = directory::look(&dir).map_err(|e| refused(ErrorKind::Directory, e.into()))?;
    objects::refuse_bound(&dir).map_err(|e| refused(ErrorKind::Directory, e.into()))?;
    if depth == Depth::Repair {
        lock.release();
        lock = directory::acquire(&dir).map_err(|e| refused(ErrorKind::Directory, e.into()))?;
    }
    let lock = Arc::new(lock);
    let place = match depth {
        Depth::List | Depth::Verify => Place::read_only(dir.clone(), lock.clone()),
        Depth::Repair => Place::new(dir.clone(), lock.clone(), None),
    };
    let unavailable = |e: std::io::Error| refused(ErrorKind::Unavailable, e.into());
    let mut found = Inspection::default();
    let mut logs = Vec::new();
    for spec in specs {
        let folder = dir.table(spec.name).join(LOG_FOLDER);
        if !dir.disk().exists(&folder) {
            continue;
        }
        let spec = Arc::new(spec.clone());
        match TableLog::look(&place, spec.clone()).await {
            Ok(log) => logs.push((spec, log)),
            Err(e) => {
                let what = format!("{e}; restore the folder from a copy");
                found.damage.push(Damage::new(folder, None, what, Kind::Beyond));
            }
        }
    }
    let checkpoint = Checkpoint::load(&dir).unwrap_or_else(|e| {
        found.damage.push(Damage::new(dir.sources(), None, e.to_string(), Kind::Whole));
        None
    });
    for (spec, log) in &logs {
        let is_behind = behind(&dir, checkpoint.as_ref(), spec.name, log.lsn(), &mut found);
        table::look(&place, &dir, (spec, log), depth, is_behind, &mut found)
            .await
            .map_err(unavailable)?;
    }
    for name in checkpoint.iter().flat_map(|c| &c.tables).map(|(name, _)| name) {
        if !dir.disk().exists(&dir.table(name).join(LOG_FOLDER)) {
            behind(&dir, checkpoint.as_ref(), name, 0, &mut found);
        }
    }
    let committed = logs.iter().map(|(_, log)| log.lsn()).max().unwrap_or(0);
    tombstones(&dir, &logs, &mut found);
    let known = Known::new(checkpoint.as_ref(), committed);
    wal::look(&dir, known, depth, &mut found).map_err(unavailable)?;
    if depth == Depth::Repair && !found.damage.is_empty() {
        let known = checkpoint.unwrap_or_default();
        repair::repair(&dir, &mut logs, known, &mut found, clock.now())
            .await
            .map_err(|e| refused(ErrorKind::Unavailable, e))?;
    }
    lock.release();
    Ok(found)
}

/// Notes that a table has less than the checkpoint says; returns if so.
fn behind(
    dir: &DataDir,
    checkpoint: Option<&Checkpoint>,
    table: &str,
    lsn: u64,
    found: &mut Inspection,
) -> bool {
    let Some(behind) = Behind::check(checkpoint, table, lsn) else { return false };
    let path = dir.table(table).join(LOG_FOLDER);
    let kind = Kind::Missing { up_to: behind.recorded };
    found.damage.push(Damage::new(path, None, behind.to_string(), kind));
    true
}

/// The list of tombstones.
fn tombstones(dir: &DataDir, logs: &[(Arc<TableSpec>, TableLog)], found: &mut Inspection) {
    match Tombstones::load(dir) {
        Ok(tombstones) => {
            let listed: HashSet<_> = logs
                .iter()
                .flat_map(|(_, log)| log.files().to_vec())
                .map(|f| f.path.clone())
                .collect();
            let left = tombstones.pruned(&listed);
            let shown = left.0.iter().map(|t| (format!("{:?}", t.hidden.matchers), t.files.len()));
            found.tombstones = shown.collect();
        }
        Err(e) => {
            found.damage.push(Damage::new(dir.tombstones(), None, e.to_string(), Kind::Whole))
        }
    }
}
