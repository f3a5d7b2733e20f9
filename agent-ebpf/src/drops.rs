//! A packet that the kernel dropped.

/// Where the kernel keeps what is read of a packet (`struct sk_buff`): byte offsets out of its own type information
/// (BTF), since they differ from kernel to kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct PacketLayout {
    /// `sk_buff.head`, a pointer.
    pub head: u32,
    /// `sk_buff.end`, 32 bits: where `skb_shared_info` begins, from `head`.
    pub end: u32,
    /// `sk_buff.network_header`, 16 bits, from `head`.
    pub network_header: u32,
    /// `sk_buff.protocol`, 16 bits, network byte order.
    pub protocol: u32,
    /// `sk_buff.dev`, a pointer, if it is one at all.
    pub device: u32,
    /// `net_device.nd_net.net`, a pointer.
    pub device_netns: u32,
    /// `sk_buff.sk`, a pointer.
    pub socket: u32,
    /// `sock.__sk_common.skc_net.net`, a pointer.
    pub socket_netns: u32,
    /// `net.net_cookie`, 64 bits.
    pub netns_cookie: u32,
    /// `skb_shared_info.gso_segs`, 16 bits.
    pub segments: u32,
}

/// Reasons that can be asked for: the kernel's own, not those of its subsystems.
pub const DROP_REASONS: usize = 256;

/// Which reasons are counted, a bit for each.
pub type DropReasons = [u64; DROP_REASONS / 64];

/// Default capacity of the map of drops.
pub const MAX_DROPS: u32 = 16_384;

/// What tells drops apart.
///
/// Addresses are in network byte order with IPv4 mapped into IPv6 (`::ffff:a.b.c.d`), as in the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct DropKey {
    /// Cookie of the network namespace; 0 if the packet belongs to none any more.
    pub netns: u64,
    /// Whose it was.
    pub source: [u32; 4],
    /// Whose it would have been.
    pub destination: [u32; 4],
    /// One of [`crate::protocol`].
    pub protocol: u32,
    /// Port, host byte order; 0 without ports.
    pub source_port: u16,
    /// Port, host byte order; 0 without ports.
    pub destination_port: u16,
    /// The kernel's number of the reason (`enum skb_drop_reason`).
    pub reason: u32,
    /// Always 0.
    pub reserved: u32,
}

impl DropKey {
    /// A key of which nothing is known.
    pub const ZERO: Self = Self {
        netns: 0,
        source: [0; 4],
        destination: [0; 4],
        protocol: 0,
        source_port: 0,
        destination_port: 0,
        reason: 0,
        reserved: 0,
    };
}

// No padding: each size is the sum of the fields' sizes.
const _: () = assert!(size_of::<DropKey>() == 8 + 2 * 16 + 4 + 2 * 2 + 2 * 4);
const _: () = assert!(size_of::<PacketLayout>() == 10 * 4);
