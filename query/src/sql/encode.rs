//! Result batches as bytes of one format, batch by batch.
//!
//! ```text
//! json     {"columns":[{"name":"..","type":".."}, ..],"rows":[[..], ..]}
//! ndjson   one object a row
//! csv      RFC 4180 with a header; null is an empty field, an empty string is ""
//! arrow    Arrow IPC stream, text as Utf8
//! parquet  one row group per million rows, zstd
//! ```

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::json;
use crate::error::{Error, ErrorKind};

/// A format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Ndjson,
    Csv,
    Arrow,
    Parquet,
}

impl Format {
    const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Json, "json", "application/json"),
        (Self::Ndjson, "ndjson", "application/x-ndjson"),
        (Self::Csv, "csv", "text/csv"),
        (Self::Arrow, "arrow", "application/vnd.apache.arrow.stream"),
        (Self::Parquet, "parquet", "application/vnd.apache.parquet"),
    ];

    /// The format that a request asks for: by parameter, else by its `Accept` header, else JSON.
    ///
    /// # Errors
    /// [`ErrorKind::BadData`] for a parameter and [`ErrorKind::NotAcceptable`] for a header that names
    /// none of them.
    pub(crate) fn choose(parameter: Option<&str>, accept: Option<&str>) -> Result<Self, Error> {
        if let Some(name) = parameter {
            let found = Self::ALL.iter().find(|(_, n, _)| *n == name);
            return found.map(|(format, ..)| *format).ok_or_else(|| {
                Error::bad(format!(
                    "format `{name}` is not known; json, ndjson, csv, arrow and parquet are"
                ))
            });
        }
        let Some(accept) = accept else { return Ok(Self::Json) };
        for range in accept.split(',') {
            let range = range.split(';').next().unwrap_or_default().trim();
            if matches!(range, "*/*" | "application/*" | "") {
                return Ok(Self::Json);
            }
            if let Some((format, ..)) = Self::ALL.iter().find(|(_, _, media)| *media == range) {
                return Ok(*format);
            }
        }
        Err(Error::new(
            ErrorKind::NotAcceptable,
            format!(
                "none of `{accept}` can be made; {} can",
                Self::ALL.map(|(_, _, media)| media).join(", ")
            ),
        ))
    }

    /// Media type, for `Content-Type`.
    pub(crate) fn media_type(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(format, ..)| *format == self)
            .map_or("application/json", |(_, _, media)| media)
    }
}

/// Turns batches into bytes.
pub(crate) struct Encoder {
    schema: SchemaRef,
    rows: u64,
    state: State,
}

enum State {
    Json,
    Ndjson,
    Csv,
    Arrow(Box<StreamWriter<Shared>>, Shared),
    Parquet(Box<ArrowWriter<Shared>>, Shared),
}

