//! One dictionary for the labels of many batches.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;

/// What each value of a batch's own dictionary is in the common one; shared by batches that share
/// their dictionary.
type Map<T> = Arc<[Option<T>]>;

/// Key of a row without label.
const NONE: i32 = -1;

/// A label column of several batches under one dictionary, whose values are sorted: keys compare as
/// their texts do.
#[derive(Debug)]
pub(crate) struct Labels {
    values: ArrayRef,
    /// For each row of all batches its key, or [`NONE`]. Empty if no row has a label.
    keys: Vec<i32>,
    /// Rows of all batches.
    rows: usize,
    /// Whether every row has a label.
    whole: bool,
}

impl Labels {
    /// `None` if the column is no dictionary of texts in some batch.
    pub(crate) fn unite(batches: &[RecordBatch], column: usize) -> Option<Self> {
        let mut columns: Vec<(&Int32Array, &StringArray)> = Vec::with_capacity(batches.len());
        for batch in batches {
            let labels = batch.columns().get(column)?.as_dictionary_opt::<Int32Type>()?;
            columns.push((labels.keys(), labels.values().as_string_opt()?));
        }
        // First every text gets a number in order of appearance, then its rank.
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut numbered: Vec<Map<usize>> = Vec::with_capacity(columns.len());
        let mut previous: Option<&StringArray> = None;
        for (_, texts) in &columns {
            let texts: &StringArray = texts;
            let again = previous.filter(|p| same(p, texts)).and(numbered.last().cloned());
            numbered.push(again.unwrap_or_else(|| {
                let mut number = |text| {
                    let next = numbers.len();
                    *numbers.entry(text).or_insert(next)
                };
                texts.iter().map(|text| text.map(&mut number)).collect()
            }));
            previous = Some(texts);
        }
        let mut sorted: Vec<(&str, usize)> = numbers.into_iter().collect();
        sorted.sort_unstable();
        let mut ranks: Vec<Option<i32>> = vec![None; sorted.len()];
        for (rank, (_, number)) in (0i32..).zip(&sorted) {
            *ranks.get_mut(*number)? = Some(rank);
        }
        let rows = columns.iter().map(|(keys, _)| keys.len()).sum();
        let values = StringArray::from_iter_values(sorted.iter().map(|(text, _)| text));
        let mut united = Self { values: Arc::new(values), keys: Vec::new(), rows, whole: true };
        if sorted.is_empty() || columns.iter().all(|(keys, _)| keys.null_count() == keys.len()) {
            united.whole = rows == 0;
            return Some(united);
        }
        united.keys.reserve_exact(rows);
        let mut ranked: Option<(Map<usize>, Vec<i32>)> = None;
        for ((keys, _), numbers) in columns.iter().zip(numbered) {
            let again = ranked.take().filter(|(of, _)| Arc::ptr_eq(of, &numbers));
            let (_, map) = &*ranked.insert(again.unwrap_or_else(|| {
                let rank = |number: &Option<usize>| number.and_then(|n| *ranks.get(n)?);
                let map = numbers.iter().map(|number| rank(number).unwrap_or(NONE)).collect();
                (numbers, map)
            }));
            let of = |key: i32| {
                usize::try_from(key).ok().and_then(|key| map.get(key).copied()).unwrap_or(NONE)
            };
            match keys.nulls().filter(|nulls| nulls.null_count() > 0) {
                None => united.keys.extend(keys.values().iter().map(|key| of(*key))),
                Some(nulls) => united.keys.extend(
                    keys.values()
                        .iter()
                        .zip(nulls)
                        .map(|(k, valid)| if valid { of(*k) } else { NONE }),
                ),
            }
        }
        united.whole = !united.keys.contains(&NONE);
        Some(united)
    }

    /// Number of distinct texts.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The text of a key.
    pub(crate) fn text(&self, key: i32) -> Option<&str> {
        let values = self.values.as_string_opt::<i32>()?;
        let key = usize::try_from(key).ok().filter(|key| *key < values.len())?;
        Some(values.value(key))
    }

    /// Keys of all rows in the common dictionary, batch by batch.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Option<i32>> + '_ {
        let absent = if self.keys.is_empty() { self.rows } else { 0 };
        let present = self.keys.iter().map(|key| (*key != NONE).then_some(*key));
        present.chain(std::iter::repeat_n(None, absent))
    }

    /// The labels of rows, which are counted over all batches.
    pub(crate) fn gather(&self, rows: &[u32]) -> Result<ArrayRef, ArrowError> {
        let keys = if self.keys.is_empty() {
            Int32Array::new_null(rows.len())
        } else {
            let key =
                |row: &u32| usize::try_from(*row).ok().and_then(|row| self.keys.get(row).copied());
            let keys: Vec<i32> = rows.iter().map(|row| key(row).unwrap_or(NONE)).collect();
            if self.whole {
                Int32Array::from(keys)
            } else {
                let nulls = NullBuffer::from_iter(keys.iter().map(|key| *key != NONE));
                // What lies below a null is any key.
                let keys: Vec<i32> = keys.into_iter().map(|key| key.max(0)).collect();
                Int32Array::try_new(keys.into(), Some(nulls))?
            }
        };
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, self.values.clone())?))
    }
}

/// Whether two arrays are views of the same memory.
fn same(a: &StringArray, b: &StringArray) -> bool {
    a.len() == b.len()
        && a.offsets().ptr_eq(b.offsets())
        && a.values().as_ptr() == b.values().as_ptr()
        && a.null_count() == b.null_count()
}
