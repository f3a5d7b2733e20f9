//! Deleting rows by matcher and time.
//!
//! 1. Flush: rows that were acknowledged before are in files then.
//! 2. Under the tables' lock: choose the files that may hold such rows, write the tombstone that names
//!    them, and show the tables anew. From here on nobody sees the rows.
//! 3. Expiry looks into the files, compaction rewrites those that hold such rows.

use std::collections::HashSet;
use std::sync::Arc;

use thiserror::Error;

use crate::flush::{self, FlushError};
use crate::hidden::Hidden;
use crate::inner::Inner;
use crate::matcher::Matcher;
use crate::retention::age::may_match;
use crate::retention::policy::tells;
use crate::series;
use crate::tombstone::{Tombstone, TombstoneError, Tombstones};

/// Most deletions that may be under way at a time: each is looked at for every file it names.
const MAX_TOMBSTONES: usize = 1000;

/// What to delete.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// The tables.
    pub tables: Vec<String>,
    /// Rows that pass all of these; at least one. In a table of series, matchers on labels of series.
    pub matchers: Vec<Matcher>,
    /// Rows whose time is later than this, microseconds since the Unix epoch.
    pub after: i64,
    /// Rows whose time is this or earlier, microseconds since the Unix epoch.
    pub until: i64,
}

/// What became of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Files that may hold deleted rows and are to be rewritten.
    pub files: usize,
    /// Tiers of the tables that were left as they are: they still count the rows in their sums.
    pub untouched: Vec<&'static str>,
}

