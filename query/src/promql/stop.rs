//! Ending a query that is being computed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Error;

/// Tells a query that nobody waits for its answer any more. Computation cannot be dropped as a future
/// can; it asks from time to time.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends the query at its next check.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the query has to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`Error::Timeout`] once the query has to end.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_stopped() {
            return Err(Error::Timeout("query was given up while it was computed".to_owned()));
        }
        Ok(())
    }
}
