//! What the node counts beside flows, once an interval, on a thread of its own: visiting hundreds of network
//! namespaces must not hold up measuring.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::family::{Family, Kind};
use super::interfaces::Namespace;
use super::{Metrics, PodNames, RemoteWrite, ethtool, interfaces};
use crate::attribution::Workload;

/// Reads the node's counters, publishes them, and ships all metrics as samples.
pub(crate) struct Node {
    metrics: Metrics,
    pods: PodNames,
    shipping: Option<RemoteWrite>,
}

/// What is counted of each interface.
const INTERFACE: [(&str, &str); 8] = [
    ("weir_interface_rx_packets", "Packets received."),
    ("weir_interface_tx_packets", "Packets sent."),
    ("weir_interface_rx_bytes", "Bytes received, link headers included."),
    ("weir_interface_tx_bytes", "Bytes sent, link headers included."),
    ("weir_interface_rx_errors", "Packets received that were bad."),
    ("weir_interface_tx_errors", "Packets that could not be sent."),
    ("weir_interface_rx_dropped", "Packets received and dropped for want of room."),
    ("weir_interface_tx_dropped", "Packets dropped before they were sent."),
];

impl Node {
    pub(crate) fn new(metrics: Metrics, pods: PodNames, shipping: Option<RemoteWrite>) -> Self {
        Self { metrics, pods, shipping }
    }

    /// Runs until the other end of `stop` is dropped.
    pub(crate) fn run(mut self, interval: Duration, stop: &Receiver<()>) {
        loop {
            self.metrics.set_node(read(&mut self.pods));
            if let Some(shipping) = &self.shipping {
                let sent = shipping.send(&self.metrics.families());
                self.metrics.agent(|agent| match sent {
                    Ok(()) => agent.samples_sent += 1,
                    Err(_) => agent.samples_failed += 1,
                });
                shipping.note(sent);
            }
            if stop.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }
}

fn read(pods: &mut PodNames) -> Vec<Family> {
    let namespaces = interfaces::all();
    let workloads = workloads(&namespaces, pods);
    let mut families = empty();
    let mut add = |name: &str, labels: Vec<(&'static str, String)>, value: u64| {
        if let Some(family) = families.iter_mut().find(|family| family.name == name) {
            family.add(labels, value);
        }
    };
    for namespace in &namespaces {
        let whose = whose(namespace, &workloads);
        for interface in &namespace.interfaces {
            for ((name, _), value) in INTERFACE.iter().zip(interface.counters) {
                let mut labels = whose.clone();
                labels.push(("device", interface.name.clone()));
                add(name, labels, value);
            }
        }
        for (name, value) in [
            ("weir_tcp_retransmitted_segments", namespace.retransmits),
            ("weir_tcp_timeouts", namespace.timeouts),
        ] {
            if let Some(value) = value {
                add(name, whose.clone(), value);
            }
        }
    }
    for (name, file) in [
        ("weir_conntrack_entries", "nf_conntrack_count"),
        ("weir_conntrack_entries_limit", "nf_conntrack_max"),
    ] {
        let text = fs::read_to_string(format!("/proc/sys/net/netfilter/{file}"));
        if let Some(value) = text.ok().and_then(|text| text.trim().parse().ok()) {
            add(name, Vec::new(), value);
        }
    }
    let own = namespaces.first().map(|own| own.interfaces.as_slice()).unwrap_or_default();
    for interface in own {
        // Most devices have no such statistics, and say so by an error.
        for (name, value) in ethtool::statistics(&interface.name).unwrap_or_default() {
            let labels = vec![("device", interface.name.clone())];
            add(&format!("weir_nic_{name}"), labels, value);
        }
    }
    for (device, port, name, value) in ethtool::efa() {
        add(&format!("weir_efa_{name}"), vec![("device", device), ("port", port)], value);
    }
    families
}

/// Every family that there can be.
pub(super) fn all() -> Vec<Family> {
    empty()
}

fn empty() -> Vec<Family> {
    use Kind::{Counter, Gauge};
    let interface = INTERFACE.map(|(name, help)| Family::new(name, Counter, help));
    let mut all: Vec<Family> = interface.into();
    all.extend(
        [
            ("weir_tcp_retransmitted_segments", Counter, "TCP segments sent again, of all sockets of the network namespace (RetransSegs)."),
            ("weir_tcp_timeouts", Counter, "TCP retransmission timeouts, of all sockets of the network namespace (TCPTimeouts)."),
            ("weir_conntrack_entries", Gauge, "Connections that the host tracks (nf_conntrack_count)."),
            ("weir_conntrack_entries_limit", Gauge, "Connections that it can track (nf_conntrack_max)."),
        ]
        .map(|(name, kind, help)| Family::new(name, kind, help)),
    );
    let exceeded =
        "Packets queued or dropped because an allowance of the machine was used up, by the driver.";
    all.extend(
        ethtool::COUNTERS.map(|name| Family::new(&format!("weir_nic_{name}"), Counter, exceeded)),
    );
    let available =
        "Connections that can still be tracked within the machine's allowance, by the driver.";
    all.push(Family::new(&format!("weir_nic_{}", ethtool::AVAILABLE), Gauge, available));
    let efa = "Counter of an Elastic Fabric Adapter, by its driver's name.";
    all.extend(ethtool::EFA.map(|name| Family::new(&format!("weir_efa_{name}"), Counter, efa)));
    all
}

type Labels = Vec<(&'static str, String)>;

/// Whose a namespace is: the host's, or that of the workload whose processes are in it.
fn whose(namespace: &Namespace, workloads: &HashMap<u64, Labels>) -> Labels {
    if namespace.inode == 0 {
        return vec![("netns", "host".into())];
    }
    let mut labels = vec![("netns", namespace.inode.to_string())];
    labels.extend(workloads.get(&namespace.inode).cloned().unwrap_or_default());
    labels
}

/// By inode of the namespace. That of a pod has processes of several containers; what they share is told.
fn workloads(namespaces: &[Namespace], pods: &mut PodNames) -> HashMap<u64, Labels> {
    let wanted = |inode: u64| namespaces.iter().any(|n| n.inode == inode);
    let mut all: HashMap<u64, Workload> = HashMap::new();
    for (inode, workload) in crate::attribution::namespace_workloads(wanted) {
        all.entry(inode).or_insert(workload);
    }
    let uids: HashSet<&str> = all.values().filter_map(|w| w.pod.as_deref()).collect();
    pods.follow(&uids, Instant::now());
    let labels = |workload: &Workload| match &workload.pod {
        Some(uid) => pods.labels(uid),
        None => vec![("workload", workload.name.clone()), ("workload_kind", workload.kind.into())],
    };
    all.iter().map(|(inode, workload)| (*inode, labels(workload))).collect()
}
