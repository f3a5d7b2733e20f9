//! Removing what retention lets go of.
//!
//! 1. Ask how far the clock is believed ([`crate::retention::trust`]).
//! 2. Under the tables' lock: files that are over age, and files above the bound on bytes, leave their
//!    table by commit; every table is shown anew, with what is hidden in the files that stay.
//! 3. Files with rows that are hidden for good are looked into, and those that do hold some are noted
//!    for compaction, which rewrites them.
//! 4. Files that nobody reads any more leave the disk.

mod look_into;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;

use crate::delete::{self, DeleteError};
use crate::files::order::times;
use crate::flush::{Doubtful, FlushError, Table};
use crate::inner::Inner;
use crate::retention::size::{Holding, surplus};
use crate::retention::trust::{Present, SLACK, present};
use crate::series;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;
use crate::state::State;

/// Files that are looked into before others get their turn.
const CHECKS: usize = 32;

/// Does what is due; returns whether more is due at once.
pub(crate) async fn expire(inner: Arc<Inner>) -> Result<bool, DeleteError> {
    inner.place.check().await.map_err(FlushError::from)?;
    let mut tables = inner.tables.lock().await;
    go_by_the_data(&inner);
    for (name, table) in tables.iter_mut() {
        table.settle(&inner, name).await?;
        let gone: Vec<_> = {
            let hiding = inner.hiding.lock();
            let Some(policy) = hiding.policy(name) else { continue };
            let now = hiding.present;
            table.log.files().iter().filter(|f| policy.is_expired(f, now)).cloned().collect()
        };
        remove(&inner, name, table, gone, "over age").await?;
    }
    if let Some(max_bytes) = inner.retention.max_bytes {
        remove_surplus(&inner, &mut tables, max_bytes).await?;
    }
    let mut unchecked = Vec::new();
    {
        let listed: Vec<_> = tables.iter().map(|(_, table)| table.log.files()).collect();
        let listed: HashSet<Path> =
            listed.iter().flat_map(|f| f.iter()).map(|f| f.path.clone()).collect();
        let left = inner.hiding.lock().outlived(&listed);
        if let Some(left) = left {
            delete::save(&inner, left).await?;
        }
        inner.hiding.lock().forget(&listed);
    }
    for (name, table) in tables.iter() {
        // The LSN changes nothing here: the rows in memory stay.
        inner.committed(name, &table.log.files(), 0);
        let Some(spec) = inner.spec(name) else { continue };
        let shown = inner.shown(name);
        let found = inner.hiding.lock().unchecked(&shown);
        unchecked.extend(found.into_iter().map(|(file, hidden)| (spec.clone(), file, hidden)));
    }
    drop(tables);
    let more = unchecked.len() > CHECKS;
    unchecked.truncate(CHECKS);
    for (spec, file, hidden) in unchecked {
        match look_into::has_hidden_rows(
            inner.objects.clone(),
            spec.clone(),
            file.clone(),
            hidden.clone(),
        )
        .await
        {
            Ok(found) => inner.hiding.lock().checked(&file, &hidden, found),
            Err(error) => {
                tracing::warn!(path = %file.path, %error, "cannot look for rows to remove; they stay hidden");
            }
        }
    }
    remove_dead(&inner).await?;
    Ok(more)
}

/// Shows every table with what is hidden in it at the present that the data allows.
pub(crate) async fn show(inner: &Inner) {
    let tables = inner.tables.lock().await;
    go_by_the_data(inner);
    for (name, table) in tables.iter() {
        inner.committed(name, &table.log.files(), 0);
    }
}

/// Sets the present that retention goes by.
pub(crate) fn go_by_the_data(inner: &Inner) {
    let clock = inner.clock.now();
    let Present { at, doubtful } = present(clock, spans(&inner.state.lock()));
    let mut hiding = inner.hiding.lock();
    let was_doubtful = std::mem::replace(&mut hiding.doubtful, doubtful);
    hiding.present = at;
    if doubtful && !was_doubtful {
        tracing::warn!(
            ahead = ?SLACK.saturating_add(Duration::from_micros(clock.abs_diff(at))),
            "the clock is far ahead of all but the newest rows: retention goes by the rows until they span a day"
        );
    }
}

