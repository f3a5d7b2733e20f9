//! What happened in an interval, from counters that only grow.
//!
//! A source reports each socket with its totals since the socket began. The difference to the
//! report before is what this interval adds, so that summing deltas gives the totals back exactly,
//! however the reports fell.
//!
//! A report after the last one of a closed socket, or with a counter below its last value, is that of
//! another connection under the same cookie (a socket may connect anew): its totals are new in full. A socket that is not reported for [`FORGET_AFTER`] collections is forgotten:
//! its last report was lost (the source counts that).

use std::collections::HashMap;
use std::net::SocketAddr;

use weir_wire::histogram::{BUCKETS, FIRST_INDEX, upper_bound};

use crate::socket::{Counters, Histogram, Protocol, Slots, SocketState};

/// Collections after which a socket that nobody reports any more is forgotten. More than one: the
/// walk over a kernel map that changes meanwhile may pass an entry by.
const FORGET_AFTER: u64 = 8;

/// Durations measured in one interval.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations {
    /// Sum, microseconds.
    pub sum_us: u64,
    /// Smallest and largest, microseconds. Exact where the socket's extremes fell into the
    /// interval; otherwise bounds that lie in the same buckets, at most a factor of sqrt(2) away.
    pub min_us: u64,
    /// See `min_us`.
    pub max_us: u64,
    /// Slots of [`Histogram`] that have a count, ascending, and the counts; most sockets have few.
    pub slots: Vec<(u8, u64)>,
}

impl Durations {
    /// One duration.
    #[must_use]
    pub fn one(us: u64) -> Self {
        let slot = u8::try_from(weir_wire::histogram::index_of(us) - FIRST_INDEX);
        Self { sum_us: us, min_us: us, max_us: us, slots: slot.iter().map(|s| (*s, 1)).collect() }
    }

    /// How many durations were measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.slots.iter().map(|(_, count)| count).sum()
    }

    /// The counts of all slots.
    #[must_use]
    pub fn dense(&self) -> [u64; BUCKETS] {
        let mut all = [0; BUCKETS];
        for (slot, count) in &self.slots {
            if let Some(place) = all.get_mut(usize::from(*slot)) {
                *place = *count;
            }
        }
        all
    }

    /// Adds other durations to these.
    pub fn add(&mut self, other: &Self) {
        if other.slots.is_empty() {
            return;
        }
        if self.slots.is_empty() {
            self.clone_from(other);
            return;
        }
        self.sum_us += other.sum_us;
        self.min_us = self.min_us.min(other.min_us);
        self.max_us = self.max_us.max(other.max_us);
        for (slot, count) in &other.slots {
            match self.slots.binary_search_by_key(slot, |(slot, _)| *slot) {
                Ok(place) => {
                    if let Some((_, mine)) = self.slots.get_mut(place) {
                        *mine += count;
                    }
                }
                Err(place) => self.slots.insert(place, (*slot, *count)),
            }
        }
    }

    /// The part of `now` that `before` does not have.
    fn between(before: &Histogram, now: &Histogram) -> Self {
        let grown = now.slots.iter().zip(before.slots.iter()).map(|(n, b)| n.saturating_sub(*b));
        let slots: Vec<(u8, u64)> =
            (0..).zip(grown).filter(|(_, n)| *n != 0).map(|(slot, n)| (slot, n.into())).collect();
        let (Some((first, _)), Some((last, _))) = (slots.first(), slots.last()) else {
            return Self::default();
        };
        let (first, last) = (usize::from(*first), usize::from(*last));
        let had_any = before.slots.iter().any(|&n| n != 0);
        let exact_min = !had_any || now.min_us < before.min_us;
        let exact_max = !had_any || now.max_us > before.max_us;
        let min_us = if exact_min { now.min_us } else { now.min_us.max(lower_us(first)) };
        let max_us = if exact_max { now.max_us } else { now.max_us.min(upper_us(last)) };
        let mut durations = Self {
            sum_us: now.sum_us.saturating_sub(before.sum_us),
            min_us,
            max_us: max_us.max(min_us),
            slots,
        };
        durations.tighten(lower_us(last), upper_us(first));
        durations
    }

    /// Draws the extremes together as far as the sum proves it: all others are at least the smallest
    /// and at most the largest. A single duration becomes exact. The bounds of the outermost buckets
    /// are kept to, since the kernel may have added to the sum and not yet to the counts.
    fn tighten(&mut self, max_at_least: u64, min_at_most: u64) {
        let others = self.count().saturating_sub(1);
        let max = self.sum_us.saturating_sub(others.saturating_mul(self.min_us));
        self.max_us = self.max_us.min(max.max(max_at_least));
        let min = self.sum_us.saturating_sub(others.saturating_mul(self.max_us));
        self.min_us = self.min_us.max(min.min(min_at_most)).min(self.max_us);
    }
}

/// Smallest whole number of microseconds that a slot can hold.
fn lower_us(slot: usize) -> u64 {
    if slot == 0 { 0 } else { upper_us(slot - 1) + 1 }
}

/// Largest whole number of microseconds that a slot can hold; the last slot has no bound.
fn upper_us(slot: usize) -> u64 {
    if slot + 1 >= BUCKETS {
        return u64::MAX;
    }
    let index = i32::try_from(slot).unwrap_or(i32::MAX).saturating_add(FIRST_INDEX);
    upper_bound(index).floor() as u64
}

