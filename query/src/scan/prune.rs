//! Which files of a snapshot can hold rows that pass a query's filters, by what the table's log says
//! of each. No file is opened.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, StringViewArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use weir_storage::{DataFile, Snapshot};

/// Combinations of workloads up to which each is looked for in each file.
const MAX_WORKLOADS: usize = 64;

/// The files that the filters do not rule out by the bounds of time and labels, nor by the part that
/// a workload is in.
pub(super) fn files(
    state: &dyn Session,
    snapshot: &Snapshot,
    schema: &SchemaRef,
    filters: &[Expr],
) -> Result<Vec<Arc<DataFile>>> {
    let mut files = snapshot.files.to_vec();
    let spec = &snapshot.spec;
    let known = |name: &str| name == spec.time || spec.sort.contains(&name);
    // A filter on other columns cannot rule out a file here; it would only cost time.
    let on_known =
        filters.iter().filter(|f| f.column_refs().iter().all(|c| known(&c.name))).cloned();
    if let Some(filter) = conjunction(on_known) {
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(schema.clone())?)?;
        // A filter of a shape that cannot be turned into bounds keeps every file.
        let builder = PruningPredicateBuilder::new().with_file_schema(schema.clone());
        if let Some(predicate) = builder.build(filter) {
            let keep = predicate.prune(&Bounds { time: spec.time, files: &files })?;
            let mut keep = keep.into_iter();
            files.retain(|_| keep.next().unwrap_or(true));
        }
    }
    if let Some(workloads) = workloads(spec.workload, filters) {
        files.retain(|file| workloads.iter().any(|w| file.may_hold_workload(spec, w)));
    }
    Ok(files)
}

/// The workloads that rows must be of, if the filters list them: values of the workload columns.
fn workloads<'a>(columns: &[&str], filters: &'a [Expr]) -> Option<Vec<Vec<&'a str>>> {
    let mut all: Vec<Vec<&str>> = vec![Vec::new()];
    for column in columns {
        let mut conditions = filters.iter().flat_map(|f| split_conjunction(f));
        let values = conditions.find_map(|condition| listed(column, condition))?;
        all = all
            .iter()
            .flat_map(|w| values.iter().map(|v| [w.as_slice(), &[*v]].concat()))
            .take(MAX_WORKLOADS + 1)
            .collect();
    }
    (!columns.is_empty() && all.len() <= MAX_WORKLOADS).then_some(all)
}

/// The values that a condition allows for a column, if it is a list of them.
fn listed<'a>(column: &str, condition: &'a Expr) -> Option<BTreeSet<&'a str>> {
    let is_column = |e: &Expr| matches!(e, Expr::Column(c) if c.name == column);
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let literal = match (is_column(left), is_column(right)) {
                (true, false) => right,
                (false, true) => left,
                _ => return None,
            };
            Some(BTreeSet::from([text(literal)?]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let mut values = listed(column, left)?;
            values.extend(listed(column, right)?);
            Some(values)
        }
        Expr::InList(InList { expr, list, negated: false }) if is_column(expr) => {
            list.iter().map(text).collect()
        }
        _ => None,
    }
}

fn text(literal: &Expr) -> Option<&str> {
    let Expr::Literal(value, _) = literal else { return None };
    value.try_as_str().flatten()
}

/// What a snapshot knows of each file, in the form that DataFusion's pruning asks for.
struct Bounds<'a> {
    time: &'static str,
    files: &'a [Arc<DataFile>],
}

impl Bounds<'_> {
    fn values(
        &self,
        column: &Column,
        time: impl Fn(&DataFile) -> i64,
        text: impl for<'f> Fn((&'f str, &'f str)) -> &'f str,
    ) -> Option<ArrayRef> {
        if column.name == self.time {
            let times = self.files.iter().map(|f| time(f));
            let times = TimestampMicrosecondArray::from_iter_values(times);
            return Some(Arc::new(times.with_timezone("UTC")));
        }
        // An unknown bound is null, which rules out nothing.
        let texts = self.files.iter().map(|f| f.text_bounds(&column.name).map(&text));
        Some(Arc::new(StringViewArray::from_iter(texts)))
    }
}

impl PruningStatistics for Bounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |f| f.min_time, |(min, _)| min)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |f| f.max_time, |(_, max)| max)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let nulls = |f: &Arc<DataFile>| {
            if column.name == self.time { Some(0) } else { f.null_count(&column.name) }
        };
        Some(Arc::new(UInt64Array::from_iter(self.files.iter().map(nulls))))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        // A file without statistics says 0, which would be as many as it has nulls.
        let rows = |f: &Arc<DataFile>| (f.rows > 0).then_some(f.rows);
        Some(Arc::new(UInt64Array::from_iter(self.files.iter().map(rows))))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
