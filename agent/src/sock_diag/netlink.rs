//! One `inet_diag` dump over netlink.
//!
//! Needs Linux 3.3 (`SOCK_DIAG_BY_FAMILY`) and no privilege. A dump is not a snapshot: sockets that
//! open or close while it runs may be in it or not. Replies that do not fit into the receive buffer
//! cannot occur, as the kernel sizes them by the reader's buffer (at most 32 KiB).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::message::{DiagSocket, state};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
/// `1 << (INET_DIAG_INFO - 1)`: ask for `struct tcp_info`.
const WANT_TCP_INFO: u8 = 2;

/// Every TCP state except those that carry no counters: `TIME_WAIT` and requests not yet accepted.
const STATES: u32 = 0x1ffe & !(1 << state::TIME_WAIT) & !(1 << state::NEW_SYN_RECV);

/// All TCP sockets, listening ones included, of the calling thread's network namespace.
///
/// # Errors
/// The socket calls' own, and the kernel's refusal of the request.
pub(super) fn dump() -> io::Result<Vec<DiagSocket>> {
    let mut sockets = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        match dump_family(family, &mut sockets) {
            // A kernel without IPv6 refuses that family alone.
            Err(e) if family == libc::AF_INET6 && e.raw_os_error() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(sockets)
}

/// Cookie of the calling thread's network namespace (Linux 5.14), as BPF reports it.
pub(super) fn namespace_cookie() -> Option<u64> {
    // `SO_NETNS_COOKIE`, include/uapi/asm-generic/socket.h; the architectures that number it
    // otherwise answer with an error or another length, which reads as "not known".
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let socket = open(libc::AF_INET, libc::SOCK_DGRAM, 0).ok()?;
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

fn open(domain: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn dump_family(family: libc::c_int, out: &mut Vec<DiagSocket>) -> io::Result<()> {
    let socket = open(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_SOCK_DIAG)?;
    limit_wait(&socket)?;
    let request = request(family);
    // SAFETY: pointer and length are those of one live slice.
    let sent = unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        // SAFETY: pointer and length are those of one live, writable slice.
        let received =
            unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let received = match usize::try_from(received) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => n,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
        };
        if read_messages(buffer.get(..received).unwrap_or(&[]), out)? {
            return Ok(());
        }
    }
}

/// A dump that the kernel does not finish must not stop measuring for good.
fn limit_wait(socket: &OwnedFd) -> io::Result<()> {
    let timeout = libc::timeval { tv_sec: 5, tv_usec: 0 };
    // SAFETY: the pointer is to a live timeval of the given length.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const timeout).cast(),
            size_of::<libc::timeval>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(family: libc::c_int) -> Vec<u8> {
    const LENGTH: u32 = 16 + 56;
    let mut m = Vec::with_capacity(LENGTH as usize);
    m.extend(LENGTH.to_ne_bytes());
    m.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    m.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    m.extend(1u32.to_ne_bytes());
    m.extend(0u32.to_ne_bytes());
    m.extend([family as u8, libc::IPPROTO_TCP as u8, WANT_TCP_INFO, 0]);
    m.extend(STATES.to_ne_bytes());
    m.resize(LENGTH as usize, 0);
    m
}

/// Reads the messages of one datagram; true when the dump is complete.
fn read_messages(mut bytes: &[u8], out: &mut Vec<DiagSocket>) -> io::Result<bool> {
    while let Some((length, kind)) = header(bytes) {
        let Some(payload) = bytes.get(HEADER..length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = payload.first_chunk::<4>().map_or(0, |c| i32::from_ne_bytes(*c));
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            SOCK_DIAG_BY_FAMILY => out.extend(DiagSocket::parse(payload)),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(false)
}

/// Length (header included) and type of the message at the front.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk::<4>()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk::<2>()?);
    (length >= HEADER).then_some((length, kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_kernel_error_is_reported_as_such() {
        let mut m = Vec::new();
        m.extend(36u32.to_ne_bytes());
        m.extend(NLMSG_ERROR.to_ne_bytes());
        m.resize(16, 0);
        m.extend((-libc::EPERM).to_ne_bytes());
        m.resize(36, 0);
        let error = read_messages(&m, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    proptest! {
        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_messages(&bytes, &mut Vec::new());
        }
    }
}
