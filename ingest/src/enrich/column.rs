//! Label columns: read by number, and written over.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use foldhash::fast::RandomState;

/// No text.
const NONE: i32 = -1;

/// A label column as it came.
#[derive(Clone, Copy)]
pub(super) struct Column<'a> {
    keys: &'a Int32Array,
    texts: &'a StringArray,
}

impl<'a> Column<'a> {
    pub(super) fn of(batch: &'a RecordBatch, name: &str) -> Option<Self> {
        let column = batch.column_by_name(name)?.as_dictionary_opt::<Int32Type>()?;
        Some(Self { keys: column.keys(), texts: column.values().as_string_opt::<i32>()? })
    }

    /// Number of texts.
    pub(super) fn texts(&self) -> usize {
        self.texts.len()
    }

    /// Number of a row's text.
    pub(super) fn key(&self, row: usize) -> Option<usize> {
        if self.keys.is_null(row) { None } else { usize::try_from(self.keys.value(row)).ok() }
    }

    /// A text by its number; nothing for one that is empty.
    pub(super) fn text(&self, number: usize) -> Option<&'a str> {
        let text = self.texts.is_valid(number).then(|| self.texts.value(number));
        text.filter(|text| !text.is_empty())
    }

    /// A row's text; nothing for one that is empty.
    pub(super) fn get(&self, row: usize) -> Option<&'a str> {
        self.text(self.key(row)?)
    }

    /// No row has a text.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.null_count() == self.keys.len()
            || (0..self.texts.len()).all(|number| self.text(number).is_none())
    }

    /// A value for each text, by number.
    pub(super) fn each<T>(&self, of: impl Fn(&'a str) -> Option<T>) -> Vec<Option<T>> {
        (0..self.texts.len()).map(|number| self.text(number).and_then(&of)).collect()
    }
}

/// Writes a column over another: the other's texts stay where nothing is written. The new column has no text that no
/// row has.
pub(super) struct Over<'a> {
    before: Option<Column<'a>>,
    texts: Vec<&'a str>,
    numbers: HashMap<&'a str, i32, RandomState>,
}

/// The text has not been looked at.
const NOT_YET: i32 = -2;

impl<'a> Over<'a> {
    pub(super) fn new(batch: &'a RecordBatch, name: &str) -> Self {
        let before = Column::of(batch, name).filter(|column| !column.is_empty());
        Self { before, ..Self::nothing() }
    }

    /// Over a column in which there is nothing.
    pub(super) fn nothing() -> Self {
        Self { before: None, texts: Vec::new(), numbers: HashMap::default() }
    }

    /// So many texts will be written.
    pub(super) fn reserve(&mut self, texts: usize) {
        self.texts.reserve(texts);
        self.numbers.reserve(texts);
    }

    /// The number of a text to write; an empty one writes nothing.
    pub(super) fn number(&mut self, text: &'a str) -> Number {
        if text.is_empty() {
            return Number(NONE);
        }
        let texts = &mut self.texts;
        Number(*self.numbers.entry(text).or_insert_with(|| {
            texts.push(text);
            i32::try_from(texts.len() - 1).unwrap_or(NONE)
        }))
    }

    /// The column, with what `write` says for each row where it says something.
    pub(super) fn write(
        mut self,
        rows: usize,
        write: impl Fn(usize) -> Number,
    ) -> Result<ArrayRef, ArrowError> {
        let mut known = self.unknown();
        let mut keys = Vec::with_capacity(rows);
        for row in 0..rows {
            let Number(new) = write(row);
            keys.push(if new == NONE { self.number_before(row, &mut known) } else { new });
        }
        self.finish(keys)
    }

    /// The column, with what `write` says for each row where there was nothing.
    pub(super) fn fill(
        mut self,
        rows: usize,
        write: impl Fn(usize) -> Number,
    ) -> Result<ArrayRef, ArrowError> {
        let mut known = self.unknown();
        let mut keys = Vec::with_capacity(rows);
        for row in 0..rows {
            let before = self.number_before(row, &mut known);
            keys.push(if before == NONE { write(row).0 } else { before });
        }
        self.finish(keys)
    }

    fn unknown(&self) -> Vec<i32> {
        vec![NOT_YET; self.before.map_or(0, |before| before.texts())]
    }

    /// The number of what a row had; `known` has those of texts that were looked at.
    fn number_before(&mut self, row: usize, known: &mut [i32]) -> i32 {
        let Some((before, key)) = self.before.and_then(|before| Some((before, before.key(row)?)))
        else {
            return NONE;
        };
        let Some(number) = known.get(key).copied() else { return NONE };
        if number != NOT_YET {
            return number;
        }
        let Number(number) = self.number(before.text(key).unwrap_or(""));
        if let Some(known) = known.get_mut(key) {
            *known = number;
        }
        number
    }

    fn finish(self, mut keys: Vec<i32>) -> Result<ArrayRef, ArrowError> {
        let any_null = keys.iter().any(|key| *key < 0);
        let nulls = any_null.then(|| NullBuffer::from_iter(keys.iter().map(|key| *key >= 0)));
        if any_null {
            keys.iter_mut().for_each(|key| *key = (*key).max(0));
        }
        let texts = Arc::new(StringArray::from(self.texts));
        let keys = Int32Array::try_new(keys.into(), nulls)?;
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, texts)?))
    }
}

/// Of a text, or of none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(i32);

impl Number {
    /// Writes nothing.
    pub(super) const NOTHING: Self = Self(NONE);
}

/// Puts columns in place of those of the same names.
pub(super) fn replace(
    batch: RecordBatch,
    replaced: Vec<(&'static str, ArrayRef)>,
) -> Result<RecordBatch, ArrowError> {
    if replaced.is_empty() {
        return Ok(batch);
    }
    let (schema, mut columns, _) = batch.into_parts();
    for (name, column) in replaced {
        if let Some(place) = columns.get_mut(schema.index_of(name)?) {
            *place = column;
        }
    }
    RecordBatch::try_new(schema, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(texts: &[Option<&str>]) -> RecordBatch {
        let column: DictionaryArray<Int32Type> = texts.iter().copied().collect();
        RecordBatch::try_from_iter([("c", Arc::new(column) as ArrayRef)]).unwrap()
    }

    fn read(column: &ArrayRef) -> Vec<Option<String>> {
        let column = column.as_dictionary::<Int32Type>();
        let column = column.downcast_dict::<StringArray>().unwrap();
        column.into_iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn texts_are_written_over_or_filled_in() {
        let batch = batch(&[Some("a"), None, Some(""), Some("b"), Some("a")]);
        let mut over = Over::new(&batch, "c");
        let (new, a) = (over.number("new"), over.number("a"));
        let over_a = over.number(&String::from("a").leak()[..]);
        let written = over.write(5, |row| if row < 3 { new } else { Number::NOTHING }).unwrap();
        let new_text = || Some("new".to_owned());
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(read(&written), [new_text(), new_text(), new_text(), text("b"), text("a")]);
        assert_eq!(a, over_a, "one number for one text");
        let mut over = Over::new(&batch, "c");
        let new = over.number("new");
        let filled = over.fill(5, |_| new).unwrap();
        assert_eq!(read(&filled), [text("a"), new_text(), new_text(), text("b"), text("a")]);
        let kept = filled.as_dictionary::<Int32Type>().values().len();
        assert_eq!(kept, 3, "texts that no row has are not kept");
        let over = Over::new(&batch, "absent");
        let none = over.write(5, |_| Number::NOTHING).unwrap();
        assert_eq!(none.null_count(), 5);
    }
}
