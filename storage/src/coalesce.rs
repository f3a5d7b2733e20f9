//! Making one batch of many small ones.
//!
//! What arrives is small: a batch of a hundred rows has seventy columns with three buffers each, and
//! what Arrow needs to hold them outweighs the values. Every reader and every flush would pay for
//! each of them again. So the memtable's newest batches are put together from time to time, in the
//! order in which they came: values are appended, labels are written with one dictionary of
//! distinct values.
//!
//! Numbers that are zero throughout, as most event counters are, share one buffer of zeros, and
//! columns that are null throughout share one array of nulls: they take no memory of their own.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::NullBufferBuilder;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, DictionaryArray, Int32Array, ListArray,
    PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray, new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::concat;
use arrow::datatypes::{
    DataType, FieldRef, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

/// Rows up to which nulls and zeros are shared.
const SHARED_ROWS: usize = 1 << 17;

static ZEROS: LazyLock<Buffer> = LazyLock::new(|| Buffer::from(vec![0u8; SHARED_ROWS * 8]));
static NULLS: LazyLock<Mutex<HashMap<DataType, ArrayRef>>> = LazyLock::new(Mutex::default);

/// An array of nulls. Up to [`SHARED_ROWS`] of them take no memory of their own.
pub(crate) fn nulls(data_type: &DataType, rows: usize) -> ArrayRef {
    if rows > SHARED_ROWS {
        return new_null_array(data_type, rows);
    }
    let mut shared = NULLS.lock();
    match shared.get(data_type) {
        Some(array) => array.slice(0, rows),
        None => {
            let array = new_null_array(data_type, SHARED_ROWS);
            shared.insert(data_type.clone(), array.clone());
            array.slice(0, rows)
        }
    }
}

/// Whether a column takes no memory of its own, or next to none.
pub(crate) fn is_shared(column: &dyn Array) -> bool {
    column.null_count() == column.len() && column.len() <= SHARED_ROWS
}

/// Whether a buffer is the one of zeros.
pub(crate) fn is_zeros(buffer: &Buffer) -> bool {
    buffer.data_ptr() == ZEROS.data_ptr()
}

/// Whether a column is whole numbers that lie in the buffer of zeros, none of them null.
pub(crate) fn is_zero_numbers(column: &dyn Array) -> bool {
    let values = if let Some(numbers) = column.as_primitive_opt::<Int64Type>() {
        numbers.values().inner()
    } else if let Some(numbers) = column.as_primitive_opt::<Int32Type>() {
        numbers.values().inner()
    } else {
        return false;
    };
    column.null_count() == 0 && is_zeros(values)
}

/// So many zeros of a whole number's type. Up to [`SHARED_ROWS`] of them, which take no memory of
/// their own.
pub(crate) fn zeros(data_type: &DataType, rows: usize) -> Option<ArrayRef> {
    if rows > SHARED_ROWS {
        return None;
    }
    match data_type {
        DataType::Int64 => Some(Arc::new(PrimitiveArray::<Int64Type>::new(
            ScalarBuffer::new(ZEROS.clone(), 0, rows),
            None,
        ))),
        DataType::Int32 => Some(Arc::new(PrimitiveArray::<Int32Type>::new(
            ScalarBuffer::new(ZEROS.clone(), 0, rows),
            None,
        ))),
        _ => None,
    }
}

/// Puts batches of one schema together, in order.
///
/// # Errors
/// When the labels or lists of all of them together are more than 2^31 - 1 bytes.
pub(crate) fn coalesce(
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<RecordBatch, ArrowError> {
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let mut pieces: Vec<&ArrayRef> = Vec::with_capacity(batches.len());
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (number, field) in schema.fields().iter().enumerate() {
        pieces.clear();
        pieces.extend(batches.iter().filter_map(|b| b.columns().get(number)));
        columns.push(column(field.data_type(), &pieces, rows)?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

fn column(data_type: &DataType, pieces: &[&ArrayRef], rows: usize) -> Result<ArrayRef, ArrowError> {
    if pieces.iter().all(|p| p.null_count() == p.len()) {
        return Ok(nulls(data_type, rows));
    }
    match data_type {
        DataType::Int64 => numbers::<Int64Type>(data_type, pieces, rows),
        DataType::Int32 => numbers::<Int32Type>(data_type, pieces, rows),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            numbers::<TimestampMicrosecondType>(data_type, pieces, rows)
        }
        DataType::Dictionary(key, value)
            if **key == DataType::Int32 && **value == DataType::Utf8 =>
        {
            labels(pieces, rows)
        }
        DataType::List(item) if *item.data_type() == DataType::Int64 => lists(item, pieces, rows),
        _ => generic(pieces),
    }
}

fn generic(pieces: &[&ArrayRef]) -> Result<ArrayRef, ArrowError> {
    let pieces: Vec<&dyn Array> = pieces.iter().map(|p| p.as_ref()).collect();
    concat(&pieces)
}

fn numbers<T: ArrowPrimitiveType>(
    data_type: &DataType,
    pieces: &[&ArrayRef],
    rows: usize,
) -> Result<ArrayRef, ArrowError> {
    let mut typed = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let Some(piece) = piece.as_primitive_opt::<T>() else { return generic(pieces) };
        typed.push(piece);
    }
    let mut nulls = NullBufferBuilder::new(rows);
    typed.iter().for_each(|piece| append_nulls(&mut nulls, piece));
    let zero = |piece: &&PrimitiveArray<T>| {
        is_zeros(piece.values().inner())
            || piece.values().iter().all(|v| *v == T::Native::default())
    };
    let values = if rows <= SHARED_ROWS && typed.iter().all(zero) {
        ScalarBuffer::new(ZEROS.clone(), 0, rows)
    } else {
        let mut values: Vec<T::Native> = Vec::with_capacity(rows);
        typed.iter().for_each(|piece| values.extend_from_slice(piece.values()));
        values.into()
    };
    let array = PrimitiveArray::<T>::try_new(values, nulls.finish())?;
    Ok(Arc::new(array.with_data_type(data_type.clone())))
}

fn append_nulls(to: &mut NullBufferBuilder, piece: &dyn Array) {
    match piece.nulls() {
        Some(nulls) => to.append_buffer(nulls),
        None => to.append_n_non_nulls(piece.len()),
    }
}

fn labels(pieces: &[&ArrayRef], rows: usize) -> Result<ArrayRef, ArrowError> {
    let mut known: hashbrown::HashMap<&str, i32, RandomState> = hashbrown::HashMap::default();
    let mut distinct: Vec<&str> = Vec::new();
    let mut keys: Vec<i32> = Vec::with_capacity(rows);
    let mut nulls = NullBufferBuilder::new(rows);
    // What each key of the piece at hand becomes; no value for one whose value is null.
    let mut becomes: Vec<Option<i32>> = Vec::new();
    let too_many = |_| ArrowError::DictionaryKeyOverflowError;
    for piece in pieces {
        let typed = piece
            .as_dictionary_opt::<Int32Type>()
            .and_then(|d| Some((d, d.values().as_string_opt::<i32>()?)));
        let Some((piece, values)) = typed else { return generic(pieces) };
        becomes.clear();
        for value in values {
            let Some(value) = value else {
                becomes.push(None);
                continue;
            };
            let key = match known.get(value) {
                Some(key) => *key,
                None => {
                    let key = i32::try_from(distinct.len()).map_err(too_many)?;
                    known.insert(value, key);
                    distinct.push(value);
                    key
                }
            };
            becomes.push(Some(key));
        }
        let new = |key: i32| {
            usize::try_from(key).ok().and_then(|k| becomes.get(k).copied()).unwrap_or_default()
        };
        if piece.null_count() == 0 && becomes.iter().all(Option::is_some) {
            keys.extend(piece.keys().values().iter().map(|key| new(*key).unwrap_or_default()));
            nulls.append_n_non_nulls(piece.len());
        } else {
            for key in piece.keys() {
                let key = key.and_then(new);
                keys.push(key.unwrap_or_default());
                nulls.append(key.is_some());
            }
        }
    }
    let one = keys.iter().all(|key| *key == 0);
    let keys = if one && rows <= SHARED_ROWS {
        ScalarBuffer::new(ZEROS.clone(), 0, rows)
    } else {
        keys.into()
    };
    let keys = Int32Array::try_new(keys, nulls.finish())?;
    let bytes = distinct.iter().map(|v| v.len()).sum::<usize>();
    if i32::try_from(bytes).is_err() {
        return Err(ArrowError::OffsetOverflowError(bytes));
    }
    let values = StringArray::from_iter_values(distinct);
    Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(values))?))
}

