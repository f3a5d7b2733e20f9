//! What a demo would leave behind: a group of processes (cgroup) with everybody in it, and a folder for the history.
//!
//! Everything else goes with its processes: network namespaces have no names, and links, addresses and rules are in
//! them alone. So a second process waits for the end of the first one, however it comes, ends whoever is left in the
//! group, and removes both. Should that one be killed as well, the next demo does it.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::process::quiet;

/// Before the number of the first process, in the names of both.
const PREFIX: &str = "weir-demo-";
/// Attempts to remove something, and the time between them: processes take a moment to end.
const ATTEMPTS: (u32, Duration) = (200, Duration::from_millis(50));

/// What is to be removed at the end.
#[derive(Debug)]
pub(super) struct Leftovers {
    /// The group of processes, where the demo needs one.
    pub(super) cgroup: Option<PathBuf>,
    /// Folder of the history.
    pub(super) data: PathBuf,
    /// Waits for its standard input to end.
    cleaner: Child,
}

impl Leftovers {
    /// Removes what former demos left, makes what is needed, and starts the process that removes it: the folder only if
    /// nobody said where it is to be.
    ///
    /// # Errors
    /// When something cannot be made or started.
    pub(super) fn new(cgroups: Option<&Path>, data: Option<&PathBuf>) -> anyhow::Result<Self> {
        let temporary = std::env::temp_dir();
        sweep(cgroups, &temporary);
        let name = format!("{PREFIX}{}", std::process::id());
        let cgroup = cgroups.map(|mount| mount.join(&name));
        if let Some(path) = &cgroup {
            fs::create_dir(path)
                .with_context(|| format!("cgroup {} is refused", path.display()))?;
        }
        let own = temporary.join(&name);
        let folder = data.unwrap_or(&own).clone();
        let make = || match data {
            Some(_) => fs::create_dir_all(&folder),
            None => fs::DirBuilder::new().mode(0o700).create(&folder),
        };
        make().with_context(|| format!("folder {} cannot be made", folder.display()))?;
        let program = std::env::current_exe().context("the path of this program is not known")?;
        let mut command = Command::new(program);
        command.args(["demo-part", "clean-up"]).stdin(Stdio::piped()).stdout(Stdio::null());
        if let Some(path) = &cgroup {
            command.arg("--cgroup").arg(path);
        }
        if data.is_none() {
            command.arg("--data").arg(&folder);
        }
        quiet(&mut command);
        let cleaner = command.spawn().context("the process that cleans up cannot be started")?;
        Ok(Self { cgroup, data: folder, cleaner })
    }
}

impl Drop for Leftovers {
    /// Waits until everything is removed.
    fn drop(&mut self) {
        drop(self.cleaner.stdin.take());
        let _ = self.cleaner.wait();
    }
}

/// Waits for the end of standard input and removes both.
pub(super) fn clean_up(cgroup: Option<&Path>, data: Option<&Path>) {
    let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
    if let Some(path) = cgroup {
        remove_cgroup(path);
    }
    if let Some(path) = data {
        remove_folder(path);
    }
}

/// Removes what belongs to no process any more.
fn sweep(cgroups: Option<&Path>, temporary: &Path) {
    for path in cgroups.into_iter().flat_map(orphans) {
        remove_cgroup(&path);
    }
    let user = geteuid().as_raw();
    for path in orphans(temporary) {
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir() && found.uid() == user) {
            remove_folder(&path);
        }
    }
}

/// What is named after a process that is not there.
fn orphans(folder: &Path) -> Vec<PathBuf> {
    let is_orphan = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let pid = name.and_then(|name| name.strip_prefix(PREFIX)).and_then(|pid| pid.parse().ok());
        // One of this process's number was another's.
        pid.is_some_and(|pid: u32| {
            pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists()
        })
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_orphan).collect()
}

fn remove_folder(path: &Path) {
    for _ in 0..ATTEMPTS.0 {
        match fs::remove_dir_all(path) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(_) => std::thread::sleep(ATTEMPTS.1),
        }
    }
    tracing::warn!(path = %path.display(), "folder of a demo cannot be removed");
}

/// Ends every process in a cgroup and below, and removes it.
fn remove_cgroup(path: &Path) {
    for _ in 0..ATTEMPTS.0 {
        end_below(path);
        if !path.exists() {
            return;
        }
        std::thread::sleep(ATTEMPTS.1);
    }
    tracing::warn!(path = %path.display(), "cgroup of a demo cannot be removed");
}

fn end_below(path: &Path) {
    let procs = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in procs.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)) {
        // Whoever has ended meanwhile cannot be ended, and that is all right.
        let _ = kill_process(pid, Signal::KILL);
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            end_below(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_owns_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        // No process has that number (`PID_MAX_LIMIT` is 2^22).
        let names =
            ["weir-demo-99999999", "weir-demo-1", "weir-demo-x", "weir-demo-", "other-99999999"];
        for name in names {
            fs::create_dir_all(dir.path().join(name).join("below")).unwrap();
        }
        sweep(None, dir.path());
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 4);
        assert!(!dir.path().join(names[0]).exists());
    }
}
