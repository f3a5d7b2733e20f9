//! Reading a batch from bytes that nobody vouches for.
//!
//! The stream is walked twice. The first walk reads only the framing and the flatbuffer of each
//! message, and adds up what the buffers claim to hold once decompressed: a small body that claims
//! gigabytes is refused before anything is allocated for it. It also refuses what takes far more
//! memory or time to read than it has bytes: exotic column types, delta dictionaries, and large
//! dictionaries that many columns or record batches refer to. The second walk is Arrow's own reader,
//! with its validation on. The usual batch of flows takes a shorter way, `direct`.

mod columns;
mod direct;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{MessageHeader, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};
use thiserror::Error;

use crate::frame::{self, InflateError};
use crate::header::{Header, HeaderError};

/// Bounds on one batch.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all buffers after decompression.
    pub decompressed_bytes: u64,
    /// Rows of all record batches in the stream, and values of each dictionary.
    pub rows: u64,
}

impl Default for Limits {
    /// 256 MiB and 2 million rows: an agent at its limit of flows sends a tenth of it.
    fn default() -> Self {
        Self { decompressed_bytes: 256 << 20, rows: 2_000_000 }
    }
}

/// A batch as it was sent: its header, and the rows with whatever columns the sender wrote.
#[derive(Debug)]
pub struct Message {
    /// Who sent it.
    pub header: Header,
    /// Columns of the batch.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

/// Why bytes were refused.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The body ends before its end-of-stream marker.
    #[error("body is cut short at byte {at}: the Arrow IPC stream goes on beyond it")]
    Truncated {
        /// Where a message begins that is not all there.
        at: usize,
    },
    /// Compressed as a whole, and not readable.
    #[error("body cannot be decompressed: {0}")]
    Inflate(#[from] InflateError),
    /// Not an Arrow IPC stream.
    #[error("body is not an Arrow IPC stream: {what} at byte {at}")]
    NotArrow {
        /// Where.
        at: usize,
        /// What is wrong there.
        what: String,
    },
    /// A stream of this shape is not accepted.
    #[error("batch holds {found} {what}, more than the limit of {limit}; send smaller batches")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much, at least.
        found: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// A column of a type that no column of a batch may have, known or not.
    #[error(
        "column `{column}` is {found}; accepted are numbers, booleans, dates and times, text and binary, lists of numbers, and dictionaries of text"
    )]
    Column {
        /// The column.
        column: String,
        /// Its type, as far as the schema message names it.
        found: String,
    },
    /// A dictionary that adds to an earlier one.
    #[error(
        "dictionary {id} is a delta, which is not accepted; send each dictionary whole (in pyarrow, leave emit_dictionary_deltas off)"
    )]
    Delta {
        /// Number of the dictionary in the stream.
        id: i64,
    },
    /// The header is missing or refused.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Arrow's reader refused the contents.
    #[error("Arrow IPC stream is damaged: {0}")]
    Damaged(#[from] ArrowError),
    /// Arrow's reader panicked on the contents.
    #[error("Arrow IPC stream is damaged: its buffers contradict each other")]
    Inconsistent,
}

/// Decodes a batch.
///
/// # Errors
/// Everything in [`DecodeError`]; nothing of a refused batch may be stored. Repeating the same
/// bytes gives the same error.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Message, DecodeError> {
    read_any(&stream_of(bytes, limits)?, limits)
}

/// Decodes a batch of flows. As [`decode`], but nearly always its columns are those of
/// [`crate::schema::FLOWS`] already: what the batch lacks is null then, and the schema is that very
/// one. Any other batch comes as it was sent.
///
/// # Errors
/// As [`decode`].
pub fn decode_flows(bytes: &[u8], limits: &Limits) -> Result<Message, DecodeError> {
    let stream = stream_of(bytes, limits)?;
    match direct::read(&stream, limits) {
        Some(message) => Ok(message),
        None => read_any(&stream, limits),
    }
}

/// The Arrow IPC stream of a body.
fn stream_of(bytes: &[u8], limits: &Limits) -> Result<Buffer, DecodeError> {
    Ok(if frame::is_compressed(bytes) {
        Buffer::from(frame::inflate(bytes, limits.decompressed_bytes).map_err(too_large)?)
    } else {
        Buffer::from(bytes)
    })
}

fn read_any(stream: &Buffer, limits: &Limits) -> Result<Message, DecodeError> {
    let end = check_framing(stream, limits)?;
    // Arrow's reader indexes into buffers by lengths that a hostile flatbuffer chose. It checks
    // nearly all of them; a panic on the rest is the sender's error, not the server's.
    let stream = stream.slice_with_length(0, end);
    catch_unwind(AssertUnwindSafe(|| read(stream))).map_err(|_| DecodeError::Inconsistent)?
}

/// A body that holds too much is the same to its sender whichever way it was compressed.
fn too_large(error: InflateError) -> DecodeError {
    match error {
        InflateError::TooLarge { limit } => {
            let what = "bytes after decompression";
            DecodeError::TooLarge { what, found: limit.saturating_add(1), limit }
        }
        other => DecodeError::Inflate(other),
    }
}

/// Reads a stream whose framing is checked. Buffers that are not compressed one by one stay where
/// they are: the batches are slices of the stream.
fn read(mut stream: Buffer) -> Result<Message, DecodeError> {
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while !stream.is_empty() {
        batches.extend(decoder.decode(&mut stream)?);
    }
    decoder.finish()?;
    let schema = decoder.schema().ok_or(DecodeError::Inconsistent)?;
    let header = Header::from_metadata(schema.metadata())?;
    Ok(Message { header, schema, batches })
}

