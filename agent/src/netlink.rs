//! Netlink sockets (netlink(7)): requests, dumps and events, whatever the subsystem.
//!
//! - Each request has a sequence of its own, and messages of others are read past: those of a dump that was given up may
//!   still come. The kernel refuses a dump while another runs on the same socket, so what is left of one is read first.
//! - Only what the kernel sends counts (port 0 of the sender's address); others may send to a socket's port.
//! - A dump that was interrupted (`NLM_F_DUMP_INTR`: what is dumped has changed meanwhile) lacks or repeats some. It is
//!   made anew, at most [`ATTEMPTS`] times; then the last one is taken, with a word in the log.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// `NLM_F_REQUEST` with `NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// `NLM_F_DUMP_INTR`.
const INTERRUPTED: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Bits of an attribute's type that are flags (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const TYPE_MASK: u16 = 0x3fff;
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// A dump that the kernel does not finish must not stop measuring for good.
const TIMEOUT: libc::timeval = libc::timeval { tv_sec: 5, tv_usec: 0 };

/// How often a dump that is interrupted is made.
const ATTEMPTS: usize = 4;
/// Datagrams of a dump that was given up that are read past.
const MAX_LEFT: usize = 10_000;

/// A socket of the network namespace that the calling thread is in when it is opened.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    /// Of the last request.
    sequence: AtomicU32,
}

/// How a dump goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    complete: bool,
    interrupted: bool,
}

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
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let socket = Self { socket, sequence: AtomicU32::new(0) };
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
                self.socket.as_raw_fd(),
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
        let bound =
            unsafe { libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), length) };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        groups.iter().try_for_each(|group| {
            self.option(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)
        })
    }

    /// Asks for everything of a kind: what `read` makes of each message's type and payload.
    ///
    /// # Errors
    /// The socket calls' own, and the kernel's refusal of the request.
    pub(crate) fn dump<T>(
        &self,
        kind: u16,
        payload: &[u8],
        read: impl Fn(u16, &[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut all = Vec::new();
        for _ in 0..ATTEMPTS {
            all.clear();
            let interrupted =
                self.dump_once(kind, payload, |kind, payload| all.extend(read(kind, payload)))?;
            if !interrupted {
                return Ok(all);
            }
        }
        tracing::debug!(kind, "every dump was interrupted, the last one may lack something");
        Ok(all)
    }

    /// True if it was interrupted.
    fn dump_once(
        &self,
        kind: u16,
        payload: &[u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<bool> {
        let mut buffer = vec![0u8; 64 << 10];
        self.leave_the_last(&mut buffer)?;
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let request = request(kind, sequence, payload)?;
        // SAFETY: pointer and length are those of one live slice.
        let sent = unsafe {
            libc::send(self.socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0)
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut progress = Progress::default();
        while !progress.complete {
            replies(self.receive(&mut buffer, 0)?, Some(sequence), &mut progress, &mut each)?;
        }
        Ok(progress.interrupted)
    }

    /// Reads what is left of a dump that was given up, to its end.
    fn leave_the_last(&self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..MAX_LEFT {
            match self.receive(buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Some of it found no room: it is not wanted anyway.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next datagram of the kernel; with `MSG_DONTWAIT` in `flags` [`io::ErrorKind::WouldBlock`] if there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn receive<'a>(
        &self,
        buffer: &'a mut [u8],
        flags: libc::c_int,
    ) -> io::Result<&'a [u8]> {
        loop {
            // SAFETY: all zero is a valid value.
            let mut sender: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
            let mut size = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            // SAFETY: pointers and lengths are those of a live, writable slice, of an address and of its length.
            let received = unsafe {
                libc::recvfrom(
                    self.socket.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    flags,
                    (&raw mut sender).cast(),
                    &raw mut size,
                )
            };
            match usize::try_from(received) {
                Ok(_) if sender.nl_pid != 0 => {}
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
fn request(kind: u16, sequence: u32, payload: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(HEADER + payload.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(HEADER + payload.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(DUMP.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(payload);
    Ok(message)
}

/// Gives the type and payload of each event of a datagram to `each`.
///
/// # Errors
/// The kernel's, and bytes that are no message.
pub(crate) fn events(bytes: &[u8], each: impl FnMut(u16, &[u8])) -> io::Result<()> {
    replies(bytes, None, &mut Progress::default(), each)
}

/// Gives the type and payload of each message of a datagram to `each`, of one sequence if it is given.
fn replies(
    mut bytes: &[u8],
    sequence: Option<u32>,
    progress: &mut Progress,
    mut each: impl FnMut(u16, &[u8]),
) -> io::Result<()> {
    while let Some(Header { length, kind, flags, sequence: of }) = Header::read(bytes) {
        let Some(payload) = bytes.get(HEADER..length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        if sequence.is_some_and(|sequence| sequence != of) {
            continue;
        }
        progress.interrupted |= flags & INTERRUPTED != 0;
        let code = payload.first_chunk::<4>().map_or(0, |c| i32::from_ne_bytes(*c));
        match kind {
            // A dump that fails ends by its error (netlink_dump of net/netlink/af_netlink.c).
            NLMSG_DONE if code >= 0 => {
                progress.complete = true;
                return Ok(());
            }
            NLMSG_DONE | NLMSG_ERROR => {
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            _ => each(kind, payload),
        }
    }
    Ok(())
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

/// The `struct nlmsghdr` at the front.
struct Header {
    /// The header included.
    length: usize,
    kind: u16,
    flags: u16,
    sequence: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER>()?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).ok()?;
        let (kind, flags) = (u16::from_ne_bytes([e, f]), u16::from_ne_bytes([g, h]));
        let sequence = u32::from_ne_bytes([i, j, k, l]);
        (length >= HEADER).then_some(Self { length, kind, flags, sequence })
    }
}

#[cfg(test)]
mod tests;