/// The times that tables have rows of; tiers only say the same less exactly.
fn spans(state: &State) -> Vec<(i64, i64)> {
    let tables = state.tables.values().filter(|t| t.spec.rollup.is_none());
    tables
        .flat_map(|table| {
            let files = table.files.iter().map(|file| (file.min_time, file.max_time));
            let known = files.filter(|(min, max)| (*min, *max) != (i64::MIN, i64::MAX));
            let memory = if table.spec.series {
                series::spans(table.spec.window, &state.runs(table))
            } else {
                memory_spans(&table.spec, &state.memory(table))
            };
            known.chain(memory).collect::<Vec<_>>()
        })
        .collect()
}

/// One span for each window that the batches have rows in.
fn memory_spans(spec: &TableSpec, batches: &[arrow::array::RecordBatch]) -> Vec<(i64, i64)> {
    let mut spans = std::collections::HashMap::new();
    for time in batches.iter().filter_map(|b| times(spec, b).ok()).flatten() {
        let (min, max) = spans.entry(spec.window.of(*time)).or_insert((*time, *time));
        *min = (*min).min(*time);
        *max = (*max).max(*time);
    }
    spans.into_values().collect()
}

async fn remove_surplus(
    inner: &Arc<Inner>,
    tables: &mut [(&'static str, Table)],
    max_bytes: u64,
) -> Result<(), FlushError> {
    let files: Vec<_> = tables.iter().map(|(name, table)| (*name, table.log.files())).collect();
    let holdings: Vec<Holding<'_>> = files
        .iter()
        .filter_map(|(table, files)| {
            Some(Holding { table, window: inner.spec(table)?.window, files })
        })
        .collect();
    let gone = surplus(&holdings, max_bytes);
    for (name, table) in tables.iter_mut() {
        let gone = gone.iter().filter(|(of, _)| of == name).map(|(_, file)| (*file).clone());
        remove(inner, name, table, gone.collect(), "above max_bytes").await?;
    }
    Ok(())
}

/// Takes files out of a table and says so.
async fn remove(
    inner: &Inner,
    name: &'static str,
    table: &mut Table,
    gone: Vec<Arc<DataFile>>,
    why: &'static str,
) -> Result<(), FlushError> {
    if gone.is_empty() {
        return Ok(());
    }
    let now = inner.clock.now();
    table.doubtful = Some(Doubtful { removed: gone.clone(), ..Doubtful::default() });
    table.log.remove(&gone, now).await?;
    table.doubtful = None;
    inner.committed(name, &table.log.files(), table.log.lsn());
    let rows: u64 = gone.iter().map(|f| f.rows).sum();
    let bytes: u64 = gone.iter().map(|f| f.size).sum();
    let render = |t: Option<i64>| {
        t.and_then(|t| jiff::Timestamp::from_microsecond(t).ok()).map(|t| t.to_string())
    };
    tracing::info!(
        table = name,
        why,
        files = gone.len(),
        rows,
        bytes,
        from = render(gone.iter().map(|f| f.min_time).min()),
        to = render(gone.iter().map(|f| f.max_time).max()),
        "removed files beyond retention"
    );
    inner.graveyard.lock().bury(gone, now);
    Ok(())
}

/// Removes files from disk that a commit took from their table and that nobody reads any more.
pub(crate) async fn remove_dead(inner: &Arc<Inner>) -> Result<(), FlushError> {
    remove_unread(inner, inner.removal_grace, inner.clock.now()).await;
    Ok(())
}

/// The same without waiting for readers of the directory that this process does not know.
pub(crate) async fn bury(inner: &Inner) {
    remove_unread(inner, Duration::ZERO, i64::MAX).await;
}

async fn remove_unread(inner: &Inner, grace: Duration, now: i64) {
    let dead = inner.graveyard.lock().take_unread(grace, now);
    for file in dead {
        inner.place.remove(&file.path, file.size).await;
    }
}
