//! From the bytes of a batch to its acknowledgement, without HTTP.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_storage::{Appended, Entry, Part, Source, Store, conform};
use weir_wire::{DecodeError, Header, Limits, decode};

use crate::check::{CheckError, check_flows};
use crate::loss::{Observer, loss_rows};
use crate::metrics::Metrics;
use crate::tables::{agent_loss_table, flows_table};

/// Memory that batches on their way in may take together, in [`UNIT`]s.
const UNITS: u32 = 512;
/// 1 MiB.
const UNIT: usize = 1 << 20;
/// A batch takes about this many times its size on the wire while it is decoded and conformed.
const EXPANSION: usize = 16;
/// A batch waits this long for room before its sender is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a batch was not accepted.
#[derive(Debug, Error)]
pub enum RefusedBatch {
    /// The bytes are not a batch.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The columns are not those of a flow.
    #[error(transparent)]
    Columns(#[from] weir_storage::ConformError),
    /// A value cannot be right.
    #[error(transparent)]
    Values(#[from] CheckError),
    /// Too many batches are on their way in.
    #[error("server is busy with other batches; send this one again in a second")]
    Busy,
    /// The store refused.
    #[error(transparent)]
    Store(#[from] weir_storage::Error),
    /// A defect of this server.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Stored now, or before.
    pub appended: Appended,
    /// Sequence of the batch.
    pub sequence: i64,
    /// Flow rows in it.
    pub rows: usize,
}

/// Takes batches into a store.
#[derive(Debug, Clone)]
pub struct Receiver {
    store: Arc<Store>,
    limits: Limits,
    metrics: Arc<Metrics>,
    clock: fn() -> i64,
    /// Room for batches on their way in, by their size.
    room: Arc<Semaphore>,
    /// As many batches are decoded at a time as there are processors for it.
    decoders: Arc<Semaphore>,
}

/// A batch that passed every check.
struct Checked {
    header: Header,
    flows: Vec<RecordBatch>,
    loss: RecordBatch,
    loss_ipc: Bytes,
    rows: usize,
}

impl Receiver {
    /// A receiver that checks batches against the system's clock.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self::with_clock(store, system_clock)
    }

    /// A receiver with a clock of its own: microseconds since the Unix epoch.
    #[must_use]
    pub fn with_clock(store: Arc<Store>, clock: fn() -> i64) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            store,
            limits: Limits::default(),
            metrics: Arc::default(),
            clock,
            room: Arc::new(Semaphore::new(UNITS as usize)),
            decoders: Arc::new(Semaphore::new(2 * processors)),
        }
    }

    /// Counters of this receiver and its clones.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Checks a batch and makes it durable. Once this returns `Ok`, the rows survive a crash and
    /// queries see them.
    ///
    /// # Errors
    /// [`RefusedBatch`]; nothing of a refused batch is stored.
    pub async fn receive(&self, body: Bytes) -> Result<Received, RefusedBatch> {
        let result = self.try_receive(body).await;
        if result.is_err() {
            self.metrics.refused();
        }
        result
    }

    async fn try_receive(&self, body: Bytes) -> Result<Received, RefusedBatch> {
        let size = body.len() as u64;
        let (limits, now) = (self.limits, (self.clock)());
        let units = (body.len().saturating_mul(EXPANSION) / UNIT).clamp(1, UNITS as usize / 2);
        let _room = acquire(&self.room, u32::try_from(units).unwrap_or(UNITS)).await?;
        let decoder = acquire(&self.decoders, 1).await?;
        let ipc = body.clone();
        // Decoding a large batch takes milliseconds: not on the thread that serves connections. The
        // permit goes along, because the work goes on when the sender hangs up.
        let checked = tokio::task::spawn_blocking(move || {
            let checked = check(&body, &limits, now);
            drop(decoder);
            checked
        })
        .await
        .map_err(|e| RefusedBatch::Internal(e.to_string()))??;
        let Checked { header, flows, loss, loss_ipc, rows } = checked;
        let sequence = header.sequence;
        let entry = Entry {
            source: Some(Source { agent: header.agent, boot: header.boot, sequence }),
            parts: vec![
                Part { table: "flows", ipc, batches: flows },
                Part { table: "agent_loss", ipc: loss_ipc, batches: vec![loss] },
            ],
        };
        let appended = self.store.append(entry).await?;
        match appended {
            Appended::Stored => self.metrics.stored(rows as u64, size),
            Appended::Repeated => self.metrics.repeated(),
        }
        Ok(Received { appended, sequence, rows })
    }
}

async fn acquire(from: &Arc<Semaphore>, n: u32) -> Result<OwnedSemaphorePermit, RefusedBatch> {
    let permit = from.clone().acquire_many_owned(n);
    match tokio::time::timeout(PATIENCE, permit).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => Err(RefusedBatch::Busy),
    }
}

fn check(body: &[u8], limits: &Limits, now: i64) -> Result<Checked, RefusedBatch> {
    let message = decode(body, limits)?;
    let spec = flows_table();
    // A stream without record batches still says something: its losses. Its columns are held to the
    // schema all the same.
    if message.batches.is_empty() {
        conform(&spec, &RecordBatch::new_empty(message.schema.clone()))?;
    }
    let mut flows = Vec::with_capacity(message.batches.len());
    let mut observer = Observer { end: 0, ..Observer::default() };
    let mut rows = 0;
    for batch in &message.batches {
        let batch = conform(&spec, batch)?;
        check_flows(&batch, now)?;
        rows += batch.num_rows();
        observe(&batch, &mut observer);
        flows.push(batch);
    }
    if rows == 0 {
        observer.end = now;
    }
    observer.rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let internal = |e: &dyn std::error::Error| RefusedBatch::Internal(e.to_string());
    let loss = loss_rows(&message.header, &observer).map_err(|e| internal(&e))?;
    debug_assert_eq!(loss.schema(), agent_loss_table().schema);
    let loss_ipc = weir_wire::encode(&message.header, &loss).map_err(|e| internal(&e))?.into();
    Ok(Checked { header: message.header, flows, loss, loss_ipc, rows })
}

/// Takes the observer's names from the first row that has them and the latest `end`.
fn observe(batch: &RecordBatch, observer: &mut Observer) {
    let label = |name| {
        let column = batch.column_by_name(name)?.as_dictionary_opt::<Int32Type>()?;
        let values = column.downcast_dict::<arrow::array::StringArray>()?;
        values.into_iter().next().flatten().map(str::to_owned)
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

fn system_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
