//! The system's file system.

use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};

use super::{Disk, File, FolderEntry, Lock, Metadata, Mode};

/// The system's file system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        let mut options = fs::OpenOptions::new();
        match mode {
            Mode::Read => options.read(true),
            Mode::Write => options.write(true),
            Mode::Create => options.write(true).create_new(true),
        };
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn available(&self, path: &Path) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(path)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create_private_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<FolderEntry>> {
        fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                let is_folder = entry.file_type()?.is_dir();
                Ok(FolderEntry { name: entry.file_name(), is_folder })
            })
            .collect()
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        fs::metadata(path).map(convert)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        if !try_lock(&file)? {
            return Ok(None);
        }
        // The text only helps a person to find the holder; a full disk must not stop the open.
        let _ = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(holder.as_bytes()));
        Ok(Some(Box::new(RealLock(file))))
    }

    fn lock_untouched(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = fs::File::open(path)?;
        Ok(if try_lock(&file)? { Some(Box::new(RealLock(file))) } else { None })
    }
}

/// Returns if the lock could be had at once.
fn try_lock(file: &fs::File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn convert(found: fs::Metadata) -> Metadata {
    Metadata {
        length: found.len(),
        modified: found.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        is_folder: found.is_dir(),
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl Write for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl File for RealFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata().map(convert)
    }
}

/// A lock that ends with its file at the latest.
#[derive(Debug)]
struct RealLock(fs::File);

impl Lock for RealLock {
    fn release(&self) {
        // Cannot fail for a lock that is held.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}
