//! Netlink sockets (netlink(7)): requests, dumps and events, whatever the subsystem.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// `NLM_F_REQUEST` with `NLM_F_DUMP`.
const DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Bits of an attribute's type that are flags (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const TYPE_MASK: u16 = 0x3fff;
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// A dump that the kernel does not finish must not stop measuring for good.
const TIMEOUT: libc::timeval = libc::timeval { tv_sec: 5, tv_usec: 0 };

/// A socket of the network namespace that the calling thread is in when it is opened.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// A socket of a subsystem (`NETLINK_...`).
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(crate) fn open(subsystem: libc::c_int) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, subsystem) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened and nobody else owns it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        socket.option(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &TIMEOUT)?;
        Ok(socket)
    }

    /// Sets an option; `T` is what it takes.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(crate) fn option<T>(
        &self,
        level: libc::c_int,
        name: libc::c_int,
        value: &T,
    ) -> io::Result<()> {
        let value: *const T = value;
        // SAFETY: pointer and length are those of one live value; the kernel copies it, and what it points
        // to, during the call.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                level,
                name,
                value.cast(),
                size_of::<T>() as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Joins groups of events. Without an address of its own the socket would be taken for the kernel, and
    /// be left out.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(crate) fn subscribe(&self, groups: &[u32]) -> io::Result<()> {
        // SAFETY: all zero is a valid value: any free port, no groups.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        let length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        // SAFETY: pointer and length are those of one live address.
        let bound = unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), length) };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        groups.iter().try_for_each(|group| {
            self.option(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)
        })
    }

    /// Asks for everything of a kind, and gives each message's type and payload to `each`.
    ///
    /// # Errors
    /// The socket calls' own, and the kernel's refusal of the request.
    pub(crate) fn dump(
        &self,
        kind: u16,
        payload: &[u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        let request = request(kind, payload)?;
        // SAFETY: pointer and length are those of one live slice.
        let sent =
            unsafe { libc::send(self.0.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut buffer = vec![0u8; 64 << 10];
        while !messages(self.receive(&mut buffer, 0)?, &mut each)? {}
        Ok(())
    }

    /// The next datagram; with `MSG_DONTWAIT` in `flags` [`io::ErrorKind::WouldBlock`] if there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn receive<'a>(
        &self,
        buffer: &'a mut [u8],
        flags: libc::c_int,
    ) -> io::Result<&'a [u8]> {
        loop {
            // SAFETY: pointer and length are those of one live, writable slice.
            let received = unsafe {
                libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags)
            };
            match usize::try_from(received) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => return Ok(buffer.get(..length).unwrap_or_default()),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// `struct nlmsghdr` and what follows it.
fn request(kind: u16, payload: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(HEADER + payload.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(HEADER + payload.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(DUMP.to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(payload);
    Ok(message)
}

/// Gives the type and payload of each message of a datagram to `each`; true when a dump is complete.
///
/// # Errors
/// The kernel's, and bytes that are no message.
pub(crate) fn messages(mut bytes: &[u8], mut each: impl FnMut(u16, &[u8])) -> io::Result<bool> {
    while let Some((length, kind)) = header(bytes) {
        let Some(payload) = bytes.get(HEADER..length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            NLMSG_DONE => {
                // A dump that fails ends by its error (netlink_dump of net/netlink/af_netlink.c).
                let code = payload.first_chunk::<4>().map_or(0, |c| i32::from_ne_bytes(*c));
                if code < 0 {
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                return Ok(true);
            }
            NLMSG_ERROR => {
                let code = payload.first_chunk::<4>().map_or(0, |c| i32::from_ne_bytes(*c));
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            _ => each(kind, payload),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// The attributes of a message or of another attribute, up to the first that is none.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk::<2>()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk::<2>()?) & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Length (header included) and type of the message at the front.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk::<4>()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk::<2>()?);
    (length >= HEADER).then_some((length, kind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_kernel_error_is_reported_as_such() {
        let mut m = Vec::new();
        m.extend(36u32.to_ne_bytes());
        m.extend(NLMSG_ERROR.to_ne_bytes());
        m.resize(16, 0);
        m.extend((-libc::EPERM).to_ne_bytes());
        m.resize(36, 0);
        let error = messages(&m, |_, _| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    fn done(code: i32) -> Vec<u8> {
        let mut m = Vec::new();
        m.extend(20u32.to_ne_bytes());
        m.extend(NLMSG_DONE.to_ne_bytes());
        m.resize(16, 0);
        m.extend(code.to_ne_bytes());
        m
    }

    #[test]
    fn a_dump_that_ends_with_an_error_is_not_complete() {
        assert!(messages(&done(0), |_, _| ()).unwrap());
        assert!(messages(&done(12), |_, _| ()).unwrap(), "what the subsystem counted");
        let error = messages(&done(-libc::ENOENT), |_, _| ()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }

    proptest! {
        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = messages(&bytes, |_, _| ());
        }
    }
}
