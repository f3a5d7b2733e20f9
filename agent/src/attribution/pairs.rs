//! Whose the two ends of conversations within the host are, by their addresses. The other end of a connection
//! that is closed closes soon.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use super::{KEEP, KEEP_CLOSED, Workload};
use crate::socket::{End, Protocol, SocketState};

/// Closed connections that are remembered twice at most: the older half goes when there are more.
const MAX_CLOSED: usize = 32_768;

/// One end of a conversation, seen from one side. Loopback addresses mean something else in each
/// network namespace; other addresses pass between namespaces unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Pair {
    protocol: Protocol,
    /// 0 where the addresses mean the same everywhere. There can be a hundred thousand of these.
    netns: u64,
    local: End,
    peer: End,
}

impl Pair {
    /// As a socket sees it.
    pub(crate) fn of(socket: &SocketState) -> Self {
        Self::between(socket, socket.local_end(), socket.peer_end())
    }

    /// As seen from the other end.
    pub(crate) fn reversed(self) -> Self {
        Self { local: self.peer, peer: self.local, ..self }
    }

    /// Of a network namespace.
    pub(crate) fn new(protocol: Protocol, netns: u64, local: End, peer: End) -> Self {
        let is_of_one = local.0.is_loopback() || peer.0.is_loopback();
        let netns = if is_of_one { netns } else { 0 };
        Self { protocol, netns, local, peer }
    }

    /// Of the conversation of a socket, between other addresses than it sees.
    pub(super) fn between(socket: &SocketState, local: End, peer: End) -> Self {
        Self::new(socket.protocol, socket.netns, local, peer)
    }

    /// Where its local end accepts.
    pub(super) fn place(&self) -> Place {
        (self.protocol, self.netns, self.local)
    }
}

/// Where somebody accepts: of loopback addresses in which network namespace.
pub(super) type Place = (Protocol, u64, End);

/// Who accepts at an address.
#[derive(Debug)]
struct Acceptor {
    /// `None` when several do, in several network namespaces.
    workload: Option<Arc<Workload>>,
    /// The collection in which it is forgotten.
    until: u32,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// With the collection in which it is forgotten.
    open: HashMap<Pair, (Arc<Workload>, u32)>,
    /// The newer half of what is closed, and the older.
    closed: [HashMap<Pair, Arc<Workload>>; 2],
    /// The collection in which the halves change.
    changes: u32,
    /// By the address that was dialled; loopback within its network namespace.
    acceptors: HashMap<Place, Acceptor>,
    round: u32,
}

impl Pairs {
    /// Nothing is remembered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closed.iter().all(HashMap::is_empty)
    }

    /// An end is there.
    pub(super) fn remember(&mut self, pair: Pair, whose: &Arc<Workload>, closed: bool) {
        if !closed {
            self.open.insert(pair, (Arc::clone(whose), self.round + KEEP));
            return;
        }
        self.open.remove(&pair);
        self.closed[0].insert(pair, Arc::clone(whose));
        if self.closed[0].len() >= MAX_CLOSED {
            self.change();
        }
    }

    /// An end is known.
    pub(super) fn contains(&self, pair: &Pair) -> bool {
        self.open.contains_key(pair) || self.closed.iter().any(|half| half.contains_key(pair))
    }

    /// Whose an end is.
    pub(super) fn get(&self, pair: &Pair) -> Option<Arc<Workload>> {
        let open = self.open.get(pair).map(|(whose, _)| whose);
        let [newer, older] = &self.closed;
        open.or_else(|| newer.get(pair)).or_else(|| older.get(pair)).cloned()
    }

    /// Somebody accepted there.
    pub(super) fn remember_acceptor(&mut self, at: Place, workload: &Arc<Workload>) {
        let until = self.round + KEEP;
        let fresh = || Acceptor { workload: Some(Arc::clone(workload)), until };
        let acceptor = self.acceptors.entry(at).or_insert_with(fresh);
        if acceptor.workload.as_ref().is_some_and(|known| known != workload) {
            acceptor.workload = None;
        }
        acceptor.until = until;
    }

    /// Who accepts at the address that a client dials, if that is one workload.
    pub(super) fn acceptor(&self, at: &Place) -> Option<Arc<Workload>> {
        self.acceptors.get(at)?.workload.clone()
    }

    /// A collection is over.
    pub(super) fn end_collection(&mut self) {
        self.round += 1;
        let round = self.round;
        self.open.retain(|_, (_, until)| round < *until);
        self.acceptors.retain(|_, acceptor| round < acceptor.until);
        if round >= self.changes {
            self.change();
        }
    }

    fn change(&mut self) {
        self.changes = self.round + KEEP_CLOSED;
        self.closed[1] = mem::take(&mut self.closed[0]);
    }
}
