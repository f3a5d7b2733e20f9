//! `bucket_sum(offset, buckets)`: merges log-scale histograms into one dense list of counts.
//!
//! ```text
//! arguments  Int32 index of the first bucket, List<Int64> counts of consecutive indices
//! result     FixedSizeList<Int64, 64>: slot i counts bucket index FIRST_INDEX + i
//! ```
//!
//! Rows with a null in either argument are skipped; no other row at all gives null. An index outside of the 64 buckets, which only a
//! sender that breaks the contract writes, counts in the nearest bucket, so that totals stay right.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Int32Array, Int64Array, ListArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Int64Type};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use weir_wire::histogram::{BUCKETS, FIRST_INDEX};
use weir_wire::schema::buckets_type;

/// Length of the dense list as Arrow counts it.
const LIST_LENGTH: i32 = BUCKETS as i32;

/// The aggregate function.
pub(crate) fn bucket_sum() -> AggregateUDF {
    AggregateUDF::from(BucketSum {
        signature: Signature::exact(vec![DataType::Int32, buckets_type()], Volatility::Immutable),
    })
}

fn dense_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Int64, false))
}

fn dense_type() -> DataType {
    DataType::FixedSizeList(dense_field(), LIST_LENGTH)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BucketSum {
    signature: Signature,
}

impl AggregateUDFImpl for BucketSum {
    fn name(&self) -> &'static str {
        "bucket_sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(dense_type())
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[slots]", args.name), dense_type(), true))])
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let mut slots = Slots::default();
        slots.resize(1);
        Ok(Box::new(slots))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        _args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Slots::default()))
    }
}

/// Dense counts of all groups, one after the other.
#[derive(Debug, Default)]
struct Slots {
    counts: Vec<i64>,
    /// Whether a group has had any row.
    seen: Vec<bool>,
}

impl Slots {
    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups * BUCKETS, 0);
        self.seen.resize(groups, false);
    }

    /// The counts of a group that has a row.
    fn group(&mut self, group: usize) -> &mut [i64] {
        if let Some(seen) = self.seen.get_mut(group) {
            *seen = true;
        }
        self.counts.get_mut(group * BUCKETS..(group + 1) * BUCKETS).unwrap_or(&mut [])
    }

    fn add_row(&mut self, group: usize, rows: &SparseRows<'_>, row: usize) {
        if let Some((offset, counts)) = rows.get(row) {
            add_counts(self.group(group), offset, counts);
        }
    }

    fn add_dense(&mut self, group: usize, dense: &FixedSizeListArray, row: usize) {
        if dense.is_null(row) {
            return;
        }
        let values = dense.value(row);
        let values = values.as_primitive::<Int64Type>().values();
        for (total, count) in self.group(group).iter_mut().zip(values) {
            *total += count;
        }
    }

    fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (counts, seen) = match emit_to {
            EmitTo::All => (std::mem::take(&mut self.counts), std::mem::take(&mut self.seen)),
            EmitTo::First(n) => {
                (self.counts.drain(..n * BUCKETS).collect(), self.seen.drain(..n).collect())
            }
        };
        dense_array(counts, seen)
    }
}

fn dense_array(counts: Vec<i64>, seen: Vec<bool>) -> Result<ArrayRef> {
    let values = Arc::new(Int64Array::from(counts));
    let nulls = Some(NullBuffer::from(seen));
    Ok(Arc::new(FixedSizeListArray::try_new(dense_field(), LIST_LENGTH, values, nulls)?))
}

/// Adds consecutive counts to dense ones.
pub(crate) fn add_counts(slots: &mut [i64], offset: i32, counts: &[i64]) {
    for (i, count) in counts.iter().enumerate() {
        let index = i64::from(offset) + i64::try_from(i).unwrap_or(i64::MAX >> 1);
        let slot = (index - i64::from(FIRST_INDEX)).clamp(0, i64::from(LIST_LENGTH) - 1);
        if let Some(total) = usize::try_from(slot).ok().and_then(|s| slots.get_mut(s)) {
            *total = total.saturating_add(*count);
        }
    }
}

/// Visits the histograms of rows, in a column of offsets and one of counts as `bucket_sum` takes them: row, index of the first
/// bucket, counts. Rows without one are passed over.
///
/// # Errors
/// These are no such columns.
pub(crate) fn each_histogram(
    offsets: &ArrayRef,
    buckets: &ArrayRef,
    mut visit: impl FnMut(usize, i32, &[i64]),
) -> Result<()> {
    let columns = [Arc::clone(offsets), Arc::clone(buckets)];
    let rows = SparseRows::new(&columns)?;
    for row in 0..offsets.len() {
        if let Some((offset, counts)) = rows.get(row) {
            visit(row, offset, counts);
        }
    }
    Ok(())
}

/// The two argument columns.
struct SparseRows<'a> {
    offsets: &'a Int32Array,
    lists: &'a ListArray,
    counts: &'a Int64Array,
}

impl<'a> SparseRows<'a> {
    fn new(values: &'a [ArrayRef]) -> Result<Self> {
        let [offsets, lists] = values else {
            return internal_err!("bucket_sum takes two columns, not {}", values.len());
        };
        let (Some(offsets), Some(lists)) =
            (offsets.as_primitive_opt::<Int32Type>(), lists.as_list_opt::<i32>())
        else {
            return internal_err!("bucket_sum takes offsets and lists of counts");
        };
        Ok(Self { offsets, lists, counts: lists.values().as_primitive::<Int64Type>() })
    }

    fn get(&self, row: usize) -> Option<(i32, &[i64])> {
        if self.offsets.is_null(row) || self.lists.is_null(row) {
            return None;
        }
        let bound = |i| self.lists.value_offsets().get(i).and_then(|b| usize::try_from(*b).ok());
        let counts = self.counts.values().get(bound(row)?..bound(row + 1)?)?;
        Some((self.offsets.value(row), counts))
    }
}

fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|f| f.is_valid(row) && f.value(row))
}

impl GroupsAccumulator for Slots {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let rows = SparseRows::new(values)?;
        for (row, group) in group_indices.iter().enumerate() {
            if passes(opt_filter, row) {
                self.add_row(*group, &rows, row);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let [dense] = values else {
            return internal_err!("bucket_sum has one state column, not {}", values.len());
        };
        let dense = dense.as_fixed_size_list();
        for (row, group) in group_indices.iter().enumerate() {
            self.add_dense(*group, dense, row);
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = SparseRows::new(values)?;
        let mut slots = Self::default();
        slots.resize(rows.offsets.len());
        for row in 0..rows.offsets.len() {
            if passes(opt_filter, row) {
                slots.add_row(row, &rows, row);
            }
        }
        Ok(vec![dense_array(slots.counts, slots.seen)?])
    }

    fn size(&self) -> usize {
        self.counts.capacity() * size_of::<i64>() + self.seen.capacity()
    }
}

/// The one group of an aggregate without `GROUP BY`.
impl Accumulator for Slots {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = SparseRows::new(values)?;
        for row in 0..rows.offsets.len() {
            self.add_row(0, &rows, row);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let list = dense_array(self.counts.clone(), self.seen.clone())?;
        ScalarValue::try_from_array(&list, 0)
    }

    fn size(&self) -> usize {
        self.counts.capacity() * size_of::<i64>() + self.seen.capacity()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![Accumulator::evaluate(self)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [dense] = states else {
            return internal_err!("bucket_sum has one state column, not {}", states.len());
        };
        let dense = dense.as_fixed_size_list();
        for row in 0..dense.len() {
            self.add_dense(0, dense, row);
        }
        Ok(())
    }
}
