//! Which flow a dropped packet was part of.
//!
//! A packet counts once: in the row of the end that it was for, if that end is on this host, else in the row of the
//! end that sent it. It waits for that row: a connection that goes on is told of at the end of the interval. What is
//! nobody's at the end of the next (packets that are passed on for others, to ports where nobody is) counts for the
//! node alone.
//!
//! The packet is taken by what it says when it is dropped. Where addresses are translated on the way, that may be
//! neither end's own view; then it counts for the node alone, too.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::attribution::Pair;
use crate::bpf::Dropped;
use crate::socket::{Protocol, SocketState, end};

/// Conversations of which drops wait; those of others count for the node alone.
const MAX_WAITING: usize = 65_536;

/// Packets by reason: the kernel's name for it without its prefix, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasons(Vec<(Arc<str>, u64)>);

impl Reasons {
    /// Adds packets.
    pub fn add(&mut self, reason: &Arc<str>, packets: u64) {
        match self.0.iter_mut().find(|(known, _)| known == reason) {
            Some((_, count)) => *count += packets,
            None => self.0.push((Arc::clone(reason), packets)),
        }
    }

    /// Adds others.
    pub fn add_all(&mut self, others: &Self) {
        others.iter().for_each(|(reason, packets)| self.add(reason, packets));
    }

    /// Each reason and its packets.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.0.iter().map(|(reason, packets)| (reason, *packets))
    }

    /// Packets of all reasons.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.0.iter().map(|(_, packets)| packets).sum()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug, Default)]
struct Waiting {
    reasons: Reasons,
    /// It has waited for a whole interval.
    is_old: bool,
}

/// Drops of the node.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    /// By the conversation, as the end sees it that the packet was for.
    waiting: HashMap<Pair, Waiting>,
    /// Since the start, attributed or not.
    totals: BTreeMap<(Protocol, Arc<str>), u64>,
}

impl Drops {
    /// Takes in what the kernel dropped.
    pub(crate) fn take(&mut self, dropped: &Dropped) {
        let Dropped { netns, protocol, source, destination, reason, packets } = dropped;
        *self.totals.entry((*protocol, Arc::clone(reason))).or_insert(0) += packets;
        let pair = Pair::new(*protocol, *netns, end(*destination), end(*source));
        if self.waiting.len() < MAX_WAITING || self.waiting.contains_key(&pair) {
            self.waiting.entry(pair).or_default().reasons.add(reason, *packets);
        }
    }

    /// What was dropped of a socket's packets. `is_known` tells which other ends are on this host.
    pub(crate) fn of(&mut self, socket: &SocketState, is_known: impl Fn(&Pair) -> bool) -> Reasons {
        if self.waiting.is_empty() {
            return Reasons::default();
        }
        let pair = Pair::of(socket);
        let mut all = self.waiting.remove(&pair).map(|w| w.reasons).unwrap_or_default();
        let sent = pair.reversed();
        let is_ours = |waiting: &Waiting| waiting.is_old || !is_known(&sent);
        if self.waiting.get(&sent).is_some_and(is_ours)
            && let Some(waiting) = self.waiting.remove(&sent)
        {
            all.add_all(&waiting.reasons);
        }
        all
    }

    /// An interval is over: what has waited through all of it is nobody's.
    pub(crate) fn end_collection(&mut self) {
        self.waiting.retain(|_, waiting| !std::mem::replace(&mut waiting.is_old, true));
    }

    /// Packets since the start, by protocol and reason.
    pub(crate) fn totals(&self) -> &BTreeMap<(Protocol, Arc<str>), u64> {
        &self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Role;

    fn dropped(source: &str, destination: &str, reason: &str, packets: u64) -> Dropped {
        Dropped {
            netns: 1,
            protocol: Protocol::Tcp,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            reason: reason.into(),
            packets,
        }
    }

    fn socket(local: &str, peer: &str) -> SocketState {
        let mut socket = SocketState::example(1, Role::Client);
        (socket.local, socket.peer) = (local.parse().unwrap(), peer.parse().unwrap());
        socket
    }

    const A: &str = "10.0.0.1:40000";
    const B: &str = "10.0.0.2:80";

    fn counted(reasons: &Reasons) -> Vec<(&str, u64)> {
        reasons.iter().map(|(reason, packets)| (&**reason, packets)).collect()
    }

    #[test]
    fn the_end_that_it_was_for_counts_it_and_the_sender_where_that_end_is_elsewhere() {
        let mut drops = Drops::default();
        drops.take(&dropped(A, B, "NETFILTER_DROP", 3));
        drops.take(&dropped(B, A, "TCP_CSUM", 1));
        let both_here = |_: &Pair| true;
        // The sender leaves it to the other end.
        assert_eq!(counted(&drops.of(&socket(A, B), both_here)), [("TCP_CSUM", 1)]);
        assert_eq!(counted(&drops.of(&socket(B, A), both_here)), [("NETFILTER_DROP", 3)]);
        assert!(drops.of(&socket(B, A), both_here).is_empty(), "each once");
        drops.take(&dropped(A, B, "NETFILTER_DROP", 3));
        drops.take(&dropped(A, B, "QDISC_DROP", 2));
        drops.take(&dropped(A, B, "NETFILTER_DROP", 1));
        let of_sender = drops.of(&socket(A, B), |_| false);
        assert_eq!(counted(&of_sender), [("NETFILTER_DROP", 4), ("QDISC_DROP", 2)]);
        let totals: Vec<_> = drops.totals().iter().map(|((_, r), n)| (&**r, *n)).collect();
        assert_eq!(totals, [("NETFILTER_DROP", 7), ("QDISC_DROP", 2), ("TCP_CSUM", 1)]);
    }

    #[test]
    fn what_is_nobodys_is_let_go_of_after_an_interval() {
        let mut drops = Drops::default();
        drops.take(&dropped(A, B, "NO_SOCKET", 1));
        drops.end_collection();
        // The other end was known, and has not come for it.
        assert_eq!(drops.of(&socket(A, B), |_| true).packets(), 1);
        drops.take(&dropped(A, B, "NO_SOCKET", 1));
        drops.end_collection();
        drops.end_collection();
        assert!(drops.of(&socket(A, B), |_| false).is_empty());
        assert_eq!(drops.totals().values().sum::<u64>(), 2);
    }
}
