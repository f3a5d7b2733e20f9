//! What the BPF programs and the agent say to each other: records, maps, and the histogram's slots.
//!
//! ```text
//! map        type           key -> value                   written by     read by
//! SOCKETS    hash           socket cookie -> Socket        sock_ops,      agent (all open sockets,
//!                                                          packets        each interval)
//! CLOSED     ring buffer    Socket, as it ended            sock_ops       agent (10 times a second)
//! DATAGRAMS  hash           DatagramKey -> Datagrams       packets        agent (all flows, each interval)
//! COUNTS     per-CPU array  Count -> entries               all            agent
//! SAMPLING   array          0 -> halvings                  agent          sock_ops
//! DNS        ring buffer    DnsMessage, as it passed       packets        agent (10 times a second)
//! OWNERS     LRU hash       socket cookie -> Maker         sock_create    sock_ops, packets
//! LISTENERS  LRU hash       Listener -> Owner              sock_ops       sock_ops
//! DROPS      hash           DropKey -> packets             kfree_skb      agent (10 times a second)
//! LOSSES     per-CPU array  Loss -> count                  sock_ops,      agent
//!                                                          packets
//! ```
//!
//! Records are `repr(C)` without padding; both sides run on the same machine, so integers are in
//! its byte order. Addresses and ports are not: see [`Socket`].

#![no_std]
#![forbid(unsafe_code)]

mod datagrams;
mod dns;
mod drops;
mod histogram;
mod socket;

pub use datagrams::{DatagramKey, Datagrams, Maker, protocol};
pub use dns::{DNS_BYTES, DNS_PORT, DNS_RING_BYTES, DnsMessage};
pub use drops::{DROP_REASONS, DropKey, DropReasons, MAX_DROPS, PacketLayout};
pub use histogram::{SLOTS, histogram_slot};
pub use socket::{Reading, Socket, SocketLayout, flag, state};

/// Names of the maps, as the loader finds them.
pub mod maps {
    /// Open sockets by cookie.
    pub const SOCKETS: &str = "SOCKETS";
    /// Ring buffer of sockets that closed.
    pub const CLOSED: &str = "CLOSED";
    /// Flows of datagrams.
    pub const DATAGRAMS: &str = "DATAGRAMS";
    /// How many entries have been made in other maps, and have left them.
    pub const COUNTS: &str = "COUNTS";
    /// How many new sockets one that is entered stands for, as a power of two.
    pub const SAMPLING: &str = "SAMPLING";
    /// Ring buffer of messages of DNS.
    pub const DNS: &str = "DNS";
    /// Packets that the kernel dropped.
    pub const DROPS: &str = "DROPS";
    /// Makers of sockets by cookie.
    pub const OWNERS: &str = "OWNERS";
    /// Makers of listening sockets by port.
    pub const LISTENERS: &str = "LISTENERS";
    /// Counters of what could not be recorded.
    pub const LOSSES: &str = "LOSSES";
}

/// Names of the variables that the loader sets.
pub mod variables {
    /// `u32`: whether messages of DNS are copied.
    pub const DNS: &str = "WEIR_DNS";
    /// [`crate::SocketLayout`]: where the kernel keeps what is read of a socket.
    pub const SOCKET: &str = "WEIR_SOCKET";
    /// `u32`: `sock_ops` may ask for the cookie of a network namespace (Linux 5.15); else it is read.
    pub const ASK_NETNS: &str = "WEIR_ASK_NETNS";
    /// [`crate::PacketLayout`]: where the kernel keeps what is read of a packet.
    pub const PACKET: &str = "WEIR_PACKET";
    /// [`crate::DropReasons`]: which drops are counted.
    pub const REASONS: &str = "WEIR_REASONS";
}

/// Names of the programs, as the loader finds them.
pub mod programs {
    /// Life cycle of TCP sockets (`sock_ops`).
    pub const LIFE_CYCLE: &str = "weir_life_cycle";
    /// Packets that leave (`cgroup_skb/egress`).
    pub const EGRESS: &str = "weir_egress";
    /// Packets that reach a socket (`cgroup_skb/ingress`).
    pub const INGRESS: &str = "weir_ingress";
    /// Packets that are dropped (`tp_btf/kfree_skb`).
    pub const DROPPED: &str = "weir_dropped";
    /// Makers of sockets (`cgroup/sock_create`).
    pub const SOCK_CREATE: &str = "weir_sock_create";
}

/// Capacity of the socket map, unless the loader sets another. Entries are allocated as sockets come, so that an
/// idle machine pays 4 MiB for the hash table and a full one about 170 MiB.
pub const MAX_SOCKETS: u32 = 262_144;

/// Capacity of the map of flows of datagrams, unless the loader sets another. Entries are allocated as flows come:
/// an idle machine pays 1 MiB for the hash table, a full one about 12 MiB more.
pub const MAX_DATAGRAMS: u32 = 65_536;

/// Capacity of the map of owners; 3.5 MiB.
pub const MAX_OWNERS: u32 = 32_768;

/// Capacity of the map of listeners; 0.5 MiB.
pub const MAX_LISTENERS: u32 = 4096;

/// Default size of the ring of closed sockets, bytes; a power of two and a multiple of the page.
pub const RING_BYTES: u32 = 2 << 20;

/// Indices of the counters of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Count {
    /// Made in the map of flows of datagrams.
    FlowsEntered = 0,
    /// Made in the socket map.
    SocketsEntered = 1,
    /// Removed from the socket map by a program.
    SocketsLeft = 2,
}

/// Number of counters of entries.
pub const COUNTS: u32 = 3;

/// Indices of the loss counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Loss {
    /// A socket could not be entered in the socket map.
    InsertFailed = 0,
    /// A closed socket's record had waited in the map for room in the ring and was overwritten
    /// because the same socket connected again.
    ClosedOverwritten = 1,
    /// A datagram whose flow could not be entered in the map of flows.
    DatagramsUncounted = 2,
    /// A message of DNS that found no room in its ring.
    DnsDropped = 3,
    /// A dropped packet that found no room in the map of drops.
    DropsUncounted = 4,
    /// A socket that was not entered in the socket map because others stand for it.
    SampledOut = 5,
}

/// Number of loss counters.
pub const LOSSES: u32 = 6;

/// The process that made a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Owner {
    /// Id of its cgroup in the v2 hierarchy.
    pub cgroup: u64,
    /// Name of the thread, NUL-padded.
    pub comm: [u8; 16],
    /// Thread group id in the initial pid namespace.
    pub tgid: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Where a socket listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Listener {
    /// Cookie of the network namespace.
    pub netns: u64,
    /// Port, host byte order.
    pub port: u32,
    /// Always 0.
    pub reserved: u32,
}

// No padding: each size is the sum of the fields' sizes.
const _: () = assert!(size_of::<Owner>() == 8 + 16 + 4 + 4);
const _: () = assert!(size_of::<Listener>() == 8 + 4 + 4);
