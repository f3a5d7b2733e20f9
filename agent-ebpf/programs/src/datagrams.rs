//! UDP and ICMP, packet by packet, where they leave a socket (`cgroup_skb/egress`) and where they
//! reach one (`cgroup_skb/ingress`).
//!
//! Both hooks see the packet from its IP header on. On the way out that is after the firewall and after
//! address translation; on the way in, after these too and before the socket's buffer, which may be full:
//! what is dropped there has been counted as received. Large sends that a device or the kernel cuts into
//! segments pass as one packet that says how many there will be, and are counted as those; fragments are
//! not seen as such. Sockets that were there before the programs are counted like any other.
//!
//! ICMP is what sockets send and receive (`ping`), and what the kernel sends; what the kernel itself
//! receives passes no socket.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{__sk_buff, bpf_sock};
use aya_ebpf::helpers::{bpf_get_socket_cookie, bpf_sk_cgroup_id, bpf_skb_load_bytes};
use aya_ebpf::programs::SkBuffContext;
use weir_agent_ebpf::{DNS_PORT, DatagramKey, Datagrams, protocol};

use crate::dns;
use crate::maps::{self, OWNERS};
use crate::read::{self, field, mapped};

const AF_INET6: u32 = 10;
const SOCK_DGRAM: u32 = 2;
/// Of UDP, and of an ICMP message without its body.
const HEADER: u32 = 8;
/// Extension headers of IPv6 that are passed over.
const MAX_EXTENSIONS: usize = 4;

/// Which way a packet goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Sent,
    Received,
}

/// `cgroup_skb/ingress`
#[inline(always)]
pub fn arrived(context: &SkBuffContext) {
    let Some(sk) = read::full_socket(context) else { return };
    let protocol = field!(sk, bpf_sock.protocol: u32);
    if protocol != protocol::TCP {
        count(context, sk, protocol, Direction::Received);
    }
}

/// Counts a packet of a socket that is not one of TCP.
#[inline(always)]
pub fn count(
    context: &SkBuffContext,
    sk: *mut bpf_sock,
    socket_protocol: u32,
    direction: Direction,
) {
    let Some(packet) = Packet::read(context) else { return };
    if packet.protocol != socket_protocol {
        return;
    }
    let has_ports = packet.protocol == protocol::UDP;
    // A raw socket is given copies of what others receive.
    let is_end = if has_ports {
        field!(sk, bpf_sock.type_: u32) == SOCK_DGRAM
    } else {
        packet.protocol == protocol::ICMP || packet.protocol == protocol::ICMPV6
    };
    if !is_end {
        return;
    }
    let mut key = DatagramKey::ZERO;
    key.cookie = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    key.protocol = packet.protocol;
    (key.local_address, key.peer_address) = match direction {
        Direction::Sent => (packet.source, packet.destination),
        Direction::Received => (packet.destination, packet.source),
    };
    if has_ports {
        let dialled = u16::from_be(field!(sk, bpf_sock.dst_port: u32) as u16);
        if dialled != 0 {
            key.local_port = field!(sk, bpf_sock.src_port: u32) as u16;
            key.peer_port = dialled;
            (key.local_address, key.peer_address) = connected(sk);
        } else {
            let Some(ports) = load::<[u16; 2]>(context, packet.header) else { return };
            let [source, destination] = [u16::from_be(ports[0]), u16::from_be(ports[1])];
            (key.local_port, key.peer_port) = match direction {
                Direction::Sent => (source, destination),
                Direction::Received => (destination, source),
            };
        }
    }
    let flow = match maps::datagrams(&key) {
        Some(flow) => flow,
        None => {
            let mut fresh = Datagrams::ZERO;
            if let Some(maker) = OWNERS.get_ptr(&key.cookie) {
                fresh.owner = unsafe { (*maker).owner };
                fresh.netns = unsafe { (*maker).netns };
            }
            if fresh.owner.cgroup == 0 {
                fresh.owner.cgroup = unsafe { bpf_sk_cgroup_id(sk.cast()) };
            }
            fresh.sent_first = (direction == Direction::Sent) as u64;
            match maps::insert_datagrams(&key, &fresh, packet.count) {
                Some(flow) => flow,
                None => return,
            }
        }
    };
    unsafe {
        let (bytes, packets) = match direction {
            Direction::Sent => (&raw mut (*flow).tx_bytes, &raw mut (*flow).tx_packets),
            Direction::Received => (&raw mut (*flow).rx_bytes, &raw mut (*flow).rx_packets),
        };
        maps::atomic_add(bytes, packet.payload);
        maps::atomic_add(packets, packet.count);
    }
    if key.peer_port == DNS_PORT && has_ports {
        let received = direction == Direction::Received;
        dns::copy(context, sk, key.cookie, received, packet.header + HEADER, packet.payload);
    }
}

