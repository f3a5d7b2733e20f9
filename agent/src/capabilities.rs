//! What the agent may do, and how it gives up what it does not need (capabilities(7)).
//!
//! Loading the programs takes more than running them. Once they are attached, and before any other thread
//! is made, everything else is given up for good: also by whoever would take the agent over.

use std::fs;
use std::io;

/// A capability, and what is missing without it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capability {
    /// Its number (linux/capability.h).
    number: u32,
    pub(crate) name: &'static str,
    pub(crate) without: &'static str,
    /// Needed until the programs are attached, and not after that.
    to_start: bool,
}

/// All that are of use.
pub(crate) const USEFUL: [Capability; 6] = [
    Capability {
        number: 39,
        name: "CAP_BPF",
        without: "no programs in the kernel: sockets are read through sock_diag",
        to_start: false,
    },
    Capability {
        number: 12,
        name: "CAP_NET_ADMIN",
        without: "no programs in the kernel, and no translated addresses",
        to_start: false,
    },
    Capability {
        number: 38,
        name: "CAP_PERFMON",
        without: "some kernels refuse the programs",
        to_start: true,
    },
    Capability {
        number: 21,
        name: "CAP_SYS_ADMIN",
        without: "other network namespaces stay closed: their older connections, translated addresses and \
                  interfaces are not seen",
        to_start: false,
    },
    Capability {
        number: 19,
        name: "CAP_SYS_PTRACE",
        without: "sockets of other users' processes may have no name",
        to_start: false,
    },
    Capability {
        number: 2,
        name: "CAP_DAC_READ_SEARCH",
        without: "sockets of other users' processes may have no name",
        to_start: false,
    },
];

impl Capability {
    /// Whether it is in a set.
    pub(crate) fn is_in(self, set: u64) -> bool {
        set & self.bit() != 0
    }

    fn bit(self) -> u64 {
        1 << self.number
    }
}

/// The calling thread's effective set.
///
/// # Errors
/// When `/proc` does not tell.
pub(crate) fn effective() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    set.ok_or_else(|| io::Error::other("/proc/thread-self/status has no CapEff"))
}

/// `struct __user_cap_header_struct`, version 3.
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct`; two of them make 64 capabilities.
#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up everything that a running agent does not need, of the calling thread and those that it will make.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn keep_what_is_needed() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let needed: u64 = USEFUL.iter().filter(|c| !c.to_start).map(|c| c.bit()).sum();
    let kept = effective()? & needed;
    for number in 0..64 {
        if needed & (1 << number) == 0 {
            // SAFETY: no pointers are passed. Numbers that the kernel does not know are refused, and so is
            // everything without CAP_SETPCAP: then the bounding set stays what it is.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
        }
    }
    // SAFETY: no pointers are passed.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| {
        let set = u32::try_from((kept >> shift) & u64::from(u32::MAX)).unwrap_or(0);
        Data { effective: set, permitted: set, inheritable: 0 }
    };
    let data = [half(0), half(32)];
    // SAFETY: the pointers are to a header and the two structures that its version says.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gives_up_what_it_does_not_need() {
        // Of this thread alone.
        let thread = std::thread::spawn(|| {
            let before = effective().unwrap();
            keep_what_is_needed().unwrap();
            (before, effective().unwrap())
        });
        let (before, after) = thread.join().unwrap();
        for capability in USEFUL {
            let kept = capability.is_in(before) && !capability.to_start;
            assert_eq!(capability.is_in(after), kept, "{capability:?}");
        }
        assert_eq!(after & !before, 0);
        assert!(after.count_ones() <= 5, "{after:x}");
    }
}
