//! What is kept of each object: what a row may ask for, and no more.

use std::fmt;
use std::net::IpAddr;

use super::owner::Owner;
use super::tenure::Since;
use super::text::Text;

/// An address as a number; IPv4 within `::ffff:0:0/96` (RFC 4291, 2.5.5.2).
pub(crate) type Address = u128;

/// See [`Address`].
pub(super) fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The 32 hexadecimal digits of a uid (RFC 9562), with or without hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Uid(u128);

impl Uid {
    /// `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut number = 0u128;
        let mut digits = 0;
        for byte in text.bytes().filter(|byte| *byte != b'-') {
            number = (number << 4) | u128::from(char::from(byte).to_digit(16)?);
            digits += 1;
        }
        (digits == 32).then_some(Self(number))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let (a, rest) = digits.split_at(8);
        let (b, rest) = rest.split_at(4);
        let (c, rest) = rest.split_at(4);
        let (d, e) = rest.split_at(4);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

/// The first 12 hexadecimal digits of a container's id, which is what agents tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ContainerId(u64);

impl ContainerId {
    /// Of an id, with or without the runtime's name before it (`containerd://`).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let id = text.rsplit('/').next().unwrap_or(text);
        let first = id.get(..12)?;
        let is_hex = first.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u64::from_str_radix(first, 16).ok().map(Self)).flatten()
    }
}

/// A protocol that has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// As Kubernetes (`TCP`) or a flow row (`tcp`) has it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is = |name: &str| text.eq_ignore_ascii_case(name);
        match () {
            () if is("tcp") => Some(Self::Tcp),
            () if is("udp") => Some(Self::Udp),
            () if is("sctp") => Some(Self::Sctp),
            () => None,
        }
    }

    /// As a flow row has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Where something listens.
pub(crate) type Place = (Address, u16, Protocol);

/// What a pod's owner and node say of it, so that a row need not ask them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seat {
    pub(super) workload: Text,
    pub(super) workload_kind: Text,
    /// Empty where it is not known, as is the region.
    pub(super) zone: Text,
    pub(super) region: Text,
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) uid: Uid,
    /// By which the kubelet's cgroup calls it, where that is not its uid: a static pod's.
    pub(super) hash: Option<Uid>,
    pub(super) namespace: Text,
    pub(super) name: Box<str>,
    /// Where it runs; empty before it does.
    pub(super) node: Text,
    pub(super) owner: Owner,
    /// What the owner and the node say by now.
    pub(super) seat: Seat,
    /// Its own addresses; none for a pod in its node's network.
    pub(super) addresses: Vec<Address>,
    /// Where a pod in its node's network says that it listens.
    pub(super) places: Vec<Place>,
    pub(super) containers: Vec<(ContainerId, Text)>,
    pub(super) since: Since,
    /// When it let go of its addresses, microseconds, if it has: one that is finished may stay for days.
    pub(super) until: Option<i64>,
}

impl Pod {
    /// It has something that a row may name.
    pub(super) fn is_up(&self) -> bool {
        !self.addresses.is_empty() || !self.containers.is_empty()
    }
}

/// Who told of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// A cluster's API.
    Cluster,
    /// The user's file.
    File,
    /// Its own rows.
    Rows,
}

/// One node, or a host without Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: Text,
    pub(super) zone: Option<Text>,
    pub(super) region: Option<Text>,
    pub(super) addresses: Vec<Address>,
    pub(super) since: Since,
    pub(super) by: By,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) namespace: Text,
    /// Within its namespace.
    pub(super) name: Box<str>,
    /// `namespace/name`, the value of column `peer_service`.
    pub(super) full_name: Box<str>,
    /// Its own addresses with its ports: cluster, external and load balancers'.
    pub(super) places: Vec<Place>,
    /// The ports by which every node takes connections for it.
    pub(super) node_ports: Vec<(u16, Protocol)>,
    /// The names outside the cluster that it stands for or is reached by, in lower case.
    pub(super) external_names: Vec<Box<str>>,
    pub(super) since: Since,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_as_agents_and_kubernetes_write_them() {
        let uid = Uid::parse("5b2f3c1a-0000-4000-8000-0123456789ab");
        assert!(uid.is_some());
        assert_eq!(uid, Uid::parse("5b2f3c1a00004000800001234567 89ab".replace(' ', "").as_str()));
        for wrong in ["", "api-7d9f", "5b2f3c1a-0000-4000-8000-0123456789a", "é"] {
            assert_eq!(Uid::parse(wrong), None, "{wrong}");
        }
        let id = "4f66aa39e7c1".to_owned() + &"0".repeat(52);
        let short = ContainerId::parse("4f66aa39e7c1");
        assert!(short.is_some());
        assert_eq!(ContainerId::parse(&format!("containerd://{id}")), short);
        assert_eq!(ContainerId::parse("docker://x"), None);
        assert_eq!(ContainerId::parse("ééééééé"), None);
        assert_eq!(Protocol::parse("TCP"), Protocol::parse("tcp"));
        assert_eq!(Protocol::parse("icmp"), None);
    }
}