fn lists(item: &FieldRef, pieces: &[&ArrayRef], rows: usize) -> Result<ArrayRef, ArrowError> {
    let mut lengths: Vec<usize> = Vec::with_capacity(rows);
    let mut values: Vec<i64> = Vec::new();
    let mut nulls = NullBufferBuilder::new(rows);
    for piece in pieces {
        let typed = piece
            .as_list_opt::<i32>()
            .and_then(|l| Some((l, l.values().as_primitive_opt::<Int64Type>()?)));
        let Some((piece, items)) = typed else { return generic(pieces) };
        if items.null_count() > 0 {
            return generic(pieces);
        }
        let offsets = piece.value_offsets();
        let at = |i: Option<&i32>| i.and_then(|i| usize::try_from(*i).ok()).unwrap_or_default();
        let all = at(offsets.first())..at(offsets.last());
        values.extend_from_slice(items.values().get(all).unwrap_or_default());
        lengths.extend(offsets.windows(2).map(|w| at(w.last()) - at(w.first())));
        append_nulls(&mut nulls, piece);
    }
    if i32::try_from(values.len()).is_err() {
        return Err(ArrowError::OffsetOverflowError(values.len()));
    }
    let values = PrimitiveArray::<Int64Type>::new(values.into(), None);
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls: Option<NullBuffer> = nulls.finish();
    Ok(Arc::new(ListArray::try_new(item.clone(), offsets, Arc::new(values), nulls)?))
}

#[cfg(test)]
mod tests;
