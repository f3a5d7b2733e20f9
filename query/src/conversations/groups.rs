//! Groups of rows that are alike in some labels, and the sums of their numbers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use foldhash::fast::RandomState;
use weir_wire::histogram::BUCKETS;

use super::counts::Counted;
use super::keys::{Keys, Walk};
use super::measure::{Histogram, Input, Slots, Sums};
use super::texts::{Reader, Texts};
use crate::error::{Error, ErrorKind};
use crate::flows::{add_counts, each_histogram};

/// Nobody knew it.
const UNKNOWN: i64 = i64::MIN;
/// Bytes of a group's counts beside their own.
pub(super) const OVERHEAD: usize = 64;

/// Sums of groups of rows that are alike in some labels.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(super) texts: Texts,
    /// Numbers of the texts of each group's labels.
    pub(super) keys: Keys,
    /// One for each column of labels.
    readers: Vec<Reader>,
    inputs: Vec<Input>,
    /// A number for each input of each group.
    sums: Vec<i64>,
    slots: HashMap<(usize, Histogram), Box<Slots>, RandomState>,
    /// Counts of all rows.
    all_slots: HashMap<Histogram, Box<Slots>>,
    /// What all of it takes, out of the memory of all queries.
    pub(super) memory: MemoryReservation,
}

/// Which rows of a batch count, and as what.
#[derive(Debug, Clone)]
pub(super) struct Side {
    /// The columns of the labels that make a group, in their order.
    pub(super) labels: Vec<usize>,
    /// Places among the inputs, and the columns of their numbers.
    pub(super) numbers: Vec<(usize, usize)>,
    /// Histograms that are added up over all rows, and their two columns.
    pub(super) histograms: Vec<(Histogram, [usize; 2])>,
    /// The column that says which rows count; without one all do.
    pub(super) counts: Option<usize>,
}

