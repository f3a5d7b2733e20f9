//! A Parquet file that grows by batches: which column is encoded by whom.
//!
//! ```text
//! whole numbers, times, lists of them   by ourselves, see `numbers`
//! labels                                by ourselves, see `label_column`
//! all else                              by the Parquet crate
//! ```
//!
//! One row group's encoded columns are in memory at a time.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use zstd::bulk::Compressor;

use super::label_column::LabelColumn;
use super::numbers::Chunk;

/// The file. Public for the benchmark of the layout.
pub struct RowGroups<W: Write + Send> {
    file: SerializedFileWriter<W>,
    schema: SchemaRef,
    factory: ArrowRowGroupWriterFactory,
    compressor: Compressor<'static>,
    /// Most rows of a row group.
    limit: usize,
    /// Row groups that are written.
    done: usize,
    open: Option<Open>,
}

impl<W: Write + Send> std::fmt::Debug for RowGroups<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowGroups").field("done", &self.done).finish_non_exhaustive()
    }
}

/// The row group that is being made.
struct Open {
    rows: usize,
    columns: Vec<Column>,
}

enum Column {
    Numbers(Box<Chunk>),
    Label(Box<LabelColumn>),
    Other(Box<ArrowColumnWriter>),
}

impl<W: Write + Send> RowGroups<W> {
    /// Begins a file. Every column of the schema is one column of the file: no structs.
    ///
    /// # Errors
    /// When the schema or the file is refused.
    pub fn new(
        file: W,
        schema: &SchemaRef,
        properties: WriterProperties,
    ) -> Result<Self, ParquetError> {
        let properties = Arc::new(properties);
        let parquet = ArrowSchemaConverter::new()
            .with_coerce_types(properties.coerce_types())
            .convert(schema)?;
        let limit = properties.max_row_group_row_count().unwrap_or(usize::MAX);
        let file = SerializedFileWriter::new(file, parquet.root_schema_ptr(), properties)?;
        let factory = ArrowRowGroupWriterFactory::new(&file, schema.clone());
        let compressor = Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL)?;
        Ok(Self { file, schema: schema.clone(), factory, compressor, limit, done: 0, open: None })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When the rows are not of the schema, or the file is refused.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        if batch.num_columns() != self.schema.fields().len() {
            return Err(ParquetError::General("rows have other columns than the file".to_owned()));
        }
        let mut at = 0;
        while at < batch.num_rows() {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => self.begin()?,
            };
            let length = self.limit.saturating_sub(open.rows).min(batch.num_rows() - at);
            let rows = batch.slice(at, length);
            let fields = self.schema.fields().iter();
            for ((column, field), array) in open.columns.iter_mut().zip(fields).zip(rows.columns())
            {
                match column {
                    Column::Numbers(chunk) => chunk.write(array.as_ref(), &mut self.compressor)?,
                    Column::Label(column) => column.write(array, &mut self.compressor)?,
                    Column::Other(writer) => {
                        for leaf in compute_leaves(field, array)? {
                            writer.write(&leaf)?;
                        }
                    }
                }
            }
            at += length;
            open.rows += length;
            if open.rows >= self.limit {
                self.end(open)?;
            } else {
                self.open = Some(open);
            }
        }
        Ok(())
    }

    fn begin(&self) -> Result<Open, ParquetError> {
        let writers = self.factory.create_column_writers(self.done)?;
        let described = self.file.schema_descr().columns().iter();
        let fields = self.schema.fields().iter();
        if writers.len() != self.schema.fields().len() {
            return Err(ParquetError::NYI("a column of several".to_owned()));
        }
        let columns = writers
            .into_iter()
            .zip(described)
            .zip(fields)
            .map(|((writer, described), field)| {
                let properties = self.file.properties();
                if let Some(chunk) = Chunk::new(field, described, properties) {
                    return Column::Numbers(Box::new(chunk));
                }
                match LabelColumn::new(field.data_type(), described, properties) {
                    Some(column) => Column::Label(Box::new(column)),
                    None => Column::Other(Box::new(writer)),
                }
            })
            .collect();
        Ok(Open { rows: 0, columns })
    }

    fn end(&mut self, open: Open) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for column in open.columns {
            match column {
                Column::Numbers(chunk) => {
                    let (bytes, close) = chunk.finish(&mut self.compressor)?;
                    group.append_column(&bytes, close)?;
                }
                Column::Label(column) => {
                    let (bytes, close) = column.close(&mut self.compressor)?;
                    group.append_column(&bytes, close)?;
                }
                Column::Other(writer) => writer.close()?.append_to_row_group(&mut group)?,
            }
        }
        group.close()?;
        self.done += 1;
        Ok(())
    }

    /// Writes the row group that is being made.
    pub(crate) fn flush(&mut self) -> Result<(), ParquetError> {
        match self.open.take() {
            Some(open) => self.end(open),
            None => Ok(()),
        }
    }

    /// Bytes of the file so far.
    pub(crate) fn bytes_written(&self) -> usize {
        self.file.bytes_written()
    }

    /// Appends bytes between the row groups and the footer.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Adds to what the footer says.
    pub(crate) fn append_key_value_metadata(&mut self, entry: KeyValue) {
        self.file.append_key_value_metadata(entry);
    }

    #[cfg(test)]
    pub(super) fn descr(&self, column: usize) -> parquet::schema::types::ColumnDescPtr {
        self.file.schema_descr().column(column)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the file is refused.
    pub fn into_inner(mut self) -> Result<W, ParquetError> {
        self.flush()?;
        self.file.into_inner()
    }
}
