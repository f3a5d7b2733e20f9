//! From one dump to the next: which sockets are new, which have gone, and what their counters mean.
//!
//! Byte counters of the kernel include the sequence number that a SYN or a FIN takes
//! (net/ipv4/tcp_input.c: `tcp_snd_una_update`, `tcp_rcv_nxt_update`): one on the connecting side
//! once its SYN is acknowledged, one on either side for a FIN that was acknowledged or received.
//! They are taken off again here.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use weir_wire::histogram;

use super::message::{DiagSocket, TcpInfo, state};
use super::namespaces::{Dumped, Namespace};
use crate::deltas::combine;
use crate::socket::{Counters, Histogram, Owner, Protocol, Role, SocketState};

/// A socket is gone when this many dumps in a row lack it. One is no proof: the kernel takes a dump up
/// again at an index into a hash bucket (net/ipv4/inet_diag.c: `inet_diag_dump_icsk`), so that an entry
/// removed from the same bucket meanwhile lets the one behind it be passed by.
pub(super) const GONE_AFTER: u8 = 2;
/// Attempts to find the process of a socket before it is left at "not known".
const NAMING_ATTEMPTS: u8 = 2;

#[derive(Debug)]
struct Tracked {
    /// What the socket had counted when measuring began.
    baseline: Counters,
    reported: SocketState,
    inode: u64,
    naming_attempts: u8,
    handshaking: bool,
    /// Our FIN was sent.
    closing: bool,
    segs_in: u32,
    round: u64,
    /// Dumps in a row that lacked it.
    missing: u8,
}

/// Sockets by cookie, as of the last dump.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    sockets: HashMap<u64, Tracked>,
    gone: Vec<SocketState>,
    round: u64,
    /// Sockets that are not tracked yet stay so: somebody else measures them.
    closed_to_new: bool,
}

impl Tracker {
    /// Takes every socket of the dump as having been there before.
    pub(super) fn baseline(&mut self, dumped: &Dumped) {
        self.enter(dumped, true);
    }

    /// From now on only those are tracked that are.
    pub(super) fn close_to_new(&mut self) {
        self.closed_to_new = true;
    }

    /// Nothing is tracked, nothing will be, and nothing waits to be reported.
    pub(super) fn is_done(&self) -> bool {
        self.closed_to_new && self.sockets.is_empty() && self.gone.is_empty()
    }

    /// Somebody else measures these sockets.
    pub(super) fn forget(&mut self, cookies: &HashSet<u64>) {
        self.sockets.retain(|cookie, _| !cookies.contains(cookie));
        self.gone.retain(|socket| !cookies.contains(&socket.cookie));
    }

    /// Compares with the dump before.
    pub(super) fn update(&mut self, dumped: &Dumped) {
        self.enter(dumped, false);
        let unread: HashSet<u64> = dumped.unread.iter().copied().collect();
        let round = self.round;
        let gone = &mut self.gone;
        self.sockets.retain(|_, tracked| {
            if tracked.round == round || unread.contains(&tracked.reported.netns) {
                return true;
            }
            tracked.missing += 1;
            if tracked.missing < GONE_AFTER {
                return true;
            }
            gone.push(tracked.close());
            false
        });
    }

    /// Every tracked socket, and once those that have gone.
    pub(super) fn report(&mut self) -> Vec<SocketState> {
        let mut all = std::mem::take(&mut self.gone);
        all.extend(self.sockets.values().map(|t| t.reported.clone()));
        all
    }

    /// Inodes of the sockets whose process is still to be found.
    pub(super) fn unnamed(&self) -> impl Iterator<Item = u64> {
        self.sockets
            .values()
            .filter(|t| {
                t.reported.owner.tgid == 0 && t.inode != 0 && t.naming_attempts < NAMING_ATTEMPTS
            })
            .map(|t| t.inode)
    }

    /// Takes the answer to [`Tracker::unnamed`].
    pub(super) fn name(&mut self, holders: &HashMap<u64, u32>) {
        for tracked in self.sockets.values_mut() {
            if tracked.reported.owner.tgid == 0 && tracked.inode != 0 {
                tracked.naming_attempts = tracked.naming_attempts.saturating_add(1);
                tracked.reported.owner.tgid = holders.get(&tracked.inode).copied().unwrap_or(0);
            }
        }
    }

    fn enter(&mut self, dumped: &Dumped, baseline: bool) {
        self.round += 1;
        for namespace in &dumped.namespaces {
            let listening = Listening::of(namespace);
            for socket in &namespace.sockets {
                let Some(info) = socket.info else { continue };
                if socket.state == state::LISTEN || socket.peer.port() == 0 {
                    continue;
                }
                self.enter_one(namespace.inode, socket, &info, &listening, baseline);
            }
        }
    }

    fn enter_one(
        &mut self,
        netns: u64,
        socket: &DiagSocket,
        info: &TcpInfo,
        listening: &Listening,
        baseline: bool,
    ) {
        if self.sockets.get(&socket.cookie).is_some_and(|t| t.has_made_way(socket, info)) {
            let closed = self.sockets.remove(&socket.cookie).map(|mut t| t.close());
            self.gone.extend(closed);
        }
        if self.closed_to_new && !self.sockets.contains_key(&socket.cookie) {
            return;
        }
        let round = self.round;
        let tracked = self.sockets.entry(socket.cookie).or_insert_with(|| {
            let role = if listening.has(socket.local) { Role::Server } else { Role::Client };
            let begun = match role {
                _ if baseline => Counters::default(),
                Role::Server => Counters { accepts: 1, ..Counters::default() },
                Role::Client | Role::Unknown => Counters { connects: 1, ..Counters::default() },
            };
            Tracked {
                baseline: if baseline { counters(socket, info, role) } else { Counters::default() },
                reported: SocketState {
                    protocol: Protocol::Tcp,
                    cookie: socket.cookie,
                    netns,
                    began_ns: 0,
                    sampling: 1,
                    owner: Owner { cgroup: socket.cgroup, ..Owner::default() },
                    role,
                    local: socket.local,
                    peer: socket.peer,
                    counters: begun,
                    rtt: Histogram::default(),
                    connect_time_us: None,
                    open: false,
                    closed: false,
                },
                inode: socket.inode,
                naming_attempts: 0,
                handshaking: true,
                closing: false,
                segs_in: if baseline { info.segs_in } else { 0 },
                round,
                missing: 0,
            }
        });
        tracked.round = round;
        tracked.missing = 0;
        tracked.update(socket, info, baseline);
    }
}

