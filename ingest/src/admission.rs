//! How many bodies are on their way in at a time, by the memory that they take.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::Bodies;

/// Memory that bodies on their way in may take together, in [`UNIT`]s.
const UNITS: u32 = 512;
/// 1 MiB.
const UNIT: u64 = 1 << 20;
/// A body waits this long for room before its sender is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);

/// There was no room in time.
#[derive(Debug)]
pub(crate) struct Full;

/// What bodies wait for. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    /// Room for bodies, by their size.
    room: Arc<Semaphore>,
    /// As many are decoded at a time as there are processors for it.
    decoders: Arc<Semaphore>,
    /// Room for bodies while they arrive.
    bodies: Bodies,
}

impl Admission {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            room: Arc::new(Semaphore::new(UNITS as usize)),
            decoders: Arc::new(Semaphore::new(2 * processors)),
            bodies: Bodies::default(),
        }
    }

    /// Room for bodies while they arrive.
    pub(crate) fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    /// Waits for this many bytes; they are free again when the permit is dropped.
    pub(crate) async fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Full> {
        let units = u32::try_from(bytes / UNIT).unwrap_or(UNITS).clamp(1, UNITS);
        acquire(&self.room, units).await
    }

    /// Waits for a processor.
    pub(crate) async fn decoder(&self) -> Result<OwnedSemaphorePermit, Full> {
        acquire(&self.decoders, 1).await
    }
}

/// Whether decoding takes no longer than going to another thread for it is worth.
pub(crate) fn is_small(bytes: u64) -> bool {
    bytes <= 2 * UNIT
}

async fn acquire(from: &Arc<Semaphore>, n: u32) -> Result<OwnedSemaphorePermit, Full> {
    match tokio::time::timeout(PATIENCE, from.clone().acquire_many_owned(n)).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => Err(Full),
    }
}
