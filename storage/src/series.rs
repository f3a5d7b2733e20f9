//! Tables of series: points come in, rows are chunks of points.
//!
//! ```text
//! points   what is appended: one row for each series of a request  (`points_schema`)
//!            labels  binary         canonical labels, the metric's name among them (`labels`)
//!            times   list<int64>    milliseconds since the Unix epoch
//!            values  list<float64>  as many, bit by bit what came
//! chunks   what files have: one row for each series and stretch of time  (`chunk_schema`)
//!            name    label          the metric's name, empty for none
//!            labels  label          all other labels as text
//!            start   timestamp      first point
//!            end     timestamp      last point; the row's time
//!            count   int32          points
//!            times   binary         their times (`chunk`)
//!            values  binary         their values (`chunk`)
//! ```
//!
//! A series has at most one point at a time. Of several that were written, one survives that does not
//! depend on order or place: see [`prefer`]. The same rule holds in memory, in flushes, in compaction
//! and, between a series' chunks and its points in memory, for whoever reads ([`settle`]).

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BinaryBuilder, Float64Array, Int64Array, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

pub(crate) use chunks::from_memory;
pub(crate) use columns::{LABELS, on_column, stored_in, value_in_text};
pub use columns::{column_of, label_of};
pub(crate) use combine::Combiner;
pub use hiding::HiddenPoints;
pub(crate) use hiding::without;
pub(crate) use intern::{Points, PointsError, rows_schema};
pub(crate) use memory::{Run, read, spans};
pub(crate) use registry::Registry;
#[cfg(test)]
pub(crate) use rows::ChunkRows;

use crate::spec::TableSpec;
use crate::window::Window;

mod chunks;
mod columns;
mod combine;
mod hiding;
mod intern;
mod memory;
mod registry;
mod rows;

pub mod chunk;
pub mod labels;

/// Bits of the value that says that a series has ended: a NaN that no calculation gives (Prometheus,
/// `model/value`).
pub const STALE: u64 = 0x7ff0_0000_0000_0002;

/// The column with a chunk's first time.
pub(crate) const START: &str = "start";

fn items(data_type: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(data_type, false))
}

static POINTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("labels", DataType::Binary, false),
        Field::new("times", DataType::List(items(DataType::Int64)), false),
        Field::new("values", DataType::List(items(DataType::Float64)), false),
    ]))
});

static CHUNKS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let label = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("name", label.clone(), false),
        Field::new("labels", label, false),
        Field::new("start", time.clone(), false),
        Field::new("end", time, false),
        Field::new("count", DataType::Int32, false),
        Field::new("times", DataType::Binary, false),
        Field::new("values", DataType::Binary, false),
    ]))
});

/// The columns of what is appended to a table of series. A series may have several rows, and times may
/// come in any order and more than once.
#[must_use]
pub fn points_schema() -> SchemaRef {
    POINTS.clone()
}

/// The columns of a table of series. Chunks of one series may overlap: whoever reads settles them.
#[must_use]
pub fn chunk_schema() -> SchemaRef {
    CHUNKS.clone()
}

/// A table of series whose files span `window` each.
#[must_use]
pub fn table(name: &'static str, window: Window) -> TableSpec {
    TableSpec {
        name,
        schema: chunk_schema(),
        time: "end",
        window,
        workload: &["name"],
        sort: &["name", "labels", "end"],
        rollup: None,
        series: true,
    }
}

/// Which of two values that a series was given for one time stays: any number rather than [`STALE`],
/// then the larger one by [`f64::total_cmp`].
#[must_use]
pub fn prefer(a: f64, b: f64) -> f64 {
    match (a.to_bits() == STALE, b.to_bits() == STALE) {
        (true, _) => b,
        (_, true) => a,
        _ if a.total_cmp(&b).is_lt() => b,
        _ => a,
    }
}

/// Brings the points of one series in order of time, each time once (see [`prefer`]).
///
/// Points that are in order already cost one look at each.
pub fn settle(times: &mut Vec<i64>, values: &mut Vec<f64>) {
    if times.is_sorted_by(|a, b| a < b) {
        return;
    }
    let mut points: Vec<(i64, f64)> = times.drain(..).zip(values.drain(..)).collect();
    points.sort_by_key(|(time, _)| *time);
    for (time, value) in points {
        match (times.last(), values.last_mut()) {
            (Some(last), Some(kept)) if *last == time => *kept = prefer(*kept, value),
            _ => {
                times.push(time);
                values.push(value);
            }
        }
    }
}

/// Points of one series, in order of time, each time once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesPoints {
    /// Canonical labels, see [`labels`].
    pub labels: Vec<u8>,
    /// Milliseconds since the Unix epoch.
    pub times: Vec<i64>,
    /// As many as `times`.
    pub values: Vec<f64>,
}

/// Builds a batch of [`points_schema`].
#[derive(Debug, Default)]
pub struct PointsBuilder {
    labels: BinaryBuilder,
    times: Vec<i64>,
    values: Vec<f64>,
    /// Points of each series.
    lengths: Vec<usize>,
    /// Points of all series before the last one.
    before: usize,
}

impl PointsBuilder {
    /// A batch without series.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a series; the points that follow are its.
    pub fn series(&mut self, canonical: &[u8]) {
        self.end_series();
        self.labels.append_value(canonical);
        self.lengths.push(0);
    }

    /// Adds a point to the series that was begun last, if any was: time in milliseconds since the Unix
    /// epoch.
    pub fn point(&mut self, time: i64, value: f64) {
        self.times.push(time);
        self.values.push(value);
    }

    /// Points so far.
    #[must_use]
    pub fn points(&self) -> usize {
        self.times.len()
    }

    fn end_series(&mut self) {
        if let Some(length) = self.lengths.last_mut() {
            *length = self.times.len() - self.before;
        } else {
            self.times.clear();
            self.values.clear();
        }
        self.before = self.times.len();
    }

    /// The batch.
    ///
    /// # Errors
    /// When it has more than 2^31 - 1 points.
    pub fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        self.end_series();
        if i32::try_from(self.times.len()).is_err() {
            return Err(ArrowError::OffsetOverflowError(self.times.len()));
        }
        let offsets = OffsetBuffer::<i32>::from_lengths(self.lengths);
        let times = Arc::new(Int64Array::from(self.times));
        let values = Arc::new(Float64Array::from(self.values));
        let times = ListArray::try_new(items(DataType::Int64), offsets.clone(), times, None)?;
        let values = ListArray::try_new(items(DataType::Float64), offsets, values, None)?;
        let columns: Vec<ArrayRef> =
            vec![Arc::new(self.labels.finish()), Arc::new(times), Arc::new(values)];
        RecordBatch::try_new(points_schema(), columns)
    }
}

#[cfg(test)]
mod tests;
