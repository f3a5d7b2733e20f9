//! From the id of a cgroup to its path by one call.
//!
//! A cgroup's id is what its file handle consists of (kernfs: `FILEID_KERNFS` in include/linux/exportfs.h, Linux 5.5), so
//! open_by_handle_at(2) opens a cgroup that nobody has told the path of. It wants CAP_DAC_READ_SEARCH in the initial
//! user namespace. A cgroup that has ended cannot be opened, and one outside of the mount has no path in it.

use std::ffi::c_int;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// Type of the handles of kernfs.
const FILEID_KERNFS: c_int = 0xfe;

/// `struct file_handle` of fcntl.h, with room for an id.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: c_int,
    id: [u8; 8],
}

/// A mount of the cgroup v2 hierarchy in which cgroups are opened.
#[derive(Debug)]
pub(super) struct Handles {
    mount: File,
    /// Where it is.
    path: PathBuf,
    refused: bool,
}

impl Handles {
    /// `None` if the mount cannot be opened.
    pub(super) fn of(mount: &Path) -> Option<Self> {
        Some(Self { mount: File::open(mount).ok()?, path: mount.to_owned(), refused: false })
    }

    /// Path of a cgroup below the mount, beginning with `/`; `None` if it has ended or is not below.
    pub(super) fn path(&mut self, id: u64) -> Option<String> {
        if self.refused {
            return None;
        }
        let cgroup = match self.open(id) {
            Ok(cgroup) => cgroup,
            Err(error) => {
                // Others tell of this cgroup alone.
                let lasting = [libc::EPERM, libc::ENOSYS, libc::EOPNOTSUPP];
                self.refused = error.raw_os_error().is_some_and(|code| lasting.contains(&code));
                return None;
            }
        };
        let path = fs::read_link(format!("/proc/self/fd/{}", cgroup.as_raw_fd())).ok()?;
        self.below(&path)
    }

    /// One that has ended since it was opened still tells where it was (`d_path` of fs/d_path.c).
    fn below(&self, path: &Path) -> Option<String> {
        let below = path.strip_prefix(&self.path).ok()?.display().to_string();
        Some(format!("/{}", below.strip_suffix(" (deleted)").unwrap_or(&below)))
    }

    fn open(&self, id: u64) -> io::Result<OwnedFd> {
        let mut handle = Handle { bytes: 8, kind: FILEID_KERNFS, id: id.to_ne_bytes() };
        // SAFETY: both arguments are valid for the call, and the handle has as many bytes as it says.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_open_by_handle_at,
                self.mount.as_raw_fd(),
                &raw mut handle,
                libc::O_PATH | libc::O_CLOEXEC,
            )
        };
        let fd = c_int::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given it to us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_cgroup_that_ends_meanwhile_has_its_own_path() {
        let handles = Handles::of(Path::new("/")).unwrap();
        let below = |path: &str| handles.below(Path::new(path));
        assert_eq!(below("/a.slice/b.service (deleted)").as_deref(), Some("/a.slice/b.service"));
        assert_eq!(below("/a.slice").as_deref(), Some("/a.slice"));
        assert_eq!(below("/").as_deref(), Some("/"));
    }

    #[test]
    fn a_cgroup_is_found_by_its_id() {
        let skip = |reason: &str| {
            let required = std::env::var_os("WEIR_REQUIRE_KERNEL").is_some();
            assert!(!required, "may not be skipped here: {reason}");
            eprintln!("skipped: {reason}");
        };
        let Ok(mount) = crate::cgroup_mount::find() else {
            return skip("no cgroup v2 hierarchy is mounted");
        };
        let mut handles = Handles::of(&mount).unwrap();
        let root = fs::metadata(&mount).unwrap().ino();
        let found = handles.path(root);
        if handles.refused {
            return skip("file handles may not be opened");
        }
        assert_eq!(found.as_deref(), Some("/"));
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        let id = fs::metadata(mount.join(own.trim_start_matches('/'))).unwrap().ino();
        assert_eq!(handles.path(id).as_deref(), Some(own));
        assert_eq!(handles.path(u64::MAX - 1), None);
        assert!(!handles.refused, "one that is not there says nothing of others");
    }
}
