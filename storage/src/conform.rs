//! Bringing a batch into the shape of its table.
//!
//! Columns are matched by name: unknown ones are dropped, missing nullable ones become null, and the
//! text and integer types that other Arrow writers use are cast where no value can change. The same
//! function runs when a batch arrives and when the log is replayed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use thiserror::Error;

use crate::coalesce::nulls;
use crate::spec::TableSpec;

/// Why a batch does not fit its table.
#[derive(Debug, Error)]
pub enum ConformError {
    /// A required column is not there.
    #[error("column `{column}` is missing; table `{table}` requires it")]
    Missing {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
    },
    /// A column has a type that cannot stand for the table's.
    #[error("column `{column}` is {found}, table `{table}` wants {expected}")]
    Type {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
        /// Type in the batch.
        found: Box<DataType>,
        /// Type in the table.
        expected: Box<DataType>,
    },
    /// A value does not fit into the table's type.
    #[error("column `{column}` holds a value that does not fit table `{table}`: {source}")]
    Value {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
        /// What Arrow says of it.
        source: arrow::error::ArrowError,
    },
    /// A null in a required column.
    #[error("column `{column}` is null in row {row}; table `{table}` requires a value")]
    Null {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
        /// First row with a null, from 0.
        row: usize,
    },
}

/// Returns the batch with exactly the table's columns.
///
/// # Errors
/// Names the first column that does not fit; repeating cannot help.
pub fn conform(spec: &TableSpec, batch: &RecordBatch) -> Result<RecordBatch, ConformError> {
    let table = spec.name;
    if Arc::ptr_eq(batch.schema_ref(), &spec.schema) {
        // It has been here.
        return Ok(batch.clone());
    }
    let found_fields = batch.schema_ref().fields();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(spec.schema.fields().len());
    // Senders keep the order of columns, so the next one is nearly always the one looked for.
    let mut next = 0;
    for field in spec.schema.fields() {
        let name = field.name();
        let here = found_fields.get(next).is_some_and(|f| f.name() == name).then_some(next);
        let place = here.or_else(|| found_fields.find(name).map(|(place, _)| place));
        next = place.map_or(next, |place| place + 1);
        let Some(found) = place.and_then(|place| batch.columns().get(place)) else {
            if field.is_nullable() {
                columns.push(nulls(field.data_type(), batch.num_rows()));
                continue;
            }
            return Err(ConformError::Missing { table, column: name.clone() });
        };
        let column = fit(found, field.data_type()).map_err(|misfit| match misfit {
            Misfit::Type => ConformError::Type {
                table,
                column: name.clone(),
                found: Box::new(found.data_type().clone()),
                expected: Box::new(field.data_type().clone()),
            },
            Misfit::Value(source) => ConformError::Value { table, column: name.clone(), source },
        })?;
        if !field.is_nullable() && column.logical_null_count() > 0 {
            let row = column
                .logical_nulls()
                .and_then(|nulls| nulls.iter().position(|valid| !valid))
                .unwrap_or_default();
            return Err(ConformError::Null { table, column: name.clone(), row });
        }
        let nothing = field.is_nullable() && column.null_count() == column.len();
        columns.push(if nothing { nulls(field.data_type(), column.len()) } else { column });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(spec.schema.clone(), columns, &options)
        .map_err(|source| ConformError::Value { table, column: "*".into(), source })
}

enum Misfit {
    Type,
    Value(arrow::error::ArrowError),
}

fn fit(found: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Misfit> {
    if found.data_type() == wanted {
        return Ok(found.clone());
    }
    if !castable(found.data_type(), wanted) {
        return Err(Misfit::Type);
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(found, wanted, &strict).map_err(Misfit::Value)
}

/// Casts that keep every value or fail; never text to number, float to integer or the like.
fn castable(from: &DataType, to: &DataType) -> bool {
    let text =
        |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match (from, to) {
        (DataType::Null, _) => true,
        // Only text: to unpack a dictionary of lists, Arrow reserves memory for the product of the
        // rows and the values' length, which a small batch can make terabytes.
        (DataType::Dictionary(_, from), DataType::Dictionary(_, to)) => text(from) && text(to),
        (from, DataType::Dictionary(_, to)) => text(from) && text(to),
        (DataType::Dictionary(..), _) => false,
        (DataType::Timestamp(_, zone), DataType::Timestamp(..)) => {
            zone.as_deref().is_some_and(|z| matches!(z, "UTC" | "+00:00" | "Z" | "Etc/UTC"))
        }
        (DataType::List(from) | DataType::LargeList(from), DataType::List(to)) => {
            let (from, to) = (from.data_type(), to.data_type());
            from == to || (from.is_integer() && to.is_integer())
        }
        (from, to) => from.is_integer() && to.is_integer(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, DictionaryArray, Int8Array, Int64Array, ListArray, StringArray};
    use arrow::datatypes::{Field, Int8Type, Int32Type, Int64Type, Schema};

    use super::*;
    use crate::window::Window;

    fn buckets() -> DataType {
        DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)))
    }

    /// A table with the one column `x`.
    fn one(data_type: DataType) -> TableSpec {
        TableSpec {
            name: "t",
            schema: Arc::new(Schema::new(vec![Field::new("x", data_type, true)])),
            time: "x",
            window: Window::TWO_HOURS,
            workload: &[],
            sort: &[],
            rollup: None,
            series: false,
        }
    }

    fn with(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([("x", column)]).unwrap()
    }

    #[test]
    fn dictionaries_stand_for_labels_only() {
        let keys = Int8Array::from(vec![0; 100_000]);
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), Some(2)])]);
        let lists = DictionaryArray::<Int8Type>::new(keys.clone(), Arc::new(lists));
        let numbers =
            DictionaryArray::<Int8Type>::new(keys.clone(), Arc::new(Int64Array::from(vec![7])));
        for (column, wanted) in [
            (Arc::new(lists) as ArrayRef, buckets()),
            (Arc::new(numbers) as ArrayRef, DataType::Int64),
        ] {
            let refused = conform(&one(wanted), &with(column));
            assert!(matches!(refused, Err(ConformError::Type { .. })), "{refused:?}");
        }

        let label = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let text = DictionaryArray::<Int8Type>::new(keys, Arc::new(StringArray::from(vec!["a"])));
        let fits = conform(&one(label), &with(Arc::new(text))).unwrap();
        assert_eq!(fits.column(0).as_dictionary::<Int32Type>().keys().len(), 100_000);
    }
}
