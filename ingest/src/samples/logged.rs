//! What the log keeps of a request.
//!
//! ```text
//! 0..4   magic "WSMP"
//! 4      version, 1
//! 5      what follows   1  prometheus.WriteRequest            (remote write 1.0)
//!                       2  io.prometheus.write.v2.Request     (remote write 2.0)
//!                       3  Arrow IPC stream of points (`weir_storage::series::points_schema`)
//! 6      compression    0  none (Arrow has its own)   1  snappy block   2  zstd
//! 7      0
//! 8..    the body as it came, or the points
//! ```
//!
//! The body is kept as it came if all of its samples were accepted: reading it again is then the same
//! whatever the clock says. Otherwise, and for OTLP, whose points depend on those before them and on
//! rules that may change, the points are kept that it came to.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;
use thiserror::Error;
use weir_storage::DecodeFailure;

use super::decode::{Message, decode};
use super::expand::{Buffers, Coding};
use super::limits::Limits;
use super::points::Points;
use super::refusals::Times;

const MAGIC: [u8; 4] = *b"WSMP";
const VERSION: u8 = 1;
const POINTS: u8 = 3;

/// Bytes of the log that cannot be read.
#[derive(Debug, Error)]
enum LoggedError {
    #[error("samples in the log do not begin with their header")]
    Header,
    #[error("samples in the log have version {0}, which this weir does not read; use a newer one")]
    Version(u8),
    #[error("samples in the log have the unknown form {0} or compression {1}")]
    Form(u8, u8),
    #[error("samples in the log are damaged: {0}")]
    Refused(String),
}

fn with_header(form: u8, coding: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[VERSION, form, coding, 0]);
    bytes.extend_from_slice(body);
    bytes
}

/// A body of which every sample is stored; `None` if this form cannot hold it.
pub(crate) fn body(message: Message, coding: Coding, body: &[u8]) -> Option<Bytes> {
    let form = match message {
        Message::Write1 => 1,
        Message::Write2 => 2,
    };
    let coding = match coding {
        Coding::None => 0,
        Coding::Snappy => 1,
        Coding::Zstd => 2,
        Coding::Gzip => return None,
    };
    Some(with_header(form, coding, body).into())
}

/// Points by themselves.
pub(crate) fn points(points: &RecordBatch) -> Result<Bytes, ArrowError> {
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD))?;
    let out = with_header(POINTS, 0, &[]);
    let mut writer = StreamWriter::try_new_with_options(out, &points.schema(), options)?;
    writer.write(points)?;
    Ok(writer.into_inner()?.into())
}

/// The points that bytes of the log hold.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<RecordBatch>, DecodeFailure> {
    let (header, body) = bytes.split_first_chunk::<8>().ok_or(LoggedError::Header)?;
    let [m0, m1, m2, m3, version, form, coding, _] = *header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(LoggedError::Header.into());
    }
    if version != VERSION {
        return Err(LoggedError::Version(version).into());
    }
    let (message, coding) = match (form, coding) {
        (POINTS, 0) => {
            let reader = StreamReader::try_new(Cursor::new(body), None)?;
            return Ok(reader.collect::<Result<_, _>>()?);
        }
        (1, 0) => (Message::Write1, Coding::None),
        (1, 1) => (Message::Write1, Coding::Snappy),
        (1, 2) => (Message::Write1, Coding::Zstd),
        (2, 0) => (Message::Write2, Coding::None),
        (2, 1) => (Message::Write2, Coding::Snappy),
        (2, 2) => (Message::Write2, Coding::Zstd),
        _ => return Err(LoggedError::Form(form, coding).into()),
    };
    let expanded = Buffers::default().expand(coding, body, Limits::LOGGED.expanded)?;
    let mut points = Points::new(Limits::LOGGED, Times::ALL);
    decode(message, &expanded, &mut points)?;
    let (batch, refusals) = points.finish()?;
    if !refusals.is_empty() {
        return Err(LoggedError::Refused(refusals.to_string()).into());
    }
    Ok(vec![batch])
}

#[cfg(test)]
mod tests;
