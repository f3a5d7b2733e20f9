//! From points to the rows of files.
//!
//! Points are gathered by series, [`GATHERED`] of them at a time so that a flush takes little memory
//! beside them, then cut into chunks and encoded.
//!
//! A chunk lies within one window of files. A window of many points is divided into 2, 4, 8, ... equal
//! stretches of time, so that no stretch has more than [`CHUNK_POINTS`]: boundaries are the same for
//! all series of one interval, and with them the bytes of their times.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, DictionaryArray, Int32Array, Int32Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;

use super::labels::{metric_name, write_text};
use super::memory::Run;
use super::{chunk, chunk_schema, settle};
use crate::window::Window;

/// Points of one chunk, at most, as long as they lie within more than a second.
const CHUNK_POINTS: usize = 1500;
/// Divisions of a window, at most.
const MAX_DIVISIONS: usize = 1 << 16;
/// Points that are gathered at a time.
const GATHERED: usize = 1 << 20;
/// Rows of a batch.
const BATCH: usize = 8192;

/// Calls `each` with the chunks of a series: times in order, each once.
pub(crate) fn cut(
    window: Window,
    times: &[i64],
    values: &[f64],
    mut each: impl FnMut(&[i64], &[f64]),
) {
    let number = |length: i64| move |time: &i64| time.saturating_mul(1000).div_euclid(length);
    let mut values = values;
    for times in times.chunk_by(|a, b| number(window.micros())(a) == number(window.micros())(b)) {
        let (here, after) = values.split_at(times.len().min(values.len()));
        values = after;
        let mut divisions = 1usize;
        let length =
            |divisions: usize| (window.micros() / i64::try_from(divisions).unwrap_or(1)).max(1);
        let largest = |divisions: usize| {
            let number = number(length(divisions));
            times.chunk_by(|a, b| number(a) == number(b)).map(<[i64]>::len).max().unwrap_or(0)
        };
        while times.len() > CHUNK_POINTS
            && divisions < MAX_DIVISIONS
            && largest(divisions) > CHUNK_POINTS
        {
            divisions *= 2;
        }
        let number = number(length(divisions));
        let mut here = here;
        for stretch in times.chunk_by(|a, b| number(a) == number(b)) {
            let (these, after) = here.split_at(stretch.len().min(here.len()));
            here = after;
            // A stretch of that many points at one moment is cut where it has to be.
            for (times, values) in
                stretch.chunks(chunk::MAX_POINTS).zip(these.chunks(chunk::MAX_POINTS))
            {
                each(times, values);
            }
        }
    }
}

/// Rows of a table of series on their way into batches.
pub(crate) struct Rows {
    window: Window,
    names: Labels,
    labels: Labels,
    start: Vec<i64>,
    end: Vec<i64>,
    count: Int32Builder,
    times: BinaryBuilder,
    values: BinaryBuilder,
    done: Vec<RecordBatch>,
    buffers: (Vec<u8>, Vec<u8>),
}

/// A dictionary column whose value is set for many rows at a time.
#[derive(Default)]
struct Labels {
    texts: StringBuilder,
    last: Option<String>,
    number: i32,
    keys: Vec<i32>,
}

impl Labels {
    fn set(&mut self, text: &str) {
        if self.last.as_deref() != Some(text) {
            self.number = self.last.as_ref().map_or(0, |_| self.number.saturating_add(1));
            self.texts.append_value(text);
            let last = self.last.get_or_insert_default();
            last.clear();
            last.push_str(text);
        }
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        let mut texts = self.texts;
        let keys = Int32Array::from(self.keys);
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(texts.finish()))?))
    }
}

impl Rows {
    /// No rows yet, of a table with files of such windows.
    pub(crate) fn new(window: Window) -> Self {
        Self {
            window,
            names: Labels::default(),
            labels: Labels::default(),
            start: Vec::new(),
            end: Vec::new(),
            count: Int32Builder::new(),
            times: BinaryBuilder::new(),
            values: BinaryBuilder::new(),
            done: Vec::new(),
            buffers: (Vec::new(), Vec::new()),
        }
    }

    /// Adds the points of a series, which are in order of time and each time once.
    pub(crate) fn series(
        &mut self,
        name: &str,
        labels: &str,
        times: &[i64],
        values: &[f64],
    ) -> Result<(), ArrowError> {
        let mut outcome = Ok(());
        cut(self.window, times, values, |times, values| {
            if outcome.is_ok() {
                outcome = self.chunk(name, labels, times, values);
            }
        });
        outcome
    }

    /// Adds one chunk; nothing for no points.
    pub(crate) fn chunk(
        &mut self,
        name: &str,
        labels: &str,
        times: &[i64],
        values: &[f64],
    ) -> Result<(), ArrowError> {
        let (Some(first), Some(last)) = (times.first(), times.last()) else { return Ok(()) };
        let range = (first.saturating_mul(1000), last.saturating_mul(1000));
        let count = i32::try_from(times.len()).unwrap_or(i32::MAX);
        let (mut encoded_times, mut encoded_values) = std::mem::take(&mut self.buffers);
        encoded_times.clear();
        encoded_values.clear();
        chunk::encode_times(times, &mut encoded_times);
        chunk::encode_values(values, &mut encoded_values);
        let done = self.row(name, labels, range, count, &encoded_times, &encoded_values);
        self.buffers = (encoded_times, encoded_values);
        done
    }

