//! What rows tell of the hosts that they come from: see [`crate::names`].

use std::net::IpAddr;

use arrow::array::RecordBatch;

use super::column::Column;
use super::ends::Ports;
use super::intervals::Intervals;
use crate::names::{Names, Told};

/// An address that may be reached from other hosts.
pub(super) fn is_reachable(text: &str) -> bool {
    match text.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => {
            !ip.is_loopback()
                && !ip.is_link_local()
                && !ip.is_unspecified()
                && !ip.is_multicast()
                && !ip.is_broadcast()
        }
        Ok(IpAddr::V6(ip)) => {
            !ip.is_loopback()
                && !ip.is_unicast_link_local()
                && !ip.is_unspecified()
                && !ip.is_multicast()
        }
        Err(_) => false,
    }
}

impl Names {
    /// Learns from the rows of hosts: those that are nobody's pod.
    pub(super) fn learn(&self, batch: &RecordBatch) {
        let columns =
            ["node", "workload", "workload_kind", "address"].map(|name| Column::of(batch, name));
        let [Some(nodes), Some(workloads), Some(kinds), Some(addresses)] = columns else { return };
        let [namespaces, pods, peers, protocols, roles, zones, regions] =
            ["namespace", "pod", "peer_address", "protocol", "role", "zone", "region"]
                .map(|name| Column::of(batch, name));
        let reachable = addresses.each(|text| is_reachable(text).then_some(text));
        if reachable.iter().all(Option::is_none) {
            return;
        }
        let (ports, peer_ports) = (Ports::of(batch, "port"), Ports::of(batch, "peer_port"));
        let intervals = Intervals::of(batch);
        let text =
            |column: Option<Column<'_>>, row: usize| column.and_then(|c| c.get(row)).is_some();
        let mut all: Vec<Told<'_>> = Vec::new();
        for row in 0..batch.num_rows() {
            if text(namespaces, row) || text(pods, row) {
                continue;
            }
            let Some(address) = addresses.key(row).and_then(|key| *reachable.get(key)?) else {
                continue;
            };
            let Some(host) = nodes.get(row) else { continue };
            let role = roles.and_then(|c| c.get(row));
            let told = Told {
                host,
                zone: zones.and_then(|c| c.get(row)),
                region: regions.and_then(|c| c.get(row)),
                address,
                workload: workloads.get(row).unwrap_or(""),
                kind: kinds.get(row).unwrap_or(""),
                protocol: protocols.and_then(|c| c.get(row)).unwrap_or(""),
                serves: (role == Some("server")).then(|| ports.get(row)),
                calls: (role == Some("client"))
                    .then(|| Some((peers.and_then(|c| c.get(row))?, peer_ports.get(row))))
                    .flatten(),
                at: intervals.get(row).0,
            };
            // Rows of one listener follow one another.
            let serves_again = |last: &Told<'_>| told.calls.is_none() && told.is_like(last);
            if !all.last().is_some_and(serves_again) {
                all.push(told);
            }
        }
        if !all.is_empty() {
            self.hear(&all);
        }
    }
}
