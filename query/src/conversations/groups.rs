//! Groups of rows that are alike in some labels, and the sums of their numbers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use weir_wire::histogram::BUCKETS;

use super::measure::{Histogram, Input, Slots, Sums};
use crate::error::{Error, ErrorKind};

/// Bytes of a text, of a group and of its counts beside what they hold: places in tables, at half load.
const OVERHEAD: usize = 64;
/// Nobody knew it.
const UNKNOWN: i64 = i64::MIN;

/// Numbers for texts; 0 is the empty one, which is also what is absent.
#[derive(Debug)]
struct Texts {
    numbers: HashMap<Arc<str>, u32>,
    all: Vec<Arc<str>>,
    /// Of all of them together.
    bytes: usize,
}

impl Texts {
    fn new() -> Self {
        let empty: Arc<str> = Arc::from("");
        Self { numbers: HashMap::from([(Arc::clone(&empty), 0)]), all: vec![empty], bytes: 0 }
    }

    fn number(&mut self, text: &str) -> u32 {
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

    fn column(&mut self, column: &ArrayRef) -> Result<Vec<u32>, Error> {
        let text = cast(column, &DataType::Utf8View)
            .map_err(|e| Error::new(ErrorKind::Internal, format!("label is no text: {e}")))?;
        Ok(text.as_string_view().iter().map(|value| self.number(value.unwrap_or(""))).collect())
    }
}

/// Sums of groups of rows that are alike in some labels.
#[derive(Debug)]
pub(crate) struct Groups {
    texts: Texts,
    /// The texts of each group's labels.
    keys: Vec<Box<[u32]>>,
    index: HashMap<Box<[u32]>, usize>,
    inputs: Vec<Input>,
    /// A number for each input of each group.
    sums: Vec<i64>,
    slots: HashMap<(usize, Histogram), Box<Slots>>,
    /// What all of it takes, out of the memory of all queries.
    memory: MemoryReservation,
}

/// Which groups rows are added to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which<'a> {
    /// Their own, which may be new.
    Any,
    /// These alone; other rows are left out.
    Of(&'a HashSet<usize>),
}

/// One group's numbers, or those of several.
#[derive(Debug, Clone)]
pub(crate) struct Total {
    inputs: Arc<[Input]>,
    sums: Vec<i64>,
    /// Of the groups that both ends have told of.
    paired: Vec<i64>,
    slots: HashMap<Histogram, Box<Slots>>,
}

fn merge(into: &mut i64, value: i64, input: Input) {
    *into = match (*into, value, input) {
        (UNKNOWN, value, _) => value,
        (known, UNKNOWN, _) => known,
        (a, b, Input::Largest(_)) => a.max(b),
        (a, b, _) => a.saturating_add(b),
    };
}

impl Sums for Total {
    fn get(&self, input: Input) -> Option<i64> {
        let at = self.inputs.iter().position(|known| *known == input)?;
        self.sums.get(at).copied().filter(|sum| *sum != UNKNOWN)
    }

    fn paired(&self, input: Input) -> Option<i64> {
        let at = self.inputs.iter().position(|known| *known == input)?;
        self.paired.get(at).copied().filter(|sum| *sum != UNKNOWN)
    }

    fn slots(&self, histogram: Histogram) -> Option<&Slots> {
        self.slots.get(&histogram).map(AsRef::as_ref)
    }
}

/// One group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a> {
    groups: &'a Groups,
    number: usize,
}

impl Sums for Group<'_> {
    fn get(&self, input: Input) -> Option<i64> {
        let at = self.groups.inputs.iter().position(|known| *known == input)?;
        let sum = self.groups.sums.get(self.number * self.groups.inputs.len() + at);
        sum.copied().filter(|sum| *sum != UNKNOWN)
    }

    fn slots(&self, histogram: Histogram) -> Option<&Slots> {
        self.groups.slots.get(&(self.number, histogram)).map(AsRef::as_ref)
    }
}

