//! Files and folders that survive a power failure.
//!
//! A file is written under a temporary name on the same file system, synced, and only then given
//! its name; the folder is synced after that. What a name shows is therefore always whole.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::disk::{Disk, Mode};

/// An operation on a path that the file system refused.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub(crate) struct FileError {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// Names the operation and the path of an I/O error.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError { action, path: path.to_owned(), source })
    }
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
    disk.sync_dir(dir).at("sync folder", dir)
}

/// Makes a folder and the missing ones above it, each entry durable.
pub(crate) fn create_dir(disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
    if disk.is_folder(dir) {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    if !disk.is_folder(parent) {
        create_dir(disk, parent)?;
    }
    match disk.create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.at("create folder", dir)?,
    }
    let synced = sync_dir(disk, parent);
    if synced.is_err() {
        // The next attempt must not take it for durable.
        let _ = disk.remove_dir(dir);
    }
    synced
}

/// Whether a name that is taken is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The old file is replaced at once.
    Replace,
    /// The error's source has the kind `AlreadyExists`.
    Refuse,
}

/// Gives a finished, synced file its name. The temporary name is gone afterwards.
pub(crate) fn publish(
    disk: &dyn Disk,
    tmp: &Path,
    path: &Path,
    taken: Taken,
) -> Result<(), FileError> {
    match taken {
        Taken::Replace => disk.rename(tmp, path).at("rename to", path)?,
        Taken::Refuse => {
            disk.hard_link(tmp, path).at("create", path)?;
            disk.remove_file(tmp).at("remove", tmp)?;
        }
    }
    match path.parent() {
        Some(parent) => sync_dir(disk, parent),
        None => Ok(()),
    }
}

/// Writes a whole file. After an error the name shows what it showed before, or the whole new file.
pub(crate) fn write<'a>(
    disk: &dyn Disk,
    tmp: &Path,
    path: &Path,
    taken: Taken,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), FileError> {
    let written = (|| {
        let mut file = disk.open(tmp, Mode::Create)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()
    })()
    .at("write", path);
    let published = written.and_then(|()| publish(disk, tmp, path, taken));
    if published.is_err() {
        let _ = disk.remove_file(tmp);
    }
    published
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), FileError> {
    match disk.remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", path),
    }
}