/// A row that does not count.
const NO_GROUP: usize = usize::MAX;

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
        let text = self.groups.keys.get(self.number).get(at);
        text.map_or("", |text| self.groups.texts.get(*text))
    }

    /// Texts of all labels.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let own = *self;
        (0..own.groups.keys.get(own.number).len()).map(move |at| own.label(at))
    }

    /// Number among the groups.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl Groups {
    /// No groups yet, of so many labels and of numbers for these inputs; what they will take is out of `pool`.
    pub(super) fn new(labels: usize, inputs: Vec<Input>, pool: &Arc<dyn MemoryPool>) -> Self {
        Self {
            texts: Texts::new(),
            keys: Keys::new(labels),
            readers: Vec::new(),
            inputs,
            sums: Vec::new(),
            slots: HashMap::default(),
            all_slots: HashMap::new(),
            memory: MemoryConsumer::new("groups of conversations").register(pool),
        }
    }

    /// None, of the same labels and inputs, out of the same memory.
    pub(super) fn none_alike(&self) -> Self {
        Self {
            texts: Texts::new(),
            keys: Keys::new(self.keys.width()),
            readers: Vec::new(),
            inputs: self.inputs.clone(),
            sums: Vec::new(),
            slots: HashMap::default(),
            all_slots: HashMap::new(),
            memory: self.memory.new_empty(),
        }
    }

    /// Without labels there is one group, also of no rows.
    pub(super) fn one_without_labels(&mut self) {
        if self.keys.width() == 0 {
            self.keys.number(&mut Walk::default(), &[]);
            self.sums.resize(self.inputs.len(), UNKNOWN);
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
        let key: Option<Vec<u32>> = labels.map(|text| self.texts.find(text)).collect();
        self.keys.find(&key?)
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

    /// Adds the rows of a batch whose first columns are `labels` labels. `walks` has one for each side.
    ///
    /// # Errors
    /// [`ErrorKind::Execution`] for more than the memory of all queries has room for.
    pub(super) fn add(
        &mut self,
        batch: &RecordBatch,
        labels: usize,
        sides: &[Side],
        walks: &mut Vec<Walk>,
    ) -> Result<(), Error> {
        let columns = batch.columns();
        let (texts, readers) = (&mut self.texts, &mut self.readers);
        readers.resize_with(labels, Reader::default);
        walks.resize_with(sides.len(), Walk::default);
        let labels = columns.get(..labels).ok_or_else(misshapen)?;
        let texts = read(labels, readers, |text| texts.number(text))?;
        for (side, walk) in sides.iter().zip(&mut *walks) {
            self.add_side(columns, batch.num_rows(), &texts, side, walk)?;
        }
        let walked: usize = walks.iter().map(Walk::bytes).sum();
        self.memory.try_resize(self.bytes() + walked)?;
        Ok(())
    }

    fn add_side(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        texts: &[Vec<u32>],
        side: &Side,
        walk: &mut Walk,
    ) -> Result<(), Error> {
        let counts = match side.counts {
            None => None,
            Some(at) => {
                let counts = columns.get(at).and_then(|column| column.as_boolean_opt());
                Some(counts.ok_or_else(misshapen)?)
            }
        };
        let labels: Vec<&[u32]> =
            side.labels.iter().filter_map(|at| texts.get(*at)).map(Vec::as_slice).collect();
        let mut key = Vec::with_capacity(labels.len());
        let mut group = |row: usize| {
            if counts.is_some_and(|counts| counts.is_null(row) || !counts.value(row)) {
                return NO_GROUP;
            }
            key.clear();
            key.extend(labels.iter().map(|of_rows| of_rows.get(row).copied().unwrap_or(0)));
            self.keys.number(walk, &key)
        };
        let of_rows: Vec<usize> = (0..rows).map(&mut group).collect();
        let width = self.inputs.len();
        self.sums.resize(self.keys.len() * width, UNKNOWN);
        for (place, column) in &side.numbers {
            let column = columns.get(*column).and_then(|c| c.as_primitive_opt::<Int64Type>());
            let column = column.ok_or_else(misshapen)?;
            let input = self.inputs.get(*place).copied().ok_or_else(misshapen)?;
            let sums = &mut self.sums;
            let mut add = |group: usize, value: i64| {
                if group == NO_GROUP {
                    return;
                }
                if let Some(sum) = sums.get_mut(group * width + place) {
                    merge(sum, value, input);
                }
            };
            let rows = of_rows.iter().zip(column.values());
            match column.nulls() {
                None => rows.for_each(|(group, value)| add(*group, *value)),
                Some(valid) => rows
                    .zip(valid)
                    .filter(|(_, valid)| *valid)
                    .for_each(|((group, value), _)| add(*group, *value)),
            }
        }
        for (histogram, [offsets, buckets]) in &side.histograms {
            let pair = columns.get(*offsets).zip(columns.get(*buckets));
            let (offsets, buckets) = pair.ok_or_else(misshapen)?;
            let slots = self.all_slots.entry(*histogram).or_insert_with(|| Box::new([0; BUCKETS]));
            each_histogram(offsets, buckets, |row, offset, counts| {
                if of_rows.get(row).is_some_and(|group| *group != NO_GROUP) {
                    add_counts(slots.as_mut(), offset, counts);
                }
            })?;
        }
        Ok(())
    }

    /// Counts of all rows, of the histograms that were asked for.
    pub(super) fn of_all(&self) -> &HashMap<Histogram, Box<Slots>> {
        &self.all_slots
    }

    /// Takes over what was counted.
    ///
    /// # Errors
    /// [`ErrorKind::Execution`] for more than the memory of all queries has room for.
    pub(super) fn take(&mut self, counted: Counted) -> Result<(), Error> {
        for (of, counts) in counted {
            match self.slots.entry(of) {
                Entry::Occupied(known) => add(known.into_mut(), &counts),
                Entry::Vacant(new) => {
                    new.insert(counts);
                }
            }
        }
        self.memory.try_resize(self.bytes())?;
        Ok(())
    }

    /// Adds the groups of others that are of the same labels and inputs.
    ///
    /// # Errors
    /// [`ErrorKind::Execution`] for more than the memory of all queries has room for.
    pub(super) fn absorb(&mut self, others: Self) -> Result<(), Error> {
        if self.len() == 0 && self.all_slots.is_empty() {
            *self = others;
            return Ok(());
        }
        let texts = self.texts.of(&others.texts);
        let width = self.inputs.len();
        let (mut walk, mut key) = (Walk::default(), Vec::with_capacity(self.keys.width()));
        let mut of_others = Vec::with_capacity(others.len());
        for number in 0..others.len() {
            key.clear();
            let own = |text: &u32| texts.get(*text as usize).copied().unwrap_or(0);
            key.extend(others.keys.get(number).iter().map(own));
            of_others.push(self.keys.number(&mut walk, &key));
        }
        self.sums.resize(self.keys.len() * width, UNKNOWN);
        for (from, to) in of_others.iter().enumerate() {
            let from = others.sums.get(from * width..(from + 1) * width).unwrap_or(&[]);
            let to = self.sums.get_mut(to * width..(to + 1) * width).unwrap_or(&mut []);
            let each = to.iter_mut().zip(from).zip(&self.inputs);
            each.for_each(|((sum, value), input)| merge(sum, *value, *input));
        }
        for ((number, histogram), counts) in &others.slots {
            let Some(own) = of_others.get(*number) else { continue };
            let entry = self.slots.entry((*own, *histogram));
            add(entry.or_insert_with(|| Box::new([0; BUCKETS])), counts);
        }
        for (histogram, counts) in &others.all_slots {
            let all = self.all_slots.entry(*histogram);
            add(all.or_insert_with(|| Box::new([0; BUCKETS])), counts);
        }
        self.memory.try_resize(self.bytes())?;
        Ok(())
    }

    /// Bytes that it takes, about.
    fn bytes(&self) -> usize {
        let sums = self.sums.len() * size_of::<i64>();
        let slots = self.slots.len() * (size_of::<Slots>() + OVERHEAD);
        self.texts.bytes() + self.keys.bytes() + sums + slots
    }
}

/// Numbers of the texts of rows, label by label.
///
/// # Errors
/// A column is none of a label: a defect.
pub(super) fn read(
    labels: &[ArrayRef],
    readers: &mut [Reader],
    mut number: impl FnMut(&str) -> u32,
) -> Result<Vec<Vec<u32>>, Error> {
    let each = labels.iter().zip(readers).map(|(column, reader)| {
        let mut numbers = Vec::with_capacity(column.len());
        reader.read(column, &mut number, &mut numbers)?;
        Ok(numbers)
    });
    each.collect()
}

/// Adds counts up.
pub(super) fn add(into: &mut Slots, counts: &Slots) {
    for (slot, count) in into.iter_mut().zip(counts) {
        *slot = slot.saturating_add(*count);
    }
}

pub(super) fn misshapen() -> Error {
    Error::new(ErrorKind::Internal, "aggregate has not the columns that it was asked for")
}

impl Total {
    /// The same with other counts of histograms.
    pub(super) fn with_slots(mut self, slots: HashMap<Histogram, Box<Slots>>) -> Self {
        self.slots = slots;
        self
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    /// A label and a number.
    fn side() -> Vec<Side> {
        let numbers = vec![(0, 1)];
        vec![Side { labels: vec![0], numbers, histograms: Vec::new(), counts: None }]
    }

    fn batch(rows: i64) -> RecordBatch {
        let labels: ArrayRef =
            Arc::new((0..rows).map(|n| Some(n.to_string())).collect::<StringArray>());
        let numbers: ArrayRef = Arc::new((0..rows).collect::<Int64Array>());
        RecordBatch::try_from_iter([("workload", labels), ("tx_bytes", numbers)]).expect("a batch")
    }

    #[test]
    fn groups_take_the_memory_of_queries_and_give_it_back() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
        let mut groups = Groups::new(1, vec![Input::Sum("tx_bytes")], &pool);
        let mut walks = Vec::new();
        for _ in 0..2 {
            groups.add(&batch(100), 1, &side(), &mut walks).expect("room for them");
        }
        let taken = pool.reserved();
        assert!(taken > 100 * 16, "{taken}");
        groups.add(&batch(100), 1, &side(), &mut walks).expect("the same groups");
        assert_eq!(pool.reserved(), taken);
        assert_eq!(groups.get(7).get(Input::Sum("tx_bytes")), Some(21));
        let error = groups.add(&batch(100_000), 1, &side(), &mut walks).expect_err("no room");
        assert_eq!(error.kind(), ErrorKind::Execution);
        drop(groups);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn rows_count_for_the_end_that_they_are_of() {
        use arrow::array::BooleanArray;

        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
        let inputs =
            vec![Input::Sum("tx_bytes"), Input::Server("tx_bytes"), Input::Sum("rx_bytes")];
        let mut groups = Groups::new(2, inputs, &pool);
        let texts = |all: [&str; 4]| -> ArrayRef { Arc::new(StringArray::from(all.to_vec())) };
        let columns: [(&str, ArrayRef); 5] = [
            ("workload", texts(["a", "b", "a", "c"])),
            ("peer_workload", texts(["b", "a", "b", "c"])),
            ("tx_bytes", Arc::new(Int64Array::from(vec![1, 20, 300, 4000]))),
            ("own", Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), None]))),
            ("other", Arc::new(BooleanArray::from(vec![false, true, false, false]))),
        ];
        let rows = RecordBatch::try_from_iter(columns).expect("rows");
        let side = |labels: [usize; 2], place, counts| Side {
            labels: labels.to_vec(),
            numbers: vec![(place, 2)],
            histograms: Vec::new(),
            counts: Some(counts),
        };
        let sides = [side([0, 1], 0, 3), side([1, 0], 1, 4)];
        groups.add(&rows, 2, &sides, &mut Vec::new()).expect("room");
        assert_eq!(groups.len(), 1, "c to c is of no end");
        let only = groups.get(0);
        assert_eq!(only.labels().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(only.get(Input::Sum("tx_bytes")), Some(301));
        assert_eq!(only.get(Input::Server("tx_bytes")), Some(20));
        assert_eq!(only.get(Input::Sum("rx_bytes")), None);
    }
}
