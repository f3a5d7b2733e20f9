//! Which files of a snapshot can hold rows that pass a query's filters.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use weir_storage::{DataFile, Snapshot};

/// The files that the filters do not rule out by the time column alone.
pub(super) fn by_time(
    state: &dyn Session,
    snapshot: &Snapshot,
    schema: &SchemaRef,
    filters: &[Expr],
) -> Result<Vec<Arc<DataFile>>> {
    let time = snapshot.spec.time;
    let on_time = filters
        .iter()
        .filter(|f| {
            let columns = f.column_refs();
            columns.len() == 1 && columns.iter().all(|c| c.name == time)
        })
        .cloned();
    let Some(filter) = conjunction(on_time) else {
        return Ok(snapshot.files.to_vec());
    };
    let filter = state.create_physical_expr(filter, &DFSchema::try_from(schema.clone())?)?;
    let builder = PruningPredicateBuilder::new().with_file_schema(schema.clone());
    // A filter of a shape that cannot be turned into bounds keeps every file.
    let Some(predicate) = builder.build(filter) else {
        return Ok(snapshot.files.to_vec());
    };
    let keep = predicate.prune(&FileTimes { time, files: &snapshot.files })?;
    Ok(snapshot.files.iter().zip(keep).filter(|(_, keep)| *keep).map(|(f, _)| f.clone()).collect())
}

/// What a snapshot knows of each file, in the form that DataFusion's pruning asks for.
struct FileTimes<'a> {
    time: &'static str,
    files: &'a [Arc<DataFile>],
}

impl FileTimes<'_> {
    fn times(&self, column: &Column, of: impl Fn(&DataFile) -> i64) -> Option<ArrayRef> {
        (column.name == self.time).then(|| {
            let times = self.files.iter().map(|f| of(f));
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
                as ArrayRef
        })
    }
}

impl PruningStatistics for FileTimes<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.times(column, |f| f.min_time)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.times(column, |f| f.max_time)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        (column.name == self.time)
            .then(|| Arc::new(UInt64Array::from(vec![0; self.files.len()])) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter_values(self.files.iter().map(|f| f.rows))))
    }

    fn contained(
        &self,
        _column: &Column,
        _values: &std::collections::HashSet<ScalarValue>,
    ) -> Option<BooleanArray> {
        None
    }
}