/// Why rows are not deleted.
#[derive(Debug, Error)]
pub(crate) enum DeleteError {
    #[error("there is no table `{0}`")]
    Table(String),
    #[error("a deletion needs a matcher, or it would delete everything")]
    Everything,
    #[error(
        "table `{table}` has no label `{label}`, so it cannot tell these rows apart; delete from the tables that have it (table=...), the sums in `{table}` stay"
    )]
    Label { table: &'static str, label: String },
    #[error(
        "table `{table}` sums up {width}: the range has to begin and end on a multiple of that; widen it, or delete from other tables alone (table=...)"
    )]
    Range { table: &'static str, width: String },
    #[error(
        "table `{table}` sums up rows that table `{finer}` has too: without deleting from that as well, answers would depend on the table that gives them; name both (table=...)"
    )]
    Finer { table: &'static str, finer: &'static str },
    #[error("{MAX_TOMBSTONES} deletions are under way; wait until compaction is done with them")]
    TooMany,
    #[error(transparent)]
    Flush(#[from] FlushError),
    #[error(transparent)]
    Tombstone(#[from] TombstoneError),
    #[error("the work was cut short: {0}")]
    CutShort(#[from] tokio::task::JoinError),
}

impl DeleteError {
    /// Whether the request is at fault, not the disk.
    pub(crate) fn is_invalid(&self) -> bool {
        matches!(
            self,
            Self::Table(_)
                | Self::Everything
                | Self::Label { .. }
                | Self::Range { .. }
                | Self::Finer { .. }
        )
    }
}

/// Deletes rows; they are invisible when this returns.
pub(crate) async fn delete(inner: Arc<Inner>, deletion: Deletion) -> Result<Deleted, DeleteError> {
    let (names, untouched) = check(&inner, &deletion)?;
    flush::flush(inner.clone()).await?;
    let mut tables = inner.tables.lock().await;
    let on_labels = deletion.matchers.iter().map(series::on_column).collect();
    let hide = |matchers: Vec<Matcher>| {
        let (after, until) = (deletion.after, deletion.until);
        Arc::new(Hidden { matchers: matchers.into(), unless: Arc::default(), after, until })
    };
    // What hides points of series, and what hides rows of other tables.
    let hidden = [hide(deletion.matchers), hide(on_labels)];
    let mut files = [HashSet::new(), HashSet::new()];
    for (name, table) in tables.iter_mut().filter(|(name, _)| names.contains(name)) {
        table.settle(&inner, name).await?;
        let kind = usize::from(inner.spec(name).is_some_and(|spec| spec.series));
        let (Some(hidden), Some(files)) = (hidden.get(kind), files.get_mut(kind)) else { continue };
        let may_hold = |file: &&Arc<_>| {
            let file: &crate::snapshot::DataFile = file;
            hidden.reaches(file.min_time, file.max_time)
                && hidden.matchers.iter().all(|m| may_match(file, m))
        };
        files.extend(table.log.files().iter().filter(may_hold).map(|file| file.path.clone()));
    }
    let deleted = Deleted { files: files.iter().map(HashSet::len).sum(), untouched };
    if deleted.files == 0 {
        return Ok(deleted);
    }
    let mut tombstones = inner.hiding.lock().tombstones.clone();
    if tombstones.0.len() >= MAX_TOMBSTONES {
        return Err(DeleteError::TooMany);
    }
    let created = inner.clock.now();
    for (hidden, files) in hidden.into_iter().zip(files).filter(|(_, files)| !files.is_empty()) {
        tracing::info!(
            tables = ?names, matchers = ?hidden.matchers, files = files.len(),
            after = hidden.after, until = hidden.until, "deleting rows"
        );
        tombstones.0.push(Tombstone { created, hidden, files });
    }
    save(&inner, tombstones).await?;
    for (name, table) in tables.iter() {
        inner.committed(name, &table.log.files(), 0);
    }
    Ok(deleted)
}

/// Makes a list of tombstones durable, then lets it count. For the holder of the tables' lock.
pub(crate) async fn save(inner: &Arc<Inner>, tombstones: Tombstones) -> Result<(), DeleteError> {
    inner.place.save_tombstones(&tombstones).await?;
    inner.hiding.lock().tombstones = tombstones;
    Ok(())
}

/// The tables that are meant, and the tiers of them that are not.
fn check(
    inner: &Inner,
    deletion: &Deletion,
) -> Result<(Vec<&'static str>, Vec<&'static str>), DeleteError> {
    if deletion.matchers.is_empty() {
        return Err(DeleteError::Everything);
    }
    let mut names = Vec::new();
    for name in &deletion.tables {
        let spec = inner.spec(name).ok_or_else(|| DeleteError::Table(name.clone()))?;
        if let Some(matcher) = deletion.matchers.iter().find(|m| !tells(&spec, m.label())) {
            let label = matcher.label().to_owned();
            return Err(DeleteError::Label { table: spec.name, label });
        }
        if let Some(rollup) = &spec.rollup {
            let width = rollup.width.micros();
            let aligned = |t: i64| t.rem_euclid(width) == 0 || t == i64::MIN || t == i64::MAX;
            if !aligned(deletion.after) || !aligned(deletion.until) {
                let minutes = rollup.width.length().as_secs() / 60;
                let width = format!("{minutes} minutes");
                return Err(DeleteError::Range { table: spec.name, width });
            }
        }
        names.push(spec.name);
    }
    if let Some((table, finer)) = finer_left(inner, &names) {
        return Err(DeleteError::Finer { table, finer });
    }
    let state = inner.state.lock();
    let sums = |source: &str| names.contains(&source);
    let untouched = state.tables.values().filter(|t| {
        !names.contains(&t.spec.name) && t.spec.rollup.as_ref().is_some_and(|r| sums(r.source))
    });
    let mut untouched: Vec<_> = untouched.map(|t| t.spec.name).collect();
    untouched.sort_unstable();
    drop(state);
    Ok((names, untouched))
}

/// A tier among the tables, and a finer table of the same rows that is not among them: what its sums
/// would lack, the other would show.
fn finer_left(inner: &Inner, names: &[&'static str]) -> Option<(&'static str, &'static str)> {
    let specs = names.iter().filter_map(|name| inner.spec(name));
    let tiers: Vec<_> =
        specs.filter_map(|spec| Some((spec.name, spec.rollup.as_ref()?.clone()))).collect();
    let state = inner.state.lock();
    tiers.into_iter().find_map(|(name, rollup)| {
        let finer = state.tables.values().map(|t| &t.spec).find(|spec| {
            let of_same = spec.rollup.as_ref().is_some_and(|r| {
                r.source == rollup.source && r.width.micros() < rollup.width.micros()
            });
            (spec.name == rollup.source || of_same) && !names.contains(&spec.name)
        })?;
        Some((name, finer.name))
    })
}
