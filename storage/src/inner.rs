//! What the store, its background task and its blocking workers share.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::compact::Compaction;
use crate::directory::DirectoryLock;
use crate::flush::Table;
use crate::growth::Growth;
use crate::hiding::Hiding;
use crate::memory::Budget;
use crate::paths::DataDir;
use crate::place::Place;
use crate::retention::Retention;
use crate::retention::graveyard::Graveyard;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;
use crate::state::State;
use crate::wal::writer::Shared;

/// What the store, its background task and its blocking workers share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) dir: DataDir,
    pub(crate) place: Place,
    pub(crate) clock: Clock,
    pub(crate) retention: Retention,
    /// Never held while `state` is waited for.
    pub(crate) hiding: Mutex<Hiding>,
    pub(crate) removal_grace: Duration,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) wal: Arc<Shared>,
    pub(crate) budget: Arc<Budget>,
    /// Told when rows became visible.
    pub(crate) grown: Arc<Notify>,
    /// The tables' logs. Whoever commits holds all of them.
    pub(crate) tables: tokio::sync::Mutex<Vec<(&'static str, Table)>>,
    pub(crate) compaction: Compaction,
    pub(crate) growth: Growth,
    /// The folder of all tables.
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) graveyard: Mutex<Graveyard>,
    /// Why the last flush failed; `None` after one that succeeded.
    pub(crate) flush_failure: Mutex<Option<String>>,
    /// Last field: everything above is done when the directory is let go.
    pub(crate) lock: Arc<DirectoryLock>,
}

impl Inner {
    pub(crate) fn spec(&self, table: &str) -> Option<Arc<TableSpec>> {
        self.state.lock().tables.get(table).map(|t| t.spec.clone())
    }

    /// Shows the outcome of a commit; for the holder of the tables' lock.
    pub(crate) fn committed(&self, table: &str, files: &[Arc<DataFile>], lsn: u64) {
        let files = self.hiding.lock().shown(table, files);
        if let Some(table) = self.state.lock().tables.get_mut(table) {
            table.committed(files, lsn);
        }
    }

    /// The files of a table, as readers are shown them.
    pub(crate) fn shown(&self, table: &str) -> Arc<[Arc<DataFile>]> {
        let state = self.state.lock();
        state.tables.get(table).map(|t| t.files.clone()).unwrap_or_default()
    }
}
