//! From entries of the log to rows in memory.
//!
//! 1. `decode`: the bytes of many entries become batches, on as many threads as there are processors.
//!    Each has consecutive entries, and puts their small batches together.
//! 2. `enter`: the rows enter memory, those of one table in the order of the log.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::RecordBatch;
use thiserror::Error;

use crate::coalesce::coalesce;
use crate::conform::{ConformError, conform};
use crate::delta::log::TableLog;
use crate::entry::{Decode, DecodeFailure};
use crate::memory::{Budget, LARGE, detach};
use crate::series::{Points, PointsError, Registry};
use crate::spec::TableSpec;
use crate::state::{Incoming, State};
use crate::wal::format::StoredEntry;

/// An entry of the log that cannot become rows.
#[derive(Debug, Error)]
pub(crate) enum ReplayError {
    #[error("its batch for table `{table}` does not decode: {source}")]
    Decode { table: String, source: DecodeFailure },
    #[error("this version of weir has no table `{table}`; use the version that wrote it")]
    Unknown { table: String },
    #[error("its batch does not fit: {0}")]
    Conform(#[from] ConformError),
    #[error("its points do not fit: {0}")]
    Points(#[from] PointsError),
    #[error("its batch cannot be copied: {0}")]
    Copy(arrow::error::ArrowError),
}

/// An entry with its LSN.
type Numbered<'a> = (u64, StoredEntry<'a>);

/// The LSN of an entry, and why it cannot become rows.
type Refused = (u64, ReplayError);

/// Rows of consecutive entries for one table.
pub(super) struct Run {
    /// Of the first and the last entry.
    lsns: RangeInclusive<u64>,
    spec: Arc<TableSpec>,
    /// Of a table of series as they were sent: series get their numbers in the order of the log.
    batches: Vec<RecordBatch>,
    rows: usize,
    /// The tables whose files do not hold them yet.
    takers: Vec<&'static str>,
}

impl Run {
    /// Takes the rows of a later entry in, if they go together.
    fn extend(&mut self, other: Self) -> Option<Self> {
        let together = self.takers == other.takers && self.rows < LARGE && !self.spec.series;
        if !together {
            return Some(other);
        }
        self.lsns = *self.lsns.start()..=*other.lsns.end();
        self.batches.extend(other.batches);
        self.rows += other.rows;
        None
    }

    /// One batch of all of its rows, if it has more than one.
    fn put_together(mut self) -> Self {
        if !self.spec.series && self.batches.len() > 1 {
            // Rows that are too large for one batch stay apart.
            if let Ok(one) = coalesce(&self.spec.memory_schema(), &self.batches) {
                self.batches = vec![one];
            }
        }
        self
    }
}

/// What tells which rows of the log are wanted, and how to read them.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) tables: &'a [(&'static str, TableLog)],
    pub(super) state: &'a State,
    pub(super) decode: &'a Decode,
}

