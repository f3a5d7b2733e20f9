//! Joins that end when their query has to.
//!
//! A query of DataFusion ends when its future is dropped, which can happen only where it returns to
//! whoever polls it. A join returns once it has a batch of rows. One whose condition hardly ever holds
//! looks at every pair of rows before, hours of them for two inputs of a million, and keeps its thread
//! all the while. So conditions of joins ask, before each batch of pairs, whether the query goes on; and
//! what makes many rows of few gives others their turn after some batches, also where what is above it
//! takes them all at once.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
};
use datafusion::physical_plan::unnest::UnnestExec;

use crate::error::Error;
use crate::promql::Stop;

/// Makes the joins of a plan end with their query. The last rule of all: others look for plain joins.
#[derive(Debug)]
pub(crate) struct EndingJoins(Stop);

impl EndingJoins {
    /// Of one query.
    pub(crate) fn new(stop: Stop) -> Self {
        Self(stop)
    }

    fn filter(&self, filter: &JoinFilter) -> JoinFilter {
        let condition = Arc::clone(filter.expression());
        let expression = Arc::new(WhileWanted { condition, stop: self.0.clone() });
        let columns = filter.column_indices().to_vec();
        JoinFilter::new(expression, columns, Arc::clone(filter.schema()))
    }

    /// The same join with a condition that ends; nothing for what is no join.
    fn join(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let plan: &dyn Any = plan.as_ref();
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            let filter = join.filter().map(|filter| self.filter(filter));
            let made = NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?;
            return Ok(Some(Arc::new(made)));
        }
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            let filter = join.filter().map(|filter| self.filter(filter));
            return join.builder().with_filter(filter).build_exec().map(Some);
        }
        if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
            let made = SortMergeJoinExec::try_new(
                Arc::clone(join.left()),
                Arc::clone(join.right()),
                join.on().to_vec(),
                join.filter().as_ref().map(|filter| self.filter(filter)),
                join.join_type(),
                join.sort_options().to_vec(),
                join.null_equality(),
            )?;
            return Ok(Some(Arc::new(made)));
        }
        Ok(None)
    }
}

/// Whether an operator makes any number of rows of one that it reads.
fn multiplies(plan: &dyn Any) -> bool {
    plan.is::<CrossJoinExec>() || plan.is::<UnnestExec>()
}

impl PhysicalOptimizerRule for EndingJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let ended = plan.transform_up(|plan| {
            if let Some(join) = self.join(&plan)? {
                return Ok(Transformed::yes(Arc::new(CooperativeExec::new(join)) as _));
            }
            if multiplies(plan.as_ref()) {
                return Ok(Transformed::yes(Arc::new(CooperativeExec::new(plan)) as _));
            }
            Ok(Transformed::no(plan))
        })?;
        Ok(ended.data)
    }

    fn name(&self) -> &'static str {
        "ending_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A condition that fails once its query has to end.
#[derive(Debug)]
struct WhileWanted {
    condition: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl PartialEq for WhileWanted {
    fn eq(&self, other: &Self) -> bool {
        self.condition.eq(&other.condition)
    }
}

impl Eq for WhileWanted {}

impl Hash for WhileWanted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.condition.hash(state);
    }
}

impl fmt::Display for WhileWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)
    }
}

impl PhysicalExpr for WhileWanted {
    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.condition.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.stop.check().map_err(|e| DataFusionError::External(Box::new(Error::from(e))))?;
        self.condition.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.condition]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let Ok([condition]) = <[_; 1]>::try_from(children) else {
            return internal_err!("a condition has one child");
        };
        Ok(Arc::new(Self { condition, stop: self.stop.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests;
