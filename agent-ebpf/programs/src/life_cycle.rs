//! `sock_ops`: what happens to a TCP socket from `connect` or accept to its end.
//!
//! The kernel calls with the socket's lock held.
//!
//! Retransmitted segments are read from the socket's own total, which the kernel raises by the same
//! number and in the same place as `TcpRetransSegs` (`__tcp_retransmit_skb`); the total of an accepted
//! socket begins with the SYN-ACKs resent (`req->num_retrans`). SYN-ACKs resent for handshakes that
//! were never completed are in `TcpRetransSegs` alone: there is no socket to count them at.
//!
//! Timeouts are calls of `RTO_CB`. `tcp_retransmit_timer` raises `TcpExtTCPTimeouts` and at once calls
//! `tcp_write_timeout`, which calls back, also when it then gives up; so the two are equal, with these
//! exceptions, in all of which the kernel's counter is the larger one:
//! - SYN-ACK timers (`tcp_syn_ack_timeout`, fast open included) run on the request, for which no
//!   program is called;
//! - an orphan that is killed because there are too many or memory is short
//!   (`tcp_out_of_resources`) is killed before the call;
//! - the counter is the namespace's, and includes sockets that are not measured.
//!
//! Tail loss probes and window probes are timeouts to neither.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
    BPF_SOCK_OPS_RETRANS_CB, BPF_SOCK_OPS_RETRANS_CB_FLAG, BPF_SOCK_OPS_RTO_CB,
    BPF_SOCK_OPS_RTO_CB_FLAG, BPF_SOCK_OPS_RTT_CB, BPF_SOCK_OPS_RTT_CB_FLAG, BPF_SOCK_OPS_STATE_CB,
    BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB,
    bpf_sock_ops, bpf_tcp_sock,
};
use aya_ebpf::helpers::{bpf_get_socket_cookie, bpf_ktime_get_ns};
use aya_ebpf::programs::SockOpsContext;
use weir_agent_ebpf::{Listener, Owner, Socket, flag};

use crate::kernel;
use crate::maps::{self, LISTENERS, OWNERS};
use crate::read::{self, field};

const CALLBACKS: u32 = BPF_SOCK_OPS_RTO_CB_FLAG
    | BPF_SOCK_OPS_RETRANS_CB_FLAG
    | BPF_SOCK_OPS_STATE_CB_FLAG
    | BPF_SOCK_OPS_RTT_CB_FLAG;

#[inline(always)]
pub fn handle(context: &SockOpsContext) {
    // Other operations ask for tuning decisions, some of them for every SYN: not ours.
    match field!(context.ops, bpf_sock_ops.op: u32) {
        BPF_SOCK_OPS_RTT_CB => rtt(context),
        BPF_SOCK_OPS_RETRANS_CB => retransmit(context),
        BPF_SOCK_OPS_RTO_CB => timeout(context),
        BPF_SOCK_OPS_STATE_CB => state_change(context),
        BPF_SOCK_OPS_TCP_CONNECT_CB => connect(context),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => connected(context),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted(context),
        BPF_SOCK_OPS_TCP_LISTEN_CB => listen(context),
        _ => {}
    }
}

/// `tcp_connect`: before the SYN leaves, in the context of the process.
#[inline(always)]
fn connect(context: &SockOpsContext) {
    let cookie = cookie(context);
    let Some(socket) = begin(context, cookie) else { return };
    if let Some(owner) = OWNERS.get_ptr(&cookie) {
        socket.owner = unsafe { (*owner).owner };
    }
    socket.flags = flag::CLIENT;
    socket.connect_begin_ns = unsafe { bpf_ktime_get_ns() };
    socket.cookie = cookie;
}

/// `tcp_finish_connect`: the SYN-ACK has come.
#[inline(always)]
fn connected(context: &SockOpsContext) {
    let Some(socket) = maps::open_socket(cookie(context)) else { return };
    socket.establish(&read::sock_ops(context));
    let took_ns = unsafe { bpf_ktime_get_ns() }.saturating_sub(socket.connect_begin_ns);
    // Never 0, which says that the handshake is not done.
    let took_us = (took_ns / 1000).clamp(1, u64::from(u32::MAX));
    socket.connect_time_us = took_us as u32;
}

