//! Rows that are not in files yet, and the bound on their bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, RecordBatch};

/// Bytes of rows that memory may hold, those on their way through the log included.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes` if they fit; one request always fits into empty memory.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let after = used.checked_add(bytes)?;
                (used == 0 || after <= self.limit).then_some(after)
            })
            .ok()
            .map(|_| Reservation { budget: self.clone(), bytes })
    }

    /// Takes `bytes` over the limit if need be: rows of the log must be taken back in.
    pub(crate) fn force(self: &Arc<Self>, bytes: usize) -> Reservation {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Reservation { budget: self.clone(), bytes }
    }
}

/// Part of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes that a batch keeps alive: its values, and what Arrow needs to hold each column.
pub(crate) fn size_of(batch: &RecordBatch) -> usize {
    const COLUMN_OVERHEAD: usize = 256;
    batch
        .columns()
        .iter()
        .map(|c| {
            let data = c.to_data();
            // An empty or exotic layout that Arrow cannot measure still has its full buffers.
            data.get_slice_memory_size().unwrap_or_else(|_| c.get_array_memory_size())
                + COLUMN_OVERHEAD
        })
        .sum()
}

/// Rows of one table, in the order in which they were made durable.
#[derive(Debug)]
pub(crate) struct Memtable {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) rows: u64,
    pub(crate) first_lsn: u64,
    pub(crate) last_lsn: u64,
    reserved: Vec<Reservation>,
}

impl Memtable {
    pub(crate) fn new(lsn: u64) -> Self {
        Self { batches: Vec::new(), rows: 0, first_lsn: lsn, last_lsn: lsn, reserved: Vec::new() }
    }

    pub(crate) fn push(&mut self, lsn: u64, batches: Vec<RecordBatch>, reserved: Reservation) {
        for batch in batches {
            self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
            if batch.num_rows() > 0 {
                self.batches.push(batch);
            }
        }
        self.last_lsn = lsn;
        self.reserved.push(reserved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_and_is_given_back() {
        let budget = Budget::new(100);
        let big = budget.reserve(500).expect("empty memory takes anything");
        assert!(budget.reserve(1).is_none());
        drop(big);
        let a = budget.reserve(60).unwrap();
        assert!(budget.reserve(41).is_none());
        let b = budget.reserve(40).unwrap();
        drop(a);
        assert_eq!(budget.used(), 40);
        drop(b);
        assert_eq!(budget.used(), 0);
    }
}
