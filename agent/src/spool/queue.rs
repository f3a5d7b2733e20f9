//! Which batches wait, and which must go: decisions without I/O.

use std::collections::{BTreeMap, VecDeque};

use weir_wire::Loss;

/// Bytes that may wait in memory when the disk refuses them.
pub(super) const MAX_MEMORY: u64 = 16 << 20;

/// A batch that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its place in the order of delivery, which is also its file name.
    pub(super) ordinal: u64,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    /// Losses that its header declares, and that nobody else does.
    pub(super) losses: BTreeMap<String, i64>,
    pub(super) in_memory: bool,
}

/// Waiting batches, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    in_flight: Option<u64>,
    /// What was lost and no batch has declared yet.
    pub(super) losses: BTreeMap<String, i64>,
}

impl Queue {
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    fn bytes(&self) -> u64 {
        self.entries.iter().filter(|e| !e.in_memory).map(|e| e.bytes).sum()
    }

    pub(super) fn in_memory(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|e| e.in_memory)
    }

    pub(super) fn now_on_disk(&mut self, ordinal: u64) {
        for entry in self.entries.iter_mut().filter(|e| e.ordinal == ordinal) {
            entry.in_memory = false;
        }
    }

    /// Takes the batches out that exceed the bounds, oldest first, and notes their loss. The batch
    /// that is under way stays: it may be acknowledged at this moment.
    pub(super) fn enforce(&mut self, max_bytes: u64) -> Vec<Entry> {
        let mut dropped = Vec::new();
        for (in_memory, bound) in [(false, max_bytes), (true, MAX_MEMORY)] {
            let waiting = |e: &Entry| e.in_memory == in_memory;
            let mut total: u64 = self.entries.iter().filter(|e| waiting(e)).map(|e| e.bytes).sum();
            let mut at = 0;
            while total > bound && at < self.entries.len() {
                let goes = self
                    .entries
                    .get(at)
                    .is_some_and(|e| waiting(e) && Some(e.ordinal) != self.in_flight);
                if !goes {
                    at += 1;
                } else if let Some(entry) = self.entries.remove(at) {
                    total = total.saturating_sub(entry.bytes);
                    self.lost(Loss::SpoolBatches, 1);
                    self.lost(Loss::SpoolRows, entry.rows);
                    self.take_over(&entry.losses);
                    dropped.push(entry);
                }
            }
        }
        dropped
    }

    /// The batch to be delivered next; it is under way until it is removed or `release`d.
    pub(super) fn take_next(&mut self) -> Option<Entry> {
        let entry = self.entries.front().cloned()?;
        self.in_flight = Some(entry.ordinal);
        Some(entry)
    }

    /// The batch under way comes back and waits again.
    pub(super) fn release(&mut self) {
        self.in_flight = None;
    }

    /// Takes a batch out for good.
    pub(super) fn remove(&mut self, ordinal: u64) -> Option<Entry> {
        self.in_flight = self.in_flight.filter(|&o| o != ordinal);
        let at = self.entries.iter().position(|e| e.ordinal == ordinal)?;
        self.entries.remove(at)
    }

    /// Takes out what waits in memory, and notes its loss; how many batches.
    pub(super) fn give_up_memory(&mut self) -> usize {
        let (given_up, kept): (VecDeque<_>, _) =
            std::mem::take(&mut self.entries).into_iter().partition(|entry| entry.in_memory);
        self.entries = kept;
        for entry in &given_up {
            self.lost(Loss::SpoolBatches, 1);
            self.lost(Loss::SpoolRows, entry.rows);
            self.take_over(&entry.losses);
        }
        given_up.len()
    }

    pub(super) fn lost(&mut self, reason: Loss, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let total = self.losses.entry(reason.name().to_owned()).or_insert(0);
        *total = total.saturating_add(count);
    }

    /// Losses of a batch that will not be delivered are declared by a later one.
    pub(super) fn take_over(&mut self, losses: &BTreeMap<String, i64>) {
        for (reason, count) in losses {
            let total = self.losses.entry(reason.clone()).or_insert(0);
            *total = total.saturating_add(*count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(ordinal: u64, bytes: u64) -> Entry {
        Entry {
            ordinal,
            bytes,
            rows: 10,
            losses: BTreeMap::from([("ring_drops".into(), 1)]),
            in_memory: false,
        }
    }

    #[test]
    fn the_oldest_goes_first_but_never_the_one_under_way() {
        let mut queue = Queue::default();
        (0..4).for_each(|i| queue.push(entry(i, 100)));
        assert_eq!(queue.take_next().unwrap().ordinal, 0);
        let dropped: Vec<_> = queue.enforce(250).iter().map(|e| e.ordinal).collect();
        assert_eq!(dropped, [1, 2]);
        assert_eq!(
            queue.losses,
            BTreeMap::from([
                ("spool_batches".into(), 2),
                ("spool_rows".into(), 20),
                ("ring_drops".into(), 2)
            ])
        );
        queue.release();
        assert_eq!(queue.enforce(100).len(), 1);
        assert_eq!(queue.take_next().unwrap().ordinal, 3);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_without_being_counted(
            sizes in prop::collection::vec(1u64..100, 0..60), bound in 0u64..2000
        ) {
            let mut queue = Queue::default();
            let mut dropped = 0;
            for (i, bytes) in sizes.iter().enumerate() {
                queue.push(entry(i as u64, *bytes));
                dropped += queue.enforce(bound).len();
                prop_assert!(queue.bytes() <= bound);
            }
            prop_assert_eq!(queue.len() + dropped, sizes.len());
            prop_assert_eq!(
                queue.losses.get("spool_batches").copied().unwrap_or(0), dropped as i64);
            prop_assert_eq!(
                queue.losses.get("ring_drops").copied().unwrap_or(0), dropped as i64);
        }
    }
}
