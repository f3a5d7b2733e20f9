//! `weir-agent check`: what this host allows.

use std::fs;

use crate::sock_diag::namespaces;

/// Prints one line for each thing that decides how far the agent sees.
pub(super) fn print() {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    line("kernel", kernel.trim());
    let root = rustix::process::geteuid().is_root();
    line(
        "user",
        if root { "root" } else { "not root: sockets of other users have no process name" },
    );
    match namespaces::dump_all() {
        Ok(dumped) => {
            let sockets: usize = dumped.namespaces.iter().map(|n| n.sockets.len()).sum();
            let unread = dumped.unread.len();
            let read = dumped.namespaces.len();
            line(
                "sock_diag",
                &format!(
                    "works: {sockets} TCP sockets in {read} network namespaces, {unread} not permitted"
                ),
            );
        }
        Err(error) => line("sock_diag", &format!("refused: {error}")),
    }
    let btf = fs::metadata("/sys/kernel/btf/vmlinux").is_ok();
    line("BTF", if btf { "present" } else { "absent: no drop reasons" });
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let cgroup2 = mounts.lines().find(|l| l.split(' ').nth(2) == Some("cgroup2"));
    line(
        "cgroup v2",
        cgroup2
            .and_then(|l| l.split(' ').nth(1))
            .unwrap_or("not mounted: no BPF and no cgroup of a socket"),
    );
}

fn line(what: &str, found: &str) {
    println!("{what:<10} {found}");
}
