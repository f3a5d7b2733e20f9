//! Finds where the cgroup v2 hierarchy is mounted.
//!
//! Usually at `/sys/fs/cgroup`; in hybrid layouts, where version 1 controllers live beside it, at
//! `/sys/fs/cgroup/unified`; in containers wherever the runtime put it. `/proc/self/mountinfo` knows
//! (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::{fs, io};

use thiserror::Error;

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Why no mount of the cgroup v2 hierarchy was found.
#[derive(Debug, Error)]
pub enum CgroupMountError {
    /// The list of mounts is not readable.
    #[error("cannot read {MOUNTINFO}")]
    Mountinfo(#[source] io::Error),
    /// The list of mounts has no cgroup v2 hierarchy.
    #[error(
        "no cgroup v2 hierarchy in {MOUNTINFO}; mount one: mount -t cgroup2 none /sys/fs/cgroup/unified"
    )]
    NotMounted,
}

/// The mount point of the cgroup v2 hierarchy in this mount namespace. One that shows the hierarchy
/// from its root on is preferred to one that shows a part (a bind mount).
///
/// # Errors
/// The list of mounts cannot be read, or has no such mount.
pub fn find() -> Result<PathBuf, CgroupMountError> {
    let mountinfo = fs::read(MOUNTINFO).map_err(CgroupMountError::Mountinfo)?;
    find_in(&mountinfo).ok_or(CgroupMountError::NotMounted)
}

fn find_in(mountinfo: &[u8]) -> Option<PathBuf> {
    let mut part = None;
    for line in mountinfo.split(|&b| b == b'\n') {
        let mut fields = line.split(|&b| b == b' ');
        let (Some(root), Some(mount_point)) = (fields.nth(3), fields.next()) else { continue };
        // Optional fields end with a lone hyphen; the file system type follows.
        if fields.by_ref().all(|f| f != b"-") || fields.next() != Some(b"cgroup2") {
            continue;
        }
        let path = PathBuf::from(OsString::from_vec(unescape(mount_point)));
        if root == b"/" {
            return Some(path);
        }
        part.get_or_insert(path);
    }
    part
}

/// Undoes the octal escapes of space, tab, newline and backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if first == b'\\' => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        out.push(octal.unwrap_or(first));
        rest = if octal.is_some() { tail.get(3..).unwrap_or(&[]) } else { tail };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_it_in_every_layout() {
        let unified = b"25 30 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(find_in(unified), Some("/sys/fs/cgroup".into()));
        let hybrid = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(find_in(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let bound_first =
            b"50 1 0:38 /system.slice /mnt/part rw shared:1 master:2 - cgroup2 x rw\n\
            51 1 0:38 / /mnt/with\\040space\\134 rw - cgroup2 cgroup2 rw\n";
        assert_eq!(find_in(bound_first), Some("/mnt/with space\\".into()));
        let only_part = b"50 1 0:38 /system.slice /mnt/part rw - cgroup2 x rw\n";
        assert_eq!(find_in(only_part), Some("/mnt/part".into()));
        assert_eq!(find_in(b"31 23 0:28 / /sys/fs/cgroup rw - cgroup cgroup rw,cpu\n\n"), None);
        assert_eq!(find_in(b"garbage - cgroup2\n"), None);
    }
}
