//! One flush of several tiers: a coarser one sums up what a finer one has made of the same rows,
//! which are far fewer.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{Rollup, RollupError, roll_up};
use crate::memory::Memtable;
use crate::spec::TableSpec;

/// What the last tier of a flush has made of which memtables.
#[derive(Debug, Default)]
pub(crate) struct Cascade(Option<Done>);

#[derive(Debug)]
struct Done {
    spec: Arc<TableSpec>,
    /// First and last LSN of each memtable.
    memtables: Vec<(u64, u64)>,
    rows: Vec<RecordBatch>,
}

impl Cascade {
    /// The sums of the rows of memtables.
    pub(crate) fn roll_up(
        &mut self,
        spec: &Arc<TableSpec>,
        rollup: &Rollup,
        frozen: &[Arc<Memtable>],
    ) -> Result<Vec<RecordBatch>, RollupError> {
        let memtables: Vec<_> = frozen.iter().map(|m| (m.first_lsn, m.last_lsn)).collect();
        let finer = self
            .0
            .take()
            .filter(|d| d.memtables == memtables && rollup.goes_on_from(spec, &d.spec));
        let rows = match finer {
            Some(finer) => roll_up(spec, rollup, &finer.rows)?,
            None => {
                let rows: Vec<_> = frozen.iter().flat_map(|m| m.batches.iter().cloned()).collect();
                roll_up(spec, rollup, &rows)?
            }
        };
        self.0 = Some(Done { spec: spec.clone(), memtables, rows: rows.clone() });
        Ok(rows)
    }
}

impl Rollup {
    /// Whether the sums of the tier `spec` come out the same from the rows of the tier `finer`.
    fn goes_on_from(&self, spec: &TableSpec, finer: &TableSpec) -> bool {
        let Some(theirs) = &finer.rollup else { return false };
        let has = |column: &str| finer.schema.field_with_name(column).is_ok();
        let whole = |column: &str| has(column) && theirs.detail.iter().all(|d| d.column != column);
        let same_role = |column: &str| {
            has(column) && self.role(spec.time, column) == theirs.role(finer.time, column)
        };
        // A detail may be taken from one that was kept for the same rows.
        let same_detail = theirs.detail.iter().all(|d| {
            !spec.schema.fields().iter().any(|f| f.name() == d.column)
                || self.detail.iter().any(|o| o.column == d.column && o.when == d.when)
        });
        let decided_by_whole =
            self.detail.iter().flat_map(|d| d.when).all(|(column, _)| whole(column));
        self.source == theirs.source
            && self.width.micros() % theirs.width.micros() == 0
            && spec.schema.fields().iter().all(|f| same_role(f.name()))
            && same_detail
            && decided_by_whole
    }
}