    /// Adds a row as it is: `range` is the first and last time, microseconds.
    pub(crate) fn row(
        &mut self,
        name: &str,
        labels: &str,
        (start, end): (i64, i64),
        count: i32,
        times: &[u8],
        values: &[u8],
    ) -> Result<(), ArrowError> {
        self.names.set(name);
        self.labels.set(labels);
        self.names.keys.push(self.names.number);
        self.labels.keys.push(self.labels.number);
        self.start.push(start);
        self.end.push(end);
        self.count.append_value(count);
        self.times.append_value(times);
        self.values.append_value(values);
        if self.start.len() >= BATCH {
            self.end_batch()?;
        }
        Ok(())
    }

    fn end_batch(&mut self) -> Result<(), ArrowError> {
        let rows = std::mem::replace(self, Self::new(self.window));
        let time = |times: Vec<i64>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
        };
        let Self { names, labels, start, end, mut count, mut times, mut values, done, .. } = rows;
        self.done = done;
        if start.is_empty() {
            return Ok(());
        }
        let columns: Vec<ArrayRef> = vec![
            names.finish()?,
            labels.finish()?,
            time(start),
            time(end),
            Arc::new(count.finish()),
            Arc::new(times.finish()),
            Arc::new(values.finish()),
        ];
        self.done.push(RecordBatch::try_new(chunk_schema(), columns)?);
        Ok(())
    }

    /// Takes the batches that are full.
    pub(crate) fn take_done(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.done)
    }

    /// Ends the batch at hand and takes what is done.
    pub(crate) fn end(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        self.end_batch()?;
        Ok(self.take_done())
    }

    /// The rest.
    pub(crate) fn finish(mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        self.end()
    }
}

/// The rows that points in memory become.
///
/// A series that two registries have gets chunks from both, which may overlap.
pub(crate) fn from_memory(window: Window, runs: &[Run]) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut rows = Rows::new(window);
    for run in runs {
        // How many points each series has, then where the next one of it goes.
        let mut counts = vec![0usize; run.registry.len()];
        for (series, _, _) in run.columns() {
            for number in series {
                if let Some(n) = usize::try_from(*number).ok().and_then(|n| counts.get_mut(n)) {
                    *n += 1;
                }
            }
        }
        let mut first = 0;
        let mut gathered = Gathered::default();
        while first < counts.len() {
            let mut points = 0;
            let end = counts
                .iter()
                .skip(first)
                .position(|n| {
                    let full = points > 0 && points + n > GATHERED;
                    points += n;
                    full
                })
                .map_or(counts.len(), |n| first + n);
            gathered.fill(run, counts.get(first..end).unwrap_or_default(), first);
            gathered.write(run, first, &mut rows)?;
            first = end;
        }
    }
    rows.finish()
}

/// The points of some series, one series after the other.
#[derive(Default)]
struct Gathered {
    times: Vec<i64>,
    values: Vec<f64>,
    /// Where the points of each series end.
    ends: Vec<usize>,
}

impl Gathered {
    /// `counts` are those of the series from number `first` on.
    fn fill(&mut self, run: &Run, counts: &[usize], first: usize) {
        let mut sum = 0;
        self.ends.clear();
        for n in counts {
            // The start for now: it moves on to the end.
            self.ends.push(sum);
            sum += n;
        }
        self.times.clear();
        self.times.resize(sum, 0);
        self.values.clear();
        self.values.resize(sum, 0.0);
        for (series, times, values) in run.columns() {
            for ((number, time), value) in series.iter().zip(times).zip(values) {
                let here = usize::try_from(*number).ok().and_then(|n| n.checked_sub(first));
                let Some(place) = here.and_then(|n| self.ends.get_mut(n)) else { continue };
                if let Some(slot) = self.times.get_mut(*place) {
                    *slot = *time;
                }
                if let Some(slot) = self.values.get_mut(*place) {
                    *slot = *value;
                }
                *place += 1;
            }
        }
    }

    fn write(&self, run: &Run, first: usize, rows: &mut Rows) -> Result<(), ArrowError> {
        let (mut times, mut values) = (Vec::new(), Vec::new());
        let mut text = String::new();
        let mut start = 0;
        let mut outcome = Ok(());
        run.registry.range(first..first + self.ends.len(), |number, labels| {
            let Some(end) = self.ends.get(number - first) else { return };
            let range = std::mem::replace(&mut start, *end)..*end;
            if range.is_empty() || outcome.is_err() {
                return;
            }
            times.clear();
            times.extend_from_slice(self.times.get(range.clone()).unwrap_or_default());
            values.clear();
            values.extend_from_slice(self.values.get(range).unwrap_or_default());
            settle(&mut times, &mut values);
            text.clear();
            write_text(labels, &mut text);
            outcome = rows.series(metric_name(labels), &text, &times, &values);
        });
        outcome
    }
}
