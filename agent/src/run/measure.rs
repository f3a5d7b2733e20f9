//! The measuring thread.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use weir_wire::{EncodeError, Header, Loss};

use super::clock;
use super::pipeline::Pipeline;
use crate::conntrack::Conntrack;
use crate::metrics::Metrics;
use crate::rows::{self, Observer};
use crate::source::Source;
use crate::spool::{Batch, Spool};

/// How often the source is asked to empty the kernel's buffers between two collections.
const POLL: Duration = Duration::from_millis(100);
/// The same while those are filling.
const POLL_SOON: Duration = Duration::from_millis(20);
/// Rows of one batch; an interval with more becomes several.
const MAX_BATCH_ROWS: usize = 200_000;

/// Everything between the source and the spool.
pub(super) struct Measure {
    source: Source,
    pipeline: Pipeline,
    metrics: Metrics,
    observer: Observer,
    spool: Spool,
    boot: String,
    sequence: i64,
    began: Instant,
    previous: Option<clock::Ended>,
    /// Losses of the source that no batch has declared yet.
    losses: BTreeMap<&'static str, u64>,
    failing: bool,
    encode: fn(&Header, &RecordBatch) -> Result<Vec<u8>, EncodeError>,
}

impl Measure {
    pub(super) fn new(
        source: Source,
        conntrack: Conntrack,
        observer: Observer,
        spool: Spool,
        metrics: Metrics,
    ) -> Self {
        metrics.agent(|agent| agent.source = source.name());
        Self {
            source,
            pipeline: Pipeline::new(conntrack),
            metrics,
            observer,
            spool,
            boot: uuid::Uuid::new_v4().to_string(),
            sequence: 0,
            began: Instant::now(),
            previous: None,
            losses: BTreeMap::new(),
            failing: false,
            encode: weir_wire::encode,
        }
    }

    /// Measures until the other end of `stop` is dropped, and once more then.
    pub(super) fn run(mut self, interval: Duration, stop: &Receiver<()>) {
        loop {
            let next = Instant::now() + clock::until_next(wall_us(), interval);
            let stopped = self.wait(next, stop);
            if stopped {
                self.source.settle();
            }
            self.tick(interval);
            if stopped {
                return;
            }
        }
    }

