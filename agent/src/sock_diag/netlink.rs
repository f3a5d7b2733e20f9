//! One `inet_diag` dump over netlink.
//!
//! Needs Linux 3.3 (`SOCK_DIAG_BY_FAMILY`) and no privilege. A dump is not a snapshot: sockets that
//! open or close while it runs may be in it or not. Replies that do not fit into the receive buffer
//! cannot occur, as the kernel sizes them by the reader's buffer (at most 32 KiB).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::message::{DiagSocket, state};
use crate::netlink::Netlink;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `1 << (INET_DIAG_INFO - 1)`: ask for `struct tcp_info`.
const WANT_TCP_INFO: u8 = 2;

/// Every TCP state except those that carry no counters: `TIME_WAIT` and requests not yet accepted.
const STATES: u32 = 0x1ffe & !(1 << state::TIME_WAIT) & !(1 << state::NEW_SYN_RECV);

/// Which sockets a dump is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Of TCP.
    Tcp,
    /// Of TCP and UDP.
    TcpAndUdp,
}

/// All TCP sockets, listening ones included, of the calling thread's network namespace, and those of UDP if they
/// are wanted and the kernel tells of them.
///
/// # Errors
/// The socket calls' own, and the kernel's refusal of the request.
pub(super) fn dump(which: Which) -> io::Result<Vec<DiagSocket>> {
    let mut sockets = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        match dump_family(family, libc::IPPROTO_TCP, &mut sockets) {
            // A kernel without IPv6 refuses that family alone.
            Err(e) if family == libc::AF_INET6 && e.raw_os_error() == Some(libc::ENOENT) => {}
            other => other?,
        }
        if which == Which::TcpAndUdp
            && let Err(error) = dump_family(family, libc::IPPROTO_UDP, &mut sockets)
        {
            tracing::debug!(%error, "sockets of UDP could not be read (modprobe udp_diag)");
        }
    }
    Ok(sockets)
}

/// Cookie of the calling thread's network namespace (Linux 5.14), as BPF reports it.
pub(super) fn namespace_cookie() -> Option<u64> {
    // `SO_NETNS_COOKIE`, include/uapi/asm-generic/socket.h; the architectures that number it
    // otherwise answer with an error or another length, which reads as "not known".
    const SO_NETNS_COOKIE: libc::c_int = 71;
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return None;
    }
    // SAFETY: the descriptor was just opened and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut cookie = 0u64;
    let mut length: libc::socklen_t = 8;
    // SAFETY: the pointers are to a u64 and to its length, both alive during the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (result == 0 && length == 8).then_some(cookie)
}

fn dump_family(
    family: libc::c_int,
    protocol: libc::c_int,
    out: &mut Vec<DiagSocket>,
) -> io::Result<()> {
    // `struct inet_diag_req_v2`
    let mut request = vec![family as u8, protocol as u8, WANT_TCP_INFO, 0];
    request.extend(STATES.to_ne_bytes());
    request.resize(56, 0);
    let socket = Netlink::open(libc::NETLINK_SOCK_DIAG)?;
    out.extend(socket.dump(SOCK_DIAG_BY_FAMILY, &request, |kind, payload| {
        (kind == SOCK_DIAG_BY_FAMILY).then(|| DiagSocket::parse(payload))?
    })?);
    Ok(())
}
