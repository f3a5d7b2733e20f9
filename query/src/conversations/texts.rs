//! Texts of labels by number, and how columns of labels become columns of numbers.
//!
//! Rows come with dictionaries. The texts of one are looked up once for as long as batches share it,
//! and of each only when a row has it; of rows only the numbers are touched.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use foldhash::fast::RandomState;

use crate::error::{Error, ErrorKind};

/// Bytes of a text beside its own: its places in tables, at half load.
const OVERHEAD: usize = 64;
/// The text has not been looked at.
const NOT_YET: u32 = u32::MAX;
/// The number of a text that has none.
pub(super) const NO_TEXT: u32 = u32::MAX - 1;

/// Numbers for texts; 0 is the empty one, which is also what is absent.
#[derive(Debug)]
pub(super) struct Texts {
    numbers: HashMap<Arc<str>, u32, RandomState>,
    all: Vec<Arc<str>>,
    /// Of all of them together.
    bytes: usize,
}

impl Texts {
    pub(super) fn new() -> Self {
        let empty: Arc<str> = Arc::from("");
        let numbers = std::iter::once((Arc::clone(&empty), 0)).collect();
        Self { numbers, all: vec![empty], bytes: 0 }
    }

    /// The number of a text, a new one if need be.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or_default();
        let text: Arc<str> = Arc::from(text);
        self.bytes += text.len() + OVERHEAD;
        self.all.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    /// The number of a text that is known.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    /// A text by its number.
    pub(super) fn get(&self, number: u32) -> &str {
        self.all.get(number as usize).map_or("", AsRef::as_ref)
    }

    /// Numbers here for the numbers of others.
    pub(super) fn of(&mut self, others: &Self) -> Vec<u32> {
        others.all.iter().map(|text| self.number(text)).collect()
    }

    /// Bytes that they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Turns the batches of one label's column into numbers.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The dictionary of the last batch, and what is known of its texts.
    dictionary: Option<(ArrayRef, Vec<u32>)>,
    integers: HashMap<i64, u32, RandomState>,
}

impl Reader {
    /// Puts the number of each row's text into `out`; `number_of` tells that of a text, always the same.
    ///
    /// # Errors
    /// The column is none of a label: a defect.
    pub(super) fn read(
        &mut self,
        column: &ArrayRef,
        mut number_of: impl FnMut(&str) -> u32,
        out: &mut Vec<u32>,
    ) -> Result<(), Error> {
        out.clear();
        if let Some(dictionary) = column.as_dictionary_opt::<Int32Type>()
            && dictionary.values().as_string_opt::<i32>().is_some()
        {
            let keys = dictionary.keys();
            let known = self.known(dictionary.values());
            let strings = dictionary.values().as_string::<i32>();
            let mut number = |key: i32| {
                let key = usize::try_from(key).unwrap_or(usize::MAX);
                let Some(known) = known.get_mut(key) else { return 0 };
                if *known == NOT_YET {
                    let text = if strings.is_valid(key) { strings.value(key) } else { "" };
                    *known = number_of(text);
                }
                *known
            };
            if keys.null_count() == 0 {
                out.extend(keys.values().iter().map(|key| number(*key)));
            } else {
                out.extend(keys.iter().map(|key| key.map_or(0, &mut number)));
            }
            return Ok(());
        }
        if column.data_type().is_integer() {
            let integers = cast(column, &DataType::Int64).map_err(|e| no_text(&e))?;
            let integers = integers.as_primitive::<Int64Type>();
            let mut number = |integer: i64| {
                let known = self.integers.entry(integer);
                *known.or_insert_with(|| number_of(&integer.to_string()))
            };
            out.extend(integers.iter().map(|integer| integer.map_or(0, &mut number)));
            return Ok(());
        }
        let strings = cast(column, &DataType::Utf8View).map_err(|e| no_text(&e))?;
        let strings = strings.as_string_view();
        out.extend(strings.iter().map(|text| number_of(text.unwrap_or(""))));
        Ok(())
    }

