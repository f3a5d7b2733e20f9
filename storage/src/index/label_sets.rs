//! Labels that are in one text together, as a table of series has them.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray};
use arrow::datatypes::Int32Type;

use super::MAX_VALUES;
use super::collect::{ABSENT, Column};
use crate::series::{column_of, labels::text_labels};

/// Labels that are indexed; what comes later is not.
const MAX_LABELS: usize = 128;

/// Runs of equal values of every label.
#[derive(Debug, Default)]
pub(super) struct LabelSets {
    columns: Vec<Column>,
    /// Place of each label's column.
    places: HashMap<String, usize>,
    /// Columns that have a value in the last row.
    present: Vec<usize>,
    /// The text of the last row.
    last: Option<String>,
    given_up: bool,
}

impl LabelSets {
    /// Adds the rows that follow, the first of them number `first`.
    pub(super) fn add(&mut self, labels: Option<&DictionaryArray<Int32Type>>, first: usize) {
        let texts: Option<(_, &ArrayRef)> = labels.map(|labels| (labels.keys(), labels.values()));
        let texts = texts.and_then(|(keys, values)| Some((keys, values.as_string_opt::<i32>()?)));
        let Some((keys, texts)) = texts.filter(|_| !self.given_up) else {
            *self = Self { given_up: true, ..Self::default() };
            return;
        };
        let mut previous = None;
        for (row, key) in keys.iter().enumerate() {
            if previous == Some(key) {
                continue;
            }
            previous = Some(key);
            let entry = key.and_then(|key| usize::try_from(key).ok());
            let entry = entry.filter(|entry| *entry < texts.len() && texts.is_valid(*entry));
            let text = entry.map_or("{}", |entry| texts.value(entry));
            if self.last.as_deref() != Some(text) {
                self.row(text, first + row);
                self.last = Some(text.to_owned());
            }
        }
        for column in &mut self.columns {
            if column.values.len() > MAX_VALUES {
                column.give_up();
            }
        }
    }

    /// A row with other labels than the one before.
    fn row(&mut self, text: &str, row: usize) {
        let before = std::mem::take(&mut self.present);
        for (name, value) in text_labels(text).map_while(Result::ok) {
            let place = match self.places.get(name.as_ref()) {
                Some(place) => *place,
                None if self.columns.len() >= MAX_LABELS => continue,
                None => {
                    let mut column = Column::new(&column_of(&name));
                    if row > 0 {
                        column.run(ABSENT, 0);
                    }
                    self.columns.push(column);
                    self.places.insert(name.into_owned(), self.columns.len() - 1);
                    self.columns.len() - 1
                }
            };
            let Some(column) = self.columns.get_mut(place) else { continue };
            if !column.given_up {
                let number = column.number_of(&value);
                column.run(number, row);
                self.present.push(place);
            }
        }
        for place in before.into_iter().filter(|place| !self.present.contains(place)) {
            if let Some(column) = self.columns.get_mut(place)
                && !column.given_up
            {
                column.run(ABSENT, row);
            }
        }
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter()
    }
}
