//! What a query's filters ask of labels, evaluated on the distinct values of a file instead of on its
//! rows.
//!
//! A condition on one label, of whatever shape, has one outcome for each value: the engine evaluates
//! it on the values that the file's index lists. `AND` and `OR` of conditions on different labels
//! become intersections and unions of rows. What remains (conditions on numbers and times, or that
//! compare two columns) selects every row, since the filter runs on the rows that are read all the
//! same.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;
use roaring::RoaringBitmap;
use weir_storage::ColumnIndex;

/// A condition on labels that every row of the answer meets.
#[derive(Debug)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Label(Label),
}

/// A condition on one label.
#[derive(Debug)]
pub(super) struct Label {
    column: String,
    schema: SchemaRef,
    predicate: Arc<dyn PhysicalExpr>,
}

/// Why a condition could not be evaluated on an index.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The index is damaged: which column, and what is wrong.
    Damaged(String, &'static str),
    /// The engine refused; if it matters, it will do so again where rows are read.
    Engine(DataFusionError),
}

impl Condition {
    /// What the filters, all of which must pass, ask of labels; nothing if they ask nothing.
    pub(super) fn of(state: &dyn Session, schema: &Schema, filters: &[Expr]) -> Option<Self> {
        let mut all: Vec<Self> =
            filters.iter().filter_map(|f| Self::of_one(state, schema, f)).collect();
        if all.len() > 1 { Some(Self::All(all)) } else { all.pop() }
    }

    fn of_one(state: &dyn Session, schema: &Schema, filter: &Expr) -> Option<Self> {
        let columns = filter.column_refs();
        let mut columns = columns.iter();
        if let (Some(column), None) = (columns.next(), columns.next()) {
            return Label::new(state, schema, &column.name, filter).map(Self::Label);
        }
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
        let both = (Self::of_one(state, schema, left), Self::of_one(state, schema, right));
        match (op, both) {
            (Operator::And, (Some(left), Some(right))) => Some(Self::All(vec![left, right])),
            (Operator::And, (left, right)) => left.or(right),
            (Operator::Or, (Some(left), Some(right))) => Some(Self::Any(vec![left, right])),
            _ => None,
        }
    }

    /// The labels that it asks for.
    pub(super) fn columns(&self) -> BTreeSet<&str> {
        match self {
            Self::All(inner) | Self::Any(inner) => inner.iter().flat_map(Self::columns).collect(),
            Self::Label(label) => BTreeSet::from([label.column.as_str()]),
        }
    }

    /// The rows of a file that can meet it; nothing when the index cannot tell.
    pub(super) fn rows(
        &self,
        index: &[(&str, Arc<ColumnIndex>)],
    ) -> Result<Option<RoaringBitmap>, Unanswered> {
        match self {
            Self::All(inner) => {
                let mut rows: Option<RoaringBitmap> = None;
                for condition in inner {
                    let Some(next) = condition.rows(index)? else { continue };
                    rows = Some(match rows {
                        Some(rows) => rows & next,
                        None => next,
                    });
                    if rows.as_ref().is_some_and(RoaringBitmap::is_empty) {
                        break;
                    }
                }
                Ok(rows)
            }
            Self::Any(inner) => {
                let mut rows = RoaringBitmap::new();
                for condition in inner {
                    let Some(next) = condition.rows(index)? else { return Ok(None) };
                    rows |= next;
                }
                Ok(Some(rows))
            }
            Self::Label(label) => match index.iter().find(|(name, _)| *name == label.column) {
                Some((_, column)) => label.rows(column).map(Some),
                None => Ok(None),
            },
        }
    }
}

impl Label {
    fn new(state: &dyn Session, schema: &Schema, column: &str, filter: &Expr) -> Option<Self> {
        let field = schema.field_with_name(column).ok()?;
        if *field.data_type() != DataType::Utf8View || filter.is_volatile() {
            return None;
        }
        let field = Field::new(column, DataType::Utf8View, true);
        let schema = Arc::new(Schema::new(vec![field]));
        let names = DFSchema::try_from(schema.clone()).ok()?;
        // What has no physical form here (a subquery) is not answered by an index.
        let predicate = state.create_physical_expr(filter.clone(), &names).ok()?;
        (predicate.data_type(&schema).ok()? == DataType::Boolean).then(|| Self {
            column: column.to_owned(),
            schema,
            predicate,
        })
    }

    fn rows(&self, column: &ColumnIndex) -> Result<RoaringBitmap, Unanswered> {
        let damaged = |what| Unanswered::Damaged(self.column.clone(), what);
        let values = column.values().as_any().downcast_ref::<StringArray>();
        let values = values.ok_or_else(|| damaged("its values are no text"))?;
        let views = Arc::new(StringViewArray::from(values));
        let chosen = RecordBatch::try_new(self.schema.clone(), vec![views])
            .map_err(DataFusionError::from)
            .and_then(|batch| self.predicate.evaluate(&batch)?.into_array(batch.num_rows()))
            .map_err(Unanswered::Engine)?;
        column.select(chosen.as_boolean()).map_err(damaged)
    }
}
