//! Messages between sockets and name servers, copied for the agent to read.
//!
//! Only UDP, and only while the agent asks for it. A ring that is full drops messages and counts them: names
//! are missing then, no volume is.

use core::hint::black_box;
use core::ptr::{addr_of, read_volatile};

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_sk_cgroup_id, bpf_skb_load_bytes};
use aya_ebpf::programs::SkBuffContext;
use weir_agent_ebpf::{DNS_BYTES, DnsMessage, Owner};

use crate::maps::{self, OWNERS};

/// Set by the loader. A mangled name would depend on the directory of the build.
#[unsafe(no_mangle)]
static WEIR_DNS: u32 = 0;

/// Copies a message of `length` bytes that begins at `at`.
#[inline(always)]
pub fn copy(
    context: &SkBuffContext,
    sk: *mut bpf_sock,
    cookie: u64,
    received: bool,
    at: u32,
    length: u64,
) {
    if unsafe { read_volatile(addr_of!(WEIR_DNS)) } == 0 || length == 0 {
        return;
    }
    let owner = match OWNERS.get_ptr(&cookie) {
        Some(maker) => unsafe { (*maker).owner },
        None => Owner {
            cgroup: unsafe { bpf_sk_cgroup_id(sk.cast()) },
            comm: [0; 16],
            tgid: 0,
            reserved: 0,
        },
    };
    let Some(mut entry) = maps::reserve_dns() else { return };
    let message: *mut DnsMessage = entry.as_mut_ptr();
    let kept = if length > DNS_BYTES as u64 { DNS_BYTES as u64 } else { length };
    // The mask changes nothing, but the verifier sees the bounds by it; without the black box the optimiser
    // would know better and drop it.
    let kept = (black_box(kept - 1) & (DNS_BYTES as u64 - 1)) + 1;
    unsafe {
        (*message).cookie = cookie;
        (*message).owner = owner;
        (*message).at_ns = bpf_ktime_get_ns();
        (*message).length = length as u32;
        (*message).received = received as u32;
        let bytes = (&raw mut (*message).bytes).cast();
        if bpf_skb_load_bytes(context.as_ptr(), at, bytes, kept as u32) != 0 {
            entry.discard(maps::NO_WAKEUP);
            return;
        }
    }
    entry.submit(maps::NO_WAKEUP);
}
