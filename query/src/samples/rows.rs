//! The rows of one file that a selector wants, in their order, page by page.
//!
//! Of the rows that the file's index names, the heads are asked. The values of those that pass are read by
//! whoever decodes them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use object_store::ObjectStore;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use roaring::RoaringBitmap;
use tokio::runtime::Handle;
use weir_storage::series::chunk;
use weir_storage::{DataFile, LocalFiles};

use super::columns::{HeadColumns, Opening};
use super::heads::{HeadCache, STRETCH_ROWS, Stretch};
use super::input::Input;
use super::wanted::Wanted;
use crate::promql::error::Error;

/// Rows that are asked together.
const BATCH_ROWS: usize = 256;

/// Rows of one file.
pub(super) struct Rows {
    file: Arc<OpenFile>,
    known: Arc<HeadCache>,
    wanted: Arc<Wanted>,
    after: i64,
    until: i64,
    ahead: Ahead,
    group: Option<Group>,
    /// The last name: most rows have that of the row before.
    name: Option<(Arc<str>, bool)>,
    /// The row that passed last.
    last: Option<(Arc<str>, Arc<str>)>,
    batch: Batch,
    /// The current one, of the batch.
    row: usize,
}

/// A file that is being read.
pub(super) struct OpenFile {
    /// Among the files of the query.
    pub(super) number: usize,
    pub(super) file: Arc<DataFile>,
    meta: Arc<ParquetMetaData>,
    input: Arc<Input>,
}

impl OpenFile {
    /// One of its row groups.
    pub(super) fn group(&self, group: usize) -> Opening<'_> {
        Opening { input: &self.input, meta: &self.meta, group }
    }
}

/// A row: points of one series.
pub(super) struct Chunk {
    pub(super) file: Arc<OpenFile>,
    /// Its row group, and its place in that.
    pub(super) group: usize,
    pub(super) row: usize,
    /// How many points.
    pub(super) count: i32,
    /// Their times, encoded.
    pub(super) times: Bytes,
}

/// What is read of a file.
pub(super) struct Request {
    /// Among the files of the query.
    pub(super) number: usize,
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
    columns: Option<HeadColumns>,
    /// The stretch that was asked last, and its number.
    stretch: Option<(usize, Arc<Stretch>)>,
}

/// Rows that passed.
#[derive(Default)]
struct Batch {
    series: Vec<(Arc<str>, Arc<str>)>,
    places: Vec<Place>,
}

/// Where a row is, and what its head says of its points.
struct Place {
    group: usize,
    row: usize,
    count: i32,
    times: Bytes,
}

impl Rows {
    /// Opens a file, on a thread that may wait.
    pub(super) fn open(request: Request, runtime: &Handle) -> Result<Option<Self>, Error> {
        let file = request.file.clone();
        Self::try_open(request, runtime).map_err(|error| unreadable(&file, &error))
    }

    fn try_open(request: Request, runtime: &Handle) -> Result<Option<Self>, ParquetError> {
        let Request { number, file, store, local, footers, heads, rows, wanted, .. } = request;
        let Request { after, until, .. } = request;
        let meta = runtime.block_on(footer(&store, &footers, &file))?;
        let all = usize::try_from(meta.file_metadata().num_rows())?;
        let input = Arc::new(Input::open(store, local.as_ref(), file.clone(), runtime)?);
        let mut rows = Self {
            file: Arc::new(OpenFile { number, file, meta, input }),
            known: heads,
            wanted,
            after: after.saturating_mul(1000),
            until: until.saturating_mul(1000),
            ahead: Ahead::of(rows, all),
            group: None,
            name: None,
            batch: Batch::default(),
            last: None,
            row: 0,
        };
        Ok(if rows.next_batch()? { Some(rows) } else { None })
    }

    /// Name and labels of the current row.
    pub(super) fn series(&self) -> Option<&(Arc<str>, Arc<str>)> {
        self.batch.series.get(self.row)
    }

