//! Arrays over the buffers of one message.
//!
//! A flatbuffer says where a buffer lies and how many values it has; none of it is believed. Arrow's
//! constructors check what they are given and panic on some of it, so that is looked at before.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow_array::types::{ArrowPrimitiveType, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, DictionaryArray, ListArray, PrimitiveArray, StringArray, new_null_array,
};
use arrow_buffer::{
    ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer,
};
use arrow_ipc::RecordBatch;
use arrow_schema::{DataType, FieldRef};

use crate::schema::FLOW_COLUMNS;

/// Rows up to which absent columns share one array.
const SHARED_ROWS: usize = 4096;

/// Nulls for the column at `place`, of that type.
pub(super) fn nulls(place: usize, data_type: &DataType, rows: usize) -> ArrayRef {
    static SHARED: OnceLock<Vec<OnceLock<ArrayRef>>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| FLOW_COLUMNS.iter().map(|_| OnceLock::new()).collect());
    match shared.get(place).filter(|_| rows <= SHARED_ROWS) {
        Some(array) => array.get_or_init(|| new_null_array(data_type, SHARED_ROWS)).slice(0, rows),
        None => new_null_array(data_type, rows),
    }
}

/// The bytes that belong to a message.
pub(super) struct Body<'a> {
    stream: &'a Buffer,
    range: Range<usize>,
}

impl<'a> Body<'a> {
    pub(super) fn new(stream: &'a Buffer, range: Range<usize>) -> Option<Self> {
        stream.as_slice().get(range.clone())?;
        Some(Self { stream, range })
    }

    /// Bytes of a batch's buffers, if they all lie within.
    pub(super) fn claimed(&self, batch: &RecordBatch<'_>) -> Option<u64> {
        let mut total = 0u64;
        for buffer in batch.buffers()?.iter() {
            total = total.checked_add(u64::try_from(self.place(buffer)?.len()).ok()?)?;
        }
        Some(total)
    }

    /// Where in the stream a buffer lies.
    fn place(&self, buffer: &arrow_ipc::Buffer) -> Option<Range<usize>> {
        let start = self.range.start.checked_add(usize::try_from(buffer.offset()).ok()?)?;
        let end = start.checked_add(usize::try_from(buffer.length()).ok()?)?;
        (end <= self.range.end).then_some(start..end)
    }

    /// The columns of a batch, to be read in order. None for buffers compressed one by one.
    pub(super) fn columns(&self, batch: &RecordBatch<'a>) -> Option<Columns<'_>> {
        if batch.compression().is_some()
            || batch.variadicBufferCounts().is_some_and(|v| !v.is_empty())
        {
            return None;
        }
        let mut nodes = Vec::with_capacity(batch.nodes()?.len());
        for node in batch.nodes()?.iter() {
            nodes.push((
                usize::try_from(node.length()).ok()?,
                usize::try_from(node.null_count()).ok()?,
            ));
        }
        let buffers: Option<Vec<_>> = batch.buffers()?.iter().map(|b| self.place(b)).collect();
        Some(Columns {
            stream: self.stream,
            nodes: nodes.into_iter(),
            buffers: buffers?.into_iter(),
        })
    }
}

/// The columns of a batch that are not read yet.
pub(super) struct Columns<'a> {
    stream: &'a Buffer,
    /// Values and nulls of each.
    nodes: std::vec::IntoIter<(usize, usize)>,
    buffers: std::vec::IntoIter<Range<usize>>,
}

impl Columns<'_> {
    /// Whether there is nothing left.
    pub(super) fn is_read(&self) -> bool {
        self.nodes.as_slice().is_empty() && self.buffers.as_slice().is_empty()
    }

    /// The values of a dictionary: texts, none of them null.
    pub(super) fn texts(mut self, rows: usize) -> Option<ArrayRef> {
        if self.validity(rows)?.is_some() {
            return None;
        }
        let offsets = self.offsets(rows)?;
        let bytes = self.bytes()?;
        let last = usize::try_from(*offsets.last()?).ok()?;
        if last > bytes.len() || !self.is_read() {
            return None;
        }
        // It checks that they are UTF-8.
        Some(Arc::new(StringArray::try_new(offsets, bytes, None).ok()?))
    }

    /// Whole numbers, or times.
    pub(super) fn numbers<T: ArrowPrimitiveType>(
        &mut self,
        rows: usize,
    ) -> Option<PrimitiveArray<T>> {
        let nulls = self.validity(rows)?;
        let values = self.values::<T::Native>(rows)?;
        PrimitiveArray::try_new(values, nulls).ok()
    }

    /// Labels with these values. A key that has none is refused.
    pub(super) fn labels(
        &mut self,
        values: &ArrayRef,
        rows: usize,
    ) -> Option<DictionaryArray<Int32Type>> {
        DictionaryArray::try_new(self.numbers::<Int32Type>(rows)?, values.clone()).ok()
    }

    /// Lists of whole numbers, none of which is null.
    pub(super) fn lists(&mut self, item: &FieldRef, rows: usize) -> Option<ListArray> {
        let nulls = self.validity(rows)?;
        let offsets = self.offsets(rows)?;
        let items = self.nodes.as_slice().first()?.0;
        if usize::try_from(*offsets.last()?).ok()? > items {
            return None;
        }
        let items = self.numbers::<Int64Type>(items)?;
        if items.null_count() > 0 {
            return None;
        }
        ListArray::try_new(item.clone(), offsets, Arc::new(items), nulls).ok()
    }

    /// Begins a column of so many values.
    fn validity(&mut self, rows: usize) -> Option<Option<NullBuffer>> {
        let (length, null_count) = self.nodes.next()?;
        if length != rows {
            return None;
        }
        let bits = self.bytes()?;
        if null_count == 0 && bits.is_empty() {
            return Some(None);
        }
        if bits.len() < rows.div_ceil(8) {
            return None;
        }
        // A count and bits that contradict each other are not usual.
        let nulls = NullBuffer::new(BooleanBuffer::new(bits, 0, rows));
        (nulls.null_count() == null_count).then(|| (null_count > 0).then_some(nulls))
    }

    /// Where each of so many lists or texts begins and ends.
    fn offsets(&mut self, rows: usize) -> Option<OffsetBuffer<i32>> {
        let offsets = self.values::<i32>(rows.checked_add(1)?)?;
        let grow = offsets.windows(2).all(|w| matches!(w, [a, b] if a <= b));
        if grow && *offsets.first()? >= 0 { Some(OffsetBuffer::new(offsets)) } else { None }
    }

    fn values<T: ArrowNativeType>(&mut self, count: usize) -> Option<ScalarBuffer<T>> {
        let buffer = self.bytes()?;
        let length = count.checked_mul(size_of::<T>())?;
        let aligned = buffer.as_ptr().align_offset(align_of::<T>()) == 0;
        // Arrow's reader refuses a buffer that ends within a value, even beyond the last one in use.
        let whole = buffer.len().is_multiple_of(size_of::<T>());
        if buffer.len() < length || !aligned || !whole {
            return None;
        }
        Some(ScalarBuffer::new(buffer, 0, count))
    }

    fn bytes(&mut self) -> Option<Buffer> {
        let range = self.buffers.next()?;
        Some(self.stream.slice_with_length(range.start, range.len()))
    }
}
