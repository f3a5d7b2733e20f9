//! A real disk whose syncs fail where a test wants them to.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::real::RealDisk;
use super::{Disk, File, FolderEntry, Lock, Metadata, Mode};

/// Paths whose syncs fail, and those of what is below them.
type Unsynced = Arc<Mutex<Vec<PathBuf>>>;

/// A real disk whose syncs fail where a test wants them to.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultyDisk(Unsynced);

impl FaultyDisk {
    /// Makes syncs of a path and of what is below it fail, or succeed again.
    pub(crate) fn fail_sync(&self, path: &Path, fail: bool) {
        let mut unsynced = self.0.lock();
        unsynced.retain(|p| p != path);
        if fail {
            unsynced.push(path.to_owned());
        }
    }
}

fn check(unsynced: &Unsynced, path: &Path) -> io::Result<()> {
    if unsynced.lock().iter().any(|p| path.starts_with(p)) {
        return Err(io::Error::other("injected sync failure"));
    }
    Ok(())
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        let file = RealDisk.open(path, mode)?;
        Ok(Box::new(FaultyFile { file, path: path.to_owned(), unsynced: self.0.clone() }))
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

    fn create_private_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_private_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        check(&self.0, path)?;
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
struct FaultyFile {
    file: Box<dyn File>,
    path: PathBuf,
    unsynced: Unsynced,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl File for FaultyFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        check(&self.unsynced, &self.path)?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        check(&self.unsynced, &self.path)?;
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
