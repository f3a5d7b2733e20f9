//! `cgroup_skb/egress`: a socket that only receives has no RTT samples and changes no state for
//! hours, but it acknowledges; at each segment that leaves, its counters are up to date. Datagrams are
//! counted one by one.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{__sk_buff, bpf_sock, bpf_tcp_sock};
use aya_ebpf::helpers::{bpf_get_socket_cookie, bpf_sk_cgroup_id};
use aya_ebpf::programs::SkBuffContext;

use weir_agent_ebpf::protocol;

use crate::datagrams::{self, Direction};
use crate::maps;
use crate::read::{self, field};

/// Bytes of a segment without data, at most: the headers of IPv6 and TCP with all options. Lower layers do not
/// count here.
const PURE_ACK: u32 = 40 + 60;

#[inline(always)]
pub fn handle(context: &SkBuffContext) {
    let Some(sk) = read::full_socket(context) else { return };
    let protocol = field!(sk, bpf_sock.protocol: u32);
    if protocol != protocol::TCP {
        datagrams::count(context, sk, protocol, Direction::Sent);
        return;
    }
    // What carries data is acknowledged soon, and then brings the socket up to date by itself.
    if field!(context.skb.skb, __sk_buff.len: u32) > PURE_ACK {
        return;
    }
    let cookie = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    let Some(socket) = maps::open_socket(cookie) else { return };
    if socket.owner.cgroup == 0 {
        socket.owner.cgroup = unsafe { bpf_sk_cgroup_id(sk.cast()) };
    }
    if let Some(tcp) = read::tcp_sock_of(sk) {
        socket.refresh(&read::tcp_sock(tcp));
        socket.delivered_ce = field!(tcp, bpf_tcp_sock.delivered_ce: u32);
    }
}
