//! What is kept of each object: what a row may ask for, and no more.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

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
        // Most texts that are asked are uids as agents write them, or names that are far from it.
        let (mut first, mut last, mut digits) = (0u64, 0u64, 0u32);
        for byte in text.bytes().filter(|byte| *byte != b'-') {
            let half = if digits < 16 { &mut first } else { &mut last };
            *half = (*half << 4) | u64::from(digit(byte)?);
            digits += 1;
        }
        (digits == 32).then_some(Self(u128::from(first) << 64 | u128::from(last)))
    }
}

/// The value of a hexadecimal digit.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
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
        let first = id.as_bytes().get(..12)?;
        let mut number = 0;
        for byte in first {
            number = (number << 4) | u64::from(digit(*byte)?);
        }
        Some(Self(number))
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

/// The workload that something belongs to. All that are alike in it share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Seat {
    pub(crate) namespace: Text,
    pub(crate) workload: Text,
    pub(crate) workload_kind: Text,
    /// The texts of the chosen labels, in their order ([`weir_wire::chosen`]); those that are not there are empty, or
    /// missing at the end.
    pub(crate) labels: Box<[Text]>,
}

impl Seat {
    /// The text of a chosen label; empty where it is not there.
    pub(crate) fn label(&self, number: usize) -> &str {
        self.labels.get(number).map_or("", AsRef::as_ref)
    }
}

/// Where something runs. All that are alike in it share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Spot {
    pub(crate) node: Text,
    /// Empty where it is not known, as is the region.
    pub(crate) zone: Text,
    pub(crate) region: Text,
}

/// What a row is told of one of its ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    /// Empty for what is no pod.
    pub(crate) pod: &'a str,
    pub(crate) seat: &'a Seat,
    pub(crate) spot: &'a Spot,
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
    /// The texts of the chosen labels, as in [`Seat`].
    pub(super) labels: Box<[Text]>,
    /// What the owner says by now.
    pub(super) seat: Arc<Seat>,
    /// What the node says by now.
    pub(super) spot: Arc<Spot>,
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
    /// What a row is told of it.
    pub(super) fn who(&self) -> Who<'_> {
        Who { pod: &self.name, seat: &self.seat, spot: &self.spot }
    }

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
    /// Itself as a workload, once it is in the map.
    pub(super) seat: Arc<Seat>,
    /// All that the above says of where it is, once it is in the map.
    pub(super) spot: Arc<Spot>,
}

impl Node {
    /// One that is not in the map yet.
    pub(super) fn new(
        name: Text,
        (zone, region): (Option<Text>, Option<Text>),
        addresses: Vec<Address>,
        since: Since,
        by: By,
    ) -> Self {
        let (seat, spot) = Default::default();
        Self { name, zone, region, addresses, since, by, seat, spot }
    }

    /// What a row is told of it.
    pub(super) fn who(&self) -> Who<'_> {
        Who { pod: "", seat: &self.seat, spot: &self.spot }
    }
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
