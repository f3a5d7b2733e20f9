//! The order of rows within files, and which file each goes to. No I/O.

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};

use super::FilesError;
use crate::part::{PartCount, PartId};
use crate::spec::TableSpec;

/// The rows of one file.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Number of the window, see [`crate::window`].
    pub(crate) window: i64,
    pub(crate) part: PartId,
    /// Row numbers in the batch, in the file's order.
    pub(crate) rows: UInt32Array,
}

/// Sorts rows and cuts them into files. The order of rows that compare equal is kept.
pub(crate) fn arrange(
    spec: &TableSpec,
    batch: &RecordBatch,
    parts: PartCount,
) -> Result<Vec<Piece>, FilesError> {
    let windows: Vec<i64> = times(spec, batch)?.iter().map(|t| spec.window.of(*t)).collect();
    let parts = parts_of(spec, batch, parts)?;
    let mut keys: Vec<ArrayRef> = vec![
        std::sync::Arc::new(Int64Array::from(windows.clone())),
        std::sync::Arc::new(parts.iter().map(|p| p.number()).collect::<UInt32Array>()),
    ];
    for name in spec.sort {
        keys.push(sort_key(column(batch, name)?));
    }
    let fields = keys.iter().map(|k| SortField::new(k.data_type().clone())).collect();
    let encoded = RowConverter::new(fields)?.convert_columns(&keys)?;
    let mut order: Vec<(u32, arrow::row::Row<'_>)> = (0u32..).zip(encoded.iter()).collect();
    order.sort_by(|a, b| a.1.cmp(&b.1));

    let place = |row: u32| -> Option<(i64, PartId)> {
        let row = usize::try_from(row).unwrap_or(usize::MAX);
        Some((*windows.get(row)?, *parts.get(row)?))
    };
    Ok(order
        .chunk_by(|a, b| place(a.0) == place(b.0))
        .filter_map(|piece| {
            let (window, part) = place(piece.first()?.0)?;
            Some(Piece { window, part, rows: piece.iter().map(|(row, _)| *row).collect() })
        })
        .collect())
}

/// The column of a name that the specification promises.
pub(crate) fn column<'a>(
    batch: &'a RecordBatch,
    name: &'static str,
) -> Result<&'a ArrayRef, FilesError> {
    batch.column_by_name(name).ok_or(FilesError::Column(name))
}

/// The time column, microseconds since the Unix epoch.
pub(crate) fn times<'a>(spec: &TableSpec, batch: &'a RecordBatch) -> Result<&'a [i64], FilesError> {
    let times = column(batch, spec.time)?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or(FilesError::Column(spec.time))?;
    Ok(times.values())
}

fn parts_of(
    spec: &TableSpec,
    batch: &RecordBatch,
    count: PartCount,
) -> Result<Vec<PartId>, FilesError> {
    if count == PartCount::ONE {
        return Ok(vec![count.part_of([]); batch.num_rows()]);
    }
    let mut texts = Vec::with_capacity(spec.workload.len());
    for name in spec.workload {
        texts.push(cast(column(batch, name)?, &DataType::Utf8)?);
    }
    let texts: Vec<&StringArray> = texts.iter().map(|t| t.as_string()).collect();
    let value = |text: &StringArray, row| -> String {
        if text.is_null(row) { String::new() } else { text.value(row).to_owned() }
    };
    Ok((0..batch.num_rows())
        .map(|row| {
            let values: Vec<String> = texts.iter().map(|t| value(t, row)).collect();
            count.part_of(values.iter().map(String::as_str))
        })
        .collect())
}

/// What a column is compared by: labels by the rank of their value, which is cheaper than the text.
fn sort_key(column: &ArrayRef) -> ArrayRef {
    match column.as_dictionary_opt::<Int32Type>() {
        Some(labels) => match ranks(labels) {
            Some(ranks) => std::sync::Arc::new(ranks),
            None => column.clone(),
        },
        None => column.clone(),
    }
}

/// Rank of each row's text among the dictionary's distinct values, from 1; 0 for null.
fn ranks(labels: &DictionaryArray<Int32Type>) -> Option<UInt32Array> {
    let values = labels.values().as_string_opt::<i32>()?;
    let mut by_value: Vec<(Option<&str>, usize)> = values.iter().zip(0..).collect();
    by_value.sort_unstable();
    let mut rank_of = vec![0u32; values.len()];
    let mut rank = 0;
    let mut previous = None;
    for (value, index) in by_value {
        if value != previous {
            rank += 1;
            previous = value;
        }
        if let Some(slot) = rank_of.get_mut(index) {
            *slot = if value.is_none() { 0 } else { rank };
        }
    }
    let rank = |key: Option<usize>| key.and_then(|k| rank_of.get(k)).copied().unwrap_or(0);
    Some(labels.keys_iter().map(rank).collect())
}
