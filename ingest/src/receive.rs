//! From the bytes of a batch to its acknowledgement, without HTTP.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use bytes::Bytes;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use weir_storage::{Appended, Entry, Part, Source, Store};
use weir_wire::{DecodeError, Header, Limits, decode_flows};

use crate::admission::{Admission, Full, is_small};
use crate::check::{CheckError, check_flows, check_header};
use crate::enrich::{Enrichment, Unknown};
use crate::metrics::Metrics;
use crate::names::Names;
use crate::rows::{Rows, RowsError};
use crate::tables::agent_loss_table;

/// A batch whose buffers are compressed one by one takes about this many times its size on the wire
/// while it is decoded and conformed.
const EXPANSION: u64 = 16;

/// How long a batch waits for the name of a pod.
const PATIENCE: Duration = Duration::from_millis(500);
/// Batches that may wait at once.
const PATIENT: usize = 64;

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
    admission: Admission,
    enrichment: Enrichment,
    /// Batches that may wait for a name.
    patience: Arc<Semaphore>,
}

/// A batch that passed every check.
struct Checked {
    header: Header,
    rows: Rows,
    loss: RecordBatch,
    /// For the log; empty where the batch itself says it.
    loss_ipc: Bytes,
}

/// What a body may take.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Bytes after decompression, at most.
    expanded: u64,
    /// Bytes of memory on its way in.
    memory: u64,
}

impl From<RowsError> for RefusedBatch {
    fn from(error: RowsError) -> Self {
        match error {
            RowsError::Columns(error) => Self::Columns(error),
            RowsError::Labels(error) => Self::Internal(error.to_string()),
        }
    }
}

impl From<Full> for RefusedBatch {
    fn from(_: Full) -> Self {
        Self::Busy
    }
}

impl Size {
    fn of(body: &[u8], limits: &Limits) -> Self {
        let own = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let claimed = weir_wire::frame::expanded_size(body);
        let expanded =
            claimed.map_or(limits.decompressed_bytes, |n| n.min(limits.decompressed_bytes));
        // What is decoded is slices of what was decompressed; some of it is copied once more.
        let memory = claimed.map_or(own.saturating_mul(EXPANSION), |_| expanded.saturating_mul(2));
        Self { expanded, memory }
    }
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
        Self {
            store,
            limits: Limits::default(),
            metrics: Arc::default(),
            clock,
            admission: Admission::new(),
            enrichment: Enrichment::shipped(),
            patience: Arc::new(Semaphore::new(PATIENT)),
        }
    }

    /// The same, knowing more of addresses than what is shipped.
    #[must_use]
    pub fn with(mut self, enrichment: Enrichment) -> Self {
        self.enrichment = enrichment;
        self
    }

    /// The names that it knows.
    #[must_use]
    pub fn names(&self) -> &Arc<Names> {
        &self.enrichment.names
    }

    /// The store that it fills.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What bodies wait for before they are decoded.
    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Microseconds since the Unix epoch.
    pub(crate) fn clock(&self) -> fn() -> i64 {
        self.clock
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
        let bytes = body.len() as u64;
        let size = Size::of(&body, &self.limits);
        let limits = Limits { decompressed_bytes: size.expanded, ..self.limits };
        let now = (self.clock)();
        let _room = self.admission.room(size.memory).await?;
        let checked = if is_small(size.memory) {
            check(&body, &limits, &self.enrichment, now)?
        } else {
            self.check_apart(body.clone(), limits, now).await?
        };
        let Checked { header, rows, loss, loss_ipc } = checked;
        let Rows { flows, count: rows, unknown, .. } = rows;
        let flows = self.named(flows, &unknown).await?;
        flows.iter().for_each(|batch| self.enrichment.learn(batch));
        let sequence = header.sequence;
        let entry = Entry {
            source: Some(Source { agent: header.agent, boot: header.boot, sequence }),
            parts: vec![
                Part { table: "flows", ipc: body, batches: flows },
                Part { table: "agent_loss", ipc: loss_ipc, batches: vec![loss] },
            ],
        };
        let appended = self.store.append(entry).await?;
        match appended {
            Appended::Stored => self.metrics.stored(rows as u64, bytes),
            Appended::Repeated => self.metrics.repeated(),
        }
        Ok(Received { appended, sequence, rows })
    }

    /// Waits for the names of pods that nobody has told of yet, but not for long: a name that comes later still
    /// finds the rows in memory.
    async fn named(
        &self,
        flows: Vec<RecordBatch>,
        unknown: &Unknown,
    ) -> Result<Vec<RecordBatch>, RefusedBatch> {
        let names = &self.enrichment.names;
        if !names.want(unknown) {
            return Ok(flows);
        }
        let Ok(_patience) = self.patience.try_acquire() else { return Ok(flows) };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let changed = names.changed();
            if names.knows_all(&unknown.pods) || timeout_at(deadline, changed).await.is_err() {
                break;
            }
        }
        let again = |batch| self.enrichment.enrich(batch, &mut Unknown::default());
        let named: Result<_, _> = flows.into_iter().map(again).collect();
        named.map_err(|e: arrow::error::ArrowError| RefusedBatch::Internal(e.to_string()))
    }

    /// Checks a batch that takes milliseconds: not on the thread that serves connections.
    async fn check_apart(
        &self,
        body: Bytes,
        limits: Limits,
        now: i64,
    ) -> Result<Checked, RefusedBatch> {
        let decoder = self.admission.decoder().await?;
        let enrichment = self.enrichment.clone();
        // The permit goes along, because the work goes on when the sender hangs up.
        tokio::task::spawn_blocking(move || {
            let checked = check(&body, &limits, &enrichment, now);
            drop(decoder);
            checked
        })
        .await
        .map_err(|e| RefusedBatch::Internal(e.to_string()))?
    }
}

fn check(
    body: &[u8],
    limits: &Limits,
    enrichment: &Enrichment,
    now: i64,
) -> Result<Checked, RefusedBatch> {
    let message = decode_flows(body, limits)?;
    check_header(&message.header)?;
    let rows = Rows::of(&message, enrichment)?;
    for batch in &rows.flows {
        check_flows(batch, now)?;
    }
    let internal = |e: &dyn std::error::Error| RefusedBatch::Internal(e.to_string());
    let loss = rows.loss(&message.header, now).map_err(|e| internal(&e))?;
    debug_assert_eq!(loss.schema(), agent_loss_table().schema);
    let loss_ipc = if rows.count > 0 {
        Bytes::new()
    } else {
        weir_wire::encode_stream(&message.header, &loss).map_err(|e| internal(&e))?.into()
    };
    Ok(Checked { header: message.header, rows, loss, loss_ipc })
}

fn system_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
