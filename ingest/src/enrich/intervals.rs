//! The intervals of a batch's rows: nearly always one.

use std::collections::HashMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use foldhash::fast::RandomState;

/// Microseconds since the Unix epoch, `[start, end)`.
pub(super) type Interval = (i64, i64);

/// See the module's text.
pub(super) struct Intervals {
    pub(super) all: Vec<Interval>,
    /// Of each row; empty if there is only one.
    of_rows: Vec<u32>,
}

impl Intervals {
    pub(super) fn of(batch: &RecordBatch) -> Self {
        let times = |name| {
            let column = batch.column_by_name(name)?;
            Some(column.as_primitive_opt::<TimestampMicrosecondType>()?.values())
        };
        let (Some(starts), Some(ends)) = (times("start"), times("end")) else {
            return Self { all: vec![(0, 0)], of_rows: Vec::new() };
        };
        let pairs = || starts.iter().copied().zip(ends.iter().copied());
        let Some(first) = pairs().next() else {
            return Self { all: vec![(0, 0)], of_rows: Vec::new() };
        };
        if pairs().all(|pair| pair == first) {
            return Self { all: vec![first], of_rows: Vec::new() };
        }
        let mut numbers: HashMap<Interval, u32, RandomState> = HashMap::default();
        let mut all = Vec::new();
        let number = |pair| {
            *numbers.entry(pair).or_insert_with(|| {
                all.push(pair);
                u32::try_from(all.len() - 1).unwrap_or(u32::MAX)
            })
        };
        let of_rows = pairs().map(number).collect();
        Self { all, of_rows }
    }

    /// Number of a row's interval.
    pub(super) fn number(&self, row: usize) -> usize {
        self.of_rows.get(row).map_or(0, |number| *number as usize)
    }

    /// A row's interval.
    pub(super) fn get(&self, row: usize) -> Interval {
        self.all.get(self.number(row)).copied().unwrap_or_default()
    }
}
