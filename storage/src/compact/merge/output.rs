//! From runs of rows to batches, and from batches to the new file.

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;
use arrow::row::Row;

use super::Combine;
use crate::compact::input::Input;
use crate::files::FilesError;
use crate::files::stats::FileStats;
use crate::files::write::FileWriter;

/// Rows that come next in the output, as places in the inputs' batches.
#[derive(Default)]
pub(super) struct Chunk {
    batches: Vec<RecordBatch>,
    runs: Vec<Run>,
    pub(super) rows: usize,
}

struct Run {
    batch: usize,
    start: usize,
    rows: usize,
}

impl Chunk {
    /// Takes rows of an input as long as their key is `wanted`, and at least one.
    pub(super) fn add(&mut self, input: &mut Input, wanted: impl Fn(Row<'_>) -> bool) {
        let batch = *input.slot.get_or_insert_with(|| {
            self.batches.push(input.batch.clone());
            self.batches.len() - 1
        });
        let start = input.position();
        let rows = input.take(wanted);
        self.rows += rows;
        match self.runs.last_mut() {
            Some(run) if run.batch == batch && run.start + run.rows == start => run.rows += rows,
            _ => self.runs.push(Run { batch, start, rows }),
        }
    }

    /// The rows as a batch; the inputs' slots are void afterwards.
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let Self { batches, runs, rows } = std::mem::take(self);
        match runs.as_slice() {
            [] => Ok(None),
            [run] => Ok(batches.get(run.batch).map(|batch| batch.slice(run.start, run.rows))),
            _ => {
                let mut places = Vec::with_capacity(rows);
                for run in runs {
                    places.extend((run.start..run.start + run.rows).map(|row| (run.batch, row)));
                }
                let batches: Vec<&RecordBatch> = batches.iter().collect();
                interleave_record_batch(&batches, &places).map(Some)
            }
        }
    }
}

/// The file being written.
pub(super) struct Output<'a> {
    writer: FileWriter<'a>,
    combine: Option<Box<dyn Combine>>,
    /// Rows that `combine` has taken and not given back.
    combined: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(writer: FileWriter<'a>, combine: Option<Box<dyn Combine>>) -> Self {
        Self { writer, combine, combined: 0 }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), FilesError> {
        let Some(combine) = &mut self.combine else { return self.writer.write(batch) };
        self.combined = self.combined.saturating_add(rows(batch));
        let done = combine.push(batch)?;
        self.write_combined(&done)
    }

    fn write_combined(&mut self, done: &[RecordBatch]) -> Result<(), FilesError> {
        for batch in done {
            self.combined = self.combined.saturating_sub(rows(batch));
            self.writer.write(batch)?;
        }
        Ok(())
    }

    /// Size, statistics and the number of rows that were combined into others.
    pub(super) fn finish(mut self) -> Result<(u64, FileStats, u64), FilesError> {
        if let Some(combine) = &mut self.combine {
            let done = combine.finish()?;
            self.write_combined(&done)?;
        }
        let (size, stats) = self.writer.finish()?;
        Ok((size, stats, self.combined))
    }
}

fn rows(batch: &RecordBatch) -> u64 {
    u64::try_from(batch.num_rows()).unwrap_or(u64::MAX)
}