    /// True when told to stop.
    fn wait(&mut self, until: Instant, stop: &Receiver<()>) -> bool {
        let mut poll = POLL;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            match stop.recv_timeout(left.min(poll)) {
                Err(RecvTimeoutError::Timeout) => {
                    let much = self.pipeline.poll(&mut self.source);
                    poll = if much { POLL_SOON } else { POLL };
                }
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }

    /// One interval, from the source to the spool.
    fn tick(&mut self, period: Duration) {
        self.pipeline.begin_collection(&mut self.source);
        let unseen = match self.source.collect(&mut self.pipeline) {
            Ok(unseen) => unseen,
            Err(error) => {
                // The next collection covers this interval too: totals only grow.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "sockets could not be collected"
                    );
                }
                return;
            }
        };
        if std::mem::take(&mut self.failing) {
            tracing::info!("sockets are collected again");
        }
        let now = Instant::now();
        let elapsed = now.duration_since(self.began);
        let (interval, ended, step) = clock::interval(self.previous, wall_us(), elapsed, period);
        if let Some(step_us) = step {
            tracing::warn!(step_us, "wall clock was set, history has a gap or an overlap there");
        }
        self.began = now;
        self.previous = Some(ended);
        let rows = self.pipeline.end_collection(interval);
        self.lost(Loss::MapInsertFailures, unseen.map_insert_failures);
        self.lost(Loss::RingDrops, unseen.ring_drops);
        self.lost(Loss::UncountedDatagrams, unseen.datagrams_uncounted);
        self.lost(Loss::UncountedDrops, unseen.drops_uncounted);
        self.lost(Loss::SampledOutSockets, unseen.sampled_out);
        let folded = self.pipeline.rows.folded();
        self.lost(Loss::FoldedFlows, folded);
        let messages = unseen.dns_dropped + self.pipeline.dns.dropped();
        self.lost(Loss::DnsMessages, messages);
        let translation = self.pipeline.conntrack.losses();
        self.lost(Loss::ConntrackOverruns, translation.overruns);
        self.lost(Loss::ConntrackEntries, translation.entries);
        self.lost(Loss::ConntrackNamespaces, translation.namespaces);
        // A way of measuring that sees less is a loss in each interval.
        self.lost(Loss::IntervalsWithoutBpf, u64::from(!self.source.is_bpf()));
        self.lost(Loss::IntervalsWithoutDrops, u64::from(!self.source.counts_drops()));
        let conntrack = self.pipeline.conntrack.follows_host();
        self.lost(Loss::IntervalsWithoutConntrack, u64::from(!conntrack));
        let pipeline = &self.pipeline;
        self.metrics.interval(|workloads, agent| {
            workloads.add(&rows, now);
            workloads.set_active(pipeline.rows.levels(), now);
            agent.intervals += 1;
            agent.rows += rows.len() as u64;
            agent.last_rows = rows.len() as u64;
            agent.waiting = self.spool.len() as u64;
            agent.conntrack = pipeline.conntrack.status();
            workloads.set_questions(pipeline.dns.questions());
            agent.drops.clone_from(pipeline.drops.totals());
        });
        self.spool_rows(rows::batch(&rows, &self.observer, interval), rows.len());
    }

    fn spool_rows(&mut self, batch: Result<RecordBatch, ArrowError>, rows: usize) {
        match batch {
            Ok(batch) => self.spool_all(&batch),
            Err(error) => {
                tracing::error!(%error, rows, "rows could not be made into a batch");
                self.lost_batch(rows);
            }
        }
    }

    /// A batch that never reached the spool is lost as one that the spool dropped.
    fn lost_batch(&mut self, rows: usize) {
        self.lost(Loss::SpoolBatches, 1);
        self.lost(Loss::SpoolRows, rows as u64);
    }

    fn lost(&mut self, reason: Loss, count: u64) {
        if count > 0 {
            *self.losses.entry(reason.name()).or_insert(0) += count;
        }
    }

    fn spool_all(&mut self, batch: &RecordBatch) {
        let mut at = 0;
        loop {
            let length = (batch.num_rows() - at).min(MAX_BATCH_ROWS);
            self.spool_one(&batch.slice(at, length));
            at += length;
            if at >= batch.num_rows() {
                return;
            }
        }
    }

    fn spool_one(&mut self, rows: &RecordBatch) {
        let declared = self.spool.undeclared_losses();
        let mut losses = declared.clone();
        for (reason, count) in &self.losses {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            let total = losses.entry((*reason).to_owned()).or_insert(0);
            *total = total.saturating_add(count);
        }
        self.sequence += 1;
        let header = Header {
            agent: self.spool.agent().to_owned(),
            boot: self.boot.clone(),
            sequence: self.sequence,
            losses: losses.clone(),
        };
        match (self.encode)(&header, rows) {
            Ok(body) => {
                let batch = Batch {
                    agent: header.agent,
                    boot: header.boot,
                    sequence: header.sequence,
                    rows: rows.num_rows() as u64,
                    losses,
                    body,
                };
                self.metrics.agent(|agent| {
                    for (reason, count) in &batch.losses {
                        let count = u64::try_from(*count).unwrap_or(0);
                        *agent.losses.entry(reason.clone()).or_insert(0) += count;
                    }
                });
                self.spool.push(batch, &declared);
                self.losses.clear();
            }
            Err(error) => {
                tracing::error!(%error, rows = rows.num_rows(), "batch could not be encoded");
                self.lost_batch(rows.num_rows());
            }
        }
    }
}

/// Microseconds since the Unix epoch; 0 on a clock before it.
fn wall_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