impl<'a> Group<'a> {
    /// Text of a label by its place; empty where it is absent.
    pub(crate) fn label(&self, at: usize) -> &'a str {
        let key = self.groups.keys.get(self.number).and_then(|key| key.get(at));
        key.and_then(|text| self.groups.texts.all.get(*text as usize)).map_or("", AsRef::as_ref)
    }

    /// Texts of all labels.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let own = *self;
        let count = self.groups.keys.get(self.number).map_or(0, |key| key.len());
        (0..count).map(move |at| own.label(at))
    }

    /// Number among the groups.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl Groups {
    /// No groups yet, of numbers for these inputs; what they will take is out of `pool`.
    pub(super) fn new(inputs: Vec<Input>, pool: &Arc<dyn MemoryPool>) -> Self {
        Self {
            memory: MemoryConsumer::new("groups of conversations").register(pool),
            texts: Texts::new(),
            keys: Vec::new(),
            index: HashMap::new(),
            inputs,
            sums: Vec::new(),
            slots: HashMap::new(),
        }
    }

    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// All groups.
    pub(crate) fn all(&self) -> impl Iterator<Item = Group<'_>> {
        (0..self.len()).map(|number| Group { groups: self, number })
    }

    /// One by its number.
    pub(crate) fn get(&self, number: usize) -> Group<'_> {
        Group { groups: self, number }
    }

    /// The group with these labels.
    pub(crate) fn find<'t>(&self, labels: impl Iterator<Item = &'t str>) -> Option<usize> {
        let key: Option<Box<[u32]>> =
            labels.map(|text| self.texts.numbers.get(text).copied()).collect();
        self.index.get(&key?).copied()
    }

    /// The sum of some groups.
    pub(crate) fn total(&self, which: impl Fn(usize) -> bool) -> Total {
        self.total_of((0..self.len()).filter(|number| which(*number)))
    }

    /// The sum of groups by their numbers.
    pub(crate) fn total_of(&self, numbers: impl Iterator<Item = usize>) -> Total {
        let width = self.inputs.len();
        let mut sums = vec![UNKNOWN; width];
        let mut paired = sums.clone();
        let mut slots: HashMap<Histogram, Box<Slots>> = HashMap::new();
        let knows = |group: &[i64], server: bool| {
            let is = |input: &Input| matches!(input, Input::Server(_)) == server;
            group.iter().zip(&self.inputs).any(|(sum, input)| is(input) && *sum != UNKNOWN)
        };
        for number in numbers {
            let group = self.sums.get(number * width..(number + 1) * width).unwrap_or(&[]);
            let merge_into = |sums: &mut [i64]| {
                let each = sums.iter_mut().zip(group).zip(&self.inputs);
                each.for_each(|((sum, value), input)| merge(sum, *value, *input));
            };
            merge_into(&mut sums);
            if knows(group, false) && knows(group, true) {
                merge_into(&mut paired);
            }
            for histogram in [Histogram::Rtt, Histogram::Connect] {
                if let Some(counts) = self.slots.get(&(number, histogram)) {
                    add(slots.entry(histogram).or_insert_with(|| Box::new([0; BUCKETS])), counts);
                }
            }
        }
        Total { inputs: self.inputs.clone().into(), sums, paired, slots }
    }

    /// Adds rows of an aggregate: labels, then numbers for the inputs at `places`, then counts of histograms.
    ///
    /// # Errors
    /// [`ErrorKind::Execution`] for more than the memory of all queries has room for.
    pub(super) fn add(
        &mut self,
        batch: &RecordBatch,
        labels: usize,
        places: &[usize],
        histograms: &[Histogram],
        which: Which<'_>,
    ) -> Result<(), Error> {
        let (keys, rest) = batch.columns().split_at_checked(labels).ok_or_else(misshapen)?;
        let (numbers, counts) = rest.split_at_checked(places.len()).ok_or_else(misshapen)?;
        let keys: Vec<Vec<u32>> =
            keys.iter().map(|column| self.texts.column(column)).collect::<Result<_, _>>()?;
        let width = self.inputs.len();
        for row in 0..batch.num_rows() {
            let key: Box<[u32]> =
                keys.iter().map(|column| column.get(row).copied().unwrap_or(0)).collect();
            let number = match (self.index.get(&key), which) {
                (Some(number), Which::Of(wanted)) if !wanted.contains(number) => continue,
                (Some(number), _) => *number,
                (None, Which::Of(_)) => continue,
                (None, Which::Any) => {
                    let number = self.keys.len();
                    self.keys.push(key.clone());
                    self.index.insert(key, number);
                    self.sums.resize(self.sums.len() + width, UNKNOWN);
                    number
                }
            };
            for (place, column) in places.iter().zip(numbers) {
                let column = column.as_primitive::<Int64Type>();
                if column.is_null(row) {
                    continue;
                }
                let at = number * width + place;
                if let Some((sum, input)) = self.sums.get_mut(at).zip(self.inputs.get(*place)) {
                    merge(sum, column.value(row), *input);
                }
            }
            for (histogram, column) in histograms.iter().zip(counts) {
                let dense = column.as_fixed_size_list();
                if dense.is_null(row) {
                    continue;
                }
                let counts = dense.value(row);
                let entry = self.slots.entry((number, *histogram));
                let into = entry.or_insert_with(|| Box::new([0; BUCKETS]));
                for (slot, count) in
                    into.iter_mut().zip(counts.as_primitive::<Int64Type>().values())
                {
                    *slot = slot.saturating_add(*count);
                }
            }
        }
        self.memory.try_resize(self.bytes())?;
        Ok(())
    }

    /// Bytes that it takes, about.
    fn bytes(&self) -> usize {
        let width = self.keys.first().map_or(0, |key| key.len());
        // Each key is kept twice.
        let group = 2 * width * size_of::<u32>() + self.inputs.len() * size_of::<i64>() + OVERHEAD;
        self.texts.bytes
            + self.keys.len() * group
            + self.slots.len() * (size_of::<Slots>() + OVERHEAD)
    }
}

