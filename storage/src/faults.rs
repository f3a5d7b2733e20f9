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
