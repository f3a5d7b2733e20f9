//! One sorted file on its way into a merge.
//!
//! A row group's compressed columns are fetched at a time, and decoded [`BATCH`] rows at a time.
//! Labels keep their dictionary. The file's own word on its order is not trusted.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, Row, RowConverter, Rows};
use arrow_select::dictionary::garbage_collect_any_dictionary;
use futures::StreamExt;
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use tokio::runtime::Handle;

use super::merge::MergeError;
use super::reader::FileReader;
use crate::conform::conform;
use crate::files::order::column;
use crate::hidden::visible;
use crate::series;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;

/// Rows that are decoded at a time.
pub(crate) const BATCH: usize = 4096;

/// A file whose footer is read.
pub(crate) struct Opened {
    file: Arc<DataFile>,
    reader: FileReader,
    metadata: ArrowReaderMetadata,
}

impl Opened {
    pub(crate) fn open(
        runtime: &Handle,
        store: &Arc<dyn ObjectStore>,
        spec: &TableSpec,
        file: Arc<DataFile>,
    ) -> Result<Self, MergeError> {
        let read = |source| MergeError::Read { path: file.path.clone(), source };
        let mut reader = FileReader::new(store.clone(), file.clone());
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let plain = runtime
            .block_on(ArrowReaderMetadata::load_async(&mut reader, options))
            .map_err(read)?;
        let schema = with_dictionaries(plain.schema(), spec);
        if let Some(unknown) = schema.fields().iter().find(|f| !has(&spec.schema, f.name())) {
            return Err(MergeError::Unknown {
                path: file.path.clone(),
                column: unknown.name().clone(),
            });
        }
        let options =
            ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(Arc::new(schema));
        let metadata =
            ArrowReaderMetadata::try_new(plain.metadata().clone(), options).map_err(read)?;
        Ok(Self { file, reader, metadata })
    }

    pub(crate) fn has_column(&self, name: &str) -> bool {
        has(self.metadata.schema(), name)
    }
}

fn has(schema: &Schema, name: &str) -> bool {
    schema.field_with_name(name).is_ok()
}

