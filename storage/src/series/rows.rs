//! Reading the rows of files.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, DictionaryArray, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use arrow::error::ArrowError;

/// A batch of a table of series, in its schema.
pub(crate) struct ChunkRows<'a> {
    name: (&'a DictionaryArray<Int32Type>, &'a StringArray),
    labels: (&'a DictionaryArray<Int32Type>, &'a StringArray),
    start: &'a TimestampMicrosecondArray,
    end: &'a TimestampMicrosecondArray,
    count: &'a Int32Array,
    times: &'a BinaryArray,
    values: &'a BinaryArray,
}

impl<'a> ChunkRows<'a> {
    /// Fails when the batch has other columns.
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            name: texts(batch, "name")?,
            labels: texts(batch, "labels")?,
            start: typed(batch, "start", |c| c.as_primitive_opt::<TimestampMicrosecondType>())?,
            end: typed(batch, "end", |c| c.as_primitive_opt::<TimestampMicrosecondType>())?,
            count: typed(batch, "count", |c| c.as_primitive_opt::<Int32Type>())?,
            times: typed(batch, "times", |c| c.as_binary_opt::<i32>())?,
            values: typed(batch, "values", |c| c.as_binary_opt::<i32>())?,
        })
    }

    /// The metric's name.
    pub(crate) fn name(&self, row: usize) -> &'a str {
        text(self.name, row)
    }

    /// All other labels.
    pub(crate) fn labels(&self, row: usize) -> &'a str {
        text(self.labels, row)
    }

    /// First and last time, microseconds.
    pub(crate) fn range(&self, row: usize) -> (i64, i64) {
        let at = |times: &TimestampMicrosecondArray| times.values().get(row).copied();
        (at(self.start).unwrap_or_default(), at(self.end).unwrap_or_default())
    }

    pub(crate) fn count(&self, row: usize) -> i32 {
        self.count.values().get(row).copied().unwrap_or_default()
    }

    pub(crate) fn times(&self, row: usize) -> &'a [u8] {
        bytes(self.times, row)
    }

    pub(crate) fn values(&self, row: usize) -> &'a [u8] {
        bytes(self.values, row)
    }
}

fn bytes(column: &BinaryArray, row: usize) -> &[u8] {
    if row < column.len() && column.is_valid(row) { column.value(row) } else { &[] }
}

fn text<'a>((keys, texts): (&DictionaryArray<Int32Type>, &'a StringArray), row: usize) -> &'a str {
    match keys.key(row) {
        Some(key) if key < texts.len() && texts.is_valid(key) => texts.value(key),
        _ => "",
    }
}

fn texts<'a>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<(&'a DictionaryArray<Int32Type>, &'a StringArray), ArrowError> {
    typed(batch, name, |column| {
        let keys = column.as_dictionary_opt::<Int32Type>()?;
        Some((keys, keys.values().as_string_opt::<i32>()?))
    })
}

fn typed<'a, T: 'a>(
    batch: &'a RecordBatch,
    name: &str,
    typed: impl FnOnce(&'a ArrayRef) -> Option<T>,
) -> Result<T, ArrowError> {
    batch.column_by_name(name).and_then(typed).ok_or_else(|| {
        ArrowError::SchemaError(format!("column `{name}` is not that of a table of series"))
    })
}
