//! From what sockets did to flow rows.
//!
//! Sockets that share a key add up to one row: many short connections of one client are one flow.
//! The ephemeral port of the connecting side folds to 0: the client's local port, the server's peer
//! port, and where the role is not known the larger of the two ports that lies in the host's
//! ephemeral range.
//!
//! A flow has a row in an interval when something happened in it, when its number of open
//! connections changed, and at least once a minute while connections are open, so that `active`
//! stays known of idle ones without a row each interval.

mod columns;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

use crate::attribution::{Attributed, Scope, Workload};
use crate::deltas::{Durations, combine};
use crate::drops::Reasons;
use crate::socket::{Counters, Protocol, Role};

/// Longest time between two rows of a flow with open connections, microseconds.
const IDLE_ROW_EVERY_US: i64 = 60_000_000;

/// Flows of an interval that are told apart, at most; the smallest beyond are one row of their workload.
const MAX_FLOWS: usize = 100_000;

/// Who observes.
#[derive(Debug, Clone, Default)]
pub struct Observer {
    /// Column `node`.
    pub node: String,
    /// Column `cluster`.
    pub cluster: Option<String>,
    /// Column `zone`.
    pub zone: Option<String>,
    /// Column `region`.
    pub region: Option<String>,
    /// Packets that its kernel drops are counted; else column `drops` is null.
    pub drops: bool,
}

/// What makes two sockets the same flow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The local end.
    pub local: Arc<Workload>,
    /// The peer, where it is known.
    pub peer: Option<Arc<Workload>>,
    /// Local address.
    pub address: IpAddr,
    /// Local port, 0 when folded.
    pub port: u16,
    /// Peer address.
    pub peer_address: IpAddr,
    /// Peer port, 0 when folded.
    pub peer_port: u16,
    /// What was dialled, where that is not the peer's own address.
    pub service: Option<SocketAddr>,
    /// The name by which the local end asked for the peer.
    pub domain: Option<Arc<str>>,
    /// Where the peer is.
    pub scope: Scope,
    /// What it speaks.
    pub protocol: Protocol,
    /// Value of the column `role`.
    pub role: &'static str,
    /// How many flows like it a row stands for; its counters are scaled by it.
    pub sampling: u32,
}

/// What happened in one flow.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Sums of the sockets' deltas.
    pub counters: Counters,
    /// Open connections at the end.
    pub active: u64,
    /// Round-trip times.
    pub rtt: Durations,
    /// Durations of handshakes.
    pub connect_time: Durations,
    /// Packets that the kernel dropped.
    pub drops: Reasons,
}

/// The interval of a batch, microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Begin, inclusive.
    pub start_us: i64,
    /// End, exclusive.
    pub end_us: i64,
}

#[derive(Debug)]
struct Level {
    active: u64,
    last_row_us: i64,
}

/// Adds up rows, and remembers how many connections each flow had open.
#[derive(Debug)]
pub struct Rows {
    ephemeral: RangeInclusive<u16>,
    current: HashMap<Key, Row>,
    /// Flows of an interval that are told apart, at most; for a while there may be twice as many.
    most: usize,
    other: Arc<Workload>,
    folded: u64,
    levels: HashMap<Key, Level>,
}

impl Rows {
    /// `ephemeral`: the host's range of ports for connecting sockets.
    #[must_use]
    pub fn new(ephemeral: RangeInclusive<u16>) -> Self {
        let other = Workload { name: "other".into(), kind: "Other", container: None, pod: None };
        Self {
            ephemeral,
            current: HashMap::new(),
            most: MAX_FLOWS,
            other: Arc::new(other),
            folded: 0,
            levels: HashMap::new(),
        }
    }

    /// Adds what a socket did.
    pub fn add(&mut self, socket: &Attributed, drops: &Reasons) {
        let delta = &socket.delta;
        let times = u64::from(delta.socket.sampling);
        let row = self.current.entry(self.key(socket)).or_default();
        row.counters = combine(&row.counters, &delta.counters, |sum, n| {
            sum.saturating_add(n.saturating_mul(times))
        });
        row.active += u64::from(delta.open) * times;
        if times == 1 {
            row.rtt.add(&delta.rtt);
        } else {
            row.rtt.add(&delta.rtt.clone().times(times));
        }
        // Of every packet: the kernel does not ask whose it was.
        row.drops.add_all(drops);
        if let Some(us) = delta.connect_time_us {
            row.connect_time.add(&Durations::one(us).times(times));
        }
        if self.current.len() > 2 * self.most {
            self.fold();
        }
    }

    /// Adds the smallest flows up to one row of each workload, which says that its peer is `other`.
    fn fold(&mut self) {
        if self.current.len() <= self.most {
            return;
        }
        let mut volumes: Vec<u64> = self.current.values().map(Row::volume).collect();
        let place = volumes.len() - self.most;
        let (_, least, _) = volumes.select_nth_unstable(place);
        let least = *least;
        let small: Vec<(Key, Row)> =
            self.current.extract_if(|key, row| row.volume() < least && !key.is_other()).collect();
        // Many may be equally small.
        let surplus = self.current.len().saturating_sub(self.most);
        let equal = |key: &Key, row: &mut Row| row.volume() == least && !key.is_other();
        let equal: Vec<(Key, Row)> = self.current.extract_if(equal).take(surplus).collect();
        for (key, row) in small.into_iter().chain(equal) {
            self.folded += 1;
            self.current.entry(key.other(&self.other)).or_default().add(&row);
        }
    }

