//! Putting damage aside.
//!
//! A damaged file moves to `DIR/quarantine/TIME`, under the path that it had; the table forgets it
//! after that, by commit. The log is kept up to the damage: what follows, later segments included, is
//! copied or moved there. A checkpoint that expects what is missing is written anew. `NOTE` beside them says what and why. A repair that is cut short leaves the
//! file that it moved missing from its table, which the next repair puts right.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Damage, Inspection, Kind};
use crate::checkpoint::Checkpoint;
use crate::delta::log::{LOG_FOLDER, TableLog};
use crate::disk::Mode;
use crate::durable::{self, At, FileError, Taken};
use crate::paths::DataDir;
use crate::spec::TableSpec;

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(super) async fn repair(
    dir: &DataDir,
    logs: &mut [(Arc<TableSpec>, TableLog)],
    before: Checkpoint,
    found: &mut Inspection,
    now: i64,
) -> Result<(), Failure> {
    let quarantine = dir.quarantine(now);
    durable::create_dir(dir, &quarantine)?;
    let note: String = found.damage.iter().map(|d| format!("{}\n", describe(d))).collect();
    let path = quarantine.join("NOTE");
    let disk = dir.disk().as_ref();
    durable::write(disk, &dir.new_tmp(), &path, Taken::Replace, [note.as_bytes()])?;
    let mut log_is_cut = false;
    let mut missing = None;
    for damage in &mut found.damage {
        damage.repaired = match damage.kind.clone() {
            Kind::Beyond => None,
            Kind::Whole => {
                set_aside(dir, &quarantine, &damage.path)?;
                Some("moved to quarantine".to_owned())
            }
            Kind::DataFile { table, file } => {
                set_aside(dir, &quarantine, &damage.path)?;
                if let Some((_, log)) = logs.iter_mut().find(|(spec, _)| spec.name == table) {
                    log.remove(std::slice::from_ref(&file), now).await?;
                }
                Some("moved to quarantine, and out of the table".to_owned())
            }
            Kind::Missing { up_to } => {
                missing = missing.max(Some(up_to));
                Some("goes on without".to_owned())
            }
            Kind::Wal { offset, later } => {
                cut(dir, &quarantine, &damage.path, offset)?;
                for path in &later {
                    set_aside(dir, &quarantine, path)?;
                }
                log_is_cut = true;
                let count = later.len();
                Some(format!(
                    "cut at the damage; the rest and {count} later segments are in quarantine"
                ))
            }
        };
    }
    if log_is_cut || missing.is_some() {
        go_on(dir, logs, before, missing.unwrap_or(0))?;
    }
    found.quarantine = Some(quarantine);
    Ok(())
}

/// Writes a checkpoint that expects no more than there is: entries up to `missing` may be gone, and
/// all others that it knew of.
fn go_on(
    dir: &DataDir,
    logs: &[(Arc<TableSpec>, TableLog)],
    before: Checkpoint,
    missing: u64,
) -> Result<(), FileError> {
    let committed = logs.iter().map(|(_, log)| log.lsn()).max().unwrap_or(0);
    let lsn = before.lsn.max(committed).max(missing);
    let present = |(name, lsn): &(String, u64)| {
        let log = logs.iter().find(|(spec, _)| spec.name == name);
        let there = dir.disk().exists(&dir.table(name).join(LOG_FOLDER));
        // Of a log that does not read nothing is known.
        (name.clone(), log.map_or(if there { *lsn } else { 0 }, |(_, log)| log.lsn()))
    };
    let tables = before.tables.iter().map(present).collect();
    Checkpoint { lsn, trimmed: lsn, tables, ..before }.save(dir)
}

fn describe(damage: &Damage) -> String {
    let offset = damage.offset.map(|o| format!(" at byte {o}")).unwrap_or_default();
    let rows = damage.rows.map(|rows| format!(" ({rows} rows)")).unwrap_or_default();
    format!("{}{offset}: {}{rows}", damage.path.display(), damage.what)
}

/// Where a file of the directory goes to.
fn place(dir: &DataDir, quarantine: &Path, path: &Path) -> Result<PathBuf, FileError> {
    let to = quarantine.join(path.strip_prefix(dir.root()).unwrap_or(path));
    if let Some(folder) = to.parent() {
        durable::create_dir(dir, folder)?;
    }
    Ok(to)
}

/// Moves a file; one that is not there is no error.
fn set_aside(dir: &DataDir, quarantine: &Path, path: &Path) -> Result<(), FileError> {
    if !dir.disk().exists(path) {
        return Ok(());
    }
    let to = place(dir, quarantine, path)?;
    dir.disk().rename(path, &to).at("move to", &to)?;
    for folder in [to.parent(), path.parent()].into_iter().flatten() {
        durable::sync_dir(dir.disk().as_ref(), folder)?;
    }
    Ok(())
}

/// Keeps a segment up to an offset; a copy of the whole is in quarantine before it is cut.
fn cut(dir: &DataDir, quarantine: &Path, path: &Path, offset: u64) -> Result<(), FileError> {
    if offset == 0 {
        return set_aside(dir, quarantine, path);
    }
    let to = place(dir, quarantine, path)?;
    let bytes = dir.disk().read(path).at("read", path)?;
    let mut copy = dir.disk().open(&to, Mode::Create).at("create", &to)?;
    copy.write_all(&bytes).and_then(|()| copy.sync_all()).at("write", &to)?;
    if let Some(folder) = to.parent() {
        durable::sync_dir(dir.disk().as_ref(), folder)?;
    }
    let file = dir.disk().open(path, Mode::Write).at("open", path)?;
    file.set_length(offset).and_then(|()| file.sync_all()).at("cut", path)
}
