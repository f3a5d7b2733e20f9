//! What is known of one TCP socket, or of one flow of datagrams, however it was measured.
//!
//! Both measuring sources (BPF and netlink `sock_diag`) report sockets in this form. Numbers are
//! cumulative over the socket's life; `crate::deltas` turns them into what happened in an interval.

use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};

use weir_wire::histogram::BUCKETS;

/// What a flow speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP: a socket is one connection.
    Tcp,
    /// UDP: a socket has a flow with each peer.
    Udp,
    /// ICMP, for either version of IP; without ports.
    Icmp,
}

impl Protocol {
    /// Value of the column `protocol`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

/// Who opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// This end called `connect`.
    Client,
    /// This end accepted.
    Server,
    /// The source cannot tell.
    Unknown,
}

/// Cumulative counters of a socket. Field meanings are those of the flow columns of the same name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the flow column of the same name")]
pub struct Counters {
    pub tx_bytes: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub rx_packets: u64,
    pub retransmits: u64,
    pub retransmits_syn: u64,
    pub retransmits_closing: u64,
    pub timeouts: u64,
    pub timeouts_syn: u64,
    pub timeouts_closing: u64,
    pub connects: u64,
    pub connect_failures: u64,
    pub connect_refused: u64,
    pub connect_timed_out: u64,
    pub connect_unreachable: u64,
    pub accepts: u64,
    pub closes: u64,
    pub resets: u64,
    pub resets_received: u64,
    pub resets_sent: u64,
    pub delivered_ce: u64,
}

/// A cumulative log-scale histogram; slot `i` is bucket index `i - 1` of [`weir_wire::histogram`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Sum of the measured durations, microseconds.
    pub sum_us: u64,
    /// Smallest and largest duration measured since the socket began, microseconds.
    pub min_us: u64,
    /// See `min_us`.
    pub max_us: u64,
    /// Counts by slot.
    pub slots: Slots,
}

/// Counts by slot, [`BUCKETS`] of them. Most sockets have none, which takes no room: there can be a hundred
/// thousand of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots(Option<Box<[u32; BUCKETS]>>);

impl From<&[u32; BUCKETS]> for Slots {
    fn from(counts: &[u32; BUCKETS]) -> Self {
        Self(counts.iter().any(|n| *n != 0).then(|| Box::new(*counts)))
    }
}

impl Deref for Slots {
    type Target = [u32; BUCKETS];

    fn deref(&self) -> &Self::Target {
        const NONE: &[u32; BUCKETS] = &[0; BUCKETS];
        self.0.as_deref().unwrap_or(NONE)
    }
}

impl DerefMut for Slots {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.get_or_insert_with(|| Box::new([0; BUCKETS]))
    }
}

/// The process that made a socket, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// Id of the socket's cgroup in the v2 hierarchy; 0 when not known.
    pub cgroup: u64,
    /// Process (thread group) id in the initial pid namespace; 0 when not known.
    pub tgid: u32,
    /// Name of the thread that made the socket, NUL-padded; all zero when not known.
    pub comm: [u8; 16],
}

/// One socket as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketState {
    /// The kernel's socket cookie, unique for the life of the machine.
    pub cookie: u64,
    /// Network namespace: its cookie (BPF) or its inode (`sock_diag`); only compared for equality. 0 if
    /// it is not known.
    pub netns: u64,
    /// What it speaks.
    pub protocol: Protocol,
    /// Which of the socket's connections it is, where the source tells them apart: when it began,
    /// nanoseconds of the monotonic clock; else 0.
    pub began_ns: u64,
    /// How many sockets like it it stands for: itself, and others that were not measured.
    pub sampling: u32,
    /// Who made it.
    pub owner: Owner,
    /// Who opened the connection.
    pub role: Role,
    /// Local end.
    pub local: SocketAddr,
    /// Peer. IPv4-mapped addresses are given as IPv4.
    pub peer: SocketAddr,
    /// Counters since the socket began.
    pub counters: Counters,
    /// Round-trip times since the socket began.
    pub rtt: Histogram,
    /// How long the handshake took, once it is done.
    pub connect_time_us: Option<u64>,
    /// The connection is established; never so of datagrams.
    pub open: bool,
    /// The socket is gone, or nothing happened in the flow for an interval: this is its last report.
    pub closed: bool,
}

/// An address and a port, in less room than a [`SocketAddr`] takes.
pub(crate) type End = (IpAddr, u16);

/// The same of a socket address.
pub(crate) fn end(address: SocketAddr) -> End {
    (address.ip(), address.port())
}

#[cfg(test)]
impl SocketState {
    /// Open, between two addresses of documentation, with nothing counted.
    pub(crate) fn example(cookie: u64, role: Role) -> Self {
        Self {
            cookie,
            netns: 1,
            protocol: Protocol::Tcp,
            began_ns: 0,
            sampling: 1,
            owner: Owner::default(),
            role,
            local: SocketAddr::from(([198, 51, 100, 1], 40_000)),
            peer: SocketAddr::from(([198, 51, 100, 2], 80)),
            counters: Counters::default(),
            rtt: Histogram::default(),
            connect_time_us: None,
            open: true,
            closed: false,
        }
    }
}

impl SocketState {
    pub(crate) fn local_end(&self) -> End {
        end(self.local)
    }

    pub(crate) fn peer_end(&self) -> End {
        end(self.peer)
    }
}

/// Takes what a source reports.
///
/// A collection meets every open socket, and then counts them: who is at the other end of a connection is known
/// when all have been met, and nobody has to keep them meanwhile. Each socket is counted at most once in a
/// collection. A connection that ended is reported once, at any time, and not again.
pub trait Visit {
    /// A connection ended, or a flow was silent for long: its last totals.
    fn closed(&mut self, socket: SocketState);
    /// An open socket is there.
    fn meet(&mut self, socket: &SocketState);
    /// Every open socket has been met.
    fn all_met(&mut self);
    /// An open socket's totals. One that began after the others were met may be among them, or may not.
    fn count(&mut self, socket: SocketState);
}

/// What was not seen since the last collection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Unseen {
    /// Sockets that could not be entered in the kernel's map.
    pub map_insert_failures: u64,
    /// Records that a full ring buffer dropped for good.
    pub ring_drops: u64,
    /// Messages of DNS that found no room in the kernel's ring.
    pub dns_dropped: u64,
    /// Datagrams whose flow could not be entered in the kernel's map.
    pub datagrams_uncounted: u64,
    /// Dropped packets that could not be entered in the kernel's map of them.
    pub drops_uncounted: u64,
    /// Sockets that are not measured because others stand for them.
    pub sampled_out: u64,
}

/// Keeps what it is told: for tests, and for whoever wants all of it at once.
#[derive(Debug, Default)]
pub struct Collected {
    /// Last reports of what ended, in the order in which they came, then what is open.
    pub sockets: Vec<SocketState>,
    /// What was not seen.
    pub unseen: Unseen,
}

impl Visit for Collected {
    fn closed(&mut self, socket: SocketState) {
        self.sockets.push(socket);
    }

    fn meet(&mut self, _: &SocketState) {}

    fn all_met(&mut self) {}

    fn count(&mut self, socket: SocketState) {
        self.sockets.push(socket);
    }
}