/// Walks the messages of a stream (Arrow columnar format, "Encapsulated message format"). Returns
/// where it ends.
fn check_framing(bytes: &[u8], limits: &Limits) -> Result<usize, DecodeError> {
    let mut at = 0;
    let mut decompressed = 0u64;
    let mut rows = 0u64;
    let mut first = true;
    let mut dictionaries: HashMap<i64, Dictionary> = HashMap::new();
    let mut referred = 0u64;
    while let Some(frame) = next_frame(bytes, at)? {
        let message = root_as_message(frame.metadata).map_err(|e| DecodeError::NotArrow {
            at,
            what: format!("message is not a flatbuffer ({e})"),
        })?;
        if first && message.header_type() != MessageHeader::Schema {
            return Err(DecodeError::NotArrow { at, what: "first message is no schema".into() });
        }
        first = false;
        if let Some(schema) = message.header_as_schema() {
            for id in columns::check(&schema)? {
                dictionaries.entry(id).or_default().columns += 1;
            }
        }
        let dictionary = message.header_as_dictionary_batch();
        if let Some(id) = dictionary.filter(|d| d.isDelta()).map(|d| d.id()) {
            // Each delta makes a new whole dictionary, and every record batch keeps its own.
            return Err(DecodeError::Delta { id });
        }
        let body_length = usize::try_from(message.bodyLength())
            .map_err(|_| DecodeError::NotArrow { at, what: "negative body length".into() })?;
        let end = frame.body.checked_add(body_length).ok_or(DecodeError::Truncated { at })?;
        let body = bytes.get(frame.body..end).ok_or(DecodeError::Truncated { at })?;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => dictionary.and_then(|d| d.data()),
            _ => None,
        };
        if let Some(batch) = batch {
            let length = u64::try_from(batch.length())
                .map_err(|_| DecodeError::NotArrow { at, what: "negative row count".into() })?;
            let counted = if message.header_type() == MessageHeader::RecordBatch {
                rows = rows.saturating_add(length);
                rows
            } else {
                length
            };
            within("rows", counted, limits.rows)?;
            let claimed = claimed_bytes(&batch, body, at)?;
            decompressed = decompressed.saturating_add(claimed);
            within("bytes after decompression", decompressed, limits.decompressed_bytes)?;
            if let Some(dictionary) = dictionary {
                dictionaries.entry(dictionary.id()).or_default().bytes = claimed;
            } else {
                // Arrow validates a dictionary anew for each column of each record batch.
                referred = dictionaries
                    .values()
                    .fold(referred, |sum, d| sum.saturating_add(d.bytes.saturating_mul(d.columns)));
                let limit = limits.decompressed_bytes.saturating_mul(REFERRED);
                within("bytes of dictionaries over all record batches", referred, limit)?;
            }
        }
        at = end;
    }
    if first {
        return Err(DecodeError::NotArrow { at: 0, what: "no schema message".into() });
    }
    // The marker that ended the walk has eight bytes.
    Ok(at.saturating_add(8).min(bytes.len()))
}

/// How often the bytes of the limit may be referred to by way of dictionaries.
const REFERRED: u64 = 4;

/// What is known of a dictionary while the messages are walked.
#[derive(Debug, Default)]
struct Dictionary {
    /// Columns that refer to it.
    columns: u64,
    /// Claimed bytes of its present values.
    bytes: u64,
}

struct Frame<'a> {
    metadata: &'a [u8],
    /// Offset of the message body.
    body: usize,
}

/// The message that begins at `at`, or nothing at the end-of-stream marker.
fn next_frame(bytes: &[u8], at: usize) -> Result<Option<Frame<'_>>, DecodeError> {
    const CONTINUATION: u32 = u32::MAX;
    let word = |offset: usize| {
        bytes
            .get(offset..)
            .and_then(|rest| rest.first_chunk::<4>())
            .map(|w| u32::from_le_bytes(*w))
            .ok_or(DecodeError::Truncated { at })
    };
    if word(at)? != CONTINUATION {
        return Err(DecodeError::NotArrow { at, what: "no continuation marker".into() });
    }
    let length = word(at + 4)? as usize;
    if length == 0 {
        return Ok(None);
    }
    let start = at + 8;
    let metadata = bytes.get(start..start + length).ok_or(DecodeError::Truncated { at })?;
    Ok(Some(Frame { metadata, body: start + length }))
}

/// What the buffers of a record batch claim to take in memory.
fn claimed_bytes(
    batch: &arrow_ipc::RecordBatch<'_>,
    body: &[u8],
    at: usize,
) -> Result<u64, DecodeError> {
    let mut total = 0u64;
    for buffer in batch.buffers().iter().flatten() {
        let range = usize::try_from(buffer.offset())
            .ok()
            .zip(usize::try_from(buffer.length()).ok())
            .and_then(|(offset, length)| Some(offset..offset.checked_add(length)?));
        let data = range.and_then(|r| body.get(r)).ok_or_else(|| DecodeError::NotArrow {
            at,
            what: "buffer lies outside of its message".into(),
        })?;
        let size = match (batch.compression(), data.first_chunk::<8>()) {
            // A compressed buffer begins with its decompressed length; -1 says "stored as it is".
            (Some(_), Some(prefix)) => match i64::from_le_bytes(*prefix) {
                -1 => data.len() as u64,
                n => u64::try_from(n).map_err(|_| DecodeError::NotArrow {
                    at,
                    what: "negative buffer length".into(),
                })?,
            },
            _ => data.len() as u64,
        };
        total = total.saturating_add(size);
    }
    Ok(total)
}

fn within(what: &'static str, found: u64, limit: u64) -> Result<(), DecodeError> {
    if found > limit { Err(DecodeError::TooLarge { what, found, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
