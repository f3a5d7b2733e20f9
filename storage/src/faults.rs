//! Where tests make the disk fail. Outside of tests it does nothing but sync.

use std::fs::File;
use std::io;
#[cfg(test)]
use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};

/// Syncs log files, or fails to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    #[cfg(test)]
    fail_sync: Arc<AtomicBool>,
}

impl Faults {
    /// Makes the contents of a file durable.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        if self.fail_sync.load(Ordering::Relaxed) {
            return Err(io::Error::other("injected sync failure"));
        }
        file.sync_data()
    }

    #[cfg(test)]
    pub(crate) fn fail_sync(&self, fail: bool) {
        self.fail_sync.store(fail, Ordering::Relaxed);
    }
}

/// Folders whose syncs fail.
#[cfg(test)]
static UNSYNCED: parking_lot::Mutex<Vec<std::path::PathBuf>> = parking_lot::Mutex::new(Vec::new());

/// Makes syncs of a folder fail, or succeed again.
#[cfg(test)]
pub(crate) fn fail_sync_of(dir: &std::path::Path, fail: bool) {
    let mut unsynced = UNSYNCED.lock();
    unsynced.retain(|d| d != dir);
    if fail {
        unsynced.push(dir.to_owned());
    }
}

#[cfg(test)]
pub(crate) fn sync_of(dir: &std::path::Path) -> io::Result<()> {
    if UNSYNCED.lock().iter().any(|d| d == dir) {
        return Err(io::Error::other("injected sync failure"));
    }
    Ok(())
}
