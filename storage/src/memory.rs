//! Rows that are not in files yet, and the bound on their bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use parking_lot::Mutex;

use crate::coalesce::{is_shared, is_zeros};
use crate::series::{Registry, Run};

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

impl Reservation {
    /// Takes another one of the same budget in.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Takes `bytes` more, over the limit if need be.
    fn grow(&mut self, bytes: usize) {
        let more = self.budget.force(bytes);
        self.absorb(more);
    }

    /// Gives `bytes` back; at most all there are.
    pub(crate) fn release(&mut self, bytes: usize) {
        drop(self.split(bytes));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What Arrow needs to hold a column, besides its values.
const COLUMN_OVERHEAD: usize = 256;

/// What a batch takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Footprint {
    /// Bytes of its values.
    used: usize,
    /// Bytes of the allocations that they are in.
    kept: usize,
}

fn footprint(batch: &RecordBatch) -> Footprint {
    let mut measure = Measure::default();
    for column in batch.columns().iter().filter(|c| !is_shared(c)) {
        measure.column(column);
    }
    let Measure { used, mut allocations } = measure;
    // Columns that were read from one message are slices of one allocation.
    allocations.sort_unstable();
    allocations.dedup();
    Footprint { used, kept: allocations.iter().map(|(_, capacity)| capacity).sum() }
}

/// Adds up what columns take.
#[derive(Default)]
struct Measure {
    used: usize,
    /// Address and size of the allocations so far; one may be there several times.
    allocations: Vec<(usize, usize)>,
}

impl Measure {
    /// The usual columns are looked at where they are: to turn an array into its data costs a handful
    /// of allocations, for each of the columns of each small batch.
    fn column(&mut self, column: &ArrayRef) {
        if let Some(labels) = column.as_dictionary_opt::<Int32Type>()
            && let Some(texts) = labels.values().as_string_opt::<i32>()
        {
            self.values(labels.keys().values(), labels.keys().nulls());
            self.values(texts.offsets().inner(), texts.nulls());
            self.buffer(texts.values());
            self.used += span(texts.offsets());
        } else if let Some(numbers) = column.as_primitive_opt::<Int64Type>() {
            self.values(numbers.values(), numbers.nulls());
        } else if let Some(numbers) = column.as_primitive_opt::<Int32Type>() {
            self.values(numbers.values(), numbers.nulls());
        } else if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
            self.values(times.values(), times.nulls());
        } else if let Some(lists) = column.as_list_opt::<i32>()
            && let Some(items) = lists.values().as_primitive_opt::<Int64Type>()
        {
            self.values(lists.offsets().inner(), lists.nulls());
            self.buffer(items.values().inner());
            self.used += span(lists.offsets()) * std::mem::size_of::<i64>();
            self.nulls(items.nulls());
        } else {
            let data = column.to_data();
            // An empty or exotic layout that Arrow cannot measure still has its full buffers.
            self.used +=
                data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
            self.data(&data);
        }
    }

    fn values<T: ArrowNativeType>(&mut self, values: &ScalarBuffer<T>, nulls: Option<&NullBuffer>) {
        self.used += std::mem::size_of_val(values.as_ref());
        self.buffer(values.inner());
        self.nulls(nulls);
    }

    fn nulls(&mut self, nulls: Option<&NullBuffer>) {
        if let Some(nulls) = nulls {
            self.used += nulls.len().div_ceil(8);
            self.buffer(nulls.buffer());
        }
    }

    fn buffer(&mut self, buffer: &Buffer) {
        let allocation = (buffer.data_ptr().addr().get(), buffer.capacity());
        if !is_zeros(buffer) && self.allocations.last() != Some(&allocation) {
            self.allocations.push(allocation);
        }
    }

    fn data(&mut self, data: &ArrayData) {
        data.buffers().iter().for_each(|buffer| self.buffer(buffer));
        if let Some(nulls) = data.nulls() {
            self.buffer(nulls.buffer());
        }
        data.child_data().iter().for_each(|child| self.data(child));
    }
}

/// From the first to the last of these offsets.
fn span(offsets: &OffsetBuffer<i32>) -> usize {
    let (first, last) = (offsets.first().copied(), offsets.last().copied());
    let span = last.unwrap_or_default().saturating_sub(first.unwrap_or_default());
    usize::try_from(span).unwrap_or_default()
}

