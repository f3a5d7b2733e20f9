//! Packets that the kernel dropped, and why: out of the map that `tp_btf/kfree_skb` fills.
//!
//! It takes the kernel's type information (`CONFIG_DEBUG_INFO_BTF`) and a kernel that gives reasons (Linux 5.17).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use aya::maps::MapData;
use weir_agent_ebpf::{DROP_REASONS, DropKey, DropReasons, PacketLayout, protocol};

use super::btf::Btf;
use super::{batch, convert};
use crate::socket::Protocol;

/// Before each reason's name.
const PREFIX: &str = "SKB_DROP_REASON_";

/// What is no loss: packets that have done their work, are not for this host, or say again what was said
/// before. The kernel frees packets for these all the time.
const NO_LOSS: [&str; 16] = [
    "NOT_SPECIFIED",
    "SOCKET_CLOSE",
    "UNIX_DISCONNECT",
    "UNIX_SKIP_OOB",
    "OTHERHOST",
    "TCP_ABORT_ON_DATA",
    "TCP_OLD_DATA",
    "TCP_OFOMERGE",
    "TCP_OLD_SEQUENCE",
    "TCP_RESET",
    "TCP_CLOSE",
    "TCP_FASTOPEN",
    "TCP_OLD_ACK",
    "TCP_TOO_OLD_ACK",
    "QUEUE_PURGE",
    "MAX",
];

/// Of ICMP it is said of every answer to a raw socket, which has its copy by then.
const NOBODY_LISTENS: &str = "NO_SOCKET";

/// What the programs have to know, and the agent.
pub(super) struct Reasons {
    pub(super) layout: PacketLayout,
    pub(super) wanted: DropReasons,
    names: HashMap<u32, Arc<str>>,
}

impl Reasons {
    /// Of a kernel.
    ///
    /// # Errors
    /// It gives no reasons.
    pub(super) fn of(btf: &Btf) -> io::Result<Self> {
        let missing = |what: &str| {
            io::Error::new(io::ErrorKind::Unsupported, format!("this kernel has no `{what}`"))
        };
        let offset = |path| btf.offset(path).ok_or_else(|| missing(path));
        let layout = PacketLayout {
            head: offset("sk_buff.head")?,
            end: offset("sk_buff.end")?,
            network_header: offset("sk_buff.network_header")?,
            protocol: offset("sk_buff.protocol")?,
            device: offset("sk_buff.dev")?,
            device_netns: offset("net_device.nd_net.net")?,
            socket: offset("sk_buff.sk")?,
            socket_netns: offset("sock.__sk_common.skc_net.net")?,
            netns_cookie: offset("net.net_cookie")?,
            segments: offset("skb_shared_info.gso_segs")?,
        };
        let all = btf.names("skb_drop_reason").ok_or_else(|| missing("enum skb_drop_reason"))?;
        let names: HashMap<u32, Arc<str>> = all
            .iter()
            .filter_map(|(number, name)| Some((*number, name.strip_prefix(PREFIX)?)))
            .filter(|(number, name)| {
                usize::try_from(*number).is_ok_and(|n| n < DROP_REASONS) && !NO_LOSS.contains(name)
            })
            .map(|(number, name)| (number, Arc::from(name)))
            .collect();
        let mut wanted = DropReasons::default();
        for number in names.keys().filter_map(|number| usize::try_from(*number).ok()) {
            wanted[number / 64] |= 1 << (number % 64);
        }
        Ok(Self { layout, wanted, names })
    }
}

/// Packets of one kind that were dropped for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Cookie of the network namespace; 0 if it is not known.
    pub netns: u64,
    /// What they are.
    pub protocol: Protocol,
    /// Whose they were, as the packets say.
    pub source: SocketAddr,
    /// Whose they would have been, as the packets say.
    pub destination: SocketAddr,
    /// The kernel's name for the reason, without its prefix: `NETFILTER_DROP`.
    pub reason: Arc<str>,
    /// How many there were.
    pub packets: u64,
}

/// The map, and the reasons' names.
pub(super) struct Drops {
    map: MapData,
    names: HashMap<u32, Arc<str>>,
}

impl Drops {
    pub(super) fn new(map: MapData, reasons: Reasons) -> Self {
        Self { map, names: reasons.names }
    }

    /// Gives what was dropped since the last call to `each`.
    pub(super) fn poll(&self, mut each: impl FnMut(Dropped)) -> io::Result<()> {
        let fd = self.map.fd().as_fd();
        let mut keys = Vec::new();
        batch::for_each(fd, |key: &DropKey, _: &u64| keys.push(*key))?;
        for key in keys {
            let Some(packets) = batch::take::<DropKey, u64>(fd, &key)? else { continue };
            let Some(reason) = self.names.get(&key.reason) else { continue };
            let is_icmp = key.protocol != protocol::TCP && key.protocol != protocol::UDP;
            if is_icmp && **reason == *NOBODY_LISTENS {
                continue;
            }
            each(Dropped {
                netns: key.netns,
                protocol: match key.protocol {
                    protocol::TCP => Protocol::Tcp,
                    protocol::UDP => Protocol::Udp,
                    _ => Protocol::Icmp,
                },
                source: convert::address(key.source, key.source_port),
                destination: convert::address(key.destination, key.destination_port),
                reason: Arc::clone(reason),
                packets,
            });
        }
        Ok(())
    }
}
