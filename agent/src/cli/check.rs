//! `weir-agent check`: what this host allows.

use std::error::Error;
use std::fs;

use crate::bpf::{BpfCollector, Options};
use crate::capabilities::{self, USEFUL};
use crate::cgroup_mount;
use crate::conntrack::Conntrack;
use crate::sock_diag::{SockDiag, namespaces};

/// Prints one line for each thing that decides how far the agent sees.
pub(super) fn print() {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    line("kernel", kernel.trim());
    let root = rustix::process::geteuid().is_root();
    line(
        "user",
        if root { "root" } else { "not root: sockets of other users have no process name" },
    );
    if let Ok(effective) = capabilities::effective() {
        for capability in USEFUL.iter().filter(|capability| !capability.is_in(effective)) {
            line("", &format!("without {}: {}", capability.name, capability.without));
        }
    }
    match BpfCollector::start(&Options::default()) {
        Ok(collector) => {
            line("BPF", "works: TCP, UDP and ICMP are measured from the first packet");
            let drops = if collector.counts_drops() {
                "works: packets that the kernel drops are counted by reason"
            } else {
                "refused: `drops` is null (needs Linux 5.17 with BTF, and CAP_PERFMON)"
            };
            line("drops", drops);
        }
        Err(error) => {
            line("BPF", &format!("refused: {}", chain(&error)));
            line("", SockDiag::blind_spots());
        }
    }
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
    let status = Conntrack::start().status();
    line(
        "conntrack",
        &match status.namespaces {
            0 => "refused: dialled services are not resolved to what answers".to_owned(),
            read => format!(
                "works: {} translated connections in {read} network namespaces, {} not permitted",
                status.entries, status.refused
            ),
        },
    );
    match cgroup_mount::find() {
        Ok(path) => line("cgroup v2", &path.display().to_string()),
        Err(error) => line("cgroup v2", &chain(&error)),
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors repeat their cause in their own words.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text.lines().next().unwrap_or_default().to_owned()
}

fn line(what: &str, found: &str) {
    println!("{what:<10} {found}");
}
