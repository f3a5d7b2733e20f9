//! Bringing a batch into the shape of its table.
//!
//! Columns are matched by name: unknown ones are dropped, missing nullable ones become null, and the
//! text and integer types that other Arrow writers use are cast where no value can change. The same
//! function runs when a batch arrives and when the log is replayed.

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use thiserror::Error;

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
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(spec.schema.fields().len());
    for field in spec.schema.fields() {
        let name = field.name();
        let Some(found) = batch.column_by_name(name) else {
            if field.is_nullable() {
                columns.push(new_null_array(field.data_type(), batch.num_rows()));
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
        columns.push(column);
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
        (DataType::Dictionary(_, value), to) if !matches!(to, DataType::Dictionary(..)) => {
            castable(value, to) || **value == *to
        }
        (DataType::Dictionary(_, from), DataType::Dictionary(_, to)) => text(from) && text(to),
        (from, DataType::Dictionary(_, to)) => text(from) && text(to),
        (DataType::Timestamp(_, zone), DataType::Timestamp(..)) => {
            zone.as_deref().is_some_and(|z| matches!(z, "UTC" | "+00:00" | "Z" | "Etc/UTC"))
        }
        (DataType::List(from) | DataType::LargeList(from), DataType::List(to)) => {
            from.data_type() == to.data_type() || castable(from.data_type(), to.data_type())
        }
        (from, to) => from.is_integer() && to.is_integer(),
    }
}
