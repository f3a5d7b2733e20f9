//! Gathering which rows have which value, while a file is written.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Schema};

use super::label_sets::LabelSets;
use super::{BYTES_PER_KROW, MAX_VALUES, SERIES_BYTES_PER_KROW};
use crate::series;
use crate::spec::TableSpec;

/// Number of a dictionary entry that no row had yet.
const UNSEEN: u32 = u32::MAX;
/// Number of "no value".
pub(super) const ABSENT: u32 = u32::MAX - 1;
/// Rows for each run, on average, below which a column is given up: its index would be larger than
/// the budget of all columns.
const MIN_RUN: usize = 4;
/// Runs that any column may have.
const FREE_RUNS: usize = 16 << 10;

/// Runs of equal values in every label column of a file.
///
/// Works on dictionary keys: a text is looked at once for each batch's dictionary, not for each row.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(super) rows: usize,
    pub(super) columns: Vec<Column>,
    /// Labels in a text of many, of a table of series.
    label_sets: Option<LabelSets>,
    /// Bytes that the index may have for each 1024 rows.
    pub(super) bytes_per_krow: usize,
}

/// One label column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    ids: HashMap<Box<str>, u32>,
    /// Distinct values in the order they came.
    pub(super) values: Vec<Box<str>>,
    /// Value and first row of each run. A run ends where the next begins.
    pub(super) runs: Vec<(u32, u32)>,
    /// More values or runs than an index can pay for.
    pub(super) given_up: bool,
    /// The dictionary that `numbers` is about.
    dictionary: Option<ArrayRef>,
    /// Number of each entry of the dictionary.
    numbers: Vec<u32>,
}

impl Collector {
    /// For the labels of a table: its dictionary-encoded text columns, and what is in texts of labels.
    pub(crate) fn of(spec: &TableSpec) -> Self {
        let mut collector = Self::new(&spec.schema);
        if spec.series {
            collector.columns.retain(|column| column.name != series::LABELS);
            collector.label_sets = Some(LabelSets::default());
            collector.bytes_per_krow = SERIES_BYTES_PER_KROW;
        }
        collector
    }

    /// For the dictionary-encoded text columns of a schema.
    pub(crate) fn new(schema: &Schema) -> Self {
        let label = |data_type: &DataType| match data_type {
            DataType::Dictionary(key, value) => {
                **key == DataType::Int32 && **value == DataType::Utf8
            }
            _ => false,
        };
        let labels = schema.fields().iter().filter(|f| label(f.data_type()));
        Self {
            rows: 0,
            columns: labels.map(|f| Column::new(f.name())).collect(),
            label_sets: None,
            bytes_per_krow: BYTES_PER_KROW,
        }
    }

    /// Adds the rows that follow.
    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        let first = self.rows;
        self.rows = self.rows.saturating_add(batch.num_rows());
        for column in &mut self.columns {
            let labels =
                batch.column_by_name(&column.name).and_then(|c| c.as_dictionary_opt::<Int32Type>());
            match labels {
                Some(labels) if u32::try_from(self.rows).is_ok_and(|n| n < ABSENT) => {
                    column.add(labels, first);
                }
                // Row numbers have no more than 32 bits.
                _ => column.give_up(),
            }
        }
        if let Some(label_sets) = &mut self.label_sets {
            let labels = batch
                .column_by_name(series::LABELS)
                .and_then(|c| c.as_dictionary_opt::<Int32Type>())
                .filter(|_| u32::try_from(self.rows).is_ok_and(|n| n < ABSENT));
            label_sets.add(labels, first);
        }
    }

    /// All columns of the index.
    pub(super) fn columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().chain(self.label_sets.iter().flat_map(LabelSets::columns))
    }
}

impl Column {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ids: HashMap::new(),
            values: Vec::new(),
            runs: Vec::new(),
            given_up: false,
            dictionary: None,
            numbers: Vec::new(),
        }
    }

    pub(super) fn give_up(&mut self) {
        *self = Self { given_up: true, ..Self::new(&self.name) };
    }

    fn add(&mut self, labels: &DictionaryArray<Int32Type>, first: usize) {
        if self.given_up {
            return;
        }
        let values = labels.values();
        if !self.dictionary.as_ref().is_some_and(|known| known.to_data().ptr_eq(&values.to_data()))
        {
            self.dictionary = Some(values.clone());
            self.numbers.clear();
            self.numbers.resize(values.len(), UNSEEN);
        }
        let keys = labels.keys();
        let mut previous = None;
        for (row, key) in keys.values().iter().enumerate() {
            let key = if keys.is_valid(row) { *key } else { -1 };
            if previous == Some(key) {
                continue;
            }
            previous = Some(key);
            let id = self.number(key, values);
            self.run(id, first + row);
        }
        let rows = first + keys.len();
        if self.values.len() > MAX_VALUES || self.runs.len() > FREE_RUNS.max(rows / MIN_RUN) {
            self.give_up();
        }
    }

    /// The number of the value behind a key of the dictionary.
    fn number(&mut self, key: i32, values: &ArrayRef) -> u32 {
        let Ok(entry) = usize::try_from(key) else { return ABSENT };
        if let Some(id) = self.numbers.get(entry)
            && *id != UNSEEN
        {
            return *id;
        }
        let texts = values.as_string_opt::<i32>().filter(|t| entry < t.len() && t.is_valid(entry));
        let id = texts.map_or(ABSENT, |texts| self.number_of(texts.value(entry)));
        if let Some(slot) = self.numbers.get_mut(entry) {
            *slot = id;
        }
        id
    }

    /// The number of a value.
    pub(super) fn number_of(&mut self, text: &str) -> u32 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = u32::try_from(self.values.len()).unwrap_or(ABSENT);
        self.values.push(text.into());
        self.ids.insert(text.into(), id);
        id
    }

    /// Begins a run of rows with this value, unless it goes on.
    pub(super) fn run(&mut self, id: u32, row: usize) {
        if self.runs.last().is_none_or(|(last, _)| *last != id) {
            self.runs.push((id, u32::try_from(row).unwrap_or(u32::MAX)));
        }
    }
}
