//! The rows of one file that a selector wants, in their order, page by page.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use bytes::Bytes;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use object_store::ObjectStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowFilter, RowSelection,
};
use parquet::errors::ParquetError;
use tokio::runtime::Handle;
use weir_storage::{DataFile, LocalFiles};

use super::input::Input;
use super::wanted::Wanted;
use crate::promql::error::Error;

/// Rows that are decoded together. Their chunks may be some kilobytes each.
const BATCH_ROWS: usize = 256;

/// The columns of a row, in the order in which they are read.
const COLUMNS: [&str; 7] = ["name", "labels", "start", "end", "count", "times", "values"];
/// Those that tell whether a row is wanted.
const ASKED: [&str; 4] = ["name", "labels", "start", "end"];

/// Rows of one file.
pub(super) struct Rows {
    file: Arc<DataFile>,
    reader: ParquetRecordBatchReader,
    names: StringArray,
    labels: StringArray,
    counts: Vec<i32>,
    times: BinaryArray,
    values: BinaryArray,
    /// The current one.
    row: usize,
}

/// A row: points of one series.
pub(super) struct Chunk {
    pub(super) file: Arc<DataFile>,
    /// Bytes of the times, and of the values; empty if they were not asked for.
    pub(super) times: Bytes,
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
    /// Rows that can be wanted, if the file's index tells.
    pub(super) selection: Option<RowSelection>,
    pub(super) wanted: Arc<Wanted>,
    /// Points with times in `(after, until]`, milliseconds.
    pub(super) after: i64,
    pub(super) until: i64,
    /// Without chunks: only which series there are.
    pub(super) labels_only: bool,
}

impl Rows {
    /// Opens a file, on a thread that may wait.
    pub(super) fn open(request: Request, runtime: &Handle) -> Result<Option<Self>, Error> {
        let file = request.file.clone();
        Self::try_open(request, runtime).map_err(|error| unreadable(&file, &error))
    }

    fn try_open(request: Request, runtime: &Handle) -> Result<Option<Self>, ParquetError> {
        let Request { file, store, local, footers, selection, wanted, .. } = request;
        let Request { after, until, labels_only, .. } = request;
        let meta = runtime.block_on(footer(&store, &footers, &file))?;
        let meta = ArrowReaderMetadata::try_new(
            meta,
            ArrowReaderOptions::new().with_skip_arrow_metadata(true),
        )?;
        let schema = meta.parquet_schema();
        let shown = if labels_only { &COLUMNS[..5] } else { &COLUMNS[..] };
        let projection = ProjectionMask::columns(schema, shown.iter().copied());
        let asked = ProjectionMask::columns(schema, ASKED);
        let filter =
            ArrowPredicateFn::new(asked, move |batch| Ok(choose(&wanted, after, until, &batch)?));
        let input = Input::open(store, local.as_ref(), file.clone(), runtime)?;
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input, meta)
            .with_batch_size(if labels_only { BATCH_ROWS * 16 } else { BATCH_ROWS })
            .with_projection(projection)
            .with_row_filter(RowFilter::new(vec![Box::new(filter)]));
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        let mut rows = Self {
            file,
            reader: builder.build()?,
            names: StringArray::new_null(0),
            labels: StringArray::new_null(0),
            counts: Vec::new(),
            times: BinaryArray::new_null(0),
            values: BinaryArray::new_null(0),
            row: 0,
        };
        Ok(if rows.next_batch()? { Some(rows) } else { None })
    }

    /// Name and labels of the current row.
    pub(super) fn series(&self) -> (&str, &str) {
        (self.names.value(self.row), self.labels.value(self.row))
    }

    /// The chunk of the current row.
    pub(super) fn chunk(&self) -> Chunk {
        let count = self.counts.get(self.row).copied().unwrap_or_default();
        let bytes = |column: &BinaryArray| match column.len() {
            0 => Bytes::new(),
            _ => Bytes::copy_from_slice(column.value(self.row)),
        };
        let (times, values) = (bytes(&self.times), bytes(&self.values));
        Chunk { file: self.file.clone(), times, values, count }
    }

    /// Goes on to the next row; false at the end.
    pub(super) fn advance(&mut self) -> Result<bool, Error> {
        self.row += 1;
        if self.row < self.names.len() {
            return Ok(true);
        }
        self.next_batch().map_err(|error| unreadable(&self.file, &error))
    }

    fn next_batch(&mut self) -> Result<bool, ParquetError> {
        self.row = 0;
        for batch in self.reader.by_ref() {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            self.names = text(&batch, "name")?;
            self.labels = text(&batch, "labels")?;
            let counts = column(&batch, "count")?;
            let counts = counts.as_primitive_opt::<Int32Type>().ok_or_else(|| other("count"))?;
            self.counts = counts.values().to_vec();
            for (name, array) in [("times", &mut self.times), ("values", &mut self.values)] {
                if let Some(bytes) = batch.column_by_name(name) {
                    *array = bytes.as_binary_opt().ok_or_else(|| other(name))?.clone();
                }
            }
            return Ok(true);
        }
        self.names = StringArray::new_null(0);
        Ok(false)
    }
}

fn unreadable(file: &DataFile, error: &ParquetError) -> Error {
    Error::Internal(format!("samples in {} cannot be read: {error}", file.path))
}

fn other(name: &str) -> ParquetError {
    ParquetError::General(format!("column `{name}` is not what it should be"))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Arc<dyn Array>, ParquetError> {
    batch.column_by_name(name).ok_or_else(|| other(name))
}

fn text(batch: &RecordBatch, name: &str) -> Result<StringArray, ParquetError> {
    let column = column(batch, name)?;
    let text = cast(column, &DataType::Utf8)?;
    if text.null_count() > 0 {
        return Err(other(name));
    }
    Ok(text.as_string::<i32>().clone())
}

/// The rows of a batch that can have wanted points.
fn choose(
    wanted: &Wanted,
    after: i64,
    until: i64,
    batch: &RecordBatch,
) -> Result<BooleanArray, ParquetError> {
    let times = |name: &str| -> Result<_, ParquetError> {
        Ok(cast(column(batch, name)?, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    };
    let (names, labels) = (text(batch, "name")?, text(batch, "labels")?);
    let (starts, ends) = (times("start")?, times("end")?);
    let (after, until) = (after.saturating_mul(1000), until.saturating_mul(1000));
    // Rows of a series lie side by side, and so do series of a metric.
    let mut last_name: Option<(&str, bool)> = None;
    let mut last_labels: Option<(&str, bool)> = None;
    let mut chosen = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let mut passes = ends.value(row) > after && starts.value(row) <= until;
        if passes {
            let name = names.value(row);
            passes = match last_name {
                Some((last, passed)) if last == name => passed,
                _ => wanted.name(name),
            };
            last_name = Some((name, passes));
        }
        if passes {
            let labels = labels.value(row);
            passes = match last_labels {
                Some((last, passed)) if last == labels => passed,
                _ => wanted.labels(labels),
            };
            last_labels = Some((labels, passes));
        }
        chosen.push(passes);
    }
    Ok(BooleanArray::from(chosen))
}

async fn footer(
    store: &Arc<dyn ObjectStore>,
    footers: &Arc<FileMetadataCache>,
    file: &DataFile,
) -> Result<Arc<parquet::file::metadata::ParquetMetaData>, ParquetError> {
    crate::scan::indexes::footer(store, footers, file)
        .await
        .map_err(|error| ParquetError::External(Box::new(error)))
}