    /// Flows that were folded since the last call.
    pub(crate) fn folded(&mut self) -> u64 {
        std::mem::take(&mut self.folded)
    }

    /// The open sockets are about to be added, all of them.
    pub fn begin_levels(&mut self) {
        self.current.values_mut().for_each(|row| row.active = 0);
    }

    /// The rows of an interval, sorted by key: all that was added since the last one.
    pub fn take(&mut self, interval: Interval) -> BTreeMap<Key, Row> {
        self.fold();
        let mut all: BTreeMap<Key, Row> = std::mem::take(&mut self.current).into_iter().collect();
        // A flow whose last socket vanished without a report still has to come down to 0.
        for (key, level) in &self.levels {
            if level.active > 0 && !all.contains_key(key) {
                all.insert(key.clone(), Row::default());
            }
        }
        all.retain(|key, row| self.wanted(key, row, interval.end_us));
        all
    }

    /// How many connections each flow has open.
    pub(crate) fn levels(&self) -> impl Iterator<Item = (&Key, u64)> {
        self.levels.iter().map(|(key, level)| (key, level.active))
    }

    /// Decides if a flow has a row, and takes note of it.
    fn wanted(&mut self, key: &Key, row: &Row, end_us: i64) -> bool {
        let before = self.levels.get(key);
        let overdue = before.is_some_and(|b| {
            // Either way: a clock that was set back must not silence idle flows.
            end_us.abs_diff(b.last_row_us) >= IDLE_ROW_EVERY_US.unsigned_abs()
        });
        let changed = row.active != before.map_or(0, |b| b.active);
        let wanted = row.happened() || changed || (row.active > 0 && overdue);
        if row.active == 0 {
            self.levels.remove(key);
        } else if wanted {
            self.levels.insert(key.clone(), Level { active: row.active, last_row_us: end_us });
        }
        wanted
    }

    fn key(&self, socket: &Attributed) -> Key {
        let state = &socket.delta.socket;
        let (local, peer) = (socket.local_address, socket.peer_address);
        let (mut port, mut peer_port) = (local.port(), peer.port());
        let role = match state.role {
            Role::Client => {
                port = 0;
                "client"
            }
            Role::Server => {
                peer_port = 0;
                "server"
            }
            Role::Unknown => {
                let larger = if port >= peer_port { &mut port } else { &mut peer_port };
                if self.ephemeral.contains(larger) {
                    *larger = 0;
                }
                "unknown"
            }
        };
        Key {
            local: Arc::clone(&socket.local),
            peer: socket.peer.clone(),
            address: local.ip().to_canonical(),
            port,
            peer_address: peer.ip().to_canonical(),
            peer_port,
            service: socket.service,
            domain: socket.domain.clone(),
            scope: socket.peer_scope,
            protocol: state.protocol,
            role,
            sampling: state.sampling,
        }
    }
}

impl Key {
    /// The same with any other end.
    fn other(&self, other: &Arc<Workload>) -> Self {
        let nowhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        Self {
            local: Arc::clone(&self.local),
            peer: Some(Arc::clone(other)),
            address: nowhere,
            port: 0,
            peer_address: nowhere,
            peer_port: 0,
            service: None,
            domain: None,
            ..*self
        }
    }

    fn is_other(&self) -> bool {
        self.address.is_unspecified() && self.peer_address.is_unspecified()
    }
}

impl Row {
    fn volume(&self) -> u64 {
        self.counters.tx_bytes.saturating_add(self.counters.rx_bytes)
    }

    fn add(&mut self, other: &Self) {
        self.counters = combine(&self.counters, &other.counters, u64::saturating_add);
        self.active += other.active;
        self.rtt.add(&other.rtt);
        self.connect_time.add(&other.connect_time);
        self.drops.add_all(&other.drops);
    }

    fn happened(&self) -> bool {
        self.counters != Counters::default()
            || !self.rtt.slots.is_empty()
            || !self.connect_time.slots.is_empty()
            || !self.drops.is_empty()
    }
}

/// The rows as a batch in the columns of [`weir_wire::schema::FLOWS`].
///
/// # Errors
/// When Arrow refuses the columns: a defect of this crate.
pub fn batch(
    rows: &BTreeMap<Key, Row>,
    observer: &Observer,
    interval: Interval,
) -> Result<RecordBatch, ArrowError> {
    columns::build(rows, observer, interval)
}

/// The host's range of ports for connecting sockets (ip(7), `ip_local_port_range`), or the kernel's
/// default.
#[must_use]
pub fn ephemeral_ports() -> RangeInclusive<u16> {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| {
            let mut bounds = text.split_ascii_whitespace().map(str::parse);
            Some(bounds.next()?.ok()?..=bounds.next()?.ok()?)
        })
        .unwrap_or(32768..=60999)
}

#[cfg(test)]
mod tests;
