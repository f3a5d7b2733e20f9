//! Writing a batch.

use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, Schema};
use thiserror::Error;

use crate::header::Header;

/// Arrow refused to write the batch: a defect of the caller, not of the data.
#[derive(Debug, Error)]
#[error("flow batch could not be encoded as Arrow IPC")]
pub struct EncodeError(#[from] ArrowError);

/// Encodes a batch with its header as a zstd-compressed Arrow IPC stream.
///
/// # Errors
/// When Arrow refuses the batch (more than 2^31 - 1 dictionary values, for one).
pub fn encode(header: &Header, batch: &RecordBatch) -> Result<Vec<u8>, EncodeError> {
    let schema = Schema::new_with_metadata(batch.schema().fields().clone(), header.to_metadata());
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD))?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options)?;
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}
