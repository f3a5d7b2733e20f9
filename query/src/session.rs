//! A session over one moment of the store, made when somebody asks for it.
//!
//! Making one takes longer than many a query over samples, which needs none.

use std::sync::{Arc, OnceLock};

use datafusion::prelude::SessionContext;
use weir_storage::Snapshot;

use crate::database::Runtime;
use crate::error::Error;
use crate::flows::Tiers;

/// See the module's text.
pub(crate) struct LazySession {
    runtime: Runtime,
    snapshots: Vec<Snapshot>,
    made: OnceLock<SessionContext>,
    tiers: Arc<Tiers>,
}

impl LazySession {
    /// Over these tables.
    pub(crate) fn new(runtime: Runtime, snapshots: Vec<Snapshot>) -> Self {
        let tiers = Arc::new(Tiers::new(&snapshots));
        Self { runtime, snapshots, made: OnceLock::new(), tiers }
    }

    /// The session.
    ///
    /// # Errors
    /// Those of [`Runtime::session`].
    pub(crate) fn get(&self) -> Result<&SessionContext, Error> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let session = self.runtime.session(self.snapshots.clone())?;
        Ok(self.made.get_or_init(|| session))
    }

    /// Its tables of flows.
    pub(crate) fn tiers(&self) -> &Arc<Tiers> {
        &self.tiers
    }
}
