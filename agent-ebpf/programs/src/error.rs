//! The error of a socket that closed (`sock.sk_err`), which no stable interface gives.

use core::ffi::c_void;
use core::ptr::{addr_of, read_volatile};

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Set by the loader; 0 if it is not known. A mangled name would depend on the directory of the build.
#[unsafe(no_mangle)]
static WEIR_SOCK_ERROR: u32 = 0;

/// errno, or 0.
#[inline(always)]
pub fn of(sk: *mut bpf_sock) -> u32 {
    let offset = u64::from(unsafe { read_volatile(addr_of!(WEIR_SOCK_ERROR)) });
    if offset == 0 {
        return 0;
    }
    // The verifier forbids arithmetic on the pointer; what is read back from memory is a number to it.
    let place = sk;
    let Ok(address) = (unsafe { bpf_probe_read_kernel(addr_of!(place).cast::<u64>()) }) else {
        return 0;
    };
    unsafe { bpf_probe_read_kernel((address + offset) as *const c_void as *const u32) }.unwrap_or(0)
}
