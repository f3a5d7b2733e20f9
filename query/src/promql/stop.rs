//! Ending a query that is being computed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::error::Error;

/// What is said of a query that had no more time.
pub(crate) const TIMED_OUT: &str = "query timed out in expression evaluation; narrow its time range, use a \
                                    longer step or allow it more by timeout=";

/// Tells a query that nobody waits for its answer any more. Computation cannot be dropped as a future
/// can; it asks from time to time.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    told: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Stop {
    /// Ends the query by itself at `deadline`, even while nobody can run who would say so.
    #[must_use]
    pub fn at(deadline: Instant) -> Self {
        Self { told: Arc::default(), deadline: Some(deadline) }
    }

    /// Ends the query at its next check.
    pub fn stop(&self) {
        self.told.store(true, Ordering::Relaxed);
    }

    /// Whether the query has to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.told.load(Ordering::Relaxed) || self.deadline.is_some_and(|d| Instant::now() >= d)
    }

    /// # Errors
    /// [`Error::Timeout`] once the query has to end.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_stopped() {
            return Err(Error::Timeout(TIMED_OUT.to_owned()));
        }
        Ok(())
    }
}