impl Tracked {
    /// After an absence the cookie names another connection: a socket may connect anew, and the kernel
    /// counts from 0 then (net/ipv4/tcp.c: `tcp_disconnect`).
    fn has_made_way(&self, socket: &DiagSocket, info: &TcpInfo) -> bool {
        let ends = (self.reported.local, self.reported.peer);
        self.missing > 0 && (ends != (socket.local, socket.peer) || info.segs_in < self.segs_in)
    }

    fn update(&mut self, socket: &DiagSocket, info: &TcpInfo, baseline: bool) {
        let established = socket.state != state::SYN_SENT;
        // A socket is accepted some time after its handshake: only then has it an inode.
        self.inode = socket.inode;
        self.reported.open = established;
        let now = counters(socket, info, self.reported.role);
        let mut since = combine(&now, &self.baseline, u64::saturating_sub);
        // The kernel reads state and counters of a live socket one after the other, so that the
        // correction for a FIN can come one report late; totals still never go back.
        since = combine(&since, &self.reported.counters, u64::max);
        let before = self.reported.counters;
        since.retransmits_syn = before.retransmits_syn;
        since.timeouts_syn = before.timeouts_syn;
        (since.retransmits_closing, since.timeouts_closing) =
            (before.retransmits_closing, before.timeouts_closing);
        // What was sent again between the FIN and the first dump that shows it counts as before it.
        if std::mem::replace(&mut self.closing, is_closing(socket.state)) {
            since.retransmits_closing += since.retransmits - before.retransmits;
            since.timeouts_closing += since.timeouts - before.timeouts;
        }
        if !established {
            // All that is sent again before the handshake is over is the SYN. What was sent again
            // between this and the first dump that shows the socket established may be either, and
            // counts for neither phase.
            since.retransmits_syn = since.retransmits;
            since.timeouts_syn = since.timeouts;
        }
        if established {
            self.handshaking = false;
        }
        self.reported.counters = since;
        if info.segs_in != self.segs_in && info.rtt_us != 0 && !baseline {
            self.sample_rtt(info.rtt_us);
        }
        self.segs_in = info.segs_in;
    }

    fn sample_rtt(&mut self, rtt_us: u32) {
        let us = u64::from(rtt_us);
        let rtt = &mut self.reported.rtt;
        let empty = rtt.max_us == 0;
        rtt.min_us = if empty { us } else { rtt.min_us.min(us) };
        rtt.max_us = rtt.max_us.max(us);
        rtt.sum_us += us;
        let slot = usize::try_from(histogram::index_of(us) - histogram::FIRST_INDEX).unwrap_or(0);
        if let Some(count) = rtt.slots.get_mut(slot) {
            *count = count.wrapping_add(1);
        }
    }

    fn close(&mut self) -> SocketState {
        if self.handshaking {
            // Gone without ever having been established: refused, timed out, or given up.
            self.reported.counters.connect_failures = 1;
        } else {
            self.reported.counters.closes = 1;
        }
        self.reported.open = false;
        self.reported.closed = true;
        self.reported.clone()
    }
}

fn is_closing(state: u8) -> bool {
    matches!(state, state::FIN_WAIT1 | state::FIN_WAIT2 | state::CLOSING | state::LAST_ACK)
}

/// Addresses that a namespace listens on.
#[derive(Default)]
struct Listening {
    any: HashSet<u16>,
    bound: HashSet<(IpAddr, u16)>,
}

impl Listening {
    fn of(namespace: &Namespace) -> Self {
        let mut listening = Self::default();
        for socket in namespace.sockets.iter().filter(|s| s.state == state::LISTEN) {
            if socket.local.ip().is_unspecified() {
                listening.any.insert(socket.local.port());
            } else {
                listening.bound.insert((socket.local.ip(), socket.local.port()));
            }
        }
        listening
    }

    fn has(&self, local: SocketAddr) -> bool {
        self.any.contains(&local.port()) || self.bound.contains(&(local.ip(), local.port()))
    }
}

fn counters(socket: &DiagSocket, info: &TcpInfo, role: Role) -> Counters {
    let syn_acked = role == Role::Client && socket.state != state::SYN_SENT;
    let fin_acked = matches!(socket.state, state::FIN_WAIT2 | state::TIME_WAIT);
    let fin_received = matches!(socket.state, state::CLOSE_WAIT | state::LAST_ACK | state::CLOSING);
    let timeouts = u64::from(info.total_rto.unwrap_or(0));
    Counters {
        tx_bytes: info.bytes_acked.saturating_sub(u64::from(syn_acked) + u64::from(fin_acked)),
        rx_bytes: info.bytes_received.saturating_sub(u64::from(fin_received)),
        tx_packets: u64::from(info.data_segs_out),
        rx_packets: u64::from(info.data_segs_in),
        retransmits: u64::from(info.total_retrans),
        timeouts,
        delivered_ce: u64::from(info.delivered_ce),
        ..Counters::default()
    }
}

#[cfg(test)]
mod tests;
