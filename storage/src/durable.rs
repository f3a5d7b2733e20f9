//! Files and folders that survive a power failure.
//!
//! A file is written under a temporary name on the same file system, synced, and only then given
//! its name; the folder is synced after that. What a name shows is therefore always whole.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::disk::{Disk, Mode};
use crate::paths::DataDir;

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

/// Makes a folder of the data directory and the missing ones above it, each entry durable.
///
/// A folder that is there already may be one whose maker died before its entry was durable. So each
/// is synced once by every process, and only then taken for durable.
pub(crate) fn create_dir(dir: &DataDir, folder: &Path) -> Result<(), FileError> {
    let disk = dir.disk().as_ref();
    if dir.is_durable(folder) && disk.is_folder(folder) {
        return Ok(());
    }
    if folder != dir.root() && folder.starts_with(dir.root()) {
        create_dir(dir, parent_of(folder))?;
        match disk.create_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && disk.is_folder(folder) => {}
            other => other.at("create folder", folder)?,
        }
        sync_dir(disk, parent_of(folder))?;
    } else {
        create_root(disk, folder, true)?;
    }
    dir.set_durable(folder);
    Ok(())
}

/// Makes the data directory itself; `private` to its owner, for who talked to whom is in it.
fn create_root(disk: &dyn Disk, folder: &Path, private: bool) -> Result<(), FileError> {
    let create = || if private { disk.create_private_dir(folder) } else { disk.create_dir(folder) };
    let parent = parent_of(folder);
    match create() {
        Ok(()) => sync_dir(disk, parent),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && disk.is_folder(folder) => {
            match sync_dir(disk, parent) {
                // Then it is someone else who made it.
                Err(e) if e.source.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                synced => synced,
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound && parent.parent().is_some() => {
            create_root(disk, parent, false)?;
            create().at("create folder", folder)?;
            sync_dir(disk, parent)
        }
        Err(e) => Err(e).at("create folder", folder),
    }
}

fn parent_of(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
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
