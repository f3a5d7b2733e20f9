//! A table's columns in Delta's types.

use arrow::datatypes::{DataType as Arrow, TimeUnit};
use deltalake_core::kernel::{ArrayType, DataType, PrimitiveType, StructField};
use thiserror::Error;

use crate::spec::TableSpec;

/// Partition column: UTC date of a file's rows.
pub(crate) const DATE: &str = "date";
/// Partition column: number of a file's part.
pub(crate) const PART: &str = "part";

/// A specification that no table can be made of.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum SpecError {
    #[error("table `{table}` has a column `{column}`, which the store itself adds")]
    Reserved { table: &'static str, column: String },
    #[error("column `{column}` of table `{table}` has the type {found}, which tables cannot keep")]
    Type { table: &'static str, column: String, found: Box<Arrow> },
    #[error("workload column `{column}` of table `{table}` must be a label")]
    Workload { table: &'static str, column: &'static str },
    #[error("table `{table}` names a column `{column}` that it does not have")]
    Unknown { table: &'static str, column: &'static str },
    #[error(
        "time column `{column}` of table `{table}` must be a timestamp in microseconds, UTC, not null"
    )]
    Time { table: &'static str, column: &'static str },
}

/// Checks a specification and returns its columns, the partition columns last.
pub(crate) fn columns(spec: &TableSpec) -> Result<Vec<StructField>, SpecError> {
    let table = spec.name;
    for column in spec.workload.iter().chain(spec.sort).chain([&spec.time]) {
        if spec.schema.field_with_name(column).is_err() {
            return Err(SpecError::Unknown { table, column });
        }
    }
    for column in spec.workload {
        let field = spec.schema.field_with_name(column);
        if !field.is_ok_and(|f| matches!(f.data_type(), Arrow::Dictionary(..))) {
            return Err(SpecError::Workload { table, column });
        }
    }
    let time_is_right = spec.schema.field_with_name(spec.time).is_ok_and(|f| {
        !f.is_nullable() && to_delta(f.data_type()) == Some(PrimitiveType::Timestamp.into())
    });
    if !time_is_right {
        return Err(SpecError::Time { table, column: spec.time });
    }
    let mut columns = Vec::new();
    for field in spec.schema.fields() {
        let column = field.name();
        if [DATE, PART].contains(&column.as_str()) {
            return Err(SpecError::Reserved { table, column: column.clone() });
        }
        let delta = to_delta(field.data_type()).ok_or_else(|| SpecError::Type {
            table,
            column: column.clone(),
            found: Box::new(field.data_type().clone()),
        })?;
        columns.push(StructField::new(column, delta, field.is_nullable()));
    }
    columns.push(StructField::new(DATE, PrimitiveType::Date, true));
    columns.push(StructField::new(PART, PrimitiveType::Integer, true));
    Ok(columns)
}

/// The types that every reader of Delta and Parquet takes: no unsigned integers, no nanoseconds.
fn to_delta(arrow: &Arrow) -> Option<DataType> {
    Some(match arrow {
        Arrow::Dictionary(_, value) => match value.as_ref() {
            Arrow::Utf8 => PrimitiveType::String.into(),
            _ => return None,
        },
        Arrow::Utf8 => PrimitiveType::String.into(),
        Arrow::Int32 => PrimitiveType::Integer.into(),
        Arrow::Int64 => PrimitiveType::Long.into(),
        Arrow::Float64 => PrimitiveType::Double.into(),
        Arrow::Boolean => PrimitiveType::Boolean.into(),
        Arrow::Binary => PrimitiveType::Binary.into(),
        Arrow::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => {
            PrimitiveType::Timestamp.into()
        }
        Arrow::List(element) => {
            ArrayType::new(to_delta(element.data_type())?, element.is_nullable()).into()
        }
        _ => return None,
    })
}