/// The schema of a file, its labels as the dictionaries that the table has.
fn with_dictionaries(file: &Schema, spec: &TableSpec) -> Schema {
    let fields = file.fields().iter().map(|field| {
        match spec.schema.field_with_name(field.name()).map(Field::data_type) {
            Ok(wanted @ DataType::Dictionary(_, value)) if value.as_ref() == field.data_type() => {
                Arc::new(field.as_ref().clone().with_data_type(wanted.clone()))
            }
            _ => field.clone(),
        }
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// A file being read, at one of its rows.
pub(crate) struct Input {
    file: Arc<DataFile>,
    stream: ParquetRecordBatchStream<FileReader>,
    pub(crate) batch: RecordBatch,
    keys: Rows,
    position: usize,
    /// Key of the last row of the batch before.
    previous: Option<OwnedRow>,
    pub(crate) read: u64,
    pub(crate) dropped: u64,
    /// Points were taken out of rows.
    pub(crate) changed: bool,
    /// Where the merge keeps `batch`, if it has taken rows of it.
    pub(crate) slot: Option<usize>,
}

impl Input {
    pub(crate) fn new(
        opened: Opened,
        spec: &TableSpec,
        converter: &RowConverter,
    ) -> Result<Self, MergeError> {
        let Opened { file, reader, metadata } = opened;
        let stream = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
            .with_batch_size(BATCH)
            .build()
            .map_err(|source| MergeError::Read { path: file.path.clone(), source })?;
        Ok(Self {
            file,
            stream,
            batch: RecordBatch::new_empty(spec.schema.clone()),
            keys: converter.empty_rows(0, 0),
            position: 0,
            previous: None,
            read: 0,
            dropped: 0,
            changed: false,
            slot: None,
        })
    }

    /// Goes on to the next batch that has rows; false at the end of the file.
    pub(crate) fn advance(
        &mut self,
        runtime: &Handle,
        spec: &TableSpec,
        converter: &RowConverter,
    ) -> Result<bool, MergeError> {
        self.previous = self.keys.num_rows().checked_sub(1).map(|last| self.keys.row(last).owned());
        loop {
            let Some(batch) = runtime.block_on(self.stream.next()) else {
                return if self.read == self.file.rows {
                    Ok(false)
                } else {
                    Err(MergeError::Rows {
                        path: self.file.path.clone(),
                        found: self.read,
                        listed: self.file.rows,
                    })
                };
            };
            let batch = batch
                .map_err(|source| MergeError::Read { path: self.file.path.clone(), source })?;
            let batch = conform(spec, &shrink(batch)?)
                .map_err(|source| MergeError::Misfit { path: self.file.path.clone(), source })?;
            let keys = keys(spec, converter, &batch)?;
            self.check_order(&keys)?;
            self.read += rows(&batch);
            if let Some(last) = keys.num_rows().checked_sub(1) {
                self.previous = Some(keys.row(last).owned());
            }
            let kept = if spec.series {
                match series::without(spec.window, &self.file.hidden, &batch)? {
                    None => batch,
                    Some(left) => {
                        let left = concat_batches(&spec.schema, &left)?;
                        self.changed = true;
                        self.dropped += rows(&batch) - rows(&left);
                        left
                    }
                }
            } else {
                match visible(&self.file.hidden, spec.time, &batch)? {
                    None => batch,
                    Some(visible) => {
                        let kept = filter_record_batch(&batch, &visible)?;
                        self.dropped += rows(&batch) - rows(&kept);
                        kept
                    }
                }
            };
            if kept.num_rows() == 0 {
                continue;
            }
            self.keys = if !self.changed && kept.num_rows() == keys.num_rows() {
                keys
            } else {
                self::keys(spec, converter, &kept)?
            };
            (self.batch, self.position, self.slot) = (kept, 0, None);
            return Ok(true);
        }
    }

    fn check_order(&self, keys: &Rows) -> Result<(), MergeError> {
        let disorder = |row: usize| MergeError::Disorder {
            path: self.file.path.clone(),
            row: self.read + u64::try_from(row).unwrap_or(u64::MAX),
        };
        let mut before: Option<Row<'_>> = self.previous.as_ref().map(OwnedRow::row);
        for (row, key) in keys.iter().enumerate() {
            if before.is_some_and(|before| key < before) {
                return Err(disorder(row));
            }
            before = Some(key);
        }
        Ok(())
    }

    /// Row that comes next.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Its key; `None` at the end of the batch.
    pub(crate) fn key(&self) -> Option<Row<'_>> {
        self.key_at(self.position)
    }

    fn key_at(&self, row: usize) -> Option<Row<'_>> {
        (row < self.keys.num_rows()).then(|| self.keys.row(row))
    }

    /// Takes the rows from here on whose key satisfies `wanted`, and at least one; returns how many.
    /// Keys that satisfy it come before all that do not.
    pub(crate) fn take(&mut self, wanted: impl Fn(Row<'_>) -> bool) -> usize {
        let holds = |row: usize| self.key_at(row).is_some_and(&wanted);
        let start = self.position;
        // Twice as far each time, then back by halves: runs are often one row, or thousands.
        let (mut inside, mut step) = (start, 1);
        while holds(inside + step) {
            inside += step;
            step *= 2;
        }
        let mut outside = inside + step;
        while outside - inside > 1 {
            let middle = inside + (outside - inside) / 2;
            if holds(middle) {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        self.position = inside + 1;
        self.position - start
    }
}

/// The batch with no more in its dictionaries than its rows need. They come with the values of a whole
/// row group, and every value would be made a sort key of, for each batch.
fn shrink(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let columns = batch.columns().iter().map(|column| match column.as_any_dictionary_opt() {
        Some(labels) if labels.values().len() > rows / 4 => garbage_collect_any_dictionary(labels),
        _ => Ok(column.clone()),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

fn rows(batch: &RecordBatch) -> u64 {
    u64::try_from(batch.num_rows()).unwrap_or(u64::MAX)
}

fn keys(
    spec: &TableSpec,
    converter: &RowConverter,
    batch: &RecordBatch,
) -> Result<Rows, MergeError> {
    let columns: Vec<ArrayRef> =
        spec.sort.iter().map(|name| column(batch, name).cloned()).collect::<Result<_, _>>()?;
    Ok(converter.convert_columns(&columns)?)
}
