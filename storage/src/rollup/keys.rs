//! Which rows have equal keys.
//!
//! The key of a row is a run of 32-bit words, one for a label (its number among the values seen, 0
//! for null), one or two for a number, and one with a bit for each number that is null. Words of rows
//! lie one after the other, so that comparing two keys touches one place in memory.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use hashbrown::HashTable;

use super::RollupError;

/// Rows that are looked at together: their words fit into the processor's cache.
const CHUNK: usize = 4096;

/// Distinct keys in the order in which they first came.
pub(crate) struct Keys {
    columns: Vec<KeyColumn>,
    /// Words of a key.
    width: usize,
    /// Words of all distinct keys.
    words: Vec<u32>,
    groups: usize,
    table: HashTable<Entry>,
    seeds: [u64; 2],
    scratch: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    group: u32,
}

struct KeyColumn {
    name: String,
    /// First of its words.
    word: usize,
    kind: Kind,
}

enum Kind {
    Label(Interner),
    Int32 { null: u32 },
    Int64 { null: u32 },
    Time,
}

/// Numbers for texts, from 1 in the order in which they came.
#[derive(Default)]
struct Interner {
    ids: HashMap<Arc<str>, u32>,
    values: Vec<Arc<str>>,
}

impl Interner {
    fn id(&mut self, value: &str) -> u32 {
        if let Some(id) = self.ids.get(value) {
            return *id;
        }
        let value: Arc<str> = value.into();
        self.values.push(value.clone());
        let id = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.ids.insert(value, id);
        id
    }
}

impl Keys {
    /// Keys made of the given columns: labels, `Int32`, `Int64` and times.
    pub(crate) fn new<'a>(
        columns: impl IntoIterator<Item = (&'a str, &'a DataType)>,
    ) -> Result<Self, RollupError> {
        let mut found = Vec::new();
        let mut width = 1; // the word of nulls
        let mut null = 1u32;
        for (name, data_type) in columns {
            let (kind, words) = match data_type {
                DataType::Dictionary(..) => (Kind::Label(Interner::default()), 1),
                DataType::Int32 => (Kind::Int32 { null }, 1),
                DataType::Int64 => (Kind::Int64 { null }, 2),
                DataType::Timestamp(..) => (Kind::Time, 2),
                _ => return Err(RollupError::Column(name.to_owned())),
            };
            if matches!(kind, Kind::Int32 { .. } | Kind::Int64 { .. }) {
                null = null.checked_mul(2).ok_or_else(|| RollupError::Column(name.to_owned()))?;
            }
            found.push(KeyColumn { name: name.to_owned(), word: width, kind });
            width += words;
        }
        // The seeds keep senders from choosing keys that collide.
        let random = std::collections::hash_map::RandomState::new();
        Ok(Self {
            columns: found,
            width,
            words: Vec::new(),
            groups: 0,
            table: HashTable::new(),
            seeds: [random.hash_one(0), random.hash_one(1) | 1],
            scratch: Vec::new(),
        })
    }

    /// Number of distinct keys so far.
    pub(crate) fn len(&self) -> usize {
        self.groups
    }

    /// The group of each row: the number of its key.
    pub(crate) fn groups_of(&mut self, batch: &RecordBatch) -> Result<Vec<u32>, RollupError> {
        let mut readers = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            let array = batch
                .column_by_name(&column.name)
                .ok_or_else(|| RollupError::Column(column.name.clone()))?;
            let reader = Reader::new(array, &mut column.kind)
                .ok_or_else(|| RollupError::Column(column.name.clone()))?;
            readers.push((column.word, reader));
        }
        let mut groups = Vec::with_capacity(batch.num_rows());
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = CHUNK.min(batch.num_rows() - from);
            scratch.clear();
            scratch.resize(rows * self.width, 0);
            for (word, reader) in &readers {
                reader.fill(from, *word, self.width, &mut scratch);
            }
            for key in scratch.chunks_exact(self.width) {
                groups.push(self.group(key));
            }
            from += rows;
        }
        self.scratch = scratch;
        Ok(groups)
    }

    fn group(&mut self, key: &[u32]) -> u32 {
        let hash = self.hash(key);
        let (words, width) = (&self.words, self.width);
        let same = |entry: &Entry| {
            let at = usize::try_from(entry.group).unwrap_or(usize::MAX).saturating_mul(width);
            entry.hash == hash && words.get(at..at + width) == Some(key)
        };
        if let Some(entry) = self.table.find(hash, same) {
            return entry.group;
        }
        let group = u32::try_from(self.groups).unwrap_or(u32::MAX);
        self.table.insert_unique(hash, Entry { hash, group }, |entry| entry.hash);
        self.words.extend_from_slice(key);
        self.groups += 1;
        group
    }

    /// Folded 128-bit products of two words at a time.
    fn hash(&self, key: &[u32]) -> u64 {
        let [mut hash, multiplier] = self.seeds;
        for pair in key.chunks(2) {
            let word = match pair {
                [a, b] => u64::from(*a) | u64::from(*b) << 32,
                [a] => u64::from(*a),
                _ => 0,
            };
            let product = u128::from(hash ^ word) * u128::from(multiplier);
            let (low, high) = (product & u128::from(u64::MAX), product >> 64);
            hash = u64::try_from(low ^ high).unwrap_or_default().rotate_left(23);
        }
        hash
    }

    /// The key columns of all groups, in their order.
    pub(crate) fn finish(&self) -> Result<HashMap<String, ArrayRef>, RollupError> {
        self.columns.iter().map(|c| Ok((c.name.clone(), self.column(c)?))).collect()
    }

    fn column(&self, column: &KeyColumn) -> Result<ArrayRef, RollupError> {
        let keys = || self.words.chunks_exact(self.width);
        let word = |key: &[u32], n: usize| key.get(n).copied().unwrap_or_default();
        let long = |key: &[u32]| {
            let bits =
                u64::from(word(key, column.word)) | u64::from(word(key, column.word + 1)) << 32;
            bits.cast_signed()
        };
        Ok(match &column.kind {
            Kind::Label(interner) => {
                let values: StringArray =
                    interner.values.iter().map(|v| Some(v.as_ref())).collect();
                let rows: Int32Array = keys()
                    .map(|key| word(key, column.word).checked_sub(1))
                    .map(|id| id.and_then(|id| i32::try_from(id).ok()))
                    .collect();
                Arc::new(DictionaryArray::<Int32Type>::try_new(rows, Arc::new(values))?)
            }
            Kind::Int32 { null } => Arc::new(
                keys()
                    .map(|key| {
                        (word(key, 0) & null == 0).then(|| word(key, column.word).cast_signed())
                    })
                    .collect::<Int32Array>(),
            ),
            Kind::Int64 { null } => Arc::new(
                keys()
                    .map(|key| (word(key, 0) & null == 0).then(|| long(key)))
                    .collect::<Int64Array>(),
            ),
            Kind::Time => {
                let times = TimestampMicrosecondArray::from_iter_values(keys().map(long));
                Arc::new(times.with_timezone("UTC"))
            }
        })
    }
}

