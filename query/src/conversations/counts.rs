//! Histograms of groups that are known, counted on the rows themselves.
//!
//! They are large, so they are counted only for what is shown, each once: groups that make one edge of a map count as one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::memory_pool::MemoryReservation;
use foldhash::fast::RandomState;
use weir_wire::histogram::BUCKETS;

use super::groups::{Groups, OVERHEAD, misshapen, read};
use super::keys::Walk;
use super::measure::{Histogram, Slots};
use super::texts::{NO_TEXT, Reader};
use crate::error::Error;
use crate::flows::{add_counts, each_histogram};

/// The group that the histograms of each group are added to; groups that are not there are left out.
pub(super) type Into = HashMap<usize, usize, RandomState>;

/// Adds histograms of rows to groups that are known: one for each thread.
pub(super) struct Counter {
    groups: Arc<Groups>,
    into: Arc<Into>,
    readers: Vec<Reader>,
    walk: Walk,
    slots: Counted,
    memory: MemoryReservation,
}

/// What was counted, by group.
pub(super) type Counted = HashMap<(usize, Histogram), Box<Slots>, RandomState>;

impl Counter {
    /// For these groups.
    pub(super) fn new(groups: &Arc<Groups>, into: &Arc<Into>) -> Self {
        Self {
            readers: std::iter::repeat_with(Reader::default).take(groups.keys.width()).collect(),
            walk: Walk::default(),
            slots: HashMap::default(),
            memory: groups.memory.new_empty(),
            groups: Arc::clone(groups),
            into: Arc::clone(into),
        }
    }

    /// Adds rows: labels, then two columns for each histogram.
    ///
    /// # Errors
    /// [`ErrorKind::Execution`] for more than the memory of all queries has room for.
    pub(super) fn add(
        &mut self,
        batch: &RecordBatch,
        histograms: &[Histogram],
    ) -> Result<(), Error> {
        let Groups { texts, keys, .. } = self.groups.as_ref();
        let columns = batch.columns().split_at_checked(keys.width());
        let (labels, columns) = columns.ok_or_else(misshapen)?;
        let number = |text: &str| texts.find(text).unwrap_or(NO_TEXT);
        let texts = read(labels, &mut self.readers, number)?;
        let (walk, into, mut key) = (&mut self.walk, &self.into, Vec::new());
        let group = |row: usize| {
            key.clear();
            key.extend(texts.iter().map(|of_rows| of_rows.get(row).copied().unwrap_or(0)));
            into.get(&keys.find_next(walk, &key)?).copied()
        };
        let of_rows: Vec<Option<usize>> = (0..batch.num_rows()).map(group).collect();
        for (histogram, pair) in histograms.iter().zip(columns.chunks_exact(2)) {
            let [offsets, buckets] = pair else { continue };
            each_histogram(offsets, buckets, |row, offset, counts| {
                let Some(group) = of_rows.get(row).copied().flatten() else { return };
                let slots = self.slots.entry((group, *histogram));
                let slots = slots.or_insert_with(|| Box::new([0; BUCKETS]));
                add_counts(slots.as_mut(), offset, counts);
            })?;
        }
        self.memory.try_resize(self.slots.len() * (size_of::<Slots>() + OVERHEAD))?;
        Ok(())
    }

    /// What it has counted.
    pub(super) fn finish(self) -> Counted {
        self.slots
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int64Type;
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};

    use super::*;
    use crate::conversations::groups::Side;
    use crate::conversations::measure::{Input, Sums};

    fn labels(rows: i64) -> ArrayRef {
        Arc::new((0..rows).map(|n| Some(n.to_string())).collect::<StringArray>())
    }

    #[test]
    fn histograms_are_added_to_the_groups_that_are_named_for_them() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
        let mut groups = Groups::new(1, vec![Input::Sum("tx_bytes")], &pool);
        let sums: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let first = RecordBatch::try_from_iter([("workload", labels(3)), ("tx_bytes", sums)]);
        let side =
            Side { labels: vec![0], numbers: vec![(0, 1)], histograms: Vec::new(), counts: None };
        groups.add(&first.expect("rows"), 1, &[side], &mut Vec::new()).expect("room");
        let lists = (0..5).map(|n| Some(vec![Some(1), Some(10 * n)]));
        let columns: [(&str, ArrayRef); 3] = [
            ("workload", labels(5)),
            ("rtt_offset", Arc::new(Int32Array::from(vec![0, 0, 0, 0, 0]))),
            ("rtt_buckets", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ];
        let rows = RecordBatch::try_from_iter(columns).expect("rows");
        // The second and the third group count as the third; the first is not wanted, more are not known.
        let (mut groups, into) =
            (Arc::new(groups), Arc::new([(1, 2), (2, 2)].into_iter().collect()));
        let mut counter = Counter::new(&groups, &into);
        counter.add(&rows, &[Histogram::Rtt]).expect("room");
        let counted = counter.finish();
        let groups = Arc::get_mut(&mut groups).expect("nobody else has them");
        groups.take(counted).expect("room");
        let third = groups.get(2);
        let counts = third.slots(Histogram::Rtt).expect("counts");
        assert_eq!(counts[..4], [0, 2, 30, 0]);
        assert!([0, 1].into_iter().all(|n| groups.get(n).slots(Histogram::Rtt).is_none()));
    }
}
