//! What the agent says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_wire::Loss;

use super::family::{Family, Kind};
use crate::conntrack;
use crate::socket::Protocol;

/// Counters and levels of the agent, since its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentState {
    /// `bpf` or `sock_diag`.
    pub(crate) source: &'static str,
    /// What was not seen or not delivered, by reason; each counts its own unit.
    pub(crate) losses: BTreeMap<String, u64>,
    pub(crate) intervals: u64,
    pub(crate) rows: u64,
    /// Rows of the last interval.
    pub(crate) last_rows: u64,
    /// Batches that wait for delivery.
    pub(crate) waiting: u64,
    /// Packets that the kernel dropped, by protocol and reason.
    pub(crate) drops: BTreeMap<(Protocol, Arc<str>), u64>,
    pub(crate) conntrack: conntrack::Status,
    /// Sets of samples that the server took, and those that it did not.
    pub(crate) samples_sent: u64,
    pub(crate) samples_failed: u64,
}

impl AgentState {
    /// Its families, with and without values.
    pub(super) fn families(&self) -> Vec<Family> {
        let [
            mut build,
            mut source,
            mut losses,
            intervals,
            rows,
            last,
            waiting,
            translations,
            followed,
            refused,
            sent,
            failed,
            mut drops,
        ] = Self::empty();
        build.add(vec![("version", env!("CARGO_PKG_VERSION").into())], 1);
        source.add(vec![("source", self.source.into())], 1);
        // Every reason is there from the start: what begins with its first loss has no increase by it.
        let none = Loss::ALL.map(Loss::name).into_iter().filter(|n| !self.losses.contains_key(*n));
        let none = none.map(|reason| (reason.to_owned(), 0));
        for (reason, count) in self.losses.clone().into_iter().chain(none) {
            losses.add(vec![("reason", reason)], count);
        }
        for ((protocol, reason), count) in &self.drops {
            let labels = vec![("protocol", protocol.name().into()), ("reason", reason.to_string())];
            drops.add(labels, *count);
        }
        vec![
            build,
            source,
            losses,
            intervals.of(self.intervals),
            rows.of(self.rows),
            last.of(self.last_rows),
            waiting.of(self.waiting),
            translations.of(self.conntrack.entries as u64),
            followed.of(self.conntrack.namespaces as u64),
            refused.of(self.conntrack.refused as u64),
            sent.of(self.samples_sent),
            failed.of(self.samples_failed),
            drops,
        ]
    }

    /// Every family that there can be.
    pub(super) fn all() -> Vec<Family> {
        Self::empty().into()
    }

    fn empty() -> [Family; 13] {
        use Kind::{Counter, Gauge, Info};
        [
            ("weir_agent_build", Info, "Version of this agent."),
            (
                "weir_agent_source",
                Info,
                "How sockets are measured: bpf, or sock_diag where BPF is refused.",
            ),
            (
                "weir_agent_losses",
                Counter,
                "What was not seen or not delivered, by reason; each has its own unit.",
            ),
            ("weir_agent_intervals", Counter, "Intervals that were measured."),
            ("weir_agent_rows", Counter, "Flow rows that were made."),
            ("weir_agent_interval_rows", Gauge, "Flow rows of the last interval."),
            ("weir_agent_spool_batches", Gauge, "Batches that wait for the server."),
            ("weir_agent_conntrack_translations", Gauge, "Translated connections that are known."),
            (
                "weir_agent_conntrack_namespaces",
                Gauge,
                "Network namespaces whose connection tracking is followed.",
            ),
            (
                "weir_agent_conntrack_refused",
                Gauge,
                "Network namespaces whose connection tracking cannot be followed.",
            ),
            ("weir_agent_samples_sent", Counter, "Sets of these metrics that the server took."),
            (
                "weir_agent_samples_failed",
                Counter,
                "Sets of these metrics that it did not take; they are not repeated.",
            ),
            ("weir_node_drops", Counter, "Packets that the kernel dropped, by its reason."),
        ]
        .map(|(name, kind, help)| Family::new(name, kind, help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_a_series_from_the_start() {
        let losses = [("ring_drops".to_owned(), 7), ("of_a_newer_agent".to_owned(), 1)].into();
        let families = AgentState { losses, ..AgentState::default() }.families();
        let family = families.iter().find(|f| f.name == "weir_agent_losses").map(|f| &f.samples);
        let samples = family.into_iter().flatten();
        let by_reason: BTreeMap<&str, f64> =
            samples.flat_map(|s| s.labels.iter().map(|(_, r)| (r.as_str(), s.value))).collect();
        assert_eq!(by_reason.len(), Loss::ALL.len() + 1);
        assert_eq!((by_reason["ring_drops"], by_reason["spool_rows"]), (7.0, 0.0));
        assert_eq!(by_reason["of_a_newer_agent"], 1.0);
    }
}
