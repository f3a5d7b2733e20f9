//! Rows of a tier in sorted order: neighbours of equal keys become one.
//!
//! What compaction reads comes batch by batch. The last row of each is held back, since the next
//! batch may begin with its equal.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;

use super::fold::Folder;
use super::{Rollup, RollupError, aggregate};
use crate::compact::merge::Combine;
use crate::spec::TableSpec;

/// Combines rows of a tier that come in the order of its files.
pub(crate) struct Combiner {
    spec: TableSpec,
    rollup: Rollup,
    held: Option<RecordBatch>,
    fold: Option<Folder>,
}

impl Combiner {
    /// A combiner for the tier `spec`; nothing for a table that is none. Rows beyond the largest few
    /// are folded if their window is `over`.
    pub(crate) fn new(spec: &TableSpec, over: bool) -> Result<Option<Self>, RollupError> {
        let Some(rollup) = &spec.rollup else { return Ok(None) };
        let fold = match &rollup.fold {
            Some(fold) if over => Some(Folder::new(spec, rollup, fold)?),
            _ => None,
        };
        let (spec, rollup) = (spec.clone(), rollup.clone());
        Ok(Some(Self { spec, rollup, held: None, fold }))
    }

    /// Takes the rows that come next; gives those that are done, in order.
    fn take(&mut self, rows: &RecordBatch) -> Result<Vec<RecordBatch>, RollupError> {
        // Columns that are younger than a file are nullable here.
        self.spec.schema = rows.schema();
        let rows = match self.held.take() {
            Some(held) => vec![held, rows.clone()],
            None => vec![rows.clone()],
        };
        let combined = match aggregate::try_aggregate(&self.spec, &self.rollup, &rows)? {
            Ok(combined) => combined,
            // Neighbours that do not fit together stay apart.
            Err(_) => concat_batches(&self.spec.schema, &rows)?,
        };
        let Some(last) = combined.num_rows().checked_sub(1) else { return Ok(Vec::new()) };
        self.held = Some(combined.slice(last, 1));
        self.done(combined.slice(0, last))
    }

    /// Gives the rows that were held back.
    fn release(&mut self) -> Result<Vec<RecordBatch>, RollupError> {
        let mut rows = match self.held.take() {
            Some(held) => self.done(held)?,
            None => Vec::new(),
        };
        if let Some(fold) = &mut self.fold {
            rows.extend(fold.finish()?);
        }
        Ok(rows)
    }

    fn done(&mut self, rows: RecordBatch) -> Result<Vec<RecordBatch>, RollupError> {
        match &mut self.fold {
            Some(fold) => fold.push(&rows),
            None => Ok(vec![rows]),
        }
    }
}

impl Combine for Combiner {
    fn push(&mut self, rows: &RecordBatch) -> Result<Vec<RecordBatch>, ArrowError> {
        Ok(self.take(rows)?)
    }

    fn finish(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        Ok(self.release()?)
    }
}

impl From<RollupError> for ArrowError {
    fn from(error: RollupError) -> Self {
        match error {
            RollupError::Arrow(error) => error,
            column @ RollupError::Column(_) => Self::SchemaError(column.to_string()),
        }
    }
}
