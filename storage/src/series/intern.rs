//! From a batch of points to rows of memory.
//!
//! ```text
//! series  uint32   number in the memtable's registry
//! time    int64    milliseconds since the Unix epoch
//! value   float64
//! ```
//!
//! Times and values are those of the batch, not copied.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use arrow::array::PrimitiveArray;
use arrow::array::{Array, AsArray, BinaryArray, ListArray, RecordBatch, UInt32Array};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float64Type, Int64Type, Schema, SchemaRef,
};
use thiserror::Error;

use super::labels::LabelsError;
use super::registry::{Registry, RegistryError};
use crate::memory::Budget;
use crate::window::Window;

/// Last millisecond that a point may be dated: the calendar of files ends with the year 9999.
const MAX_TIME: i64 = 253_402_207_200_000;

static ROWS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("series", DataType::UInt32, false),
        Field::new("time", DataType::Int64, false),
        Field::new("value", DataType::Float64, false),
    ]))
});

/// The columns of points in memory.
pub(crate) fn rows_schema() -> SchemaRef {
    ROWS.clone()
}

/// Why points cannot be taken in.
#[derive(Debug, Error)]
pub(crate) enum PointsError {
    #[error(
        "column `{0}` is not one of points: labels binary, times list<int64>, values list<float64>, without nulls"
    )]
    Column(&'static str),
    #[error("series {row} has {times} times and {values} values")]
    Lengths { row: usize, times: usize, values: usize },
    #[error("a time is before 1970 or after 9999: {0} ms")]
    Time(i64),
    #[error(
        "points fall into more than {limit} windows of {} s, each of which becomes a file; check the sender's clock, or send less time at once",
        window.length().as_secs()
    )]
    Windows { window: Window, limit: usize },
    #[error(transparent)]
    Labels(LabelsError),
    #[error("memory is full")]
    Full,
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
}

impl From<RegistryError> for PointsError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Labels(error) => Self::Labels(error),
            RegistryError::Full => Self::Full,
        }
    }
}

/// Points whose form is right.
#[derive(Debug)]
pub(crate) struct Points<'a> {
    labels: &'a BinaryArray,
    /// Points of each row.
    lengths: Vec<usize>,
    times: PrimitiveArray<Int64Type>,
    values: PrimitiveArray<Float64Type>,
}

impl<'a> Points<'a> {
    /// The points of a batch. Labels are not looked at yet.
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self, PointsError> {
        let labels = batch.column_by_name("labels").and_then(|c| c.as_binary_opt::<i32>());
        let labels = labels.filter(|l| l.null_count() == 0).ok_or(PointsError::Column("labels"))?;
        let (time_lengths, times) = lists::<Int64Type>(batch, "times")?;
        let (lengths, values) = lists::<Float64Type>(batch, "values")?;
        let differ = time_lengths.iter().zip(&lengths).position(|(t, v)| t != v);
        if let Some(row) = differ {
            let at = |lengths: &[usize]| lengths.get(row).copied().unwrap_or_default();
            let (times, values) = (at(&time_lengths), at(&lengths));
            return Err(PointsError::Lengths { row, times, values });
        }
        Ok(Self { labels, lengths, times, values })
    }

    /// Refuses times that no file can have.
    pub(crate) fn check_times(&self, window: Window, limit: usize) -> Result<(), PointsError> {
        let times = self.times.values();
        let (Some(min), Some(max)) = (times.iter().min(), times.iter().max()) else {
            return Ok(());
        };
        if let Some(time) = [min, max].into_iter().find(|t| !(0..=MAX_TIME).contains(*t)) {
            return Err(PointsError::Time(*time));
        }
        let number = |time: &i64| window.of(time.saturating_mul(1000));
        if number(max).abs_diff(number(min)) < limit as u64 {
            return Ok(());
        }
        let mut windows = HashSet::new();
        let too_many = times.iter().any(|time| {
            windows.insert(number(time));
            windows.len() > limit
        });
        if too_many { Err(PointsError::Windows { window, limit }) } else { Ok(()) }
    }

