//! Rows of equal keys become one.

use std::collections::HashMap;

use arrow::array::AsArray;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use std::sync::Arc;

use super::keys::Keys;
use super::values::{TooLarge, Values};
use super::{Role, Rollup, RollupError};
use crate::spec::TableSpec;

/// Sums rows of a tier up, in the order in which keys first come. Rows whose sums would be too large
/// stay as they are.
pub(crate) fn aggregate(
    spec: &TableSpec,
    rollup: &Rollup,
    rows: Vec<RecordBatch>,
) -> Result<Vec<RecordBatch>, RollupError> {
    Ok(match try_aggregate(spec, rollup, &rows)? {
        Ok(sums) => vec![sums],
        Err(TooLarge) => rows,
    })
}

/// As [`aggregate`], into one batch.
pub(crate) fn try_aggregate(
    spec: &TableSpec,
    rollup: &Rollup,
    rows: &[RecordBatch],
) -> Result<Result<RecordBatch, TooLarge>, RollupError> {
    let fields = || spec.schema.fields().iter();
    let role = |name: &str| rollup.role(spec.time, name);
    let mut keys = Keys::new(
        fields()
            .filter(|f| matches!(role(f.name()), Role::Key | Role::Time))
            .map(|f| (f.name().as_str(), f.data_type())),
    )?;
    let mut values = Vec::new();
    for field in fields() {
        if let Role::Value(merge) = role(field.name()) {
            values.extend(Values::new(field.name(), field.data_type(), merge)?);
        }
    }
    for batch in rows {
        let groups = keys.groups_of(batch)?;
        for values in &mut values {
            if let Err(TooLarge) = values.add(batch, &groups, keys.len())? {
                return Ok(Err(TooLarge));
            }
        }
    }
    let mut columns = keys.finish()?;
    for values in values {
        values.finish(&mut columns)?;
    }
    if let (Some(start), Some(ends)) = (rollup.start, columns.get(spec.time)) {
        columns.insert(start.to_owned(), starts(rollup, ends)?);
    }
    Ok(Ok(in_order(spec, columns, keys.len())?))
}

/// Starts of the windows with these ends.
fn starts(rollup: &Rollup, ends: &ArrayRef) -> Result<ArrayRef, RollupError> {
    let ends = ends
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| RollupError::Column("time".to_owned()))?;
    let width = rollup.width.micros();
    let starts = ends.values().iter().map(|end| end.saturating_sub(width));
    Ok(Arc::new(TimestampMicrosecondArray::from_iter_values(starts).with_timezone("UTC")))
}

fn in_order(
    spec: &TableSpec,
    mut columns: HashMap<String, ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, RollupError> {
    let mut ordered = Vec::with_capacity(columns.len());
    for field in spec.schema.fields() {
        let column = columns.remove(field.name());
        ordered.push(column.ok_or_else(|| RollupError::Column(field.name().clone()))?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(spec.schema.clone(), ordered, &options)?)
}
