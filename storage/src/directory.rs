//! Taking possession of a data directory.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::durable::{self, At, FileError, Taken};
use crate::paths::DataDir;

/// First line of `FORMAT`.
const FORMAT: &str = "weir data directory";
/// Version of the layout in [`crate::paths`].
const VERSION: u32 = 1;

/// Why a directory cannot be used.
#[derive(Debug, Error)]
pub(crate) enum DirectoryError {
    #[error(
        "data directory {} is in use by {holder}; stop it, or give this one a directory of its own",
        dir.display()
    )]
    Held { dir: PathBuf, holder: String },
    #[error(
        "data directory {} has {found:?} in FORMAT, this version reads `{FORMAT} {VERSION}`; use the version of weir that wrote it, or an empty directory",
        dir.display()
    )]
    Version { dir: PathBuf, found: String },
    #[error("{} is not empty and no data directory of weir; use an empty directory", dir.display())]
    Foreign { dir: PathBuf },
    #[error(transparent)]
    File(#[from] FileError),
}

/// The lock on a data directory, given up when dropped (or when the process dies).
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Lets others have the directory while this value lives on.
    pub(crate) fn release(&self) {
        // Cannot fail for a lock that is held; at the latest it ends with the file.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Makes the directory if needed, locks it and checks its version.
pub(crate) fn acquire(dir: &DataDir) -> Result<DirectoryLock, DirectoryError> {
    durable::create_dir(dir.root())?;
    if !dir.format().exists() && !dir.lock().exists() && !is_empty(dir)? {
        return Err(DirectoryError::Foreign { dir: dir.root().to_owned() });
    }
    let lock = lock(dir)?;
    let fresh = !has_format(dir)?;
    for folder in [dir.tmp(), dir.wal(), dir.tables()] {
        durable::create_dir(&folder)?;
    }
    for entry in fs::read_dir(dir.tmp()).at("read folder", &dir.tmp())? {
        let path = entry.at("read folder", &dir.tmp())?.path();
        durable::remove(&path)?;
    }
    if fresh {
        durable::write(&dir.new_tmp(), &dir.format(), Taken::Refuse, [format().as_bytes()])?;
    }
    Ok(lock)
}

fn is_empty(dir: &DataDir) -> Result<bool, FileError> {
    let mut entries = fs::read_dir(dir.root()).at("read folder", dir.root())?;
    // A fresh file system has a `lost+found` of its own.
    Ok(entries.all(|e| e.is_ok_and(|e| e.file_name() == "lost+found")))
}

fn lock(dir: &DataDir) -> Result<DirectoryLock, DirectoryError> {
    let path = dir.lock();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .at("open", &path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            let holder = pid.map_or_else(
                || "another process".to_owned(),
                |pid: u32| format!("the process with pid {pid}"),
            );
            return Err(DirectoryError::Held { dir: dir.root().to_owned(), holder });
        }
        Err(e) => return Err(FileError { action: "lock", path, source: e.into() }.into()),
    }
    // The pid only helps a person to find the holder; a disk that is full must not stop the open.
    let _ = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()));
    Ok(DirectoryLock { file })
}

fn format() -> String {
    format!("{FORMAT} {VERSION}\n")
}

/// Whether the directory is marked as one of this version; one of another version is refused.
fn has_format(dir: &DataDir) -> Result<bool, DirectoryError> {
    let path = dir.format();
    match fs::read_to_string(&path) {
        Ok(found) if found == format() => Ok(true),
        Ok(found) => Err(DirectoryError::Version {
            dir: dir.root().to_owned(),
            found: found.chars().take(60).collect(),
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FileError { action: "read", path, source }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(tmp.path().join("a/b"));
        let held = acquire(&dir).unwrap();
        let error = acquire(&dir).unwrap_err();
        let DirectoryError::Held { ref holder, .. } = error else { panic!("{error}") };
        assert!(holder.contains(&std::process::id().to_string()), "{error}");
        drop(held);
        acquire(&dir).unwrap();
    }

    #[test]
    fn strange_directories_are_left_alone() {
        let tmp = tempfile::tempdir().unwrap();
        fs::write(tmp.path().join("thesis.txt"), "years of work").unwrap();
        let dir = DataDir::new(tmp.path().to_owned());
        assert!(matches!(acquire(&dir), Err(DirectoryError::Foreign { .. })));

        let tmp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(tmp.path().to_owned());
        drop(acquire(&dir).unwrap());
        fs::write(dir.format(), "weir data directory 9\n").unwrap();
        assert!(matches!(acquire(&dir), Err(DirectoryError::Version { .. })));
    }

    #[test]
    fn unfinished_files_are_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(tmp.path().to_owned());
        drop(acquire(&dir).unwrap());
        let left = dir.new_tmp();
        fs::write(&left, "half").unwrap();
        drop(acquire(&dir).unwrap());
        assert!(!left.exists());
    }
}