impl Reader<'_> {
    /// Decodes entries. What is in files already gives no rows. The runs of one table come in the
    /// order of the log.
    pub(super) fn read(&self, entries: &[Numbered<'_>]) -> Result<Vec<Run>, Refused> {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let length = entries.len().div_ceil(threads).max(1);
        let mut shares = entries.chunks(length);
        let Some(own) = shares.next() else { return Ok(Vec::new()) };
        std::thread::scope(|scope| {
            let others: Vec<_> =
                shares.map(|share| (share, scope.spawn(move || self.share(share)))).collect();
            let mut runs = self.share(own)?;
            for (share, other) in others {
                // What made it panic there does so here, with the entry's own message.
                runs.extend(other.join().unwrap_or_else(|_| self.share(share))?);
            }
            Ok(runs)
        })
    }

    fn share(&self, entries: &[Numbered<'_>]) -> Result<Vec<Run>, Refused> {
        let mut runs: Vec<Run> = Vec::new();
        for (lsn, entry) in entries {
            for new in self.one(*lsn, entry).map_err(|e| (*lsn, e))? {
                let last = runs.iter_mut().rfind(|run| run.spec.name == new.spec.name);
                let apart = match last {
                    Some(last) => last.extend(new),
                    None => Some(new),
                };
                runs.extend(apart);
            }
        }
        Ok(runs.into_iter().map(Run::put_together).collect())
    }

    fn one(&self, lsn: u64, entry: &StoredEntry<'_>) -> Result<Vec<Run>, ReplayError> {
        let is_behind = |log: &TableLog| lsn > log.lsn();
        if !self.tables.iter().any(|(_, log)| is_behind(log)) {
            return Ok(Vec::new());
        }
        let mut runs = Vec::new();
        for (table, batches) in decode_entry(entry, self.decode)? {
            let Some((name, _)) = self.tables.iter().find(|(name, _)| *name == table) else {
                return Err(ReplayError::Unknown { table });
            };
            let Some(spec) = self.state.tables.get(name).map(|t| t.spec.clone()) else { continue };
            let mut takers = self.state.takers(name);
            takers.retain(|t| self.tables.iter().any(|(name, log)| name == t && is_behind(log)));
            if takers.is_empty() {
                continue;
            }
            let batches = if spec.series {
                batches
            } else {
                let fitting = batches.iter().filter(|b| b.num_rows() > 0);
                fitting.map(|b| conform(&spec, b)).collect::<Result<_, _>>()?
            };
            let rows = batches.iter().map(RecordBatch::num_rows).sum();
            if rows > 0 {
                runs.push(Run { lsns: lsn..=lsn, spec, batches, rows, takers });
            }
        }
        Ok(runs)
    }
}

/// Shows the rows of entries; returns their number.
pub(super) fn enter(
    state: &mut State,
    budget: &Arc<Budget>,
    entries: &[Numbered<'_>],
    runs: Vec<Run>,
) -> Result<u64, Refused> {
    let mut count = 0;
    for run in runs {
        count += u64::try_from(run.rows).unwrap_or(u64::MAX);
        enter_run(state, budget, run)?;
    }
    for (lsn, entry) in entries {
        if let Some(source) = &entry.source {
            state.sources.record(source, entry.arrived);
        }
        state.last_lsn = state.last_lsn.max(*lsn);
    }
    state.put_together();
    Ok(count)
}

fn enter_run(state: &mut State, budget: &Arc<Budget>, run: Run) -> Result<(), Refused> {
    let Run { lsns, spec, batches, takers, .. } = run;
    let refused = |e: ReplayError| (*lsns.start(), e);
    let (batches, bytes, registry) = if spec.series {
        let registry = state.tables.get(spec.name).and_then(|t| t.registry()).unwrap_or_default();
        let (batches, bytes) = intern(&registry, budget, &batches).map_err(refused)?;
        (batches, bytes, Some(registry))
    } else {
        let (batches, bytes) = own(batches).map_err(refused)?;
        (batches, bytes, None)
    };
    let reserved = budget.force(bytes);
    let incoming = Incoming { table: spec.name, batches, registry, reserved };
    state.replay(lsns, incoming, takers);
    Ok(())
}

/// Batches that keep nothing but their rows, and their bytes.
fn own(batches: Vec<RecordBatch>) -> Result<(Vec<RecordBatch>, usize), ReplayError> {
    let mut bytes = 0;
    let mut detached = Vec::with_capacity(batches.len());
    for batch in batches {
        let (batch, size) = detach(batch).map_err(ReplayError::Copy)?;
        bytes += size;
        detached.push(batch);
    }
    Ok((detached, bytes))
}

/// Points with the numbers of their series, and their bytes.
fn intern(
    registry: &Registry,
    budget: &Arc<Budget>,
    batches: &[RecordBatch],
) -> Result<(Vec<RecordBatch>, usize), ReplayError> {
    let mut bytes = 0;
    let mut interned = Vec::with_capacity(batches.len());
    for batch in batches {
        let batch = Points::of(batch)?.intern(registry, budget, true)?;
        let (batch, size) = detach(batch).map_err(ReplayError::Copy)?;
        bytes += size;
        interned.push(batch);
    }
    Ok((interned, bytes))
}

/// The rows of an entry, by table. Bytes that a table has of its own go before what those of another
/// table give.
fn decode_entry(
    entry: &StoredEntry<'_>,
    decode: &Decode,
) -> Result<Vec<(String, Vec<RecordBatch>)>, ReplayError> {
    let mut rows = Vec::with_capacity(entry.parts.len());
    for part in &entry.parts {
        let decoded = decode
            .call(part.table, part.ipc)
            .map_err(|source| ReplayError::Decode { table: part.table.to_owned(), source })?;
        let has_own = |table: &str| entry.parts.iter().any(|p| p.table == table);
        rows.extend(
            decoded
                .into_iter()
                .filter(|d| d.table == part.table || !has_own(&d.table))
                .map(|d| (d.table, d.batches)),
        );
    }
    Ok(rows)
}
