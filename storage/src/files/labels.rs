//! One dictionary for the labels of many batches.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;

/// What each value of a batch's own dictionary is in the common one; shared by batches that share
/// their dictionary.
type Map<T> = Arc<[Option<T>]>;

/// A label column of several batches under one dictionary, whose values are sorted: keys compare as
/// their texts do.
#[derive(Debug)]
pub(crate) struct Labels {
    values: ArrayRef,
    /// For each batch, its own keys and what each of its dictionary's values is in `values`.
    batches: Vec<(Int32Array, Map<i32>)>,
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
        let mut ranked: Option<(Map<usize>, Map<i32>)> = None;
        let mut outcome = Vec::with_capacity(columns.len());
        for ((keys, _), numbers) in columns.iter().zip(numbered) {
            let known = ranked.as_ref().filter(|(of, _)| Arc::ptr_eq(of, &numbers));
            let map = if let Some((_, map)) = known {
                map.clone()
            } else {
                let rank = |number: &Option<usize>| number.and_then(|n| *ranks.get(n)?);
                let map: Map<i32> = numbers.iter().map(rank).collect();
                ranked = Some((numbers, map.clone()));
                map
            };
            outcome.push(((*keys).clone(), map));
        }
        let values = StringArray::from_iter_values(sorted.iter().map(|(text, _)| text));
        Some(Self { values: Arc::new(values), batches: outcome })
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

    /// Keys of the rows of one batch, in the common dictionary.
    pub(crate) fn keys(&self, batch: usize) -> impl Iterator<Item = Option<i32>> + '_ {
        let (keys, map) = match self.batches.get(batch) {
            Some((keys, map)) => (Some(keys), map.as_ref()),
            None => (None, [].as_slice()),
        };
        keys.into_iter().flatten().map(move |key| *map.get(usize::try_from(key?).ok()?)?)
    }

    /// The labels of rows, given as (batch, row).
    pub(crate) fn gather(&self, rows: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
        let key = |(batch, row): &(usize, usize)| {
            let (keys, map) = self.batches.get(*batch)?;
            if *row >= keys.len() || keys.is_null(*row) {
                return None;
            }
            *map.get(usize::try_from(keys.value(*row)).ok()?)?
        };
        let keys: Int32Array = rows.iter().map(key).collect();
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