/// Bytes that a batch keeps alive: the allocations that its values are in, and what Arrow needs to
/// hold each column.
pub(crate) fn size_of(batch: &RecordBatch) -> usize {
    footprint(batch).kept + batch.num_columns() * COLUMN_OVERHEAD
}

/// The batch without what it keeps alive beyond its own values, and the bytes that it then keeps
/// ([`size_of`]).
///
/// Arrays that were read from an uncompressed stream are slices of a whole message: one of them
/// keeps all the others, even columns that were dropped. When most of it is not ours, it is copied;
/// but for small batches, which are copied soon all the same, when they become one with others.
pub(crate) fn detach(batch: RecordBatch) -> Result<(RecordBatch, usize), ArrowError> {
    /// What is below this may be kept for nothing: a column's overhead covers it.
    const SLACK: usize = 8 * COLUMN_OVERHEAD;
    /// As much for each row for a short while: a message has about this much that is not values.
    const PASSING: usize = 128;
    let Footprint { used, kept } = footprint(&batch);
    let rows = batch.num_rows();
    let slack = SLACK + if rows < SMALL { PASSING * rows } else { 0 };
    if kept <= 2 * used + slack {
        let size = kept + batch.num_columns() * COLUMN_OVERHEAD;
        return Ok((batch, size));
    }
    let columns = batch
        .columns()
        .iter()
        .map(|column| copy(&column.to_data()).map(make_array))
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let batch = RecordBatch::try_new_with_options(batch.schema(), columns, &options)?;
    let size = size_of(&batch);
    Ok((batch, size))
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
    /// Bytes of each batch.
    sizes: Vec<usize>,
    pub(crate) rows: u64,
    pub(crate) first_lsn: u64,
    pub(crate) last_lsn: u64,
    /// Shared with what takes its place when rows are revised.
    reserved: Arc<Mutex<Option<Reservation>>>,
    /// Numbers the series in its batches, if it is one of series.
    pub(crate) registry: Option<Arc<Registry>>,
}

/// Rows below which a batch is small.
const SMALL: usize = 4096;
/// Small batches, or rows in them, that are put together.
const CROWD: usize = 32;
/// Rows that a batch should have: what is put together is put together again up to this.
pub(crate) const LARGE: usize = 1 << 16;

impl Memtable {
    pub(crate) fn new(lsn: u64, registry: Option<Arc<Registry>>) -> Self {
        Self {
            batches: Vec::new(),
            sizes: Vec::new(),
            rows: 0,
            first_lsn: lsn,
            last_lsn: lsn,
            reserved: Arc::default(),
            registry,
        }
    }

    pub(crate) fn push(&mut self, lsn: u64, batches: Vec<RecordBatch>, reserved: Reservation) {
        let only_one = batches.len() == 1;
        for batch in batches.into_iter().filter(|b| b.num_rows() > 0) {
            self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
            // It was measured for the reservation.
            self.sizes.push(if only_one { reserved.bytes } else { size_of(&batch) });
            self.batches.push(batch);
        }
        self.last_lsn = lsn;
        match &mut *self.reserved.lock() {
            Some(all) => all.absorb(reserved),
            none => *none = Some(reserved),
        }
    }

    /// Its points, if it is one of series.
    pub(crate) fn run(&self) -> Option<Run> {
        let registry = self.registry.clone()?;
        Some(Run { registry, batches: self.batches.clone() })
    }

    /// Where the newest batches begin that should become one (see [`crate::coalesce`]), if any.
    pub(crate) fn crowd(&self) -> Option<usize> {
        let tail = |below: usize| {
            let sizes = self.batches.iter().rev().map(RecordBatch::num_rows);
            let (mut count, mut rows) = (0usize, 0usize);
            for n in sizes.take_while(|n| *n < below) {
                count += 1;
                rows += n;
            }
            (self.batches.len() - count, count, rows)
        };
        let (at, count, rows) = tail(SMALL);
        if count >= CROWD || (count > 1 && rows >= 2 * SMALL) {
            return Some(at);
        }
        let (at, count, rows) = tail(LARGE);
        (count > 1 && rows >= LARGE).then_some(at)
    }