    /// What is known of a dictionary's texts: nothing of one that is not the last batch's.
    fn known(&mut self, values: &ArrayRef) -> &mut Vec<u32> {
        let is_same = self.dictionary.as_ref().is_some_and(|(last, _)| are_same(last, values));
        if !is_same {
            self.dictionary = None;
        }
        let new = || (Arc::clone(values), vec![NOT_YET; values.len()]);
        &mut self.dictionary.get_or_insert_with(new).1
    }
}

/// Two arrays of strings are the same memory. Both are held, so none of it is another's by now.
fn are_same(a: &ArrayRef, b: &ArrayRef) -> bool {
    if Arc::ptr_eq(a, b) {
        return true;
    }
    let (Some(a), Some(b)) = (a.as_string_opt::<i32>(), b.as_string_opt::<i32>()) else {
        return false;
    };
    let offsets = |array: &arrow::array::StringArray| array.value_offsets().as_ptr();
    let bytes = |array: &arrow::array::StringArray| array.value_data().as_ptr();
    a.len() == b.len() && offsets(a) == offsets(b) && bytes(a) == bytes(b)
}

fn no_text(error: &arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, format!("label is no text: {error}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int32Array, StringArray};

    use super::*;

    fn read(reader: &mut Reader, texts: &mut Texts, column: ArrayRef) -> Vec<String> {
        let mut numbers = Vec::new();
        reader.read(&column, |text| texts.number(text), &mut numbers).expect("labels");
        numbers.iter().map(|number| texts.get(*number).to_owned()).collect()
    }

    #[test]
    fn columns_of_any_kind_become_numbers_of_texts() {
        let (mut reader, mut texts) = (Reader::default(), Texts::new());
        let first: DictionaryArray<Int32Type> =
            [Some("a"), None, Some("b"), Some("a")].into_iter().collect();
        // The same dictionary with other rows.
        let keys = Int32Array::from(vec![1, 1, 0]);
        let again = DictionaryArray::try_new(keys, Arc::clone(first.values())).expect("a column");
        // Another one, in which the same keys are other texts, one of them absent.
        let values = Arc::new(StringArray::from(vec![Some("b"), None, Some("c")]));
        let other = DictionaryArray::<Int32Type>::try_new(Int32Array::from(vec![0, 1, 2]), values);
        assert_eq!(read(&mut reader, &mut texts, Arc::new(first)), ["a", "", "b", "a"]);
        assert_eq!(read(&mut reader, &mut texts, Arc::new(again)), ["b", "b", "a"]);
        assert_eq!(
            read(&mut reader, &mut texts, Arc::new(other.expect("a column"))),
            ["b", "", "c"]
        );
        let ports = Arc::new(Int32Array::from(vec![Some(443), None, Some(443)]));
        assert_eq!(read(&mut reader, &mut texts, ports), ["443", "", "443"]);
        let plain = Arc::new(StringArray::from(vec![Some("c"), None]));
        assert_eq!(read(&mut reader, &mut texts, plain), ["c", ""]);
        assert_eq!(texts.find("c"), Some(texts.number("c")));
        assert_eq!(texts.find("d"), None);
    }

    #[test]
    fn a_slice_of_a_dictionary_is_another_one() {
        let (mut reader, mut texts) = (Reader::default(), Texts::new());
        let all = StringArray::from(vec!["a", "b", "c"]);
        for (values, expected) in
            [(all.slice(0, 2), "a"), (all.slice(1, 2), "b"), (all.slice(0, 3), "a")]
        {
            let column =
                DictionaryArray::<Int32Type>::try_new(Int32Array::from(vec![0]), Arc::new(values));
            assert_eq!(
                read(&mut reader, &mut texts, Arc::new(column.expect("a column"))),
                [expected]
            );
        }
    }
}
