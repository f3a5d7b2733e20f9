//! What `/proc` says of processes.
//!
//! Processes end and change while they are read: every answer is optional, and none is an error.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Processes whose descriptors one scan looks at; a node that runs more is not scanned to the end.
const MAX_PROCESSES: usize = 65_536;
/// Descriptors of one process that a scan looks at.
const MAX_DESCRIPTORS: usize = 262_144;

/// When a process started, in clock ticks since boot: tells a reused process id from the process
/// that had it before (proc_pid_stat(5), field 22).
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces and parentheses of its own.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Name of a process's main thread.
#[must_use]
pub fn name(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/comm")).ok()?;
    clean_name(&bytes)
}

/// A thread name as text: up to the first NUL or line end, `None` when nothing is left.
#[must_use]
pub fn clean_name(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&b| b == 0 || b == b'\n').unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(..end)?);
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Cgroup paths of a process: in the v2 hierarchy, and in systemd's own v1 hierarchy where the host
/// runs both (cgroups(7), "/proc/pid/cgroup").
#[must_use]
pub fn cgroups(pid: u32) -> CgroupPaths {
    fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .map(|text| CgroupPaths::parse(&text))
        .unwrap_or_default()
}

/// Where a process is in the cgroup hierarchies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupPaths {
    /// In the v2 hierarchy.
    pub unified: Option<String>,
    /// In the v1 hierarchy named `systemd`.
    pub systemd: Option<String>,
}

impl CgroupPaths {
    /// Parses `/proc/<pid>/cgroup`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut paths = Self::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            match (parts.next(), parts.next(), parts.next()) {
                (Some("0"), Some(""), Some(path)) => paths.unified = Some(path.to_owned()),
                (Some(_), Some("name=systemd"), Some(path)) => {
                    paths.systemd = Some(path.to_owned());
                }
                _ => {}
            }
        }
        paths
    }
}

/// Which process holds each of the given socket inodes. Of several (a server and its workers) the
/// one with the lowest id, which is the one that began the others; process 1, which opens the
/// sockets of socket-activated services, only where nobody else does.
#[must_use]
pub fn socket_holders(inodes: &HashSet<u64>) -> HashMap<u64, u32> {
    let mut holders = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return holders };
    let mut pids: Vec<u32> = entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .take(MAX_PROCESSES)
        .collect();
    pids.sort_unstable_by_key(|&pid| (pid == 1, pid));
    for pid in pids {
        if holders.len() == inodes.len() {
            break;
        }
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for descriptor in descriptors.flatten().take(MAX_DESCRIPTORS) {
            if let Some(inode) = socket_inode(&descriptor.path())
                && inodes.contains(&inode)
            {
                holders.entry(inode).or_insert(pid);
            }
        }
    }
    holders
}

fn socket_inode(descriptor: &Path) -> Option<u64> {
    let target = fs::read_link(descriptor).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Inode of the initial PID namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_PIDS: u64 = 0xefff_fffc;

/// This process is in the initial PID namespace; an agent in a node that is a container itself (kind) is not.
pub(super) fn in_initial_namespace() -> bool {
    fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == INITIAL_PIDS)
}

/// Processes in network namespaces that are `wanted` by inode, the oldest id of each namespace first.
pub(super) fn in_namespaces(wanted: impl Fn(u64) -> bool) -> Vec<(u64, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let inode = fs::metadata(entry.path().join("ns/net")).map(|m| m.ino());
        found.extend(inode.ok().filter(|inode| wanted(*inode)).map(|inode| (inode, pid)));
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    #[test]
    fn this_process_is_found_by_its_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = format!("/proc/self/fd/{}", listener.as_raw_fd());
        let inode = socket_inode(Path::new(&link)).unwrap();
        let holders = socket_holders(&HashSet::from([inode, u64::MAX]));
        assert_eq!(holders, HashMap::from([(inode, std::process::id())]));
    }

    #[test]
    fn this_process_has_a_name_and_a_start() {
        let pid = std::process::id();
        assert!(start_time(pid).unwrap() > 0);
        let program = std::env::current_exe().unwrap();
        let program = program.file_name().unwrap().to_str().unwrap();
        // The kernel keeps 15 bytes of it.
        assert_eq!(name(pid).as_deref(), program.get(..15).or(Some(program)));
        assert_eq!(name(u32::MAX), None);
    }

    #[test]
    fn names_are_cut_at_the_first_nul() {
        assert_eq!(clean_name(b"curl\0junk\0\0"), Some("curl".into()));
        assert_eq!(clean_name(b"\0\0\0"), None);
        assert_eq!(clean_name(b"  \n"), None);
    }

    #[test]
    fn hybrid_hosts_have_two_hierarchies() {
        let text = "9:name=systemd:/system.slice/nginx.service\n4:memory:/x\n0::/\n";
        assert_eq!(
            CgroupPaths::parse(text),
            CgroupPaths {
                unified: Some("/".into()),
                systemd: Some("/system.slice/nginx.service".into()),
            }
        );
        assert_eq!(CgroupPaths::parse("nonsense\n::"), CgroupPaths::default());
    }
}
