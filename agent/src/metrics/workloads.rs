//! What workloads did since they were first heard of.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::family::{Family, Kind};
use super::pod_names::{Look, PodName, PodNames};
use crate::attribution::Workload;
use crate::dns::{LATENCY_BOUNDS, Outcomes, Questions};
use crate::drops::Reasons;
use crate::rows::{Key, Row};
use crate::socket::Protocol;

/// How long a workload that nothing is heard of stays.
const KEEP: Duration = Duration::from_secs(15 * 60);
/// Workloads that are told apart; what others do is counted as that of `other`.
const MAX_WORKLOADS: usize = 10_000;

/// Counters by workload and protocol.
#[derive(Debug, Default)]
pub(crate) struct Workloads {
    known: HashMap<(Arc<Workload>, Protocol), Counted>,
    questions: Vec<(Arc<Workload>, Outcomes)>,
    pods: PodNames,
    look: Option<Look>,
}

#[derive(Debug)]
struct Counted {
    outbound: u64,
    inbound: u64,
    tx_bytes: u64,
    rx_bytes: u64,
    tx_packets: u64,
    rx_packets: u64,
    retransmits: u64,
    timeouts: u64,
    failures: u64,
    resets: u64,
    drops: Reasons,
    active: u64,
    heard: Instant,
}

impl Counted {
    fn new(heard: Instant) -> Self {
        Self {
            outbound: 0,
            inbound: 0,
            tx_bytes: 0,
            rx_bytes: 0,
            tx_packets: 0,
            rx_packets: 0,
            retransmits: 0,
            timeouts: 0,
            failures: 0,
            resets: 0,
            drops: Reasons::default(),
            active: 0,
            heard,
        }
    }
}

/// How a family reads a value.
type Value = fn(&Counted) -> u64;

impl Workloads {
    /// None yet; their pods will be told by these names.
    pub(crate) fn new(pods: PodNames) -> Self {
        Self { pods, ..Self::default() }
    }

    /// Adds the rows of an interval.
    pub(crate) fn add(&mut self, rows: &BTreeMap<Key, Row>, now: Instant) {
        for (key, row) in rows {
            let mut id = (Arc::clone(&key.local), key.protocol);
            if self.known.len() >= MAX_WORKLOADS && !self.known.contains_key(&id) {
                id.0 = Workload::other();
            }
            let known = self.known.entry(id).or_insert_with(|| Counted::new(now));
            let counters = &row.counters;
            known.outbound += counters.connects;
            known.inbound += counters.accepts;
            known.tx_bytes += counters.tx_bytes;
            known.rx_bytes += counters.rx_bytes;
            known.tx_packets += counters.tx_packets;
            known.rx_packets += counters.rx_packets;
            known.retransmits += counters.retransmits;
            known.timeouts += counters.timeouts;
            known.failures += counters.connect_failures;
            known.resets += counters.resets;
            known.drops.add_all(&row.drops);
            known.heard = now;
        }
        self.known.retain(|_, known| now.duration_since(known.heard) < KEEP);
        let told = self.known.keys().map(|(workload, _)| workload);
        let told = told.chain(self.questions.iter().map(|(workload, _)| workload));
        let uids: HashSet<&str> = told.filter_map(|workload| workload.pod.as_deref()).collect();
        self.look = self.pods.wanted(&uids, now);
    }

    /// What to look for in the folder of pods, to be done while nobody waits.
    pub(super) fn take_look(&mut self) -> Option<Look> {
        self.look.take()
    }

    /// Takes over what was found.
    pub(super) fn learn(&mut self, found: HashMap<String, PodName>) {
        self.pods.learn(found);
    }

    /// Sets how many connections are open.
    pub(crate) fn set_active<'a>(
        &mut self,
        levels: impl Iterator<Item = (&'a Key, u64)>,
        now: Instant,
    ) {
        self.known.values_mut().for_each(|known| known.active = 0);
        for (key, active) in levels {
            let mut id = (Arc::clone(&key.local), key.protocol);
            if self.known.len() >= MAX_WORKLOADS && !self.known.contains_key(&id) {
                id.0 = Workload::other();
            }
            if let Some(known) = self.known.get_mut(&id) {
                known.active += active;
                known.heard = now;
            }
        }
    }

    /// Replaces what is known of questions of DNS.
    pub(crate) fn set_questions(&mut self, questions: &Questions) {
        let outcomes = questions.outcomes();
        self.questions = outcomes.map(|(w, outcomes)| (Arc::clone(w), outcomes.clone())).collect();
        self.questions.sort_by(|a, b| a.0.cmp(&b.0));
    }

