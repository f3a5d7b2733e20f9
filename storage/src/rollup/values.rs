//! What the values of the rows of each group add up to.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, PrimitiveArray, RecordBatch,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef, Int32Type, Int64Type};

use super::{Merge, RollupError};

/// A sum that leaves 64 bits, or a histogram over more than [`MAX_SPAN`] buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Buckets that a group's histogram may spread over.
const MAX_SPAN: i64 = 1024;

/// The merged values of one column (two for a histogram), group by group.
pub(crate) enum Values {
    Number { name: String, merge: Merge, narrow: bool, sums: Vec<i64>, any: Vec<bool> },
    Counts { name: String, offset: String, field: FieldRef, groups: Vec<Span> },
}

/// Dense counts from an index on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Span {
    any: bool,
    offset: i64,
    counts: Vec<i64>,
}

impl Values {
    /// The column `name`; nothing for an offset, which goes with its counts.
    pub(crate) fn new(
        name: &str,
        data_type: &DataType,
        merge: Merge,
    ) -> Result<Option<Self>, RollupError> {
        Ok(Some(match (merge, data_type) {
            (Merge::Offset, _) => return Ok(None),
            (Merge::Counts { offset }, DataType::List(field)) => Self::Counts {
                name: name.to_owned(),
                offset: offset.to_owned(),
                field: field.clone(),
                groups: Vec::new(),
            },
            (Merge::Sum, DataType::Int64)
            | (Merge::Min | Merge::Max, DataType::Int32 | DataType::Int64) => Self::Number {
                name: name.to_owned(),
                merge,
                narrow: data_type == &DataType::Int32,
                sums: Vec::new(),
                any: Vec::new(),
            },
            _ => return Err(RollupError::Column(name.to_owned())),
        }))
    }

    /// Adds rows to their groups, of which there are `total`.
    pub(crate) fn add(
        &mut self,
        batch: &RecordBatch,
        groups: &[u32],
        total: usize,
    ) -> Result<Result<(), TooLarge>, RollupError> {
        let column = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| RollupError::Column(name.to_owned()))
        };
        match self {
            Self::Number { name, merge, narrow, sums, any } => {
                sums.resize(total, 0);
                any.resize(total, false);
                let wrong = || RollupError::Column(name.clone());
                let array = column(name)?;
                Ok(if *narrow {
                    let rows = array.as_primitive_opt::<Int32Type>().ok_or_else(wrong)?;
                    add_numbers(rows, *merge, groups, sums, any)
                } else {
                    let rows = array.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
                    add_numbers(rows, *merge, groups, sums, any)
                })
            }
            Self::Counts { name, offset, groups: spans, .. } => {
                spans.resize(total, Span::default());
                let wrong = || RollupError::Column(name.clone());
                let offsets = column(offset)?.as_primitive_opt::<Int32Type>().ok_or_else(wrong)?;
                let lists = column(name)?.as_list_opt::<i32>().ok_or_else(wrong)?;
                let counts = lists.values().as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
                Ok(add_counts(offsets, lists, counts, groups, spans))
            }
        }
    }

    /// The columns of all groups.
    pub(crate) fn finish(self, columns: &mut HashMap<String, ArrayRef>) -> Result<(), RollupError> {
        match self {
            Self::Number { name, narrow, sums, any, .. } => {
                let nulls = Some(NullBuffer::from(any));
                let array: ArrayRef = if narrow {
                    // Least and greatest of 32-bit numbers.
                    let narrow = sums.iter().map(|n| i32::try_from(*n).unwrap_or_default());
                    Arc::new(Int32Array::try_new(narrow.collect::<Vec<_>>().into(), nulls)?)
                } else {
                    Arc::new(Int64Array::try_new(sums.into(), nulls)?)
                };
                columns.insert(name, array);
            }
            Self::Counts { name, offset, field, groups } => {
                let nulls: NullBuffer = groups.iter().map(|g| g.any).collect::<Vec<_>>().into();
                let starts = groups.iter().map(|g| i32::try_from(g.offset).unwrap_or_default());
                let starts: ScalarBuffer<i32> = starts.collect();
                let lengths = OffsetBuffer::from_lengths(groups.iter().map(|g| g.counts.len()));
                let counts: Vec<i64> = groups.into_iter().flat_map(|g| g.counts).collect();
                let counts = Arc::new(Int64Array::from(counts));
                let lists = ListArray::try_new(field, lengths, counts, Some(nulls.clone()))?;
                columns.insert(offset, Arc::new(Int32Array::try_new(starts, Some(nulls))?));
                columns.insert(name, Arc::new(lists));
            }
        }
        Ok(())
    }
}

