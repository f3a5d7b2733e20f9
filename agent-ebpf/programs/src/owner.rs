//! `cgroup/sock_create`: who makes a socket, while that process is still the one running.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid,
    bpf_get_netns_cookie, bpf_get_socket_cookie,
};
use aya_ebpf::programs::SockContext;
use weir_agent_ebpf::{Maker, Owner};

use crate::maps::OWNERS;

#[inline(always)]
pub fn handle(context: &SockContext) {
    let owner = Owner {
        cgroup: unsafe { bpf_get_current_cgroup_id() },
        comm: bpf_get_current_comm().unwrap_or_default(),
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        reserved: 0,
    };
    let netns = unsafe { bpf_get_netns_cookie(context.as_ptr()) };
    let cookie = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    // A hint that may be missing: an LRU map evicts rather than refuses.
    let _ = OWNERS.insert(&cookie, &Maker { owner, netns }, 0);
}
