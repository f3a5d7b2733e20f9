//! The names by which workloads know addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::attribution::{Attributed, Workload};
use crate::socket::End;

/// How long a name is known at least, whatever its time to live: programs keep addresses for longer than they
/// are told to.
const AT_LEAST: Duration = Duration::from_secs(300);
const AT_MOST: Duration = Duration::from_secs(86_400);
/// Addresses that are known, of all workloads; about 200 bytes each.
const MAX_NAMES: usize = 100_000;
/// Intervals that a flow is remembered after its last report.
const KEEP: u64 = 8;

/// Which flow: a socket has one with each peer.
type FlowId = (u64, End, End);

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_address: HashMap<(Arc<Workload>, IpAddr), Name>,
    /// The name that each flow began with, and the interval in which that is forgotten.
    flows: HashMap<FlowId, (Option<Arc<str>>, u64)>,
    interval: u64,
}

#[derive(Debug)]
struct Name {
    name: Arc<str>,
    until: Instant,
}

impl Names {
    /// A workload was told that a name has this address; the newest name counts.
    pub(super) fn learn(
        &mut self,
        workload: &Arc<Workload>,
        address: IpAddr,
        name: &Arc<str>,
        ttl: u32,
        now: Instant,
    ) {
        let lives = Duration::from_secs(ttl.into()).clamp(AT_LEAST, AT_MOST);
        let known = Name { name: Arc::clone(name), until: now + lives };
        self.by_address.insert((Arc::clone(workload), address), known);
        if self.by_address.len() > MAX_NAMES {
            self.shrink(now);
        }
    }

    /// The name by which a flow's workload knew the peer when the flow was first seen.
    pub(super) fn of_flow(&mut self, flow: &Attributed, now: Instant) -> Option<Arc<str>> {
        let socket = &flow.delta.socket;
        let until = self.interval + KEEP;
        let id = (socket.cookie, socket.local_end(), socket.peer_end());
        if socket.closed
            && let Some((name, _)) = self.flows.remove(&id)
        {
            return name;
        }
        if let Some((name, known_until)) = self.flows.get_mut(&id) {
            *known_until = until;
            return name.clone();
        }
        let asked = (Arc::clone(&flow.local), socket.peer.ip());
        let name = self.by_address.get(&asked).filter(|name| now < name.until);
        let name = name.map(|name| Arc::clone(&name.name));
        // One that is over is not told of again.
        if !socket.closed {
            self.flows.insert(id, (name.clone(), until));
        }
        name
    }

    /// Forgets what is over.
    pub(super) fn end_interval(&mut self, now: Instant) {
        self.interval += 1;
        let interval = self.interval;
        self.flows.retain(|_, (_, until)| interval < *until);
        self.by_address.retain(|_, name| now < name.until);
    }

    /// Forgets what ends first, until a quarter of the room is free.
    fn shrink(&mut self, now: Instant) {
        self.by_address.retain(|_, name| now < name.until);
        let excess = self.by_address.len().saturating_sub(MAX_NAMES / 4 * 3);
        if excess == 0 {
            return;
        }
        let mut ends: Vec<Instant> = self.by_address.values().map(|name| name.until).collect();
        let (_, last, _) = ends.select_nth_unstable(excess - 1);
        let last = *last;
        let mut left = excess;
        self.by_address.retain(|_, name| {
            let goes = name.until <= last && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
impl Names {
    pub(super) fn len(&self) -> (usize, usize) {
        (self.by_address.len(), self.flows.len())
    }
}