fn add_numbers<T>(
    rows: &PrimitiveArray<T>,
    merge: Merge,
    groups: &[u32],
    sums: &mut [i64],
    any: &mut [bool],
) -> Result<(), TooLarge>
where
    T: ArrowPrimitiveType,
    i64: From<T::Native>,
{
    let nulls = rows.nulls().filter(|n| n.null_count() > 0);
    for (row, (value, group)) in rows.values().iter().zip(groups).enumerate() {
        if nulls.is_some_and(|n| n.is_null(row)) {
            continue;
        }
        let (group, value) = (usize::try_from(*group).unwrap_or(usize::MAX), i64::from(*value));
        let (Some(sum), Some(any)) = (sums.get_mut(group), any.get_mut(group)) else { continue };
        *sum = match merge {
            _ if !*any => value,
            Merge::Min => value.min(*sum),
            Merge::Max => value.max(*sum),
            _ => sum.checked_add(value).ok_or(TooLarge)?,
        };
        *any = true;
    }
    Ok(())
}

fn add_counts(
    offsets: &Int32Array,
    lists: &ListArray,
    counts: &Int64Array,
    groups: &[u32],
    spans: &mut [Span],
) -> Result<(), TooLarge> {
    let ends = lists.value_offsets();
    for (row, (bounds, group)) in ends.windows(2).zip(groups).enumerate() {
        if lists.is_null(row) || offsets.is_null(row) {
            continue;
        }
        let [from, to] = bounds else { continue };
        let bound = |n: &i32| usize::try_from(*n).unwrap_or(usize::MAX);
        let counts = counts.values().get(bound(from)..bound(to)).unwrap_or(&[]);
        let group = usize::try_from(*group).unwrap_or(usize::MAX);
        if let Some(span) = spans.get_mut(group) {
            span.add(i64::from(offsets.value(row)), counts)?;
        }
    }
    Ok(())
}

impl Span {
    fn add(&mut self, offset: i64, counts: &[i64]) -> Result<(), TooLarge> {
        self.any = true;
        if counts.is_empty() {
            return Ok(());
        }
        if self.counts.is_empty() {
            self.offset = offset;
            self.counts.extend_from_slice(counts);
            return Ok(());
        }
        let length = |n: usize| i64::try_from(n).unwrap_or(i64::MAX >> 1);
        let start = self.offset.min(offset);
        let end = (self.offset + length(self.counts.len())).max(offset + length(counts.len()));
        if end - start > MAX_SPAN {
            return Err(TooLarge);
        }
        let before = usize::try_from(self.offset - start).unwrap_or_default();
        if before > 0 {
            self.counts.splice(0..0, std::iter::repeat_n(0, before));
            self.offset = start;
        }
        let whole = usize::try_from(end - start).unwrap_or_default();
        self.counts.resize(whole, 0);
        let skip = usize::try_from(offset - start).unwrap_or_default();
        for (sum, count) in self.counts.iter_mut().skip(skip).zip(counts) {
            *sum = sum.checked_add(*count).ok_or(TooLarge)?;
        }
        Ok(())
    }
}