/// A key column of one batch.
enum Reader<'a> {
    Label { rows: &'a Int32Array, ids: Vec<u32> },
    Int32 { rows: &'a Int32Array, null: u32 },
    Int64 { rows: &'a Int64Array, null: u32 },
    Time { rows: &'a [i64] },
}

impl<'a> Reader<'a> {
    fn new(array: &'a ArrayRef, kind: &mut Kind) -> Option<Self> {
        Some(match kind {
            Kind::Label(interner) => {
                let labels = array.as_dictionary_opt::<Int32Type>()?;
                let values = labels.values().as_string_opt::<i32>()?;
                let ids = values.iter().map(|v| v.map_or(0, |v| interner.id(v))).collect();
                Self::Label { rows: labels.keys(), ids }
            }
            Kind::Int32 { null } => Self::Int32 { rows: array.as_primitive_opt()?, null: *null },
            Kind::Int64 { null } => {
                Self::Int64 { rows: array.as_primitive_opt::<Int64Type>()?, null: *null }
            }
            Kind::Time => {
                let times = array.as_primitive_opt::<TimestampMicrosecondType>()?;
                Self::Time { rows: times.values() }
            }
        })
    }

    /// Writes its words of the rows `from..` into keys of `width` words.
    fn fill(&self, from: usize, at: usize, width: usize, keys: &mut [u32]) {
        let keys = keys.chunks_exact_mut(width);
        match self {
            Self::Label { rows, ids } => {
                let nulls = rows.nulls();
                let values = rows.values().get(from..).unwrap_or(&[]);
                for ((i, key), value) in keys.enumerate().zip(values) {
                    // What a null row holds besides is of no account.
                    let null = nulls.is_some_and(|n| n.is_null(from + i));
                    let id = usize::try_from(*value).ok().and_then(|v| ids.get(v)).copied();
                    if let (Some(word), false) = (key.get_mut(at), null) {
                        *word = id.unwrap_or_default();
                    }
                }
            }
            Self::Int32 { rows, null } => {
                for (i, key) in keys.enumerate() {
                    let valid = rows.is_valid(from + i);
                    let value = if valid { rows.value(from + i).cast_unsigned() } else { 0 };
                    write(key, at, [value], if valid { 0 } else { *null });
                }
            }
            Self::Int64 { rows, null } => {
                for (i, key) in keys.enumerate() {
                    let valid = rows.is_valid(from + i);
                    let value = if valid { rows.value(from + i) } else { 0 };
                    write(key, at, halves(value), if valid { 0 } else { *null });
                }
            }
            Self::Time { rows } => {
                for (key, value) in keys.zip(rows.get(from..).unwrap_or(&[])) {
                    write(key, at, halves(*value), 0);
                }
            }
        }
    }
}

fn halves(value: i64) -> [u32; 2] {
    let bits = value.cast_unsigned();
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
    [half(bits), half(bits >> 32)]
}

fn write<const N: usize>(key: &mut [u32], at: usize, words: [u32; N], nulls: u32) {
    for (place, word) in key.iter_mut().skip(at).zip(words) {
        *place = word;
    }
    if let Some(place) = key.first_mut() {
        *place |= nulls;
    }
}
