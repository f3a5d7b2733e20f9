//! What happened since the last report, from counters that only grow.
//!
//! A source reports each socket with its totals since the connection began. The difference to the
//! report before is what happened in between, so that summing deltas gives the totals back exactly,
//! however the reports fell.
//!
//! The last report of a connection says that it is closed; after it the connection is forgotten. A counter
//! below its last value is that of another connection under the same cookie (a socket may connect anew, which
//! `sock_diag` does not tell): its totals are new in full. A connection that is not reported for
//! [`FORGET_AFTER`] collections is forgotten: its last report was lost (the source counts that).

use std::collections::HashMap;
use std::hash::Hash;

use weir_wire::histogram::{BUCKETS, FIRST_INDEX, upper_bound};

use crate::socket::{Counters, End, Histogram, Protocol, SocketState};

/// Collections after which a socket that nobody reports any more is forgotten. More than one: the
/// walk over a kernel map that changes meanwhile may pass an entry by.
const FORGET_AFTER: u32 = 8;

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

    /// Each of them so many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.sum_us = self.sum_us.saturating_mul(times);
        self.slots.iter_mut().for_each(|(_, count)| *count = count.saturating_mul(times));
        self
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
    fn between(before: &Seen, now: &Histogram) -> Self {
        let mut known = before.slots.iter().copied().peekable();
        let mut slots = Vec::new();
        for (slot, count) in (0..).zip(now.slots.iter()) {
            let before = known.next_if(|(at, _)| *at == slot).map_or(0, |(_, count)| count);
            if *count > before {
                slots.push((slot, u64::from(count - before)));
            }
        }
        let (Some((first, _)), Some((last, _))) = (slots.first(), slots.last()) else {
            return Self::default();
        };
        let (first, last) = (usize::from(*first), usize::from(*last));
        let had_any = !before.slots.is_empty();
        let exact_min = !had_any || now.min_us < before.min_us.into();
        let exact_max = !had_any || now.max_us > before.max_us.into();
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

/// What one socket did since its last report.
#[derive(Debug, Clone)]
pub struct Delta {
    /// The socket, with its totals but those of round trips: for identity, owner, role and addresses.
    pub socket: SocketState,
    /// What its counters grew by.
    pub counters: Counters,
    /// Round-trip times measured since.
    pub rtt: Durations,
    /// Set when the handshake's duration became known, microseconds.
    pub connect_time_us: Option<u64>,
    /// The connection is open.
    pub open: bool,
}

/// A connection: the socket's cookie, and when it began, since a socket may connect anew.
type Connection = (u64, u64);
/// A socket of datagrams, and one of those it speaks to.
type Flow = (u64, Protocol, End, End);

/// Round trips as of the last report.
#[derive(Debug, Default)]
struct Seen {
    sum_us: u64,
    min_us: u32,
    max_us: u32,
    /// Those that have a count: of most sockets, few.
    slots: Box<[(u8, u32)]>,
}

impl Seen {
    fn of(rtt: &Histogram) -> Self {
        let counted = (0..).zip(rtt.slots.iter()).filter(|(_, count)| **count != 0);
        let slots = counted.map(|(slot, count)| (slot, *count)).collect();
        let [min_us, max_us] = [rtt.min_us, rtt.max_us].map(narrow);
        Self { sum_us: rtt.sum_us, min_us, max_us, slots }
    }

    /// Some count is lower now.
    fn is_beyond(&self, now: &Histogram) -> bool {
        self.slots.iter().any(|(slot, count)| now.slots[usize::from(*slot)] < *count)
    }
}

/// Counters of a connection that is open, in less room: without those that only its end raises, and with those
/// of 32 bits that the kernel counts in as many.
#[derive(Debug)]
struct Totals {
    tx_bytes: u64,
    rx_bytes: u64,
    tx_packets: u64,
    rx_packets: u64,
    retransmits: u32,
    retransmits_syn: u32,
    retransmits_closing: u32,
    timeouts: u32,
    timeouts_syn: u32,
    timeouts_closing: u32,
    delivered_ce: u32,
    connects: u8,
    accepts: u8,
}

impl From<&Counters> for Totals {
    fn from(c: &Counters) -> Self {
        Self {
            tx_bytes: c.tx_bytes,
            rx_bytes: c.rx_bytes,
            tx_packets: c.tx_packets,
            rx_packets: c.rx_packets,
            retransmits: narrow(c.retransmits),
            retransmits_syn: narrow(c.retransmits_syn),
            retransmits_closing: narrow(c.retransmits_closing),
            timeouts: narrow(c.timeouts),
            timeouts_syn: narrow(c.timeouts_syn),
            timeouts_closing: narrow(c.timeouts_closing),
            delivered_ce: narrow(c.delivered_ce),
            connects: u8::try_from(c.connects).unwrap_or(u8::MAX),
            accepts: u8::try_from(c.accepts).unwrap_or(u8::MAX),
        }
    }
}

impl From<&Totals> for Counters {
    fn from(totals: &Totals) -> Self {
        Self {
            tx_bytes: totals.tx_bytes,
            rx_bytes: totals.rx_bytes,
            tx_packets: totals.tx_packets,
            rx_packets: totals.rx_packets,
            retransmits: totals.retransmits.into(),
            retransmits_syn: totals.retransmits_syn.into(),
            retransmits_closing: totals.retransmits_closing.into(),
            timeouts: totals.timeouts.into(),
            timeouts_syn: totals.timeouts_syn.into(),
            timeouts_closing: totals.timeouts_closing.into(),
            delivered_ce: totals.delivered_ce.into(),
            connects: totals.connects.into(),
            accepts: totals.accepts.into(),
            ..Self::default()
        }
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// What the next report is compared with. There can be a hundred thousand of them.
#[derive(Debug)]
struct Last {
    totals: Totals,
    rtt: Seen,
    connect_time_known: bool,
    round: u32,
}

/// The last report of every connection that is open.
#[derive(Debug, Default)]
pub struct Deltas {
    connections: HashMap<Connection, Last>,
    flows: HashMap<Flow, Last>,
    round: u32,
}

impl Deltas {
    /// What the socket did since its last report.
    pub fn advance(&mut self, mut socket: SocketState) -> Delta {
        let now = (!socket.closed).then(|| Last {
            totals: (&socket.counters).into(),
            rtt: Seen::of(&socket.rtt),
            connect_time_known: socket.connect_time_us.is_some(),
            round: self.round,
        });
        let SocketState { cookie, protocol, .. } = socket;
        let last = if protocol == Protocol::Tcp {
            exchange(&mut self.connections, (cookie, socket.began_ns), now)
        } else {
            let flow = (cookie, protocol, socket.local_end(), socket.peer_end());
            exchange(&mut self.flows, flow, now)
        };
        let last = last.filter(|last| !went_back(last, &socket));
        let none = Seen::default();
        let counters = match &last {
            Some(last) => combine(&socket.counters, &(&last.totals).into(), u64::saturating_sub),
            None => socket.counters,
        };
        let rtt = Durations::between(last.as_ref().map_or(&none, |last| &last.rtt), &socket.rtt);
        let is_news = last.is_none_or(|last| !last.connect_time_known);
        let connect_time_us = socket.connect_time_us.filter(|_| is_news);
        socket.rtt = Histogram::default();
        Delta { counters, rtt, connect_time_us, open: socket.open && !socket.closed, socket }
    }

    /// Every open socket has been reported: forgets those that have not been for long.
    pub fn end_collection(&mut self) {
        self.round = self.round.wrapping_add(1);
        let round = self.round;
        self.connections.retain(|_, last| round.wrapping_sub(last.round) < FORGET_AFTER);
        self.flows.retain(|_, last| round.wrapping_sub(last.round) < FORGET_AFTER);
    }

    /// Connections that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len() + self.flows.len()
    }

    /// Nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Puts in what is known now, if anything is, and takes out what was known before.
fn exchange<K: Eq + Hash>(known: &mut HashMap<K, Last>, key: K, now: Option<Last>) -> Option<Last> {
    match now {
        Some(now) => known.insert(key, now),
        None => known.remove(&key),
    }
}

/// The report is that of another connection than the one before.
fn went_back(last: &Last, socket: &SocketState) -> bool {
    let mut back = last.rtt.is_beyond(&socket.rtt);
    combine(&socket.counters, &(&last.totals).into(), |now, before| {
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
        retransmits_closing: f(a.retransmits_closing, b.retransmits_closing),
        timeouts: f(a.timeouts, b.timeouts),
        timeouts_syn: f(a.timeouts_syn, b.timeouts_syn),
        timeouts_closing: f(a.timeouts_closing, b.timeouts_closing),
        connects: f(a.connects, b.connects),
        connect_failures: f(a.connect_failures, b.connect_failures),
        connect_refused: f(a.connect_refused, b.connect_refused),
        connect_timed_out: f(a.connect_timed_out, b.connect_timed_out),
        connect_unreachable: f(a.connect_unreachable, b.connect_unreachable),
        accepts: f(a.accepts, b.accepts),
        closes: f(a.closes, b.closes),
        resets: f(a.resets, b.resets),
        resets_received: f(a.resets_received, b.resets_received),
        resets_sent: f(a.resets_sent, b.resets_sent),
        delivered_ce: f(a.delivered_ce, b.delivered_ce),
    }
}

#[cfg(test)]
mod tests;
