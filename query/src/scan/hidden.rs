//! Rows of a file that must not be seen, left out of a scan.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use weir_storage::{Hidden, hidden_columns, visible};

/// True for the rows that nothing hides.
///
/// The children are the time column and then the labels that matter, so that whoever moves the
/// expression about (into the Parquet reader) carries its columns along.
#[derive(Debug, Clone)]
pub(super) struct Visible {
    hidden: Arc<[Arc<Hidden>]>,
    time: &'static str,
    names: Arc<[String]>,
    columns: Vec<Arc<dyn PhysicalExpr>>,
}

/// The columns of a table that decide what is visible.
pub(super) fn columns(hidden: &[Arc<Hidden>], time: &str, schema: &Schema) -> Vec<String> {
    let labels = hidden_columns(hidden);
    // A label that the table does not have is empty in every row.
    let labels = labels.into_iter().filter(|name| schema.index_of(name).is_ok());
    std::iter::once(time).chain(labels.filter(|name| *name != time)).map(str::to_owned).collect()
}

impl Visible {
    /// `columns` are those that [`columns`] names, in the same order.
    pub(super) fn new(
        hidden: Arc<[Arc<Hidden>]>,
        time: &'static str,
        names: Vec<String>,
        columns: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Self {
        Self { hidden, time, names: names.into(), columns }
    }
}

impl PartialEq for Visible {
    fn eq(&self, other: &Self) -> bool {
        (&self.hidden, self.time, &self.names) == (&other.hidden, other.time, &other.names)
            && self.columns == other.columns
    }
}

impl Eq for Visible {}

impl Hash for Visible {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.time, &self.names, &self.columns).hash(state);
    }
}

impl fmt::Display for Visible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "visible({})", self.names.join(", "))
    }
}

impl PhysicalExpr for Visible {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let mut fields = Vec::with_capacity(self.columns.len());
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (name, column) in self.names.iter().zip(&self.columns) {
            let array = column.evaluate(batch)?.into_array(rows)?;
            fields.push(Field::new(name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
        let seen = visible(&self.hidden, self.time, &batch)?;
        let all = || BooleanArray::from(BooleanBuffer::new_set(rows));
        Ok(ColumnarValue::Array(Arc::new(seen.unwrap_or_else(all))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.columns.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        if children.len() != self.columns.len() {
            return internal_err!("visible has {} columns", self.columns.len());
        }
        Ok(Arc::new(Self { columns: children, ..self.as_ref().clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
