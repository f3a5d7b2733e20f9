//! What a table has.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::labels::Labels;
use super::{Damage, Depth, FileReport, Inspection, Kind, TableReport, file};
use crate::delta::log::TableLog;
use crate::paths::DataDir;
use crate::place::Place;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;

/// Looks at a table's files. `is_behind` says that the table has lost commits.
pub(super) async fn look(
    place: &Place,
    dir: &DataDir,
    (spec, log): (&Arc<TableSpec>, &TableLog),
    depth: Depth,
    is_behind: bool,
    found: &mut Inspection,
) -> io::Result<()> {
    let objects = place.reader();
    let mut labels = Labels::default();
    for file in log.files().iter() {
        let looked = match depth {
            Depth::List => file::list(dir, &objects, spec, file, &mut labels).await,
            Depth::Verify | Depth::Repair => {
                file::verify(dir, &objects, spec, file, &mut labels).await
            }
        };
        if let Err((offset, what)) = looked {
            let path = dir.tables().join(file.path.as_ref());
            let kind = Kind::DataFile { table: spec.name, file: file.clone() };
            found.damage.push(Damage {
                rows: Some(file.rows),
                times: Some((file.min_time, file.max_time)),
                ..Damage::new(path, offset, what, kind)
            });
        }
    }
    found.tables.push(TableReport { labels: labels.counted(), ..summary(dir, spec, log) });
    unnamed(dir, spec.name, log, is_behind, found)
}

fn summary(dir: &DataDir, spec: &TableSpec, log: &TableLog) -> TableReport {
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
        list: files.iter().map(|f| report(dir, f)).collect(),
        labels: std::collections::BTreeMap::new(),
    }
}

fn report(dir: &DataDir, file: &DataFile) -> FileReport {
    FileReport {
        path: dir.tables().join(file.path.as_ref()),
        rows: file.rows,
        bytes: file.size,
        times: (file.rows > 0).then_some((file.min_time, file.max_time)),
    }
}

/// Data files below a table's folder that it does not name. They are left over, unless something is
/// missing whose rows they may hold: then they must not go.
fn unnamed(
    dir: &DataDir,
    table: &str,
    log: &TableLog,
    is_behind: bool,
    found: &mut Inspection,
) -> io::Result<()> {
    let root = dir.table(table);
    let mut folders = vec![root.clone()];
    let mut unnamed: Vec<(PathBuf, u64)> = Vec::new();
    let mut there = HashSet::new();
    while let Some(folder) = folders.pop() {
        for entry in dir.disk().read_dir(&folder)? {
            let path = folder.join(&entry.name);
            let below = path.strip_prefix(&root).ok().and_then(Path::to_str);
            if entry.is_folder {
                if entry.name.to_string_lossy().contains('=') {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "parquet")
                && let Some(below) = below
            {
                if log.has_file(below) {
                    there.insert(below.to_owned());
                } else {
                    let bytes = dir.disk().metadata(&path)?.length;
                    unnamed.push((path, bytes));
                }
            }
        }
    }
    unnamed.sort_unstable();
    if !is_behind && log.paths().all(|path| there.contains(path)) {
        found.left_over.extend(unnamed);
        return Ok(());
    }
    for (path, _) in unnamed {
        let what = "no table names this file, and it may hold rows that the table has lost";
        found.damage.push(Damage::new(path, None, what, Kind::Whole));
    }
    Ok(())
}
