//! What is appended.

use arrow::array::RecordBatch;
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
    /// Arrow IPC stream, as the log keeps it.
    pub ipc: Bytes,
    /// What `ipc` decodes to.
    pub batches: Vec<RecordBatch>,
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
