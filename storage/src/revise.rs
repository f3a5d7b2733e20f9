//! Rows in memory that are made anew: the same rows, of which more is known by now.
//!
//! The log keeps what came, so whoever reads it again has to know by then what was learned here.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::conform::conform;
use crate::error::{Error, ErrorKind};
use crate::inner::Inner;
use crate::memory::is_same;

/// Batches may be put together while they are looked at, and are then looked at again.
const ROUNDS: usize = 3;

/// Asks `revise` about each batch of a table's rows in memory, and puts what it gives in its place: a batch with the
/// same rows in the same order, in the table's schema.
///
/// Flushes wait. Returns how many batches were replaced.
pub(crate) async fn revise(
    inner: Arc<Inner>,
    table: &'static str,
    revise: impl Fn(&RecordBatch) -> Option<RecordBatch> + Send + 'static,
) -> Result<usize, Error> {
    let tables = inner.tables.lock().await;
    let spec = inner
        .spec(table)
        .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("there is no table `{table}`")))?;
    let state = Arc::clone(&inner.state);
    let work = move || {
        let mut seen: Vec<RecordBatch> = Vec::new();
        let mut count = 0;
        for _ in 0..ROUNDS {
            let mut batches = state.lock().in_memory(table);
            batches.retain(|batch| !seen.iter().any(|seen| is_same(seen, batch)));
            if batches.is_empty() {
                break;
            }
            let mut revised = Vec::new();
            for batch in batches {
                match revise(&batch) {
                    Some(new) if new.num_rows() == batch.num_rows() => {
                        let new = conform(&spec, &new).map_err(|e| {
                            Error::with_source(
                                ErrorKind::Invalid,
                                "batch does not fit its table",
                                e,
                            )
                        })?;
                        seen.push(new.clone());
                        revised.push((batch, new));
                    }
                    Some(_) => {
                        let message = "rows in memory may be revised, not added or removed";
                        return Err(Error::new(ErrorKind::Invalid, message));
                    }
                    None => seen.push(batch),
                }
            }
            count += state.lock().revise(table, &revised);
        }
        Ok(count)
    };
    let done = tokio::task::spawn_blocking(work).await;
    drop(tables);
    done.map_err(|e| Error::with_source(ErrorKind::Unavailable, "rows cannot be revised", e))?
}
