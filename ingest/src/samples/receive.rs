//! From the body of a request with samples to its acknowledgement, without HTTP.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{Mutex, OwnedMutexGuard};
use weir_storage::{Entry, Part, Store};

use super::counters::SampleMetrics;
use super::decode::{BodyError, Message, decode};
use super::expand::{Buffers, Coding, ExpandError, claimed};
use super::limits::Limits;
use super::logged;
use super::metadata::Metadata;
use super::otlp::deltas::{Changes, Deltas};
use super::otlp::{TranslateError, translate};
use super::points::Points;
use super::refusals::{Refusals, Times};
use crate::admission::{Admission, Full, is_small};
use crate::body::Bodies;
use crate::receive::Receiver;

/// A sample may be dated this far ahead of the server's clock, milliseconds: 10 minutes, as in
/// Prometheus.
const MAX_AHEAD_MS: i64 = 600_000;

/// Why nothing of a request was stored.
#[derive(Debug, Error)]
pub enum RefusedRequest {
    /// The body cannot be decompressed.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// The body is not the message that it should be.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Too many requests are on their way in.
    #[error("server is busy with other requests; send this one again in a second")]
    Busy,
    /// The store refused.
    #[error(transparent)]
    Store(#[from] weir_storage::Error),
    /// A defect of this server.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<Full> for RefusedRequest {
    fn from(_: Full) -> Self {
        Self::Busy
    }
}

impl From<ArrowError> for RefusedRequest {
    fn from(error: ArrowError) -> Self {
        Self::Internal(error.to_string())
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Samples that are durable now.
    pub samples: u64,
    /// What of it is not stored.
    pub refusals: Refusals,
}

/// What is configured about samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampleSettings {
    /// Samples that are older than this when they arrive are refused; `None` accepts any age, from
    /// 1970 on. Within it they may come in any order.
    pub window: Option<Duration>,
}

/// Takes samples into a store.
#[derive(Debug, Clone)]
pub struct SamplesReceiver {
    store: Arc<Store>,
    admission: Admission,
    clock: fn() -> i64,
    /// Milliseconds.
    window: Option<i64>,
    limits: Limits,
    buffers: Buffers,
    metrics: Arc<SampleMetrics>,
    metadata: Arc<Metadata>,
    /// Held from the first look at deltas until they are durable.
    deltas: Arc<Mutex<Deltas>>,
}

/// A request whose points are ready.
#[derive(Debug)]
struct Checked {
    batch: RecordBatch,
    /// For the log.
    log: Bytes,
    samples: u64,
    exemplars: u64,
    refusals: Refusals,
}

impl SamplesReceiver {
    /// A receiver that shares store, clock and room for bodies with one of flows.
    #[must_use]
    pub fn beside(receiver: &Receiver, settings: &SampleSettings) -> Self {
        Self {
            store: receiver.store().clone(),
            admission: receiver.admission().clone(),
            clock: receiver.clock(),
            window: settings.window.map(|w| i64::try_from(w.as_millis()).unwrap_or(i64::MAX)),
            limits: Limits::default(),
            buffers: Buffers::default(),
            metrics: Arc::default(),
            metadata: Arc::default(),
            deltas: Arc::default(),
        }
    }

    /// Counters of this receiver and its clones.
    #[must_use]
    pub fn metrics(&self) -> &Arc<SampleMetrics> {
        &self.metrics
    }

    /// What senders say of metrics.
    #[must_use]
    pub fn metadata(&self) -> &Arc<Metadata> {
        &self.metadata
    }

    /// Room for bodies while they arrive.
    pub(crate) fn bodies(&self) -> &Bodies {
        self.admission.bodies()
    }

    /// Times that are accepted now.
    fn times(&self) -> Times {
        let now = (self.clock)() / 1000;
        Times {
            earliest: self.window.map_or(0, |window| now.saturating_sub(window).max(0)),
            latest: now.saturating_add(MAX_AHEAD_MS),
        }
    }

    /// Takes a request of remote write. Once this returns `Ok`, what it says is written survives a
    /// crash and queries see it.
    pub(crate) async fn write(
        &self,
        message: Message,
        coding: Coding,
        body: Bytes,
    ) -> Result<Written, RefusedRequest> {
        let result = self.try_write(message, coding, body).await;
        if result.is_err() {
            self.metrics.failed();
        }
        result
    }

    async fn try_write(
        &self,
        message: Message,
        coding: Coding,
        body: Bytes,
    ) -> Result<Written, RefusedRequest> {
        let bytes = body.len() as u64;
        let limits = self.limits_for(coding, &body);
        let _room = self.admission.room(memory_of(&limits)).await?;
        let receiver = self.clone();
        let checked =
            self.decoding(&limits, move || receiver.check(message, coding, &body, limits)).await?;
        self.append(checked, bytes).await
    }

