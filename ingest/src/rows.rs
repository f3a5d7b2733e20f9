//! From the bytes of a batch to the rows of both tables. The same when a batch arrives and when the
//! log is replayed.

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use thiserror::Error;
use weir_storage::{ConformError, DecodeFailure, Decoded, conform, decode_stream};
use weir_wire::{Header, Limits, Message, decode_flows};

use crate::enrich::{Enrichment, Unknown};
use crate::loss::{Observer, loss_rows};
use crate::tables::flows_table;

/// Why a message gives no rows.
#[derive(Debug, Error)]
pub(crate) enum RowsError {
    /// The columns are not those of a flow.
    #[error(transparent)]
    Columns(#[from] ConformError),
    /// Labels that the server adds do not fit: a defect of it.
    #[error(transparent)]
    Labels(#[from] ArrowError),
}

/// Rows of one batch.
pub(crate) struct Rows {
    /// Flow rows, in the table's schema.
    pub(crate) flows: Vec<RecordBatch>,
    /// Their number.
    pub(crate) count: usize,
    /// What has no name yet.
    pub(crate) unknown: Unknown,
    /// Who sent them, and when.
    observer: Observer,
}

impl Rows {
    /// Brings the rows of a message into the shape of their table.
    pub(crate) fn of(message: &Message, enrichment: &Enrichment) -> Result<Self, RowsError> {
        let spec = flows_table();
        // A stream without record batches still says something: its losses. Its columns are held to
        // the schema all the same.
        if message.batches.is_empty() {
            conform(&spec, &RecordBatch::new_empty(message.schema.clone()))?;
        }
        let mut flows = Vec::with_capacity(message.batches.len());
        let mut observer = Observer::default();
        let mut unknown = Unknown::default();
        let mut count = 0;
        for batch in &message.batches {
            let batch = enrichment.enrich(conform(&spec, batch)?, &mut unknown)?;
            count += batch.num_rows();
            observe(&batch, &mut observer);
            flows.push(batch);
        }
        observer.rows = i64::try_from(count).unwrap_or(i64::MAX);
        Ok(Self { flows, count, unknown, observer })
    }

    /// What the sender says of what is missing. Without rows it is dated `now`.
    pub(crate) fn loss(&self, header: &Header, now: i64) -> Result<RecordBatch, ArrowError> {
        let end = if self.count == 0 { now } else { self.observer.end };
        loss_rows(header, &Observer { end, ..self.observer.clone() })
    }
}

/// Reads what the log keeps of a batch: [`weir_storage::Options::decode`] of a store with the tables
/// of [`crate::tables`].
///
/// # Errors
/// When the bytes are not a batch.
pub fn decode_logged(
    table: &str,
    bytes: &[u8],
    enrichment: &Enrichment,
) -> Result<Vec<Decoded>, DecodeFailure> {
    if table == "samples" {
        let batches = crate::samples::read_logged(bytes)?;
        return Ok(vec![Decoded { table: table.to_owned(), batches }]);
    }
    if table != flows_table().name {
        return decode_stream(table, bytes);
    }
    // It was within the limits of its time when it arrived.
    let limits = Limits { decompressed_bytes: u64::MAX, rows: u64::MAX };
    let message = decode_flows(bytes, &limits)?;
    let rows = Rows::of(&message, enrichment)?;
    // Without rows the time of the loss is not in the bytes: such an entry has bytes for it.
    let loss = (rows.count > 0).then(|| rows.loss(&message.header, 0)).transpose()?;
    let mut decoded = vec![Decoded { table: table.to_owned(), batches: rows.flows }];
    decoded.extend(loss.map(|loss| Decoded { table: "agent_loss".into(), batches: vec![loss] }));
    Ok(decoded)
}

/// Takes the observer's names from the first row that has them and the latest `end`.
fn observe(batch: &RecordBatch, observer: &mut Observer) {
    let label = |name| {
        let column = batch.column_by_name(name)?.as_dictionary_opt::<Int32Type>()?;
        let column = column.downcast_dict::<StringArray>()?;
        // Nearly always the first row has it.
        column.into_iter().next().flatten().map(str::to_owned)
    };
    if observer.node.is_none() {
        observer.node = label("node");
    }
    if observer.cluster.is_none() {
        observer.cluster = label("cluster");
    }
    let ends =
        batch.column_by_name("end").and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    if let Some(end) = ends.and_then(arrow::compute::max) {
        observer.end = observer.end.max(end);
    }
}
