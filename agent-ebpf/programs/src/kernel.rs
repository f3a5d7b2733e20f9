//! What no stable interface gives of a socket, read where the running kernel's type information says that it is.

use core::ffi::c_void;
use core::ptr::{addr_of, read_volatile};

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::{bpf_get_netns_cookie, bpf_probe_read_kernel};
use aya_ebpf::programs::SockOpsContext;
use weir_agent_ebpf::SocketLayout;

use crate::read;

/// Set by the loader. A mangled name would depend on the directory of the build.
#[unsafe(no_mangle)]
static WEIR_SOCKET: SocketLayout = SocketLayout { error: 0, netns: 0, netns_cookie: 0 };

/// Set by the loader.
#[unsafe(no_mangle)]
static WEIR_ASK_NETNS: u32 = 1;

macro_rules! offset {
    ($field:ident) => {
        unsafe { read_volatile(addr_of!(WEIR_SOCKET.$field)) }
    };
}

/// The error of a socket that closed: errno, or 0.
#[inline(always)]
pub fn error(context: &SockOpsContext) -> u32 {
    let at = offset!(error);
    let Some(sk) = read::socket_of(context) else { return 0 };
    if at == 0 { 0 } else { number(sk).and_then(|sk| load(sk, at)).unwrap_or(0) }
}

/// The cookie of the socket's network namespace.
#[inline(always)]
pub fn netns(context: &SockOpsContext) -> u64 {
    // The kernel removes the branch that is not taken before it looks for the helper.
    if unsafe { read_volatile(addr_of!(WEIR_ASK_NETNS)) } != 0 {
        return unsafe { bpf_get_netns_cookie(context.as_ptr()) };
    }
    let (netns, cookie) = (offset!(netns), offset!(netns_cookie));
    let Some(sk) = read::socket_of(context) else { return 0 };
    let net: Option<u64> = number(sk).and_then(|sk| load(sk, netns));
    net.and_then(|net| load(net, cookie)).unwrap_or(0)
}

/// The verifier forbids arithmetic on the pointer; what is read back from memory is a number to it.
#[inline(always)]
fn number(sk: *mut bpf_sock) -> Option<u64> {
    let place = sk;
    unsafe { bpf_probe_read_kernel(addr_of!(place).cast::<u64>()) }.ok()
}

#[inline(always)]
fn load<T: Copy>(base: u64, at: u32) -> Option<T> {
    unsafe { bpf_probe_read_kernel((base + u64::from(at)) as *const c_void as *const T) }.ok()
}
