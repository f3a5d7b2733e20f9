//! The rows of one file that a selector wants, in their order, page by page.
//!
//! Of the rows that the file's index names, the heads are asked; the values of those that pass are read after
//! that. Pages without such a row are not touched.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use object_store::ObjectStore;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use roaring::RoaringBitmap;
use tokio::runtime::Handle;
use weir_storage::{DataFile, LocalFiles};

use super::columns::{Columns, Opening};
use super::heads::{HeadCache, STRETCH_ROWS, Stretch};
use super::input::Input;
use super::wanted::Wanted;
use crate::promql::error::Error;

/// Rows that are read together: their chunks may be some kilobytes each, in each of many files.
const BATCH_ROWS: usize = 64;
/// The same when only heads are asked.
const BATCH_HEADS: usize = 4096;

/// Rows of one file.
pub(super) struct Rows {
    file: Arc<DataFile>,
    meta: Arc<ParquetMetaData>,
    input: Arc<Input>,
    known: Arc<HeadCache>,
    wanted: Arc<Wanted>,
    after: i64,
    until: i64,
    labels_only: bool,
    ahead: Ahead,
    group: Option<Group>,
    /// The last name: most rows have that of the row before.
    name: Option<(Arc<str>, bool)>,
    batch: Batch,
    /// The current one, of the batch.
    row: usize,
}

/// A row: points of one series.
pub(super) struct Chunk {
    pub(super) file: Arc<DataFile>,
    /// The times, encoded.
    pub(super) times: Bytes,
    /// The values, encoded; empty if they were not asked for.
    pub(super) values: Bytes,
    /// How many points.
    pub(super) count: i32,
}

/// What is read of a file.
pub(super) struct Request {
    pub(super) file: Arc<DataFile>,
    pub(super) store: Arc<dyn ObjectStore>,
    /// The same store, if it is on local disk.
    pub(super) local: Option<LocalFiles>,
    pub(super) footers: Arc<FileMetadataCache>,
    pub(super) heads: Arc<HeadCache>,
    /// Rows that can be wanted, if the file's index tells.
    pub(super) rows: Option<RoaringBitmap>,
    pub(super) wanted: Arc<Wanted>,
    /// Points with times in `(after, until]`, milliseconds.
    pub(super) after: i64,
    pub(super) until: i64,
    /// Without chunks: only which series there are.
    pub(super) labels_only: bool,
}

/// Rows of a file that are still to be asked, ascending.
struct Ahead {
    /// Ranges of rows; the first of them last.
    ranges: Vec<Range<usize>>,
}

/// The row group that is being read.
struct Group {
    number: usize,
    /// Its rows, numbered within the file.
    rows: Range<usize>,
    columns: Columns,
    /// The stretch that was asked last, and its number.
    stretch: Option<(usize, Arc<Stretch>)>,
}

/// Rows that passed.
#[derive(Default)]
struct Batch {
    series: Vec<(Arc<str>, Arc<str>)>,
    /// Of each: how many points, and their times.
    times: Vec<(i32, Bytes)>,
    values: Vec<ByteArray>,
}

impl Rows {
    /// Opens a file, on a thread that may wait.
    pub(super) fn open(request: Request, runtime: &Handle) -> Result<Option<Self>, Error> {
        let file = request.file.clone();
        Self::try_open(request, runtime).map_err(|error| unreadable(&file, &error))
    }

    fn try_open(request: Request, runtime: &Handle) -> Result<Option<Self>, ParquetError> {
        let Request { file, store, local, footers, heads, rows, wanted, .. } = request;
        let Request { after, until, labels_only, .. } = request;
        let meta = runtime.block_on(footer(&store, &footers, &file))?;
        let all = usize::try_from(meta.file_metadata().num_rows())?;
        let input = Input::open(store, local.as_ref(), file.clone(), runtime)?;
        let mut rows = Self {
            file,
            meta,
            input: Arc::new(input),
            known: heads,
            wanted,
            after: after.saturating_mul(1000),
            until: until.saturating_mul(1000),
            labels_only,
            ahead: Ahead::of(rows, all),
            group: None,
            name: None,
            batch: Batch::default(),
            row: 0,
        };
        Ok(if rows.next_batch()? { Some(rows) } else { None })
    }

    /// Name and labels of the current row.
    pub(super) fn series(&self) -> Option<&(Arc<str>, Arc<str>)> {
        self.batch.series.get(self.row)
    }

    /// The chunk of the current row.
    pub(super) fn chunk(&self) -> Chunk {
        let (count, times) = self.batch.times.get(self.row).cloned().unwrap_or_default();
        let values = self.batch.values.get(self.row);
        // A copy, so that the page may go.
        let values = values.map(|v| Bytes::copy_from_slice(v.data())).unwrap_or_default();
        Chunk { file: self.file.clone(), times, values, count }
    }

    /// Goes on to the next row; false at the end.
    pub(super) fn advance(&mut self) -> Result<bool, Error> {
        self.row += 1;
        if self.row < self.batch.series.len() {
            return Ok(true);
        }
        self.next_batch().map_err(|error| unreadable(&self.file, &error))
    }

