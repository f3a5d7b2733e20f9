//! Reading `inet_diag` replies.
//!
//! ```text
//! struct inet_diag_msg (72 bytes, include/uapi/linux/inet_diag.h)
//!   0  family u8, state u8, timer u8, retrans u8
//!   4  sport be16, dport be16, src 16 bytes, dst 16 bytes, if u32, cookie u32 x 2
//!  52  expires u32, rqueue u32, wqueue u32, uid u32, inode u32
//!  72  attributes: length u16, type u16, payload, padded to 4
//! ```
//!
//! Kernels append to `struct tcp_info` and never reorder it: a field that lies beyond the
//! attribute's end is one that this kernel does not have, and reads as absent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Length of `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// Attribute that carries `struct tcp_info`.
const INET_DIAG_INFO: u16 = 2;
/// Attribute that carries the id of the socket's cgroup in the v2 hierarchy (Linux 5.9).
const INET_DIAG_CGROUP_ID: u16 = 21;

/// TCP states (include/net/tcp_states.h), those that matter here.
pub(crate) mod state {
    pub(crate) const SYN_SENT: u8 = 2;
    pub(crate) const FIN_WAIT1: u8 = 4;
    pub(crate) const FIN_WAIT2: u8 = 5;
    pub(crate) const TIME_WAIT: u8 = 6;
    pub(crate) const CLOSE_WAIT: u8 = 8;
    pub(crate) const LAST_ACK: u8 = 9;
    pub(crate) const LISTEN: u8 = 10;
    pub(crate) const CLOSING: u8 = 11;
    pub(crate) const NEW_SYN_RECV: u8 = 12;
}

/// One TCP socket as a dump shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiagSocket {
    pub(crate) state: u8,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// The kernel's socket cookie: the same number that BPF sees.
    pub(crate) cookie: u64,
    /// Inode of the socket's file; 0 when no process holds it.
    pub(crate) inode: u64,
    /// Id of its cgroup in the v2 hierarchy; 0 when the kernel does not say.
    pub(crate) cgroup: u64,
    pub(crate) info: Option<TcpInfo>,
}

/// The fields of `struct tcp_info` that flows are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TcpInfo {
    /// Smoothed round-trip time, microseconds; 0 before the first sample.
    pub(crate) rtt_us: u32,
    pub(crate) total_retrans: u32,
    pub(crate) bytes_acked: u64,
    pub(crate) bytes_received: u64,
    pub(crate) segs_in: u32,
    pub(crate) data_segs_in: u32,
    pub(crate) data_segs_out: u32,
    /// Retransmission timeouts, handshake included (Linux 6.7).
    pub(crate) total_rto: Option<u16>,
    pub(crate) delivered_ce: u32,
}

impl DiagSocket {
    /// Parses the payload of one `SOCK_DIAG_BY_FAMILY` message; `None` when it is cut short or of a
    /// family that is not asked for.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let family = i32::from(*bytes.first()?);
        let state = *bytes.get(1)?;
        let local = address(family, bytes, 8, 4)?;
        let peer = address(family, bytes, 24, 6)?;
        let cookie = u64::from(u32_at(bytes, 44)?) | u64::from(u32_at(bytes, 48)?) << 32;
        let inode = u64::from(u32_at(bytes, 68)?);
        let mut socket = Self { state, local, peer, cookie, inode, cgroup: 0, info: None };
        for (kind, payload) in Attributes(bytes.get(MESSAGE..)?) {
            match kind {
                INET_DIAG_INFO => socket.info = TcpInfo::parse(payload),
                INET_DIAG_CGROUP_ID => socket.cgroup = u64_at(payload, 0).unwrap_or(0),
                _ => {}
            }
        }
        Some(socket)
    }
}