    /// Families with all values.
    pub(super) fn families(&self) -> Vec<Family> {
        let mut opened = Self::opened();
        for ((workload, protocol), known) in &self.known {
            for (direction, value) in [("outbound", known.outbound), ("inbound", known.inbound)] {
                if *protocol == Protocol::Tcp {
                    let mut labels = self.labels(workload, *protocol);
                    labels.push(("direction", direction.into()));
                    opened.add(labels, value);
                }
            }
        }
        let mut drops = Self::drops();
        for ((workload, protocol), known) in &self.known {
            for (reason, packets) in known.drops.iter() {
                let mut labels = self.labels(workload, *protocol);
                labels.push(("reason", reason.to_string()));
                drops.add(labels, packets);
            }
        }
        let mut all = vec![opened, drops];
        for (mut family, tcp_only, value) in Self::plain() {
            for ((workload, protocol), known) in &self.known {
                if !tcp_only || *protocol == Protocol::Tcp {
                    family.add(self.labels(workload, *protocol), value(known));
                }
            }
            all.push(family);
        }
        for family in &mut all {
            family.samples.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        all.extend(self.questions_and_answers());
        all
    }

    fn questions_and_answers(&self) -> [Family; 4] {
        let [mut questions, mut answers, mut timeouts, mut latency] = Self::dns();
        for (workload, outcomes) in &self.questions {
            let own = self.whose(workload);
            let with = |name, value: &str| {
                let mut labels = own.clone();
                labels.push((name, value.to_owned()));
                labels
            };
            for (kind, count) in &outcomes.questions {
                questions.add(with("type", kind), *count);
            }
            for (code, count) in &outcomes.answers {
                answers.add(with("code", code), *count);
            }
            timeouts.add(own.clone(), outcomes.timeouts);
            let seconds = outcomes.latency_us as f64 / 1e6;
            latency.add_histogram(&own, &LATENCY_BOUNDS, &outcomes.latencies, seconds);
        }
        [questions, answers, timeouts, latency]
    }

    fn labels(&self, workload: &Workload, protocol: Protocol) -> Vec<(&'static str, String)> {
        let mut labels = self.whose(workload);
        labels.push(("protocol", protocol.name().into()));
        labels
    }

    fn whose(&self, workload: &Workload) -> Vec<(&'static str, String)> {
        let mut labels =
            vec![("workload", workload.name.clone()), ("workload_kind", workload.kind.into())];
        labels.extend(workload.pod.iter().flat_map(|uid| self.pods.labels(uid)));
        labels.extend(workload.container.clone().map(|container| ("container", container)));
        labels
    }

    fn dns() -> [Family; 4] {
        use Kind::{Counter, Histogram};
        [
            (
                "weir_dns_questions",
                Counter,
                "Questions of DNS over UDP, by the type of record asked for.",
            ),
            ("weir_dns_answers", Counter, "Answers to them, by their code."),
            ("weir_dns_timeouts", Counter, "Questions that had no answer within 5 seconds."),
            ("weir_dns_latency_seconds", Histogram, "Time from question to answer."),
        ]
        .map(|(name, kind, help)| Family::new(name, kind, help))
    }

    /// Every family that there can be.
    pub(super) fn all() -> Vec<Family> {
        let plain = Self::plain().into_iter().map(|(family, ..)| family);
        [Self::opened(), Self::drops()].into_iter().chain(plain).chain(Self::dns()).collect()
    }

    fn opened() -> Family {
        let help = "Connections that a workload opened (outbound) and accepted (inbound).";
        Family::new("weir_workload_flows_opened", Kind::Counter, help)
    }

    fn drops() -> Family {
        let help = "Packets of a workload's flows that the kernel dropped, by its reason.";
        Family::new("weir_workload_drops", Kind::Counter, help)
    }

    /// Families without labels of their own: whether they are of TCP alone, and their values.
    fn plain() -> Vec<(Family, bool, Value)> {
        use Kind::{Counter, Gauge};
        let all: [(&str, Kind, &str, bool, Value); 9] = [
            ("weir_workload_tx_bytes", Counter, "Payload bytes sent.", false, |c| c.tx_bytes),
            ("weir_workload_rx_bytes", Counter, "Payload bytes received.", false, |c| c.rx_bytes),
            (
                "weir_workload_tx_packets",
                Counter,
                "TCP data segments or datagrams sent.",
                false,
                |c| c.tx_packets,
            ),
            (
                "weir_workload_rx_packets",
                Counter,
                "TCP data segments or datagrams received.",
                false,
                |c| c.rx_packets,
            ),
            ("weir_workload_retransmits", Counter, "TCP segments sent again.", true, |c| {
                c.retransmits
            }),
            ("weir_workload_timeouts", Counter, "TCP retransmission timeouts.", true, |c| {
                c.timeouts
            }),
            (
                "weir_workload_connect_failures",
                Counter,
                "Connections that were not established.",
                true,
                |c| c.failures,
            ),
            (
                "weir_workload_resets",
                Counter,
                "Established connections that ended without an exchange of FINs.",
                true,
                |c| c.resets,
            ),
            ("weir_workload_active_connections", Gauge, "Established connections.", true, |c| {
                c.active
            }),
        ];
        all.into_iter()
            .map(|(name, kind, help, tcp, value)| (Family::new(name, kind, help), tcp, value))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::Scope;

    #[test]
    fn connections_of_workloads_without_room_are_those_of_other() {
        let now = Instant::now();
        let mut workloads = Workloads::default();
        let named = |name: String| Arc::new(Workload { name, ..(*Workload::other()).clone() });
        let known = |name| ((named(name), Protocol::Tcp), Counted::new(now));
        workloads.known.extend((0..MAX_WORKLOADS).map(|n| known(n.to_string())));
        workloads.known.extend([known("other".into())]);
        let anywhere = std::net::Ipv4Addr::UNSPECIFIED.into();
        let key = Key {
            local: named("late".into()),
            peer: None,
            address: anywhere,
            port: 0,
            peer_address: anywhere,
            peer_port: 0,
            service: None,
            domain: None,
            scope: Scope::External,
            protocol: Protocol::Tcp,
            role: "client",
            sampling: 1,
        };
        workloads.set_active([(&key, 3)].into_iter(), now);
        let told = &workloads.known[&(Workload::other(), Protocol::Tcp)];
        assert_eq!(told.active, 3);
    }
}
