//! Compaction: all chunks of a series become as few as there can be.
//!
//! Rows come sorted by series, so one series is held at a time. One that has a single chunk is passed
//! on as it is.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::chunks::Rows;
use super::rows::ChunkRows;
use super::settle;
use crate::compact::merge::Combine;
use crate::window::Window;

/// Combines chunks that come in the order of files.
pub(crate) struct Combiner {
    rows: Rows,
    held: Held,
}

/// The series at hand.
#[derive(Default)]
struct Held {
    name: String,
    labels: String,
    chunks: Vec<HeldChunk>,
}

/// A chunk as it is in its file.
struct HeldChunk {
    start: i64,
    end: i64,
    count: i32,
    times: Vec<u8>,
    values: Vec<u8>,
}

impl Combiner {
    /// For a table with files of such windows.
    pub(crate) fn new(window: Window) -> Self {
        Self { rows: Rows::new(window), held: Held::default() }
    }

    fn release(&mut self) -> Result<(), ArrowError> {
        let Held { name, labels, chunks } = &mut self.held;
        if let [chunk] = chunks.as_slice() {
            let HeldChunk { start, end, count, times, values } = chunk;
            self.rows.row(name, labels, (*start, *end), *count, times, values)?;
        } else {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            for chunk in chunks.iter() {
                super::chunk::decode_times(&chunk.times, chunk.count, &mut times)?;
                super::chunk::decode_values(&chunk.values, chunk.count, &mut values)?;
            }
            settle(&mut times, &mut values);
            self.rows.series(name, labels, &times, &values)?;
        }
        chunks.clear();
        Ok(())
    }
}

impl Combine for Combiner {
    fn push(&mut self, rows: &RecordBatch) -> Result<Vec<RecordBatch>, ArrowError> {
        let chunks = ChunkRows::of(rows)?;
        for row in 0..rows.num_rows() {
            let (name, labels) = (chunks.name(row), chunks.labels(row));
            if self.held.name != name || self.held.labels != labels {
                self.release()?;
                name.clone_into(&mut self.held.name);
                labels.clone_into(&mut self.held.labels);
            }
            let (start, end) = chunks.range(row);
            self.held.chunks.push(HeldChunk {
                start,
                end,
                count: chunks.count(row),
                times: chunks.times(row).to_vec(),
                values: chunks.values(row).to_vec(),
            });
        }
        Ok(self.rows.take_done())
    }

    fn finish(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        self.release()?;
        self.rows.end()
    }
}