/// Adds counts up.
pub(super) fn add(into: &mut Slots, counts: &Slots) {
    for (slot, count) in into.iter_mut().zip(counts) {
        *slot = slot.saturating_add(*count);
    }
}

fn misshapen() -> Error {
    Error::new(ErrorKind::Internal, "aggregate has not the columns that it was asked for")
}

impl Total {
    /// The same with other counts of histograms.
    pub(super) fn with_slots(mut self, slots: HashMap<Histogram, Box<Slots>>) -> Self {
        self.slots = slots;
        self
    }

    /// Its counts of histograms.
    pub(super) fn into_slots(self) -> HashMap<Histogram, Box<Slots>> {
        self.slots
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let labels: ArrayRef =
            Arc::new((0..rows).map(|n| Some(n.to_string())).collect::<StringArray>());
        let numbers: ArrayRef = Arc::new((0..rows).collect::<Int64Array>());
        RecordBatch::try_from_iter([("workload", labels), ("tx_bytes", numbers)]).expect("a batch")
    }

    #[test]
    fn groups_take_the_memory_of_queries_and_give_it_back() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
        let mut groups = Groups::new(vec![Input::Sum("tx_bytes")], &pool);
        groups.add(&batch(100), 1, &[0], &[], Which::Any).expect("room for them");
        let taken = pool.reserved();
        assert!(taken > 100 * 16, "{taken}");
        groups.add(&batch(100), 1, &[0], &[], Which::Any).expect("the same groups");
        assert_eq!(pool.reserved(), taken);
        assert_eq!(groups.get(7).get(Input::Sum("tx_bytes")), Some(14));
        let error = groups.add(&batch(100_000), 1, &[0], &[], Which::Any).expect_err("no room");
        assert_eq!(error.kind(), ErrorKind::Execution);
        drop(groups);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn rows_of_groups_that_are_not_wanted_are_left_out() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
        let mut groups = Groups::new(vec![Input::Sum("tx_bytes")], &pool);
        groups.add(&batch(3), 1, &[0], &[], Which::Any).expect("room");
        let wanted = HashSet::from([2]);
        groups.add(&batch(5), 1, &[0], &[], Which::Of(&wanted)).expect("room");
        let sums: Vec<_> = groups.all().map(|group| group.get(Input::Sum("tx_bytes"))).collect();
        assert_eq!(sums, [Some(0), Some(1), Some(4)]);
    }
}