/// Local and peer address of a connected socket.
#[inline(always)]
fn connected(sk: *mut bpf_sock) -> ([u32; 4], [u32; 4]) {
    if field!(sk, bpf_sock.family: u32) == AF_INET6 {
        let local = [
            field!(sk, bpf_sock.src_ip6: u32),
            field!(sk, bpf_sock.src_ip6: u32, + 4),
            field!(sk, bpf_sock.src_ip6: u32, + 8),
            field!(sk, bpf_sock.src_ip6: u32, + 12),
        ];
        let peer = [
            field!(sk, bpf_sock.dst_ip6: u32),
            field!(sk, bpf_sock.dst_ip6: u32, + 4),
            field!(sk, bpf_sock.dst_ip6: u32, + 8),
            field!(sk, bpf_sock.dst_ip6: u32, + 12),
        ];
        return (local, peer);
    }
    (mapped(field!(sk, bpf_sock.src_ip4: u32)), mapped(field!(sk, bpf_sock.dst_ip4: u32)))
}

/// What the headers say.
struct Packet {
    source: [u32; 4],
    destination: [u32; 4],
    /// Of what follows the IP headers.
    protocol: u32,
    /// Where that begins.
    header: u32,
    /// Bytes after its header.
    payload: u64,
    /// Datagrams that it is or will be.
    count: u64,
}

impl Packet {
    #[inline(always)]
    fn read(context: &SkBuffContext) -> Option<Self> {
        let first: u8 = load(context, 0)?;
        let (source, destination, protocol, header) = match first >> 4 {
            4 => {
                let addresses: [u32; 2] = load(context, 12)?;
                let protocol: u8 = load(context, 9)?;
                let header = u32::from(first & 15) * 4;
                (mapped(addresses[0]), mapped(addresses[1]), u32::from(protocol), header)
            }
            6 => {
                let addresses: [[u32; 4]; 2] = load(context, 8)?;
                let (protocol, header) = last_header(context)?;
                (addresses[0], addresses[1], protocol, header)
            }
            _ => return None,
        };
        let length = field!(context.skb.skb, __sk_buff.len: u32);
        let payload = u64::from(length.saturating_sub(header + HEADER));
        let segments = field!(context.skb.skb, __sk_buff.gso_segs: u32);
        let count = if segments == 0 { 1 } else { u64::from(segments) };
        Some(Self { source, destination, protocol, header, payload, count })
    }
}

/// The protocol after the headers of IPv6 and where it begins (RFC 8200, section 4).
#[inline(always)]
fn last_header(context: &SkBuffContext) -> Option<(u32, u32)> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let mut next: u8 = load(context, 6)?;
    let mut at = 40;
    for _ in 0..MAX_EXTENSIONS {
        if next != HOP_BY_HOP && next != ROUTING && next != FRAGMENT && next != DESTINATION {
            break;
        }
        let [following, length]: [u8; 2] = load(context, at)?;
        at += if next == FRAGMENT { 8 } else { (u32::from(length) + 1) * 8 };
        next = following;
    }
    Some((u32::from(next), at))
}

/// Bytes of the packet.
#[inline(always)]
fn load<T: Copy>(context: &SkBuffContext, at: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    let result = unsafe {
        bpf_skb_load_bytes(context.as_ptr(), at, value.as_mut_ptr().cast(), size_of::<T>() as u32)
    };
    if result == 0 { Some(unsafe { value.assume_init() }) } else { None }
}
