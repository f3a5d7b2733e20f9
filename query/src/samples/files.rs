//! Which files, and which of their rows, can have points that a selector wants.

use std::sync::Arc;

use roaring::RoaringBitmap;
use weir_storage::series::column_of;
use weir_storage::{DataFile, Snapshot};

use super::wanted::Wanted;
use crate::scan::indexes::Reader;

/// The files that can have points with times in `(after, until]`, milliseconds.
pub(super) fn candidates(
    snapshot: &Snapshot,
    wanted: &Wanted,
    after: i64,
    until: i64,
) -> Vec<Arc<DataFile>> {
    let (after, until) = (after.saturating_mul(1000), until.saturating_mul(1000));
    let window = snapshot.spec.window.micros();
    let in_time = |file: &DataFile| {
        // A row spans some time up to its `end`, within the window that its file is of.
        let begins = file.min_time.div_euclid(window).saturating_mul(window);
        file.max_time > after && begins <= until
    };
    let named = |file: &DataFile| {
        wanted.metric().is_none_or(|name| {
            file.may_hold("name", name) && file.may_hold_workload(&snapshot.spec, &[name])
        })
    };
    snapshot.files.iter().filter(|file| in_time(file) && named(file)).cloned().collect()
}

/// The rows of a file that its index says can match; `Some(None)` for all of them, `None` for none.
pub(super) async fn rows(
    reader: &Reader,
    file: &Arc<DataFile>,
    wanted: &Wanted,
) -> Option<Option<RoaringBitmap>> {
    let columns: Vec<String> = wanted.matchers().iter().map(|m| column_of(&m.name)).collect();
    let names: Vec<&str> =
        std::iter::once("name").chain(columns.iter().map(String::as_str)).collect();
    let Some((head, found)) = reader.read(file, &names).await else { return Some(None) };
    let mut rows: Option<RoaringBitmap> = None;
    for (name, column) in &found {
        let asked = wanted.matchers().iter().zip(&columns).filter(|(_, c)| c.as_str() == *name);
        let asked: Vec<_> = asked.map(|(matcher, _)| matcher).collect();
        let accepted = column.rows_where(|value| {
            let value = value.unwrap_or_default();
            if *name == "name" {
                wanted.name(value)
            } else {
                asked.iter().all(|m| m.op.accepts(value))
            }
        });
        match accepted {
            Ok(next) => {
                rows = Some(match rows {
                    Some(rows) => rows & next,
                    None => next,
                });
            }
            Err(what) => reader.indexes.fail(&file.path, &head.damaged(column, what)),
        }
    }
    if rows.as_ref().is_some_and(RoaringBitmap::is_empty) { None } else { Some(rows) }
}
