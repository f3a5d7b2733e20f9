//! The disk under everything that storage keeps.
//!
//! Storage touches files through [`Disk`] alone: log segments, data files, commits, lists, locks, and
//! what readers read. The system's own file system is [`real`]. Tests put others in its place, so that
//! a crash, a full disk or a failed sync can come at any operation.
//!
//! The rules are those of POSIX: what a file holds is durable once the file is synced, what a folder
//! lists once the folder is synced. [`crate::durable`] builds on them.

pub(crate) mod chunks;
#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(crate) mod held;
pub(crate) mod objects;
pub(crate) mod real;
#[cfg(test)]
pub(crate) mod simulated;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One that is there, for reading.
    Read,
    /// One that is there, for writing over it from its beginning and cutting it.
    Write,
    /// One that is not there yet, for writing from its beginning.
    Create,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) length: u64,
    pub(crate) modified: SystemTime,
    pub(crate) is_folder: bool,
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FolderEntry {
    pub(crate) name: OsString,
    pub(crate) is_folder: bool,
}

/// A file system.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file. With [`Mode::Create`], a name that is taken is `AlreadyExists`.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>>;

    /// Gives a file another name; a file that has it is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name; one that is taken is `AlreadyExists`.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove_file(&self, path: &Path) -> io::Result<()>;

    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder that only its owner may look into.
    fn create_private_dir(&self, path: &Path) -> io::Result<()> {
        self.create_dir(path)
    }

    /// Makes the entries of a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// The entries of a folder, in no particular order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<FolderEntry>>;

    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Bytes that are free on the file system of a folder.
    fn available(&self, _path: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    /// The absolute path without links.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;

    /// Whether operations can take long, so that they need a thread of their own.
    fn blocks(&self) -> bool {
        true
    }

    /// A name that nothing has or had.
    fn unique(&self) -> uuid::Uuid {
        uuid::Uuid::new_v4()
    }

    /// Takes a file's lock, making the file if needed, and writes `holder` into it as far as the disk
    /// allows. `None` if someone else has the lock.
    fn lock(&self, path: &Path, holder: &str) -> io::Result<Option<Box<dyn Lock>>>;

    /// Takes the lock of a file that is there, and leaves the file as it is. `None` if someone else
    /// has the lock.
    fn lock_untouched(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.lock(path, "")
    }
}

impl dyn Disk + '_ {
    /// Reads a whole file.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, Mode::Read)?;
        let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// The same into `bytes`, in place of what it holds: one buffer for many files is cleared by the
    /// system only once.
    pub(crate) fn read_into(&self, path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
        let file = self.open(path, Mode::Read)?;
        bytes.resize(usize::try_from(file.length()?).map_err(io::Error::other)?, 0);
        file.read_exact_at(bytes, 0)
    }

    pub(crate) fn is_folder(&self, path: &Path) -> bool {
        self.metadata(path).is_ok_and(|m| m.is_folder)
    }

    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.metadata(path).is_ok()
    }
}

/// An open file. Each write goes on where the last one ended.
pub(crate) trait File: io::Write + fmt::Debug + Send + Sync {
    /// Fills `buffer` from `offset` on; `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Makes the contents durable, as far as reading them back needs.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the contents and all metadata durable.
    fn sync_all(&self) -> io::Result<()>;

    fn set_length(&self, length: u64) -> io::Result<()>;

    fn length(&self) -> io::Result<u64>;

    fn metadata(&self) -> io::Result<Metadata>;
}

/// A lock that is held until this is dropped, or the process dies.
pub(crate) trait Lock: fmt::Debug + Send + Sync {
    /// Lets others have it while this value lives on.
    fn release(&self);
}
