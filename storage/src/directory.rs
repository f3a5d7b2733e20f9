//! Taking possession of a data directory.

use std::path::PathBuf;

use thiserror::Error;

use crate::disk::Lock;
use crate::durable::{self, At, FileError, Taken};
use crate::paths::DataDir;

/// First line of `FORMAT`.
const FORMAT: &str = "weir data directory";
/// Version of the layout in [`crate::paths`].
///
/// A store of version 1 knows no tiers: what it wrote into a directory that has them would be in none.
/// So a directory of version 1 is taken over, and the older store refuses it from then on.
const VERSION: u32 = 2;
/// Version that is taken over.
const BEFORE_TIERS: u32 = 1;

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
    #[error("{} is no data directory of weir", dir.display())]
    None { dir: PathBuf },
    #[error("{} is not empty and no data directory of weir; use an empty directory", dir.display())]
    Foreign { dir: PathBuf },
    #[error(transparent)]
    File(#[from] FileError),
}

/// The lock on a data directory, given up when dropped (or when the process dies).
#[derive(Debug)]
pub(crate) struct DirectoryLock(Box<dyn Lock>);

impl DirectoryLock {
    /// Lets others have the directory while this value lives on.
    pub(crate) fn release(&self) {
        self.0.release();
    }
}

/// Makes the directory if needed, locks it and checks its version.
pub(crate) fn acquire(dir: &DataDir) -> Result<DirectoryLock, DirectoryError> {
    let disk = dir.disk().as_ref();
    durable::create_dir(dir, dir.root())?;
    if !disk.exists(&dir.format()) && !disk.exists(&dir.lock()) && !is_empty(dir)? {
        return Err(DirectoryError::Foreign { dir: dir.root().to_owned() });
    }
    let lock = lock(dir)?;
    let found = found_format(dir)?;
    let fresh = found == Found::Nothing;
    if fresh {
        // After a crash the lock tells that what else is here is ours.
        durable::sync_dir(disk, dir.root())?;
    }
    for folder in [dir.tmp(), dir.wal(), dir.tables()] {
        durable::create_dir(dir, &folder)?;
    }
    for entry in disk.read_dir(&dir.tmp()).at("read folder", &dir.tmp())? {
        durable::remove(disk, &dir.tmp().join(entry.name))?;
    }
    if fresh {
        let text = format(VERSION);
        durable::write(disk, &dir.new_tmp(), &dir.format(), Taken::Refuse, [text.as_bytes()])?;
    }
    if found == Found::BeforeTiers {
        let text = format(VERSION);
        durable::write(disk, &dir.new_tmp(), &dir.format(), Taken::Replace, [text.as_bytes()])?;
    }
    Ok(lock)
}

/// Locks a directory that is there and checks its version. Changes nothing in it.
pub(crate) fn look(dir: &DataDir) -> Result<DirectoryLock, DirectoryError> {
    if found_format(dir)? == Found::Nothing {
        return Err(DirectoryError::None { dir: dir.root().to_owned() });
    }
    let path = dir.lock();
    match dir.disk().lock_untouched(&path) {
        Ok(Some(lock)) => Ok(DirectoryLock(lock)),
        Ok(None) => Err(held(dir)),
        // A copy of a directory may lack it. Nobody holds what is not there.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(DirectoryLock(Box::new(NoLock))),
        Err(source) => Err(FileError { action: "lock", path, source }.into()),
    }
}

/// Stands for the lock of a directory that has none.
#[derive(Debug)]
struct NoLock;

impl Lock for NoLock {
    fn release(&self) {}
}

fn is_empty(dir: &DataDir) -> Result<bool, FileError> {
    let entries = dir.disk().read_dir(dir.root()).at("read folder", dir.root())?;
    // A fresh file system has a `lost+found` of its own.
    Ok(entries.iter().all(|e| e.name == "lost+found"))
}

fn lock(dir: &DataDir) -> Result<DirectoryLock, DirectoryError> {
    let path = dir.lock();
    let pid = format!("{}\n", std::process::id());
    if let Some(lock) = dir.disk().lock(&path, &pid).at("lock", &path)? {
        return Ok(DirectoryLock(lock));
    }
    Err(held(dir))
}

fn held(dir: &DataDir) -> DirectoryError {
    let text = dir.disk().read(&dir.lock()).unwrap_or_default();
    let pid = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
    let holder = pid.map_or_else(
        || "another process".to_owned(),
        |pid: u32| format!("the process with pid {pid}"),
    );
    DirectoryError::Held { dir: dir.root().to_owned(), holder }
}

fn format(version: u32) -> String {
    format!("{FORMAT} {version}\n")
}

/// What a directory is marked as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    BeforeTiers,
    Current,
}

/// What the directory is marked as; a version that cannot be read is refused.
fn found_format(dir: &DataDir) -> Result<Found, DirectoryError> {
    let path = dir.format();
    match dir.disk().read(&path) {
        Ok(found) if found == format(VERSION).as_bytes() => Ok(Found::Current),
        Ok(found) if found == format(BEFORE_TIERS).as_bytes() => Ok(Found::BeforeTiers),
        Ok(found) => Err(DirectoryError::Version {
            dir: dir.root().to_owned(),
            found: String::from_utf8_lossy(&found).chars().take(60).collect(),
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(source) => Err(FileError { action: "read", path, source }.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn a_new_directory_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let mode =
            |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let tmp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(tmp.path().join("var/lib"));
        drop(acquire(&dir).unwrap());
        assert_eq!(mode(dir.root()), 0o700);
        fs::set_permissions(dir.root(), fs::Permissions::from_mode(0o750)).unwrap();
        drop(acquire(&dir).unwrap());
        assert_eq!(mode(dir.root()), 0o750, "what was decided otherwise stays so");
    }

    #[test]
    fn looking_changes_nothing() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(tmp.path().join("d"));
        assert!(matches!(look(&dir), Err(DirectoryError::None { .. })));
        assert!(!dir.root().exists());
        drop(acquire(&dir).unwrap());
        fs::write(dir.format(), "weir data directory 1\n").unwrap();
        fs::write(dir.lock(), "7\n").unwrap();
        fs::write(dir.new_tmp(), "half").unwrap();
        let held = look(&dir).unwrap();
        assert!(matches!(acquire(&dir), Err(DirectoryError::Held { .. })));
        drop(held);
        assert_eq!(fs::read_to_string(dir.format()).unwrap(), "weir data directory 1\n");
        assert_eq!(fs::read_to_string(dir.lock()).unwrap(), "7\n");
        assert_eq!(fs::read_dir(dir.tmp()).unwrap().count(), 1);
        let taken = acquire(&dir).unwrap();
        assert!(matches!(look(&dir), Err(DirectoryError::Held { .. })));
        drop(taken);
        fs::remove_file(dir.lock()).unwrap();
        look(&dir).unwrap();
        assert!(!dir.lock().exists());
    }

    #[test]
    fn a_directory_from_before_tiers_is_taken_over() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(tmp.path().to_owned());
        drop(acquire(&dir).unwrap());
        fs::write(dir.format(), "weir data directory 1\n").unwrap();
        drop(acquire(&dir).unwrap());
        assert_eq!(fs::read_to_string(dir.format()).unwrap(), "weir data directory 2\n");
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