    /// Puts `one` in place of the batches from `at` on, whose rows it has.
    pub(crate) fn replace(&mut self, at: usize, one: RecordBatch) {
        let before: usize = self.sizes.drain(at..).sum();
        let after = size_of(&one);
        self.batches.truncate(at);
        self.batches.push(one);
        self.sizes.push(after);
        if let Some(reserved) = &mut *self.reserved.lock() {
            reserved.release(before.saturating_sub(after));
        }
    }

    /// Puts batches in place of those with the same rows; returns how many were there.
    pub(crate) fn revise(&mut self, revised: &[(RecordBatch, RecordBatch)]) -> usize {
        let mut count = 0;
        for (batch, size) in self.batches.iter_mut().zip(&mut self.sizes) {
            let Some((_, new)) = revised.iter().find(|(old, _)| is_same(old, batch)) else {
                continue;
            };
            let after = size_of(new);
            if let Some(reserved) = &mut *self.reserved.lock() {
                reserved.release(size.saturating_sub(after));
                reserved.grow(after.saturating_sub(*size));
            }
            *size = after;
            *batch = new.clone();
            count += 1;
        }
        count
    }

    /// The same rows and the same reservation, to be revised.
    pub(crate) fn copy(&self) -> Self {
        Self {
            batches: self.batches.clone(),
            sizes: self.sizes.clone(),
            rows: self.rows,
            first_lsn: self.first_lsn,
            last_lsn: self.last_lsn,
            reserved: Arc::clone(&self.reserved),
            registry: self.registry.clone(),
        }
    }
}

/// Two batches are one: they have the very same columns.
pub(crate) fn is_same(a: &RecordBatch, b: &RecordBatch) -> bool {
    a.num_columns() == b.num_columns()
        && a.columns().iter().zip(b.columns()).all(|(a, b)| Arc::ptr_eq(a, b))
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

    fn numbers(rows: usize) -> RecordBatch {
        let numbers = arrow::array::Int64Array::from_iter_values(1..=rows as i64);
        RecordBatch::try_from_iter([("n", Arc::new(numbers) as arrow::array::ArrayRef)]).unwrap()
    }

    /// Pushes batches of `rows` rows, each put together with others as it should.
    fn fill(memtable: &mut Memtable, budget: &Arc<Budget>, rows: usize, count: u64) {
        for lsn in 0..count {
            let batch = numbers(rows);
            let reserved = budget.reserve(size_of(&batch)).unwrap();
            memtable.push(lsn, vec![batch], reserved);
            while let Some(at) = memtable.crowd() {
                let schema = memtable.batches[at].schema();
                let one = crate::coalesce::coalesce(&schema, &memtable.batches[at..]).unwrap();
                memtable.replace(at, one);
            }
        }
    }

    #[test]
    fn small_batches_become_few_large_ones_and_their_memory_is_given_back() {
        let budget = Budget::new(usize::MAX / 4);
        let mut memtable = Memtable::new(0, None);
        fill(&mut memtable, &budget, 145, 10_000);
        assert_eq!(memtable.rows, 1_450_000);
        let rows: Vec<usize> = memtable.batches.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(rows.iter().sum::<usize>(), 1_450_000);
        assert!(rows.len() < 24 + 16 + CROWD, "{rows:?}");
        assert!(rows.iter().all(|n| *n < LARGE + 3 * SMALL), "{rows:?}");
        let held: usize = memtable.batches.iter().map(size_of).sum();
        assert_eq!(budget.used(), held);
        assert!(held < 1_450_000 * 8 * 11 / 10, "{held}");
        // Large ones are left alone.
        let mut memtable = Memtable::new(0, None);
        fill(&mut memtable, &budget, LARGE, 4);
        assert_eq!(memtable.batches.len(), 4);
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
        assert!(size_of(&wanted) > 1_000_000, "an uncompressed message is one allocation");
        let (detached, size) = detach(wanted.clone()).unwrap();
        assert_eq!(size, size_of(&detached));
        assert!(size < 3_000, "{size}");
        assert_eq!(detached, wanted);
        assert!(detached.get_array_memory_size() < 10_000);
    }
}