    /// The chunk of the current row.
    pub(super) fn chunk(&self) -> Option<Chunk> {
        let Place { group, row, count, times } = self.batch.places.get(self.row)?;
        let (file, times) = (self.file.clone(), times.clone());
        Some(Chunk { file, group: *group, row: *row, count: *count, times })
    }

    /// Goes on to the next row; false at the end.
    pub(super) fn advance(&mut self) -> Result<bool, Error> {
        self.row += 1;
        if self.row < self.batch.series.len() {
            return Ok(true);
        }
        self.next_batch().map_err(|error| unreadable(&self.file.file, &error))
    }

    fn next_batch(&mut self) -> Result<bool, ParquetError> {
        self.row = 0;
        self.batch.clear();
        while self.batch.series.is_empty() {
            let Some(next) = self.ahead.next() else { return Ok(false) };
            self.enter_group_of(next)?;
            let Some(group) = &self.group else { return Ok(false) };
            let (begin, end) = (group.rows.start, group.rows.end);
            for row in self.ahead.take(end, BATCH_ROWS).into_iter().flatten() {
                self.ask(row - begin)?;
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
        for (number, group) in self.file.meta.row_groups().iter().enumerate() {
            let rows = begin..begin + usize::try_from(group.num_rows())?;
            if rows.contains(&row) {
                self.group = Some(Group { number, rows, columns: None, stretch: None });
                return Ok(());
            }
            begin = rows.end;
        }
        Err(ParquetError::EOF(format!("there is no row {row}")))
    }

    /// Puts a row, numbered within the row group, into the batch if it is wanted.
    fn ask(&mut self, row: usize) -> Result<(), ParquetError> {
        let Some(group) = &mut self.group else { return Ok(()) };
        let (number, within) = (row / STRETCH_ROWS, row % STRETCH_ROWS);
        let stretch = match &group.stretch {
            Some((known, stretch)) if *known == number => stretch.clone(),
            _ => {
                let path = &self.file.file.path;
                let stretch = self.known.stretch(path, group.number, number, || {
                    let columns = match &mut group.columns {
                        Some(columns) => columns,
                        None => {
                            group.columns.insert(HeadColumns::open(&self.file.group(group.number))?)
                        }
                    };
                    let begin = number * STRETCH_ROWS;
                    columns.read(&(begin..(begin + STRETCH_ROWS).min(group.rows.len())))
                })?;
                group.stretch = Some((number, stretch.clone()));
                stretch
            }
        };
        let group = group.number;
        let none = || ParquetError::EOF(format!("there is no row {row}"));
        let head = stretch.head(within).ok_or_else(none)?;
        let passes = head.end > self.after
            && head.start <= self.until
            && self.name_passes(head.name)
            && self.wanted.labels(head.labels);
        if passes {
            let bad = |what| Err(ParquetError::General(format!("row {row}: {what}")));
            if !usize::try_from(head.count).is_ok_and(|count| count <= chunk::MAX_POINTS) {
                return bad("it cannot have so many points");
            }
            let series = (head.name.clone(), head.labels.clone());
            if self.last.as_ref().is_some_and(|last| is_before(&series, last)) {
                return bad(
                    "its series comes before that of an earlier row; was the file rewritten?",
                );
            }
            self.last = Some(series.clone());
            self.batch.series.push(series);
            let (count, times) = (head.count, head.times.clone());
            self.batch.places.push(Place { group, row, count, times });
        }
        Ok(())
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
        self.places.clear();
    }
}

/// In the order of a file's rows.
fn is_before(one: &(Arc<str>, Arc<str>), other: &(Arc<str>, Arc<str>)) -> bool {
    let same = Arc::ptr_eq(&one.0, &other.0) && Arc::ptr_eq(&one.1, &other.1);
    !same && one < other
}

pub(super) fn unreadable(file: &DataFile, error: &ParquetError) -> Error {
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
