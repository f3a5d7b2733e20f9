//! From entries of the log to rows in memory.
//!
//! 1. `decode`: the bytes of many entries become batches, on as many threads as there are processors.
//! 2. `enter`: those of one entry enter memory, in the order of the log.

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::RecordBatch;
use thiserror::Error;

use crate::conform::{ConformError, conform};
use crate::delta::log::TableLog;
use crate::entry::{Decode, DecodeFailure};
use crate::memory::{Budget, detach};
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

/// The rows of an entry for one table.
pub(super) struct Decoded {
    table: &'static str,
    /// Of a table of series as they were sent: series get their numbers in the order of the log.
    batches: Vec<RecordBatch>,
    /// Bytes of all of them.
    bytes: usize,
    /// The tables whose files do not hold them yet.
    takers: Vec<&'static str>,
}

/// Decodes entries, in their order. What is in files already gives no rows.
pub(super) fn decode(
    tables: &[(&'static str, TableLog)],
    state: &State,
    decode: Decode,
    entries: &[(u64, StoredEntry<'_>)],
) -> Vec<Result<Vec<Decoded>, ReplayError>> {
    let logs: Vec<_> = tables.iter().map(|(name, log)| (*name, log.lsn())).collect();
    let one = |(lsn, entry): &(u64, StoredEntry<'_>)| one(&logs, state, decode, *lsn, entry);
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = entries.len().div_ceil(threads).max(1);
    let mut shares = entries.chunks(share);
    let Some(own) = shares.next() else { return Vec::new() };
    std::thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| (share, scope.spawn(move || share.iter().map(one).collect())))
            .collect();
        let mut decoded: Vec<_> = own.iter().map(one).collect();
        for (share, other) in others {
            let theirs: Result<Vec<_>, _> = other.join();
            // What made it panic there does so here, with the entry's own message.
            decoded.extend(theirs.unwrap_or_else(|_| share.iter().map(one).collect()));
        }
        decoded
    })
}

fn one(
    logs: &[(&'static str, u64)],
    state: &State,
    decode: Decode,
    lsn: u64,
    entry: &StoredEntry<'_>,
) -> Result<Vec<Decoded>, ReplayError> {
    if logs.iter().all(|(_, covered)| lsn <= *covered) {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    for (table, batches) in decode_entry(entry, decode)? {
        let Some((name, _)) = logs.iter().find(|(name, _)| *name == table) else {
            return Err(ReplayError::Unknown { table });
        };
        let Some(spec) = state.tables.get(name).map(|t| t.spec.clone()) else { continue };
        let behind =
            |taker: &&str| logs.iter().any(|(name, covered)| name == taker && lsn > *covered);
        let takers: Vec<_> = state.takers(name).into_iter().filter(|t| behind(t)).collect();
        if takers.is_empty() {
            continue;
        }
        let (batches, bytes) = if spec.series { (batches, 0) } else { fit(&spec, &batches)? };
        rows.push(Decoded { table: name, batches, bytes, takers });
    }
    Ok(rows)
}

/// Shows the rows of an entry; returns their number.
pub(super) fn enter(
    state: &mut State,
    budget: &Arc<Budget>,
    lsn: u64,
    entry: &StoredEntry<'_>,
    rows: Vec<Decoded>,
) -> Result<u64, ReplayError> {
    if let Some(source) = &entry.source {
        state.sources.record(source, entry.arrived);
    }
    let mut count = 0;
    let mut incoming = Vec::with_capacity(rows.len());
    for Decoded { table, batches, bytes, takers } in rows {
        let (batches, bytes, registry) = match state.tables.get(table) {
            Some(series) if series.spec.series => {
                let registry = series.registry().unwrap_or_default();
                let (batches, bytes) = intern(&registry, budget, &batches)?;
                (batches, bytes, Some(registry))
            }
            _ => (batches, bytes, None),
        };
        count += batches.iter().map(|b| u64::try_from(b.num_rows()).unwrap_or(0)).sum::<u64>();
        let reserved = budget.force(bytes);
        incoming.push((Incoming { table, batches, registry, reserved }, takers));
    }
    state.replay(lsn, incoming);
    state.put_together();
    Ok(count)
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
    decode: Decode,
) -> Result<Vec<(String, Vec<RecordBatch>)>, ReplayError> {
    let mut rows = Vec::with_capacity(entry.parts.len());
    for part in &entry.parts {
        let decoded = decode(part.table, part.ipc)
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

/// The batches as the table has them, and their bytes.
fn fit(
    spec: &TableSpec,
    batches: &[RecordBatch],
) -> Result<(Vec<RecordBatch>, usize), ReplayError> {
    let mut bytes = 0;
    let mut fitting = Vec::with_capacity(batches.len());
    for batch in batches {
        let (batch, size) = detach(conform(spec, batch)?).map_err(ReplayError::Copy)?;
        bytes += size;
        fitting.push(batch);
    }
    Ok((fitting, bytes))
}