/// `tcp_rcv_state_process` in SYN-RECV: the handshake of a socket that will be accepted is done.
#[inline(always)]
fn accepted(context: &SockOpsContext) {
    let cookie = cookie(context);
    if let Some(socket) = maps::open_socket(cookie) {
        // Both ends connected to each other at once: this one is known as a client.
        socket.establish(&read::sock_ops(context));
        return;
    }
    let Some(socket) = begin(context, cookie) else { return };
    let listener =
        Listener { netns: socket.netns, port: u32::from(socket.local_port), reserved: 0 };
    if let Some(owner) = LISTENERS.get_ptr(&listener) {
        socket.owner = unsafe { *owner };
        // Workers may accept in cgroups of their own; the socket's own cgroup is read as it sends.
        socket.owner.cgroup = 0;
    }
    socket.establish(&read::sock_ops(context));
    // The SYN-ACK's round trip, measured before callbacks were asked for.
    let srtt_us = field!(context.ops, bpf_sock_ops.srtt_us: u32) >> 3;
    if srtt_us != 0 {
        socket.measure_rtt(srtt_us);
    }
    socket.cookie = cookie;
}

#[inline(always)]
fn begin<'a>(context: &SockOpsContext, cookie: u64) -> Option<&'a mut Socket> {
    let socket = maps::insert(cookie)?;
    let _ = context.set_cb_flags(
        (field!(context.ops, bpf_sock_ops.bpf_sock_ops_cb_flags: u32) | CALLBACKS) as i32,
    );
    (socket.local_address, socket.peer_address) = read::addresses(context);
    (socket.local_port, socket.peer_port) = read::ports(context);
    socket.netns = kernel::netns(context);
    socket.state = field!(context.ops, bpf_sock_ops.state: u32);
    Some(socket)
}

/// Arguments: the old state and the new one, which is not yet in effect.
#[inline(always)]
fn state_change(context: &SockOpsContext) {
    let Some(socket) = maps::open_socket(cookie(context)) else { return };
    let (old, new) = read::arguments(context);
    socket.change_state(old, new, &read::sock_ops(context));
    enter_marks(context, socket);
    if socket.has(flag::CLOSED) {
        socket.error = kernel::error(context);
        maps::hand_over(socket);
    }
}

#[inline(always)]
fn retransmit(context: &SockOpsContext) {
    let Some(socket) = maps::open_socket(cookie(context)) else { return };
    socket.refresh(&read::sock_ops(context));
}

#[inline(always)]
fn timeout(context: &SockOpsContext) {
    let Some(socket) = maps::open_socket(cookie(context)) else { return };
    socket.refresh(&read::sock_ops(context));
    socket.time_out();
}

/// Once for each round trip. Arguments from Linux 6.10 on: the measured time and the smoothed one
/// (times 8), microseconds; before, none: the smoothed time of the previous call must do.
#[inline(always)]
fn rtt(context: &SockOpsContext) {
    let Some(socket) = maps::open_socket(cookie(context)) else { return };
    socket.refresh(&read::sock_ops(context));
    let (measured, smoothed) = read::arguments(context);
    let us = if measured == 0 && smoothed == 0 {
        field!(context.ops, bpf_sock_ops.srtt_us: u32) >> 3
    } else {
        measured
    };
    socket.measure_rtt(us);
    enter_marks(context, socket);
}

/// Marks of congestion, where both ends have agreed to speak of them.
#[inline(always)]
fn enter_marks(context: &SockOpsContext, socket: &mut Socket) {
    if field!(context.ops, bpf_sock_ops.ecn_flags: u32) == 0 {
        return;
    }
    if let Some(tcp) = read::socket_of(context).and_then(read::tcp_sock_of) {
        socket.delivered_ce = field!(tcp, bpf_tcp_sock.delivered_ce: u32);
    }
}

/// `inet_listen`: remember who will own what is accepted on this port.
#[inline(always)]
fn listen(context: &SockOpsContext) {
    let Some(maker) = OWNERS.get_ptr(&cookie(context)) else { return };
    let owner: Owner = unsafe { (*maker).owner };
    let netns = kernel::netns(context);
    let listener =
        Listener { netns, port: field!(context.ops, bpf_sock_ops.local_port: u32), reserved: 0 };
    let _ = LISTENERS.insert(&listener, &owner, 0);
}

#[inline(always)]
fn cookie(context: &SockOpsContext) -> u64 {
    unsafe { bpf_get_socket_cookie(context.as_ptr()) }
}
