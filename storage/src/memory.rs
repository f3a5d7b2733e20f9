//! Rows that are not in files yet, and the bound on their bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayData, RecordBatch, RecordBatchOptions, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::error::ArrowError;

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

    /// Takes `bytes` if they fit, or if less than half of the limit is used: one request larger
    /// than the rest must not wait for ever while small ones go by.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let after = used.checked_add(bytes)?;
                (used < self.limit.div_ceil(2) || after <= self.limit).then_some(after)
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

impl Reservation {
    /// Takes `bytes` out into a reservation of their own; at most all there are.
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: self.budget.clone(), bytes }
    }
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

/// The batch without what it keeps alive beyond its own values.
///
/// Arrays that were read from an uncompressed stream are slices of a whole message: one of them
/// keeps all the others, even columns that were dropped. Such buffers are copied.
pub(crate) fn detach(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !batch.columns().iter().any(|c| keeps_more(&c.to_data())) {
        return Ok(batch);
    }
    let columns = batch
        .columns()
        .iter()
        .map(|column| {
            let data = column.to_data();
            if keeps_more(&data) { copy(&data).map(make_array) } else { Ok(column.clone()) }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

/// Whether a buffer is a small part of its allocation. What is below a kilobyte may be: a column's
/// overhead covers it.
fn is_part(buffer: &Buffer) -> bool {
    const SLACK: usize = 1024;
    buffer.capacity() > buffer.len().saturating_mul(2).saturating_add(SLACK)
}

fn keeps_more(data: &ArrayData) -> bool {
    data.buffers().iter().any(is_part)
        || data.nulls().is_some_and(|nulls| is_part(nulls.buffer()))
        || data.child_data().iter().any(keeps_more)
}

fn copy(data: &ArrayData) -> Result<ArrayData, ArrowError> {
    let own = |buffer: &Buffer| Buffer::from_slice_ref(buffer.as_slice());
    let nulls = data.nulls().map(|nulls| {
        let bits = BooleanBuffer::new(own(nulls.buffer()), nulls.offset(), nulls.len());
        NullBuffer::new(bits)
    });
    data.clone()
        .into_builder()
        .nulls(nulls)
        .buffers(data.buffers().iter().map(own).collect())
        .child_data(data.child_data().iter().map(copy).collect::<Result<_, _>>()?)
        .build()
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
        let small = budget.reserve(49).unwrap();
        let big = budget.reserve(500).expect("half empty memory takes anything");
        drop(small);
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

    #[test]
    fn a_reservation_is_given_back_in_pieces() {
        let budget = Budget::new(100);
        let mut whole = budget.reserve(70).unwrap();
        let part = whole.split(30);
        drop(whole);
        assert_eq!(budget.used(), 30);
        drop(part);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn rows_do_not_keep_the_message_they_came_in() {
        use std::io::Cursor;

        use arrow::array::{ArrayRef, DictionaryArray, Int64Array, ListArray, StringArray};
        use arrow::datatypes::{Int32Type, Int64Type};
        use arrow::ipc::reader::StreamReader;
        use arrow::ipc::writer::StreamWriter;

        let label: DictionaryArray<Int32Type> = [Some("a"), None, Some("b")].into_iter().collect();
        let numbers = Int64Array::from(vec![Some(1), None, Some(3)]);
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
        ]);
        let large = StringArray::from(vec![Some("x".repeat(1_000_000)), None, None]);
        let columns: [(&str, ArrayRef); 4] = [
            ("label", Arc::new(label)),
            ("numbers", Arc::new(numbers)),
            ("lists", Arc::new(lists)),
            ("large", Arc::new(large)),
        ];
        let sent = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &sent.schema()).unwrap();
        writer.write(&sent).unwrap();
        let bytes = writer.into_inner().unwrap();
        let read = StreamReader::try_new(Cursor::new(bytes), None).unwrap().next().unwrap();
        let wanted = read.unwrap().project(&[0, 1, 2]).unwrap();
        let kept = |b: &RecordBatch| b.columns().iter().any(|c| keeps_more(&c.to_data()));
        assert!(kept(&wanted), "an uncompressed message is one allocation");
        let detached = detach(wanted.clone()).unwrap();
        assert!(!kept(&detached));
        assert_eq!(detached, wanted);
        assert!(detached.get_array_memory_size() < 10_000);
    }
}
