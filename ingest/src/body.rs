//! Bodies of requests on their way in.
//!
//! All of them together take no more than a bound. A body is charged for what has come of it, not for
//! what it claims, in steps that double: connections that send nothing hold nothing, and a body that
//! finds no room for its next step is refused. As many connections as the server has may send a body
//! of one step at the same time.
//!
//! The bound is on the bytes as they came. What they become is bounded where they are decoded
//! ([`crate::receive`]): whoever waits there holds its body and wants no more room here, so neither
//! waits for the other.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest body of a batch. An agent at its limit of flows sends a few MiB.
pub(crate) const MAX_BODY: usize = 32 << 20;
/// A body that takes longer than this to arrive is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A body waits this long for room before its sender is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);
/// What room is counted in: 64 KiB.
const STEP: usize = 64 << 10;
/// Room for all bodies, in [`STEP`]s: 256 MiB.
const STEPS: usize = 4096;

/// Why a body was not read.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("body is larger than {MAX_BODY} bytes; send smaller batches")]
    TooLarge,
    #[error("body took longer than 30 s to arrive")]
    Slow,
    #[error("server is busy with other batches; send this one again in a second")]
    Busy,
    #[error("body cannot be read: {0}")]
    Broken(axum::Error),
}

/// Room for bodies.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    room: Arc<Semaphore>,
    patience: Duration,
    timeout: Duration,
}

/// A whole body. Its room is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(STEPS)), patience: PATIENCE, timeout: BODY_TIMEOUT }
    }
}

impl Bodies {
    /// Reads a body to its end.
    ///
    /// # Errors
    /// [`BodyError`]; what was read is gone then.
    pub(crate) async fn read(&self, body: Body) -> Result<Held, BodyError> {
        // A connection must not be held by a body that trickles in.
        let read = tokio::time::timeout(self.timeout, self.read_all(body));
        read.await.unwrap_or(Err(BodyError::Slow))
    }

    async fn read_all(&self, mut body: Body) -> Result<Held, BodyError> {
        let hint = body.size_hint();
        let least = usize::try_from(hint.lower()).unwrap_or(usize::MAX);
        if least > MAX_BODY {
            return Err(BodyError::TooLarge);
        }
        let most = hint.upper().and_then(|n| usize::try_from(n).ok()).unwrap_or(MAX_BODY);
        let mut read = Vec::new();
        let mut room = None;
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            // Trailers mean nothing here.
            let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else { continue };
            let length = read.len().saturating_add(data.len());
            if length > MAX_BODY {
                return Err(BodyError::TooLarge);
            }
            if length > read.capacity() {
                let capacity = read.capacity().saturating_mul(2).min(most).max(length);
                self.grow(&mut room, capacity).await?;
                if read.is_empty() && body.is_end_stream() {
                    return Ok(Held { bytes: data, _room: room });
                }
                read.reserve_exact(capacity - read.len());
            }
            read.extend_from_slice(&data);
        }
        Ok(Held { bytes: read.into(), _room: room })
    }

    /// Makes the room that a body has enough for this many bytes.
    async fn grow(
        &self,
        room: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
    ) -> Result<(), BodyError> {
        let has = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = bytes.div_ceil(STEP).saturating_sub(has);
        let Ok(wanted) = u32::try_from(wanted) else { return Err(BodyError::TooLarge) };
        let more = self.room.clone().acquire_many_owned(wanted);
        let Ok(Ok(more)) = tokio::time::timeout(self.patience, more).await else {
            return Err(BodyError::Busy);
        };
        match room {
            Some(room) => room.merge(more),
            None => *room = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
