//! Points of chunks that must not be seen.
//!
//! A deletion or a retention rule hides points, and its range of time may end in the middle of a chunk.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{and, not};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;

use super::chunk::{decode_times, decode_values};
use super::chunks::Rows;
use super::memory::hide;
use super::rows::ChunkRows;
use crate::hidden::Hidden;
use crate::matcher::all_match;
use crate::window::Window;

/// What is hidden of the chunks in one batch. See [`crate::DataFile::hidden`].
#[derive(Debug)]
pub struct HiddenPoints(Vec<(Arc<Hidden>, BooleanArray)>);

impl HiddenPoints {
    /// What is hidden in a batch that has the columns `name`, `labels`, `start` and `end`; `None` if
    /// nothing is.
    ///
    /// # Errors
    /// When it lacks one of these columns.
    pub fn of(hidden: &[Arc<Hidden>], batch: &RecordBatch) -> Result<Option<Self>, ArrowError> {
        if hidden.is_empty() {
            return Ok(None);
        }
        let times = |name: &str| {
            batch
                .column_by_name(name)
                .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>())
                .ok_or_else(|| ArrowError::SchemaError(format!("no time column `{name}`")))
        };
        let (start, end) = (times("start")?.values(), times("end")?.values());
        let mut found = Vec::new();
        for hidden in hidden {
            let reached = start.iter().zip(end).map(|(start, end)| hidden.reaches(*start, *end));
            let mut rows: BooleanArray = reached.map(Some).collect();
            if !rows.has_true() {
                continue;
            }
            rows = and(&rows, &all_match(&hidden.matchers, batch)?)?;
            for kept in hidden.unless.iter() {
                rows = and(&rows, &not(&all_match(kept, batch)?)?)?;
            }
            if rows.has_true() {
                found.push((hidden.clone(), rows));
            }
        }
        Ok((!found.is_empty()).then_some(Self(found)))
    }

    /// Whether some points of a row may be hidden.
    #[must_use]
    pub fn touches(&self, row: usize) -> bool {
        self.of_row(row).next().is_some()
    }

    fn of_row(&self, row: usize) -> impl Iterator<Item = &Hidden> {
        let hides = move |rows: &BooleanArray| row < rows.len() && rows.value(row);
        self.0.iter().filter(move |(_, rows)| hides(rows)).map(|(hidden, _)| hidden.as_ref())
    }

    /// Removes the points of a row that are hidden from those of its chunk, which are in order of
    /// time: milliseconds since the Unix epoch.
    pub fn remove(&self, row: usize, times: &mut Vec<i64>, values: &mut Vec<f64>) {
        for hidden in self.of_row(row) {
            hide(hidden, times, values);
        }
    }
}

/// A batch without the points that are hidden; `None` if none are.
pub(crate) fn without(
    window: Window,
    hidden: &[Arc<Hidden>],
    batch: &RecordBatch,
) -> Result<Option<Vec<RecordBatch>>, ArrowError> {
    let Some(hidden) = HiddenPoints::of(hidden, batch)? else { return Ok(None) };
    let chunks = ChunkRows::of(batch)?;
    let mut rows = Rows::new(window);
    let (mut times, mut values) = (Vec::new(), Vec::new());
    let mut removed = 0;
    for row in 0..batch.num_rows() {
        let count = chunks.count(row);
        if hidden.touches(row) {
            times.clear();
            values.clear();
            decode_times(chunks.times(row), count, &mut times)?;
            decode_values(chunks.values(row), count, &mut values)?;
            let before = times.len();
            hidden.remove(row, &mut times, &mut values);
            removed += before - times.len();
            if times.len() < before {
                rows.chunk(chunks.name(row), chunks.labels(row), &times, &values)?;
                continue;
            }
        }
        let (name, labels) = (chunks.name(row), chunks.labels(row));
        rows.row(name, labels, chunks.range(row), count, chunks.times(row), chunks.values(row))?;
    }
    if removed == 0 {
        return Ok(None);
    }
    rows.finish().map(Some)
}
