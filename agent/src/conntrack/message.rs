//! Messages of `ctnetlink`.
//!
//! ```text
//! nlmsghdr (16) | nfgenmsg: family u8, version u8, resource be16
//! CTA_TUPLE_ORIG 1, CTA_TUPLE_REPLY 2
//!   CTA_TUPLE_IP 1     CTA_IP_V4_SRC 1, V4_DST 2, V6_SRC 3, V6_DST 4
//!   CTA_TUPLE_PROTO 2  CTA_PROTO_NUM 1 u8, SRC_PORT 2 be16, DST_PORT 3 be16
//! CTA_STATUS 3 be32, CTA_ID 12 be32
//! ```
//!
//! Source: linux/netfilter/nfnetlink_conntrack.h, linux/netlink.h.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::netlink::attributes;
use crate::socket::Protocol;

/// Bytes of `struct nfgenmsg`.
const NFGENMSG: usize = 4;

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tuple {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

/// A tracked connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) protocol: Protocol,
    /// As it was begun.
    pub(super) original: Tuple,
    /// As answers come back.
    pub(super) reply: Tuple,
    /// The kernel's id of it.
    pub(super) id: u32,
}

impl Entry {
    /// Reads the payload of a message; `None` for other protocols than TCP and UDP, and for what is no entry.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let (mut original, mut reply, mut id) = (None, None, 0);
        for (kind, value) in attributes(payload.get(NFGENMSG..)?) {
            match kind {
                1 => original = Some(tuple(value)?),
                2 => reply = Some(tuple(value)?),
                12 => id = u32::from_be_bytes(*value.first_chunk()?),
                _ => {}
            }
        }
        let ((protocol, original), (_, reply)) = (original?, reply?);
        Some(Self { protocol, original, reply, id })
    }

    /// Whether anything is translated.
    pub(super) fn is_translated(&self) -> bool {
        self.original.source != self.reply.destination
            || self.original.destination != self.reply.source
    }
}

fn tuple(bytes: &[u8]) -> Option<(Protocol, Tuple)> {
    let (mut source, mut destination) = (None, None);
    let (mut protocol, mut ports) = (None, (0, 0));
    for (kind, value) in attributes(bytes) {
        for (inner, value) in attributes(value) {
            match (kind, inner) {
                (1, 1) => source = Some(v4(value)?),
                (1, 2) => destination = Some(v4(value)?),
                (1, 3) => source = Some(v6(value)?),
                (1, 4) => destination = Some(v6(value)?),
                (2, 1) => protocol = value.first().copied(),
                (2, 2) => ports.0 = u16::from_be_bytes(*value.first_chunk()?),
                (2, 3) => ports.1 = u16::from_be_bytes(*value.first_chunk()?),
                _ => {}
            }
        }
    }
    let protocol = match i32::from(protocol?) {
        libc::IPPROTO_TCP => Protocol::Tcp,
        libc::IPPROTO_UDP => Protocol::Udp,
        _ => return None,
    };
    let source = SocketAddr::new(source?, ports.0);
    let destination = SocketAddr::new(destination?, ports.1);
    Some((protocol, Tuple { source, destination }))
}

fn v4(bytes: &[u8]) -> Option<IpAddr> {
    Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into())
}

fn v6(bytes: &[u8]) -> Option<IpAddr> {
    Some(IpAddr::from(Ipv6Addr::from(*bytes.first_chunk::<16>()?)).to_canonical())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn tuple_bytes(protocol: u8, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
        let ip = |kind: u16, ip: IpAddr| match ip {
            IpAddr::V4(ip) => attribute(kind, &ip.octets()),
            IpAddr::V6(ip) => attribute(kind + 2, &ip.octets()),
        };
        let nested = 0x8000;
        let addresses = [ip(1, source.ip()), ip(2, destination.ip())].concat();
        let ports = [
            attribute(1, &[protocol]),
            attribute(2, &source.port().to_be_bytes()),
            attribute(3, &destination.port().to_be_bytes()),
        ]
        .concat();
        [attribute(1 | nested, &addresses), attribute(2 | nested, &ports)].concat()
    }

    pub(in crate::conntrack) fn payload(protocol: u8, addresses: [&str; 4]) -> Vec<u8> {
        let [source, destination, answers, answered] =
            addresses.map(|text| text.parse::<SocketAddr>().unwrap());
        let mut bytes = vec![2, 0, 0, 0];
        bytes.extend(attribute(0x8001, &tuple_bytes(protocol, source, destination)));
        bytes.extend(attribute(0x8002, &tuple_bytes(protocol, answers, answered)));
        bytes.extend(attribute(3, &0x1a8u32.to_be_bytes()));
        bytes.extend(attribute(12, &77u32.to_be_bytes()));
        bytes
    }

    const SERVICE: [&str; 4] =
        ["10.0.0.1:40000", "10.96.0.1:443", "10.0.0.7:6443", "10.0.0.1:40000"];

    #[test]
    fn an_entry_has_both_directions() {
        let entry = Entry::parse(&payload(6, SERVICE)).unwrap();
        assert_eq!((entry.protocol, entry.id), (Protocol::Tcp, 77));
        assert_eq!(entry.original.destination.to_string(), "10.96.0.1:443");
        assert_eq!(entry.reply.source.to_string(), "10.0.0.7:6443");
        assert!(entry.is_translated());
        let six = ["[fd00::1]:4", "[fd00::2]:5", "[fd00::2]:5", "[fd00::1]:4"];
        let entry = Entry::parse(&payload(17, six)).unwrap();
        assert_eq!((entry.protocol, entry.is_translated()), (Protocol::Udp, false));
        assert_eq!(Entry::parse(&payload(1, SERVICE)), None, "ICMP");
    }

    #[test]
    fn what_is_cut_off_is_no_entry_or_another_one_and_never_a_panic() {
        let whole = payload(6, SERVICE);
        for length in 0..whole.len() {
            let _ = Entry::parse(&whole[..length]);
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Entry::parse(&bytes);
        }

        #[test]
        fn a_damaged_entry_never_panics(at in 0usize..150, byte in any::<u8>()) {
            let mut bytes = payload(6, SERVICE);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let _ = Entry::parse(&bytes);
        }
    }
}
