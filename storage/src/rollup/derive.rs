//! From a source row to a row of the tier, one by one.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, DictionaryArray, RecordBatch, RecordBatchOptions,
    TimestampMicrosecondArray,
};
use arrow::compute::nullif;
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};

use super::{Detail, Role, Rollup, RollupError};
use crate::spec::TableSpec;

/// Rows of the source as rows of the tier: as many, none of them summed up yet.
pub(crate) fn derive(
    spec: &TableSpec,
    rollup: &Rollup,
    source: &RecordBatch,
) -> Result<RecordBatch, RollupError> {
    let column = |name: &str| {
        source.column_by_name(name).ok_or_else(|| RollupError::Column(name.to_owned()))
    };
    let ends: Vec<i64> = column(spec.time)?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| RollupError::Column(spec.time.to_owned()))?
        .values()
        .iter()
        .map(|end| rollup.width.end_of(*end))
        .collect();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(spec.schema.fields().len());
    for field in spec.schema.fields() {
        let name = field.name().as_str();
        columns.push(match rollup.role(spec.time, name) {
            Role::Time => times(ends.iter().copied()),
            Role::Start => {
                let width = rollup.width.micros();
                times(ends.iter().map(|end| end.saturating_sub(width)))
            }
            Role::Key => match rollup.detail.iter().find(|d| d.column == name) {
                Some(detail) => nullif(column(name)?, &not_kept(detail, source)?)?,
                None => column(name)?.clone(),
            },
            Role::Value(_) => column(name)?.clone(),
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(source.num_rows()));
    Ok(RecordBatch::try_new_with_options(spec.schema.clone(), columns, &options)?)
}

fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

/// The rows whose detail is not kept.
fn not_kept(detail: &Detail, source: &RecordBatch) -> Result<BooleanArray, RollupError> {
    let mut keep = vec![false; source.num_rows()];
    for (name, wanted) in detail.when {
        let labels = source
            .column_by_name(name)
            .and_then(|c| c.as_dictionary_opt::<Int32Type>())
            .ok_or_else(|| RollupError::Column((*name).to_owned()))?;
        let hits = hits(labels, wanted).ok_or_else(|| RollupError::Column((*name).to_owned()))?;
        let of_none = wanted.contains(&"");
        for (keep, key) in keep.iter_mut().zip(labels.keys()) {
            let hit = match key.and_then(|k| usize::try_from(k).ok()) {
                Some(key) => hits.get(key).copied().unwrap_or(false),
                None => of_none,
            };
            *keep |= hit;
        }
    }
    Ok(keep.into_iter().map(|keep| Some(!keep)).collect())
}

/// Which values of a dictionary are among `wanted`.
fn hits(labels: &DictionaryArray<Int32Type>, wanted: &[&str]) -> Option<Vec<bool>> {
    let values = labels.values().as_string_opt::<i32>()?;
    Some(values.iter().map(|v| wanted.contains(&v.unwrap_or_default())).collect())
}