impl TcpInfo {
    /// `None` when the kernel is older than 4.2, whose `tcp_info` has no byte counters.
    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            rtt_us: u32_at(bytes, 68)?,
            total_retrans: u32_at(bytes, 100)?,
            bytes_acked: u64_at(bytes, 120)?,
            bytes_received: u64_at(bytes, 128)?,
            segs_in: u32_at(bytes, 140).unwrap_or(0),
            data_segs_in: u32_at(bytes, 152).unwrap_or(0),
            data_segs_out: u32_at(bytes, 156).unwrap_or(0),
            delivered_ce: u32_at(bytes, 196).unwrap_or(0),
            total_rto: array_at(bytes, 240).map(u16::from_ne_bytes),
        })
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_ne_bytes)
}

fn address(family: i32, bytes: &[u8], at: usize, port_at: usize) -> Option<SocketAddr> {
    let port = array_at(bytes, port_at).map(u16::from_be_bytes)?;
    let ip = match family {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(array_at::<4>(bytes, at)?)),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(array_at::<16>(bytes, at)?)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Netlink attributes; ends at the first one that does not fit.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(array_at(self.0, 0).map(u16::from_ne_bytes)?);
        let kind = array_at(self.0, 2).map(u16::from_ne_bytes)?;
        let payload = self.0.get(4..length)?;
        let next = length.checked_next_multiple_of(4)?;
        self.0 = self.0.get(next..).unwrap_or(&[]);
        // The two top bits are flags (nested, byte order), not part of the type.
        Some((kind & 0x3fff, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut m = vec![0u8; MESSAGE];
        m[0] = libc::AF_INET6 as u8;
        m[1] = 1;
        m[4..6].copy_from_slice(&8080u16.to_be_bytes());
        m[6..8].copy_from_slice(&40000u16.to_be_bytes());
        m[8..24].copy_from_slice(&Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets());
        m[24..40].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        m[44..52].copy_from_slice(&0x1_0000_0007u64.to_ne_bytes());
        m[68..72].copy_from_slice(&99u32.to_ne_bytes());
        for (kind, payload) in attributes {
            m.extend(u16::try_from(payload.len() + 4).unwrap().to_ne_bytes());
            m.extend(kind.to_ne_bytes());
            m.extend(payload);
            m.resize(m.len().next_multiple_of(4), 0);
        }
        m
    }

    #[test]
    fn fields_are_where_the_kernel_puts_them() {
        let mut info = vec![0u8; 248];
        info[68..72].copy_from_slice(&1500u32.to_ne_bytes());
        info[120..128].copy_from_slice(&1_000_001u64.to_ne_bytes());
        info[240..242].copy_from_slice(&3u16.to_ne_bytes());
        let bytes = message(&[(8, vec![1]), (INET_DIAG_INFO, info), (21, vec![5; 8])]);
        let socket = DiagSocket::parse(&bytes).unwrap();
        assert_eq!(socket.local, "10.0.0.1:8080".parse().unwrap());
        assert_eq!(socket.peer, "[::1]:40000".parse().unwrap());
        assert_eq!((socket.cookie, socket.inode), (0x1_0000_0007, 99));
        assert_eq!(socket.cgroup, u64::from_ne_bytes([5; 8]));
        let info = socket.info.unwrap();
        assert_eq!((info.rtt_us, info.bytes_acked, info.total_rto), (1500, 1_000_001, Some(3)));
    }

    #[test]
    fn an_older_kernel_has_fewer_fields() {
        let bytes = message(&[(INET_DIAG_INFO, vec![1; 160])]);
        let info = DiagSocket::parse(&bytes).unwrap().info.unwrap();
        assert_eq!(info.total_rto, None);
        assert_ne!(info.data_segs_out, 0);
        let bytes = message(&[(INET_DIAG_INFO, vec![1; 104])]);
        assert_eq!(DiagSocket::parse(&bytes).unwrap().info, None);
    }

    proptest! {
        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = DiagSocket::parse(&bytes);
        }

        #[test]
        fn truncation_never_panics(length in 0usize..200) {
            let bytes = message(&[(INET_DIAG_INFO, vec![1; 120])]);
            let _ = DiagSocket::parse(&bytes[..length.min(bytes.len())]);
        }
    }
}
