//! From the id of a cgroup to its path.
//!
//! In the v2 hierarchy the id of a cgroup is the inode number of its directory (the kernel's
//! `cgroup_id`; on 64-bit kernels kernfs uses the id as inode number). A cgroup that is there is opened by its id
//! ([`super::cgroup_handle`]). Where that is not permitted, and for those that have ended, there is a map that is made by
//! walking the mount and renewed when an unknown id turns up: at most for a hundredth of the time, and for no id
//! more than once between two collections. Cgroups that ended keep their last path for as long as their sockets
//! may report.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::cgroup_handle::Handles;
use crate::cgroup_mount;

/// Least time between two walks, but for a new collection's first.
const WALK_EVERY: Duration = Duration::from_secs(1);
/// That time, as a multiple of what a walk takes.
const WALK_REST: u32 = 100;
/// Directories that one walk visits.
const MAX_DIRECTORIES: usize = 100_000;
/// Paths that are kept, those of ended cgroups included.
const MAX_KEPT: usize = 200_000;

/// Paths of the v2 hierarchy by cgroup id.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    mount: Option<PathBuf>,
    handles: Option<Handles>,
    paths: HashMap<u64, String>,
    /// Ids that no walk has found since the last collection.
    absent: HashSet<u64>,
    /// Not before; `None` is at once.
    next_walk: Option<Instant>,
}

impl Cgroups {
    /// Finds the v2 mount. Without one nothing is known of any id.
    pub(super) fn new() -> Self {
        let mount = cgroup_mount::find().ok();
        let handles = mount.as_deref().and_then(Handles::of);
        Self { mount, handles, ..Self::default() }
    }

    #[cfg(test)]
    fn at(mount: &Path) -> Self {
        Self { mount: Some(mount.to_owned()), ..Self::default() }
    }

    /// A new collection begins: the hierarchy is walked again for what was not found.
    pub(super) fn begin(&mut self) {
        self.absent.clear();
        self.next_walk = None;
    }

    /// Path of a cgroup below the mount, beginning with `/`.
    pub(super) fn path(&mut self, id: u64) -> Option<&str> {
        if id == 0 {
            return None;
        }
        if !self.paths.contains_key(&id)
            && let Some(path) = self.handles.as_mut().and_then(|handles| handles.path(id))
        {
            self.make_room();
            self.paths.insert(id, path);
        }
        let known = self.paths.contains_key(&id) || self.absent.contains(&id);
        let now = Instant::now();
        if !known && self.next_walk.is_none_or(|next| now >= next) {
            self.walk();
            let took = now.elapsed();
            self.next_walk = Some(now + (WALK_REST * took).max(WALK_EVERY));
            if !self.paths.contains_key(&id) {
                self.absent.insert(id);
            }
        }
        self.paths.get(&id).map(String::as_str)
    }

    fn make_room(&mut self) {
        if self.paths.len() > MAX_KEPT {
            self.paths.clear();
        }
    }

    fn walk(&mut self) {
        let Some(mount) = self.mount.clone() else { return };
        self.make_room();
        let mut pending = vec![mount.clone()];
        let mut visited = 0;
        while let Some(directory) = pending.pop() {
            visited += 1;
            if visited > MAX_DIRECTORIES {
                tracing::warn!(limit = MAX_DIRECTORIES, "more cgroups than are mapped");
                return;
            }
            if let Ok(metadata) = fs::metadata(&directory) {
                let below = directory.strip_prefix(&mount).unwrap_or(Path::new(""));
                self.paths.insert(metadata.ino(), format!("/{}", below.display()));
            }
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            pending.extend(
                entries
                    .flatten()
                    .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
                    .map(|e| e.path()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_inode_numbers_and_survive_the_cgroup() {
        let root = tempfile::tempdir().unwrap();
        let unit = root.path().join("system.slice/nginx.service");
        fs::create_dir_all(&unit).unwrap();
        let id = fs::metadata(&unit).unwrap().ino();
        let mut cgroups = Cgroups::at(root.path());
        cgroups.begin();
        assert_eq!(cgroups.path(id), Some("/system.slice/nginx.service"));
        fs::remove_dir(&unit).unwrap();
        cgroups.begin();
        assert_eq!(cgroups.path(u64::MAX), None);
        assert_eq!(cgroups.path(id), Some("/system.slice/nginx.service"));
    }
}