    /// Takes a request of OTLP; the same is true of it.
    pub(crate) async fn otlp(
        &self,
        coding: Coding,
        body: Bytes,
    ) -> Result<Written, RefusedRequest> {
        let result = self.try_otlp(coding, body).await;
        if result.is_err() {
            self.metrics.failed();
        }
        result
    }

    async fn try_otlp(&self, coding: Coding, body: Bytes) -> Result<Written, RefusedRequest> {
        let bytes = body.len() as u64;
        let limits = self.limits_for(coding, &body);
        // Names of labels are repeated for every point and bucket.
        let _room = self.admission.room(memory_of(&limits).saturating_mul(4)).await?;
        let (receiver, first) = (self.clone(), body.clone());
        let checked = self
            .decoding(&limits, move || receiver.check_otlp(coding, &first, limits, None))
            .await?;
        if let Some((checked, _)) = checked {
            return self.append(checked, bytes).await;
        }
        let deltas = self.deltas.clone().lock_owned().await;
        let receiver = self.clone();
        let (checked, mut deltas) = self
            .decoding(&limits, move || {
                let checked = receiver.check_otlp(coding, &body, limits, Some(&deltas))?;
                Ok((checked, deltas))
            })
            .await?;
        let Some((checked, changes)) = checked else {
            return Err(RefusedRequest::Internal("deltas were not added up".into()));
        };
        let written = self.append(checked, bytes).await?;
        deltas.commit(changes);
        Ok(written)
    }

    fn limits_for(&self, coding: Coding, body: &[u8]) -> Limits {
        // A body yields no more than is set aside for it.
        Limits { expanded: claimed(coding, body).min(self.limits.expanded), ..self.limits }
    }

    /// Runs what takes milliseconds, if the body is not small, elsewhere than on the thread that
    /// serves connections.
    async fn decoding<T: Send + 'static>(
        &self,
        limits: &Limits,
        work: impl FnOnce() -> Result<T, RefusedRequest> + Send + 'static,
    ) -> Result<T, RefusedRequest> {
        if is_small(memory_of(limits)) {
            return work();
        }
        let decoder = self.admission.decoder().await?;
        // The permit goes along, because the work goes on when the sender hangs up.
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(decoder);
            done
        })
        .await
        .map_err(|e| RefusedRequest::Internal(e.to_string()))?
    }

    fn check(
        &self,
        message: Message,
        coding: Coding,
        body: &[u8],
        limits: Limits,
    ) -> Result<Checked, RefusedRequest> {
        let expanded = self.buffers.expand(coding, body, limits.expanded)?;
        let mut points = Points::new(limits, self.times());
        let described = decode(message, &expanded, &mut points)?;
        self.metadata.learn(&described);
        let whole = points.refusals().is_empty().then(|| logged::body(message, coding, body));
        checked(points, whole.flatten())
    }

    /// `None` if the request has deltas, and `deltas` is none.
    fn check_otlp(
        &self,
        coding: Coding,
        body: &[u8],
        limits: Limits,
        deltas: Option<&OwnedMutexGuard<Deltas>>,
    ) -> Result<Option<(Checked, Changes)>, RefusedRequest> {
        let expanded = self.buffers.expand(coding, body, limits.expanded)?;
        let mut points = Points::new(limits, self.times());
        let mut staged = deltas.map(|deltas| deltas.stage());
        match translate(&expanded, &mut points, staged.as_mut(), &self.metadata) {
            Ok(()) => {}
            Err(TranslateError::Body(error)) => return Err(error.into()),
            Err(TranslateError::Deltas) => return Ok(None),
        }
        let changes = staged.map(|staged| staged.changes()).unwrap_or_default();
        Ok(Some((checked(points, None)?, changes)))
    }

    async fn append(&self, checked: Checked, bytes: u64) -> Result<Written, RefusedRequest> {
        let Checked { batch, log, samples, exemplars, refusals } = checked;
        if samples > 0 {
            let part = Part { table: "samples", ipc: log, batches: vec![batch] };
            // The same again changes nothing: points of one series and time become one.
            self.store.append(Entry { source: None, parts: vec![part] }).await?;
        }
        self.metrics.stored(samples, exemplars, bytes, &refusals);
        Ok(Written { samples, refusals })
    }
}

/// What a request may take while it is decoded: what it came to takes about as much again.
fn memory_of(limits: &Limits) -> u64 {
    limits.expanded.saturating_mul(2)
}

/// `log` is what the log keeps, if that is not the points.
fn checked(points: Points, log: Option<Bytes>) -> Result<Checked, RefusedRequest> {
    let (samples, exemplars) = (points.len() as u64, points.exemplars());
    let (batch, refusals) = points.finish()?;
    let log = match log {
        Some(log) => log,
        None => logged::points(&batch)?,
    };
    Ok(Checked { batch, log, samples, exemplars, refusals })
}
