//! Looking into a data directory that no server holds: what it has, whether it is sound, and what can
//! be saved of one that is not.
//!
//! 1. Take the directory's lock, so that nothing changes meanwhile.
//! 2. Load each table's log; list files, and data files that no table names.
//! 3. [`Depth::Verify`]: read everything. Log frames, senders and tombstones by their checksums; data
//!    files by decoding every page, against the rows, times, order and label bounds that the table's
//!    log promises, and their label index by its checksums ([`file`], [`wal`]).
//! 4. [`Depth::Repair`]: what is damaged moves to `DIR/quarantine/TIME`, beside a note of what and why
//!    ([`repair`]). Nothing is deleted.

mod file;
mod repair;
mod wal;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::delta::log::{Origin, TableLog};
use crate::directory;
use crate::disk::Disk;
use crate::disk::real::RealDisk;
use crate::error::{Error, ErrorKind};
use crate::paths::DataDir;
use crate::place::Place;
use crate::snapshot::DataFile;
use crate::sources::Sources;
use crate::spec::TableSpec;
use crate::tombstone::Tombstones;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// What the tables' logs and the folders say.
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
    /// Distinct values by label; only of what was read in full.
    pub labels: BTreeMap<String, u64>,
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
/// [`ErrorKind::Directory`] when it is none, or a server holds it; [`ErrorKind::Unavailable`] when the
/// disk refuses.
pub async fn inspect(
    dir: impl Into<PathBuf>,
    specs: &[TableSpec],
    depth: Depth,
    clock: &Clock,
) -> Result<Inspection, Error> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let dir = DataDir::on(disk, dir.into());
    if !dir.disk().exists(&dir.format()) {
        let message = format!("{} is no data directory of weir", dir.root().display());
        return Err(Error::new(ErrorKind::Directory, message));
    }
    let refused = |kind, e: Box<dyn std::error::Error + Send + Sync>| {
        Error::with_source(kind, "cannot inspect the data directory", e)
    };
    let lock = directory::acquire(&dir).map_err(|e| refused(ErrorKind::Directory, e.into()))?;
    let lock = Arc::new(lock);
    let place = Place::new(dir.clone(), lock.clone(), None);
    let unavailable = |e: std::io::Error| refused(ErrorKind::Unavailable, e.into());
    let mut found = Inspection::default();
    let mut logs = Vec::new();
    for spec in specs {
        let folder = dir.table(spec.name);
        if !dir.disk().exists(&folder.join("_delta_log")) {
            continue;
        }
        let spec = Arc::new(spec.clone());
        match TableLog::open(&place, spec.clone(), Origin::START).await {
            Ok(log) => logs.push((spec, log)),
            Err(e) => found.damage.push(Damage::new(
                folder.join("_delta_log"),
                None,
                format!("{e}; restore the folder from a copy"),
                Kind::Beyond,
            )),
        }
    }
    let objects = place.reader();
    for (spec, log) in &logs {
        let mut report = summary(spec, log);
        let mut labels = BTreeMap::new();
        for file in log.files().iter() {
            let damage = if depth >= Depth::Verify {
                file::verify(&dir, &objects, spec, file, &mut labels).await
            } else {
                file::is_there(&dir, file)
            };
            if let Err((offset, what)) = damage {
                let path = dir.tables().join(file.path.as_ref());
                let kind = Kind::DataFile { table: spec.name, file: file.clone() };
                found.damage.push(Damage {
                    rows: Some(file.rows),
                    times: Some((file.min_time, file.max_time)),
                    ..Damage::new(path, offset, what, kind)
                });
            }
        }
        report.labels = labels.into_iter().map(|(k, v)| (k, v.len() as u64)).collect();
        found.tables.push(report);
        orphans(&dir, spec.name, log, &mut found.damage).map_err(unavailable)?;
    }
    let covered = logs.iter().map(|(_, log)| log.lsn()).max().unwrap_or(0);
    small_files(&dir, &logs, &mut found);
    wal::look(&dir, covered, depth, &mut found).map_err(unavailable)?;
    if depth == Depth::Repair && !found.damage.is_empty() {
        repair::repair(&dir, &mut logs, &mut found, clock.now())
            .await
            .map_err(|e| refused(ErrorKind::Unavailable, e))?;
    }
    lock.release();
    Ok(found)
}

fn summary(spec: &TableSpec, log: &TableLog) -> TableReport {
    let files = log.files();
    let known = || files.iter().filter(|f| f.rows > 0);
    let min = known().map(|f| f.min_time).min();
    let folders: HashSet<_> =
        files.iter().filter_map(|f| Some(f.path.as_ref().rsplit_once('/')?.0)).collect();
    TableReport {
        name: spec.name,
        files: files.len(),
        rows: files.iter().map(|f| f.rows).sum(),
        bytes: files.iter().map(|f| f.size).sum(),
        times: min.zip(known().map(|f| f.max_time).max()),
        partitions: folders.len(),
        lsn: log.lsn(),
        labels: BTreeMap::new(),
    }
}

/// Data files below a table's folder that it does not name.
fn orphans(
    dir: &DataDir,
    table: &str,
    log: &TableLog,
    damage: &mut Vec<Damage>,
) -> std::io::Result<()> {
    let root = dir.table(table);
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in dir.disk().read_dir(&folder)? {
            let path = folder.join(&entry.name);
            let below = path.strip_prefix(&root).ok().and_then(Path::to_str);
            if entry.is_folder {
                if entry.name.to_string_lossy().contains('=') {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "parquet")
                && below.is_some_and(|below| !log.has_file(below))
            {
                let what = "no table names this file; the next start removes it";
                damage.push(Damage::new(path, None, what, Kind::Whole));
            }
        }
    }
    Ok(())
}

/// The lists of senders and of tombstones.
fn small_files(dir: &DataDir, logs: &[(Arc<TableSpec>, TableLog)], found: &mut Inspection) {
    if let Err(e) = Sources::load(dir) {
        found.damage.push(Damage::new(dir.sources(), None, e.to_string(), Kind::Whole));
    }
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