    fn next_batch(&mut self) -> Result<bool, ParquetError> {
        self.row = 0;
        self.batch.clear();
        while self.batch.series.is_empty() {
            let Some(next) = self.ahead.next() else { return Ok(false) };
            self.enter_group_of(next)?;
            let Some(group) = &self.group else { return Ok(false) };
            let (begin, end) = (group.rows.start, group.rows.end);
            let most = if self.labels_only { BATCH_HEADS } else { BATCH_ROWS };
            let mut passing = Vec::new();
            for row in self.ahead.take(end, most).into_iter().flatten() {
                if self.ask(row - begin)? {
                    passing.push(row - begin);
                }
            }
            if !self.labels_only {
                self.read_values(passing.into_iter())?;
            }
        }
        Ok(true)
    }

    /// Opens the row group that a row is in.
    fn enter_group_of(&mut self, row: usize) -> Result<(), ParquetError> {
        if self.group.as_ref().is_some_and(|group| group.rows.contains(&row)) {
            return Ok(());
        }
        let mut begin = 0;
        for (number, group) in self.meta.row_groups().iter().enumerate() {
            let rows = begin..begin + usize::try_from(group.num_rows())?;
            if rows.contains(&row) {
                self.group = Some(Group { number, rows, columns: Columns::new(), stretch: None });
                return Ok(());
            }
            begin = rows.end;
        }
        Err(ParquetError::EOF(format!("there is no row {row}")))
    }

    /// Whether a row, numbered within the row group, is wanted; if so it goes to the batch.
    fn ask(&mut self, row: usize) -> Result<bool, ParquetError> {
        let Some(group) = &mut self.group else { return Ok(false) };
        let (number, within) = (row / STRETCH_ROWS, row % STRETCH_ROWS);
        let stretch = match &group.stretch {
            Some((known, stretch)) if *known == number => stretch.clone(),
            _ => {
                let Self { input, meta, .. } = self;
                let stretch = self.known.stretch(&self.file.path, group.number, number, || {
                    let begin = number * STRETCH_ROWS;
                    let rows = begin..(begin + STRETCH_ROWS).min(group.rows.len());
                    group.columns.heads(&Opening { input, meta, group: group.number }, &rows)
                })?;
                group.stretch = Some((number, stretch.clone()));
                stretch
            }
        };
        let none = || ParquetError::EOF(format!("there is no row {row}"));
        let head = stretch.head(within).ok_or_else(none)?;
        let passes = head.end > self.after
            && head.start <= self.until
            && self.name_passes(head.name)
            && self.wanted.labels(head.labels);
        if passes {
            self.batch.series.push((head.name.clone(), head.labels.clone()));
            self.batch.times.push((head.count, head.times.clone()));
        }
        Ok(passes)
    }

    fn name_passes(&mut self, name: &Arc<str>) -> bool {
        match &self.name {
            Some((known, passes)) if Arc::ptr_eq(known, name) => *passes,
            _ => {
                let passes = self.wanted.name(name);
                self.name = Some((name.clone(), passes));
                passes
            }
        }
    }

    /// Reads the values of rows, numbered within the row group.
    fn read_values(&mut self, rows: impl Iterator<Item = usize>) -> Result<(), ParquetError> {
        let Some(group) = &mut self.group else { return Ok(()) };
        let Self { input, meta, .. } = self;
        let opening = Opening { input, meta, group: group.number };
        for range in joined(rows) {
            group.columns.values(&opening, &range, &mut self.batch.values)?;
        }
        Ok(())
    }
}

impl Ahead {
    fn of(rows: Option<RoaringBitmap>, all: usize) -> Self {
        let mut ranges = Vec::new();
        match rows {
            None => ranges.push(0..all),
            Some(rows) => {
                let mut iter = rows.iter();
                while let Some(range) = iter.next_range() {
                    let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
                    ranges
                        .push(size(*range.start())..size(*range.end()).saturating_add(1).min(all));
                }
            }
        }
        ranges.retain(|range| !range.is_empty());
        ranges.reverse();
        Self { ranges }
    }

    /// The first row.
    fn next(&self) -> Option<usize> {
        self.ranges.last().map(|range| range.start)
    }

    /// Takes up to `most` rows before `end`.
    fn take(&mut self, end: usize, most: usize) -> Vec<Range<usize>> {
        let (mut taken, mut count) = (Vec::new(), 0);
        while count < most
            && let Some(range) = self.ranges.last_mut()
            && range.start < end
        {
            let until = range.end.min(end).min(range.start + most - count);
            count += until - range.start;
            taken.push(range.start..until);
            range.start = until;
            if range.start >= range.end {
                self.ranges.pop();
            }
        }
        taken
    }
}

impl Batch {
    fn clear(&mut self) {
        self.series.clear();
        self.times.clear();
        self.values.clear();
    }
}

/// Ascending rows as ranges.
fn joined(rows: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for row in rows {
        match ranges.last_mut() {
            Some(last) if last.end == row => last.end = row + 1,
            _ => ranges.push(row..row + 1),
        }
    }
    ranges
}

fn unreadable(file: &DataFile, error: &ParquetError) -> Error {
    Error::Internal(format!("samples in {} cannot be read: {error}", file.path))
}

async fn footer(
    store: &Arc<dyn ObjectStore>,
    footers: &Arc<FileMetadataCache>,
    file: &DataFile,
) -> Result<Arc<ParquetMetaData>, ParquetError> {
    crate::scan::indexes::footer(store, footers, file)
        .await
        .map_err(|error| ParquetError::External(Box::new(error)))
}