/// What one socket did in an interval.
#[derive(Debug, Clone)]
pub struct Delta {
    /// The socket, with its totals but those of round trips: for identity, owner, role and addresses.
    pub socket: SocketState,
    /// What its counters grew by.
    pub counters: Counters,
    /// Round-trip times measured in the interval.
    pub rtt: Durations,
    /// Set in the interval in which the handshake's duration became known, microseconds.
    pub connect_time_us: Option<u64>,
    /// The connection is open at the end of the interval.
    pub open: bool,
}

/// What totals belong to: a socket, and if that speaks to several, with whom.
type Id = (u64, Option<(Protocol, SocketAddr, SocketAddr)>);

fn id(socket: &SocketState) -> Id {
    let apart = socket.protocol != Protocol::Tcp;
    (socket.cookie, apart.then_some((socket.protocol, socket.local, socket.peer)))
}

/// What the next report is compared with.
#[derive(Debug)]
struct Last {
    local: SocketAddr,
    counters: Counters,
    /// Nothing is compared with the slots of a socket that is gone.
    rtt: Histogram,
    connect_time_known: bool,
    closed: bool,
    round: u64,
}

impl Last {
    /// Takes the round trips out of the socket.
    fn new(socket: &mut SocketState, round: u64) -> Self {
        let mut rtt = std::mem::take(&mut socket.rtt);
        if socket.closed {
            rtt.slots = Slots::default();
        }
        Self {
            local: socket.local,
            counters: socket.counters,
            rtt,
            connect_time_known: socket.connect_time_us.is_some(),
            closed: socket.closed,
            round,
        }
    }

    /// The same report again.
    fn is(&self, socket: &SocketState) -> bool {
        self.closed == socket.closed
            && self.local == socket.local
            && self.counters == socket.counters
            && self.rtt.sum_us == socket.rtt.sum_us
    }
}

/// The last report of every socket.
#[derive(Debug, Default)]
pub struct Deltas {
    last: HashMap<Id, Last>,
    round: u64,
}

impl Deltas {
    /// Takes the reports of one collection; gives one delta for each.
    pub fn advance(&mut self, sockets: Vec<SocketState>) -> Vec<Delta> {
        self.round += 1;
        let mut deltas: Vec<Delta> = Vec::with_capacity(sockets.len());
        let mut index: HashMap<Id, usize> = HashMap::with_capacity(sockets.len());
        for socket in sockets {
            let id = id(&socket);
            let Some(delta) = self.one(socket) else { continue };
            // Of several reports under one cookie the last says what is open.
            if let Some(earlier) = index.insert(id, deltas.len()).and_then(|i| deltas.get_mut(i)) {
                earlier.open = false;
            }
            deltas.push(delta);
        }
        let round = self.round;
        self.last.retain(|_, last| {
            round.saturating_sub(last.round) < if last.closed { 2 } else { FORGET_AFTER }
        });
        deltas
    }

    /// Sockets that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    fn one(&mut self, socket: SocketState) -> Option<Delta> {
        let id = id(&socket);
        let last = self.last.get(&id);
        // A record that was handed over while the map was being read comes twice. (A connection that
        // never was says too little about itself to tell its repetition from another attempt.)
        if last.is_some_and(|l| l.closed && l.is(&socket) && socket.counters.closes > 0) {
            return None;
        }
        let none = Histogram::default();
        let last = last.filter(|l| !l.closed && !went_back(l, &socket));
        let mut delta = Delta {
            counters: match last {
                Some(l) => combine(&socket.counters, &l.counters, u64::saturating_sub),
                None => socket.counters,
            },
            rtt: Durations::between(last.map_or(&none, |l| &l.rtt), &socket.rtt),
            connect_time_us: socket
                .connect_time_us
                .filter(|_| last.is_none_or(|l| !l.connect_time_known)),
            open: socket.open && !socket.closed,
            socket,
        };
        self.last.insert(id, Last::new(&mut delta.socket, self.round));
        Some(delta)
    }
}

/// The cookie names another connection than before.
fn went_back(last: &Last, socket: &SocketState) -> bool {
    let slots = socket.rtt.slots.iter().zip(last.rtt.slots.iter());
    let mut back = slots.into_iter().any(|(now, before)| now < before);
    combine(&socket.counters, &last.counters, |now, before| {
        back |= now < before;
        0
    });
    back
}

/// Applies `f` to each pair of counters.
pub(crate) fn combine(a: &Counters, b: &Counters, mut f: impl FnMut(u64, u64) -> u64) -> Counters {
    Counters {
        tx_bytes: f(a.tx_bytes, b.tx_bytes),
        rx_bytes: f(a.rx_bytes, b.rx_bytes),
        tx_packets: f(a.tx_packets, b.tx_packets),
        rx_packets: f(a.rx_packets, b.rx_packets),
        retransmits: f(a.retransmits, b.retransmits),
        retransmits_syn: f(a.retransmits_syn, b.retransmits_syn),
        timeouts: f(a.timeouts, b.timeouts),
        timeouts_syn: f(a.timeouts_syn, b.timeouts_syn),
        connects: f(a.connects, b.connects),
        connect_failures: f(a.connect_failures, b.connect_failures),
        accepts: f(a.accepts, b.accepts),
        closes: f(a.closes, b.closes),
        resets: f(a.resets, b.resets),
    }
}

#[cfg(test)]
mod tests;
