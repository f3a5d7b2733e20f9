//! Writing a batch.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch, RecordBatchOptions};
use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, FieldRef, Schema};
use thiserror::Error;

use crate::frame;
use crate::header::Header;

/// The batch could not be written: a defect of the caller, not of the data.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// Arrow refused it.
    #[error("flow batch could not be encoded as Arrow IPC")]
    Arrow(#[from] ArrowError),
    /// zstd refused it, for want of memory.
    #[error("flow batch could not be compressed")]
    Compress(#[from] std::io::Error),
}

/// Encodes a batch with its header as one zstd frame (see [`crate::frame`]). Nullable columns that
/// are null in every row are left out.
///
/// # Errors
/// When Arrow refuses the batch (more than 2^31 - 1 dictionary values, for one).
pub fn encode(header: &Header, batch: &RecordBatch) -> Result<Vec<u8>, EncodeError> {
    Ok(frame::deflate(&encode_stream(header, batch)?)?)
}

/// Encodes a batch as a bare Arrow IPC stream, as servers before the whole-body compression want it.
///
/// # Errors
/// As [`encode`].
pub fn encode_stream(header: &Header, batch: &RecordBatch) -> Result<Vec<u8>, EncodeError> {
    // Eight is the least that the format allows; the default of 64 pads each small buffer.
    const ALIGNMENT: usize = 8;
    let batch = without_null_columns(batch)?;
    let schema = Schema::new_with_metadata(batch.schema().fields().clone(), header.to_metadata());
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options)?;
    writer.write(&batch)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

/// The columns that say something. An empty batch keeps all of them.
fn without_null_columns(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let (fields, columns): (Vec<FieldRef>, Vec<_>) = batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, column)| {
            rows == 0 || !field.is_nullable() || column.logical_null_count() < rows
        })
        .map(|(field, column)| (field.clone(), column.clone()))
        .unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}
