//! A real disk on which compaction stops in the middle of what it writes, for as long as a test wants.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::real::RealDisk;
use super::{Disk, File, FolderEntry, Lock, Metadata, Mode};
use crate::compact::THREAD;

/// Who waits at the gate.
#[derive(Debug, Default)]
struct Gate {
    closed: Mutex<Closed>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Closed {
    closed: bool,
    waiting: bool,
}

/// A real disk. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeldDisk(Arc<Gate>);

impl HeldDisk {
    /// From now on writes of compaction wait.
    pub(crate) fn hold(&self) {
        self.0.closed.lock().closed = true;
    }

    /// Lets what waits go on.
    pub(crate) fn release(&self) {
        self.0.closed.lock().closed = false;
        self.0.changed.notify_all();
    }

    /// Returns once a job waits in the middle of its work. Blocks.
    pub(crate) fn until_held(&self) {
        let mut closed = self.0.closed.lock();
        while !closed.waiting {
            self.0.changed.wait(&mut closed);
        }
    }
}

impl Disk for HeldDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        Ok(Box::new(HeldFile { file: RealDisk.open(path, mode)?, gate: self.0.clone() }))
    }

    fn available(&self, path: &Path) -> io::Result<u64> {
        RealDisk.available(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<FolderEntry>> {
        RealDisk.read_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        RealDisk.metadata(path)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        RealDisk.canonicalize(path)
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Option<Box<dyn Lock>>> {
        RealDisk.lock(path, holder)
    }
}

#[derive(Debug)]
struct HeldFile {
    file: Box<dyn File>,
    gate: Arc<Gate>,
}

impl Write for HeldFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if std::thread::current().name() == Some(THREAD) {
            let mut closed = self.gate.closed.lock();
            while closed.closed {
                closed.waiting = true;
                self.gate.changed.notify_all();
                self.gate.changed.wait(&mut closed);
            }
            closed.waiting = false;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl File for HeldFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }
}