/// What a writer has written and nobody has taken yet.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Encoder {
    /// An encoder and the bytes that come before any row.
    pub(crate) fn new(format: Format, schema: &SchemaRef) -> Result<(Self, Vec<u8>), Error> {
        let schema = portable(schema);
        let buffer = Shared::default();
        let state = match format {
            Format::Json => State::Json,
            Format::Ndjson => State::Ndjson,
            Format::Csv => State::Csv,
            Format::Arrow => State::Arrow(
                Box::new(StreamWriter::try_new(buffer.clone(), &schema).map_err(failed)?),
                buffer.clone(),
            ),
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .build();
                let writer = ArrowWriter::try_new(buffer.clone(), schema.clone(), Some(properties))
                    .map_err(failed)?;
                State::Parquet(Box::new(writer), buffer.clone())
            }
        };
        let start = match &state {
            State::Json => json_head(&schema).into_bytes(),
            State::Csv => csv_head(&schema).into_bytes(),
            _ => buffer.take(),
        };
        Ok((Self { schema, rows: 0, state }, start))
    }

    /// The bytes of a batch; may be none yet.
    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, Error> {
        let columns = batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(|(column, field)| cast(column, field.data_type()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let options =
            arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(failed)?;
        let first = self.rows == 0;
        self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        match &mut self.state {
            State::Json => json_rows(&batch, first).map(String::into_bytes).map_err(failed),
            State::Ndjson => ndjson_rows(&batch).map(String::into_bytes).map_err(failed),
            State::Csv => csv_rows(&batch).map(String::into_bytes).map_err(failed),
            State::Arrow(writer, buffer) => {
                writer.write(&batch).map_err(failed)?;
                Ok(buffer.take())
            }
            State::Parquet(writer, buffer) => {
                writer.write(&batch).map_err(failed)?;
                Ok(buffer.take())
            }
        }
    }

    /// The bytes after the last row.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Error> {
        match self.state {
            State::Json => Ok(b"]}\n".to_vec()),
            State::Ndjson | State::Csv => Ok(Vec::new()),
            State::Arrow(mut writer, buffer) => {
                writer.finish().map_err(failed)?;
                Ok(buffer.take())
            }
            State::Parquet(writer, buffer) => {
                writer.close().map_err(failed)?;
                Ok(buffer.take())
            }
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, format!("result cannot be written in this format: {error}"))
}

/// The schema with every text as `Utf8`: views and dictionaries are this engine's own choice, and
/// some readers know neither.
fn portable(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Utf8View => Field::new(field.name(), DataType::Utf8, field.is_nullable()),
            DataType::Dictionary(_, value) if value.is_string() => {
                Field::new(field.name(), DataType::Utf8, field.is_nullable())
            }
            _ => field.as_ref().clone(),
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn json_head(schema: &Schema) -> String {
    let mut out = String::from("{\"columns\":[");
    for (i, field) in schema.fields().iter().enumerate() {
        out.push_str(if i > 0 { ",{\"name\":" } else { "{\"name\":" });
        json::string(&mut out, field.name());
        out.push_str(",\"type\":");
        json::string(&mut out, &field.data_type().to_string());
        out.push('}');
    }
    out.push_str("],\"rows\":[");
    out
}

fn json_rows(batch: &RecordBatch, first: bool) -> Result<String, ArrowError> {
    let mut out = String::new();
    for row in 0..batch.num_rows() {
        out.push_str(if first && row == 0 { "[" } else { ",\n[" });
        for (i, column) in batch.columns().iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            json::write(&mut out, column.as_ref(), row)?;
        }
        out.push(']');
    }
    Ok(out)
}

fn ndjson_rows(batch: &RecordBatch) -> Result<String, ArrowError> {
    let schema = batch.schema();
    let mut out = String::new();
    for row in 0..batch.num_rows() {
        out.push('{');
        for (i, (field, column)) in schema.fields().iter().zip(batch.columns()).enumerate() {
            if i > 0 {
                out.push(',');
            }
            json::string(&mut out, field.name());
            out.push(':');
            json::write(&mut out, column.as_ref(), row)?;
        }
        out.push_str("}\n");
    }
    Ok(out)
}

fn csv_head(schema: &Schema) -> String {
    let names: Vec<String> = schema.fields().iter().map(|f| csv_field(f.name())).collect();
    format!("{}\r\n", names.join(","))
}

fn csv_rows(batch: &RecordBatch) -> Result<String, ArrowError> {
    let options = FormatOptions::default();
    let formatters = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<Vec<_>, _>>()?;
    let mut out = String::new();
    for row in 0..batch.num_rows() {
        for (i, (formatter, column)) in formatters.iter().zip(batch.columns()).enumerate() {
            if i > 0 {
                out.push(',');
            }
            // A column of type Null has no bitmap that would say so.
            if column.is_valid(row) && *column.data_type() != DataType::Null {
                out.push_str(&csv_field(&formatter.value(row).try_to_string()?));
            }
        }
        out.push_str("\r\n");
    }
    Ok(out)
}

fn csv_field(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
