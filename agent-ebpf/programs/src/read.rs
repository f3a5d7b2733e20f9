//! Reads of context fields.
//!
//! The verifier rewrites loads from a context into reads of the kernel's own structures, but only
//! loads of a whole field at a constant offset from the unmodified pointer. An optimiser merges such
//! loads, widens them, or shares one between branches behind a computed pointer, volatile or not. So
//! each is written as the one instruction that it has to be.

use core::arch::asm;

use aya_ebpf::bindings::{__sk_buff, bpf_sock, bpf_sock_ops, bpf_tcp_sock};
use aya_ebpf::helpers::{self, bpf_sk_fullsock};
use aya_ebpf::programs::{SkBuffContext, SockOpsContext};
use weir_agent_ebpf::Reading;

/// A width that a field can have.
pub trait Field {
    /// Loads it.
    ///
    /// # Safety
    /// `base` is a context or socket pointer that has such a field at this offset.
    unsafe fn load<const OFFSET: usize>(base: u64) -> Self;
}

impl Field for u32 {
    #[inline(always)]
    unsafe fn load<const OFFSET: usize>(base: u64) -> Self {
        let value: u64;
        unsafe {
            asm!("{value} = *(u32 *)({base} + {offset})", value = out(reg) value,
                base = in(reg) base, offset = const OFFSET, options(nostack));
        }
        value as Self
    }
}

impl Field for u64 {
    #[inline(always)]
    unsafe fn load<const OFFSET: usize>(base: u64) -> Self {
        let value: u64;
        unsafe {
            asm!("{value} = *(u64 *)({base} + {offset})", value = out(reg) value,
                base = in(reg) base, offset = const OFFSET, options(nostack));
        }
        value
    }
}

/// Loads field `$field` of the `$type` that `$base` points to; `+ n` adds bytes to its offset.
macro_rules! field {
    ($base:expr, $type:ident.$field:ident: $width:ty $(, + $more:literal)?) => {
        unsafe {
            <$width as $crate::read::Field>::load::<
                { core::mem::offset_of!($type, $field) $(+ $more)? }
            >($base as u64)
        }
    };
}
pub(crate) use field;

const AF_INET: u32 = 2;

/// The socket of a packet, if it is a full one: not a request, for which a SYN-ACK leaves, nor one in TIME-WAIT.
#[inline(always)]
pub fn full_socket(context: &SkBuffContext) -> Option<*mut bpf_sock> {
    let sk = field!(context.skb.skb, __sk_buff.__bindgen_anon_2: u64) as *mut bpf_sock;
    if sk.is_null() {
        return None;
    }
    let sk = unsafe { bpf_sk_fullsock(sk) };
    if sk.is_null() { None } else { Some(sk) }
}

macro_rules! reading {
    ($base:expr, $type:ident) => {
        Reading {
            bytes_acked: field!($base, $type.bytes_acked: u64),
            bytes_received: field!($base, $type.bytes_received: u64),
            data_segs_out: field!($base, $type.data_segs_out: u32),
            data_segs_in: field!($base, $type.data_segs_in: u32),
            total_retrans: field!($base, $type.total_retrans: u32),
            snd_una: field!($base, $type.snd_una: u32),
            snd_nxt: field!($base, $type.snd_nxt: u32),
            rcv_nxt: field!($base, $type.rcv_nxt: u32),
        }
    };
}

/// Counters as `sock_ops` sees them.
#[inline(always)]
pub fn sock_ops(context: &SockOpsContext) -> Reading {
    reading!(context.ops, bpf_sock_ops)
}

/// Counters as programs on packets see them.
#[inline(always)]
pub fn tcp_sock(tcp: *const bpf_tcp_sock) -> Reading {
    reading!(tcp, bpf_tcp_sock)
}

/// The socket that a call is about.
#[inline(always)]
pub fn socket_of(context: &SockOpsContext) -> Option<*mut bpf_sock> {
    let sk = field!(context.ops, bpf_sock_ops.__bindgen_anon_2: u64) as *mut bpf_sock;
    if sk.is_null() { None } else { Some(sk) }
}

/// What the kernel says of a socket of TCP.
#[inline(always)]
pub fn tcp_sock_of(sk: *mut bpf_sock) -> Option<*const bpf_tcp_sock> {
    let tcp = unsafe { helpers::bpf_tcp_sock(sk) };
    if tcp.is_null() { None } else { Some(tcp) }
}

/// The first two arguments of a call.
#[inline(always)]
pub fn arguments(context: &SockOpsContext) -> (u32, u32) {
    (
        field!(context.ops, bpf_sock_ops.__bindgen_anon_1: u32),
        field!(context.ops, bpf_sock_ops.__bindgen_anon_1: u32, + 4),
    )
}

/// Local and peer address, network byte order, IPv4 mapped into IPv6.
#[inline(always)]
pub fn addresses(context: &SockOpsContext) -> ([u32; 4], [u32; 4]) {
    let ops = context.ops;
    if field!(ops, bpf_sock_ops.family: u32) == AF_INET {
        let local = field!(ops, bpf_sock_ops.local_ip4: u32);
        let peer = field!(ops, bpf_sock_ops.remote_ip4: u32);
        return (mapped(local), mapped(peer));
    }
    let local = [
        field!(ops, bpf_sock_ops.local_ip6: u32),
        field!(ops, bpf_sock_ops.local_ip6: u32, + 4),
        field!(ops, bpf_sock_ops.local_ip6: u32, + 8),
        field!(ops, bpf_sock_ops.local_ip6: u32, + 12),
    ];
    let peer = [
        field!(ops, bpf_sock_ops.remote_ip6: u32),
        field!(ops, bpf_sock_ops.remote_ip6: u32, + 4),
        field!(ops, bpf_sock_ops.remote_ip6: u32, + 8),
        field!(ops, bpf_sock_ops.remote_ip6: u32, + 12),
    ];
    (local, peer)
}

/// Local and peer port. The context has the first in host order, the second in network order.
#[inline(always)]
pub fn ports(context: &SockOpsContext) -> (u16, u16) {
    let local = field!(context.ops, bpf_sock_ops.local_port: u32);
    let peer = u32::from_be(field!(context.ops, bpf_sock_ops.remote_port: u32));
    (local as u16, peer as u16)
}

#[inline(always)]
pub const fn mapped(ip4: u32) -> [u32; 4] {
    [0, 0, 0xffff_u32.to_be(), ip4]
}