    /// The points as rows of memory, their series numbered by `registry`.
    pub(crate) fn intern(
        self,
        registry: &Registry,
        budget: &Arc<Budget>,
        by_force: bool,
    ) -> Result<RecordBatch, PointsError> {
        let used = || self.lengths.iter().enumerate().filter(|(_, length)| **length > 0);
        let labels: Vec<&[u8]> = used().map(|(row, _)| self.labels.value(row)).collect();
        let numbers = registry.numbers(labels.into_iter(), budget, by_force)?;
        let series: UInt32Array = if numbers.len() == self.times.len() {
            numbers.into()
        } else {
            let mut series = Vec::with_capacity(self.times.len());
            for (number, (_, length)) in numbers.into_iter().zip(used()) {
                series.resize(series.len() + length, number);
            }
            series.into()
        };
        let columns: Vec<Arc<dyn Array>> =
            vec![Arc::new(series), Arc::new(self.times), Arc::new(self.values)];
        Ok(RecordBatch::try_new(rows_schema(), columns)?)
    }
}

/// The lengths of the lists of a column, and their items in one.
fn lists<T: ArrowPrimitiveType>(
    batch: &RecordBatch,
    name: &'static str,
) -> Result<(Vec<usize>, PrimitiveArray<T>), PointsError> {
    let wrong = PointsError::Column(name);
    let Some(lists) = batch.column_by_name(name).and_then(|c| c.as_list_opt::<i32>()) else {
        return Err(wrong);
    };
    let lists: &ListArray = lists;
    let Some(items) = lists.values().as_primitive_opt::<T>() else { return Err(wrong) };
    let offsets = lists.value_offsets();
    let at = |offset: Option<&i32>| offset.and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
    let (start, end) = (at(offsets.first()), at(offsets.last()));
    if lists.null_count() > 0 || end < start || end > items.len() {
        return Err(wrong);
    }
    let items = items.slice(start, end - start);
    if items.null_count() > 0 {
        return Err(wrong);
    }
    let lengths = offsets.windows(2).map(|w| at(w.last()).saturating_sub(at(w.first()))).collect();
    Ok((lengths, items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::PointsBuilder;

    fn batch(points: &[(&[u8], &[i64])]) -> RecordBatch {
        let mut builder = PointsBuilder::new();
        for (labels, times) in points {
            builder.series(labels);
            times.iter().for_each(|t| builder.point(*t, 0.5));
        }
        builder.finish().unwrap()
    }

    #[test]
    fn points_become_rows_with_numbers() {
        let (registry, budget) = (Registry::default(), Budget::new(1 << 20));
        let intern = |batch: &RecordBatch| {
            Points::of(batch).unwrap().intern(&registry, &budget, false).unwrap()
        };
        let (a, b): (&[u8], &[u8]) = (b"\x01a\x01x", b"\x01a\x01y");
        let rows = intern(&batch(&[(a, &[1, 2]), (b"junk", &[]), (b, &[3])]));
        let numbers = |rows: &RecordBatch| {
            rows.column(0).as_primitive::<arrow::datatypes::UInt32Type>().values().to_vec()
        };
        assert_eq!(numbers(&rows), [0, 0, 1]);
        let sliced = batch(&[(a, &[1, 2]), (b, &[3]), (a, &[4])]).slice(1, 2);
        let rows = intern(&sliced);
        assert_eq!(numbers(&rows), [1, 0]);
        assert_eq!(rows.column(1).as_primitive::<Int64Type>().values(), &[3, 4]);
        assert_eq!(intern(&batch(&[])).num_rows(), 0);
    }

    #[test]
    fn times_that_no_file_can_have_are_refused() {
        let check = |times: &[i64]| {
            Points::of(&batch(&[(b"\x01a\x01x", times)])).unwrap().check_times(Window::DAY, 3)
        };
        const DAY: i64 = 86_400_000;
        assert!(check(&[]).is_ok() && check(&[0, MAX_TIME]).is_ok());
        assert!(matches!(check(&[1, -1]), Err(PointsError::Time(-1))));
        assert!(matches!(check(&[MAX_TIME + 1]), Err(PointsError::Time(_))));
        assert!(check(&[0, DAY, 2 * DAY, DAY]).is_ok());
        assert!(matches!(check(&[0, DAY, 2 * DAY, 9 * DAY]), Err(PointsError::Windows { .. })));
    }

    #[test]
    fn other_batches_are_refused() {
        let (registry, budget) = (Registry::default(), Budget::new(1 << 20));
        let good = batch(&[(b"\x01a\x01x", &[1])]);
        let without = good.project(&[0, 1]).unwrap();
        assert!(matches!(Points::of(&without), Err(PointsError::Column("values"))));
        let bad = batch(&[(b"\x01a\x00", &[1])]);
        let refused = Points::of(&bad).unwrap().intern(&registry, &budget, false);
        assert!(matches!(refused, Err(PointsError::Labels(_))));
    }
}
