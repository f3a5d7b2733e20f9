//! The BPF programs of the Weir agent.
//!
//! ```text
//! weir_sock_create  cgroup/sock_create  a process makes a socket: remember who
//! weir_life_cycle   sock_ops            connect, accept, change of state, RTO, RTT sample, listen
//! weir_egress       cgroup_skb/egress   a segment leaves: bring the socket's volume up to date;
//!                                       a datagram leaves: count it, copy questions of DNS
//! weir_dropped      tp_btf/kfree_skb    the kernel drops a packet: count it by reason
//! weir_ingress      cgroup_skb/ingress  a datagram reaches a socket: count it, copy
//!                                       answers of DNS
//! ```
//!
//! Attached to the root of the cgroup v2 hierarchy they see the sockets of every namespace. Only
//! stable contexts (`bpf_sock_ops`, `bpf_sock`, `__sk_buff`, `bpf_tcp_sock`) are read, so one object
//! serves every kernel from 5.10 on; what they do not give (`kernel`, `drops`) is read where the running kernel's own
//! type information says that it is.

#![no_std]
#![no_main]
// Inline assembly for BPF; building core for this target takes an unstable compiler in any case.
#![feature(asm_experimental_arch)]

mod datagrams;
mod dns;
mod drops;
mod egress;
mod kernel;
mod life_cycle;
mod maps;
mod owner;
mod read;

use aya_ebpf::macros::{btf_tracepoint, cgroup_skb, cgroup_sock, sock_ops};
use aya_ebpf::programs::{BtfTracePointContext, SkBuffContext, SockContext, SockOpsContext};

/// Life cycle of TCP sockets. The return value is only of use to options that are not set here.
#[sock_ops]
pub fn weir_life_cycle(context: SockOpsContext) -> u32 {
    life_cycle::handle(&context);
    1
}

/// Volume as segments leave. Lets every packet pass.
#[cgroup_skb(egress)]
pub fn weir_egress(context: SkBuffContext) -> i32 {
    egress::handle(&context);
    1
}

/// Datagrams as they reach sockets. Lets every packet pass.
#[cgroup_skb(ingress)]
pub fn weir_ingress(context: SkBuffContext) -> i32 {
    datagrams::arrived(&context);
    1
}

/// Packets that the kernel drops. The return value is of no use.
#[btf_tracepoint(function = "kfree_skb")]
pub fn weir_dropped(context: BtfTracePointContext) -> i32 {
    drops::dropped(&context);
    0
}

/// Makers of sockets. Allows every socket.
#[cgroup_sock(sock_create)]
pub fn weir_sock_create(context: SockContext) -> i32 {
    owner::handle(&context);
    1
}

/// Several helpers are reserved to programs under a licence compatible with the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
