//! Rows that were stored before their names came get them while they are in memory.
//!
//! That is until they are written to files (`--flush-interval`, five minutes unless given). What comes later than that
//! finds the rows of files as they are.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use weir_storage::Store;

use crate::enrich::{Enrichment, Unknown};
use crate::names::Found;
use crate::tables::flows_table;

/// Names often come in swarms; and rows may be on their way into memory when one comes.
const DELAY: Duration = Duration::from_secs(1);

/// Names rows in memory as names come, until the task is given up.
pub async fn repair(enrichment: Enrichment, store: Arc<Store>) {
    let mut again = false;
    loop {
        if !again {
            enrichment.names.found().await;
        }
        tokio::time::sleep(DELAY).await;
        let found = enrichment.names.take_found();
        again = found.again;
        if found.is_empty() {
            continue;
        }
        let enrichment = enrichment.clone();
        let revised = store.revise(flows_table().name, move |batch| {
            if has_any(batch, &found) { renamed(&enrichment, batch) } else { None }
        });
        match revised.await {
            Ok(batches) => tracing::debug!(batches, "named rows in memory"),
            Err(error) => tracing::warn!(%error, "rows in memory cannot be named"),
        }
    }
}

/// Names every row in memory that has no name and could have one.
///
/// # Errors
/// When the store is closed.
pub async fn repair_all(
    enrichment: &Enrichment,
    store: &Store,
) -> Result<usize, weir_storage::Error> {
    let enrichment = enrichment.clone();
    store.revise(flows_table().name, move |batch| renamed(&enrichment, batch)).await
}

fn renamed(enrichment: &Enrichment, batch: &RecordBatch) -> Option<RecordBatch> {
    match enrichment.enrich(batch.clone(), &mut Unknown::default()) {
        Ok(batch) => Some(batch),
        Err(error) => {
            tracing::error!(%error, "rows cannot be named");
            None
        }
    }
}

/// A batch has rows of what has been found.
fn has_any(batch: &RecordBatch, found: &Found) -> bool {
    let any = |name: &str, is: &dyn Fn(&str) -> bool| crate::enrich::any_text(batch, name, is);
    ["pod", "peer_pod"].into_iter().any(|name| any(name, &|text| found.has_pod(text)))
        || ["address", "peer_address"]
            .into_iter()
            .any(|name| any(name, &|text| found.has_address(text)))
}
