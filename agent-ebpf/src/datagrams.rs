//! The record of a flow of datagrams: a socket, and one of those it talks to.

use crate::Owner;

/// Protocol numbers (IANA), as in [`DatagramKey::protocol`].
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u32 = 1;
    /// TCP.
    pub const TCP: u32 = 6;
    /// UDP.
    pub const UDP: u32 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u32 = 58;
}

/// What tells flows of datagrams apart.
///
/// Addresses are in network byte order with IPv4 mapped into IPv6 (`::ffff:a.b.c.d`). Of a connected socket
/// they are the socket's own, whatever the packet says: address translation on the way out has happened
/// before a program sees the packet, on the way in too, so only the socket knows what was dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct DatagramKey {
    /// The socket's cookie.
    pub cookie: u64,
    /// Local address.
    pub local_address: [u32; 4],
    /// Peer's address.
    pub peer_address: [u32; 4],
    /// One of [`protocol`].
    pub protocol: u32,
    /// Local port, host byte order; 0 without ports.
    pub local_port: u16,
    /// Peer's port, host byte order; 0 without ports.
    pub peer_port: u16,
}

impl DatagramKey {
    /// A key of which nothing is known.
    pub const ZERO: Self = Self {
        cookie: 0,
        local_address: [0; 4],
        peer_address: [0; 4],
        protocol: 0,
        local_port: 0,
        peer_port: 0,
    };
}

/// A flow of datagrams since its entry was made. Counters are cumulative, and raised by atomic additions:
/// many processors may be at one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Datagrams {
    /// Cookie of the network namespace; 0 for a socket that was there before the programs.
    pub netns: u64,
    /// Who made the socket; of one that was there before the programs only the cgroup.
    pub owner: Owner,
    /// Payload bytes sent.
    pub tx_bytes: u64,
    /// Payload bytes that reached the socket.
    pub rx_bytes: u64,
    /// Datagrams sent; segments of a large send count each.
    pub tx_packets: u64,
    /// Datagrams that reached the socket.
    pub rx_packets: u64,
    /// 1 if the datagram that the entry was made for was sent, 0 if it was received.
    pub sent_first: u64,
}

impl Datagrams {
    /// A flow of which nothing is known.
    pub const ZERO: Self = Self {
        netns: 0,
        owner: Owner { cgroup: 0, comm: [0; 16], tgid: 0, reserved: 0 },
        tx_bytes: 0,
        rx_bytes: 0,
        tx_packets: 0,
        rx_packets: 0,
        sent_first: 0,
    };
}

/// Who made a socket, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Maker {
    /// Who.
    pub owner: Owner,
    /// Cookie of the network namespace.
    pub netns: u64,
}

// No padding: each size is the sum of the fields' sizes.
const _: () = assert!(size_of::<DatagramKey>() == 8 + 2 * 16 + 4 + 2 * 2);
const _: () = assert!(size_of::<Datagrams>() == 8 + 32 + 5 * 8);
const _: () = assert!(size_of::<Maker>() == 32 + 8);
