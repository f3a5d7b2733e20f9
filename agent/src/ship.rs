//! Delivery: one thread, oldest batch first, one batch under way.
//!
//! 1. take the oldest batch of the spool;
//! 2. POST it to `{server}/v1/flows`;
//! 3. 2xx: remove it. A status that speaks of the batch itself: set it aside and count it. Anything
//!    else, and every failure to connect: keep it, wait, try again.
//!
//! A request whose answer is lost is repeated, and the server takes it once, by its sequence number.

mod backoff;
mod post;
#[cfg(test)]
pub(crate) mod receiver;
pub(crate) mod tls;
mod token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::spool::{Outgoing, Spool};
use backoff::{Backoff, Verdict};
use post::REQUEST_TIMEOUT;
pub(crate) use post::{Poster, SendError, Target};

const PATH: &str = "/v1/flows";

/// Set once, when delivery must come to its end by a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<Mutex<Option<Instant>>>);

impl Stop {
    /// Deliver what there is until `deadline`, then end.
    pub(crate) fn by(&self, deadline: Instant, spool: &Spool) {
        *self.0.lock() = Some(deadline);
        spool.wake();
    }

    fn deadline(&self) -> Option<Instant> {
        *self.0.lock()
    }
}

/// The delivering side.
pub(crate) struct Shipper {
    poster: Poster,
    url: String,
    spool: Spool,
    stop: Stop,
    backoff: Backoff,
    failing: bool,
    last_refusal: Option<String>,
}

impl Shipper {
    pub(crate) fn new(poster: Poster, spool: Spool, stop: Stop) -> Self {
        Self {
            url: poster.url(PATH),
            poster,
            spool,
            stop,
            backoff: Backoff::default(),
            failing: false,
            last_refusal: None,
        }
    }

    /// Delivers until told to stop.
    pub(crate) fn run(mut self) {
        loop {
            if self.stop.deadline().is_some_and(|d| Instant::now() >= d) {
                return;
            }
            let stop = self.stop.clone();
            let Some(outgoing) = self.spool.next(|| stop.deadline().is_some()) else { return };
            let was_stopping = self.stop.deadline().is_some();
            if let Some(wait) = self.one(&outgoing) {
                self.spool.returned();
                let mut until = Instant::now() + wait;
                if let Some(deadline) = self.stop.deadline() {
                    until = until.min(deadline);
                }
                // A stop since the attempt began cuts the wait short, for one more at once.
                self.spool.sleep(until, || !was_stopping && stop.deadline().is_some());
            }
        }
    }

    /// Tries one batch; how long to wait when it has to stay.
    fn one(&mut self, outgoing: &Outgoing) -> Option<Duration> {
        let sequence = outgoing.batch.sequence;
        let error = match self.send(outgoing) {
            Ok(()) => {
                self.spool.delivered(outgoing);
                if std::mem::take(&mut self.failing) {
                    tracing::info!(waiting = self.spool.len(), "server takes batches again");
                }
                tracing::debug!(sequence, rows = outgoing.batch.rows, "batch delivered");
                self.backoff.reset();
                return None;
            }
            Err(error) => error,
        };
        // Neither will it be read at the next attempt, and others wait behind it.
        if let SendError::Spooled(_) = &error {
            tracing::error!(sequence, %error, "set aside in refused/");
            self.spool.refused(outgoing);
            self.backoff.reset();
            return None;
        }
        let mut asked = None;
        if let SendError::Status { status, message, retry_after, .. } = &error {
            if backoff::verdict(*status) == Verdict::Refused {
                // The same complaint about batch after batch is worth one line.
                if self.last_refusal.as_ref() != Some(message) {
                    tracing::error!(
                        sequence,
                        status,
                        message,
                        "server refused a batch for good, set aside in refused/"
                    );
                    self.last_refusal = Some(message.clone());
                }
                self.spool.refused(outgoing);
                self.backoff.reset();
                return None;
            }
            asked = *retry_after;
        }
        let wait = self.backoff.failed(rand::random(), asked);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(url = self.url, %error, waiting = self.spool.len(), "server takes no batches, they wait in the spool");
        } else {
            tracing::debug!(%error, ?wait, "batch not delivered");
        }
        Some(wait)
    }

    /// Sends a batch as it lies in the spool, or, to a server from before whole bodies were
    /// compressed, as the bare stream that it reads.
    fn send(&self, outgoing: &Outgoing) -> Result<(), SendError> {
        let body = outgoing.batch.body.as_slice();
        if !weir_wire::frame::is_compressed(body) {
            return self.post(body, None);
        }
        let refused = match self.post(body, Some(weir_wire::CONTENT_ENCODING)) {
            Err(SendError::Status { accepts_coding: false, status: 400 | 415, .. }) => {
                weir_wire::frame::inflate(body, weir_wire::Limits::default().decompressed_bytes)
            }
            outcome => return outcome,
        };
        self.post(&refused?, None)
    }

    fn post(&self, body: &[u8], coding: Option<&str>) -> Result<(), SendError> {
        let remaining = self.stop.deadline().map(|d| d.saturating_duration_since(Instant::now()));
        let timeout = remaining
            .map_or(REQUEST_TIMEOUT, |r| r.clamp(Duration::from_millis(100), REQUEST_TIMEOUT));
        let mut headers = vec![("content-type", weir_wire::CONTENT_TYPE)];
        headers.extend(coding.map(|coding| ("content-encoding", coding)));
        self.poster.post_within(timeout, PATH, body, &headers)
    }
}

#[cfg(test)]
mod tests;
