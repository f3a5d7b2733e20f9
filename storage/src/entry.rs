//! What is appended.

use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;

/// Who sent an entry; repeats of one are stored once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// Stable id of the sender.
    pub agent: String,
    /// Id of this run of the sender.
    pub boot: String,
    /// Grows with each entry of one (agent, boot).
    pub sequence: i64,
}

/// Rows of one table, in both forms.
#[derive(Debug, Clone)]
pub struct Part {
    /// Name of the table.
    pub table: &'static str,
    /// What the log keeps, for [`crate::Options::decode`] to read. None at all, if the bytes of
    /// another part of the entry give these rows as well.
    pub ipc: Bytes,
    /// What `ipc` decodes to.
    pub batches: Vec<RecordBatch>,
}

/// Rows of one table that the bytes of a part give.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Name of the table.
    pub table: String,
    /// Its rows, with whatever columns there were.
    pub batches: Vec<RecordBatch>,
}

/// Turns the bytes that a part of this table left in the log back into rows, of this table and of
/// others whose parts had no bytes of their own.
///
/// It must give what was appended, but for labels that are made anew, and read whatever earlier versions wrote.
#[derive(Clone)]
pub struct Decode(Arc<DecodeFn>);

type DecodeFn = dyn Fn(&str, &[u8]) -> Result<Vec<Decoded>, DecodeFailure> + Send + Sync;

impl Decode {
    /// Takes the name of a table and the bytes.
    pub fn new(
        decode: impl Fn(&str, &[u8]) -> Result<Vec<Decoded>, DecodeFailure> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(decode))
    }

    pub(crate) fn call(&self, table: &str, bytes: &[u8]) -> Result<Vec<Decoded>, DecodeFailure> {
        (self.0)(table, bytes)
    }
}

impl fmt::Debug for Decode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decode")
    }
}

/// Why bytes of the log do not decode.
pub type DecodeFailure = Box<dyn std::error::Error + Send + Sync>;

/// Reads an Arrow IPC stream.
///
/// # Errors
/// When it is not one.
pub fn decode_stream(table: &str, bytes: &[u8]) -> Result<Vec<Decoded>, DecodeFailure> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    Ok(vec![Decoded { table: table.to_owned(), batches }])
}

/// What is appended as a whole or not at all.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Who sent it, if repeats are to be recognised.
    pub source: Option<Source>,
    /// Rows by table.
    pub parts: Vec<Part>,
}

/// What became of an appended entry. Either way it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is stored now.
    Stored,
    /// It had been stored before.
    Repeated,
}
