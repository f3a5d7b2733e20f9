//! What the kernel counts in each network namespace: interfaces (`RTM_GETLINK`, linux/if_link.h) and TCP.

use std::fs::{self, File};
use std::io;

use crate::netlink::{Netlink, attributes};
use crate::sock_diag::namespaces;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
/// Bytes of `struct ifinfomsg`.
const IFINFOMSG: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_STATS64: u16 = 23;

/// Counters of an interface (`struct rtnl_link_stats64`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    /// In the order of the kernel's structure: packets received and sent, bytes, errors, drops.
    pub(super) counters: [u64; 8],
}

/// Counters of one namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct Namespace {
    /// 0 for the agent's own.
    pub(super) inode: u64,
    pub(super) interfaces: Vec<Interface>,
    /// `RetransSegs` of `/proc/net/snmp` and `TCPTimeouts` of `/proc/net/netstat`.
    pub(super) retransmits: Option<u64>,
    pub(super) timeouts: Option<u64>,
}

/// The counters of every namespace that can be entered, the own one first.
pub(super) fn all() -> Vec<Namespace> {
    let others = namespaces::others().unwrap_or_default();
    let visit = move || {
        let mut read = vec![namespace(0)];
        let mut others: Vec<(u64, File)> = others.into_iter().collect();
        others.sort_by_key(|(inode, _)| *inode);
        for (inode, file) in others {
            match namespaces::enter(&file) {
                Ok(()) => read.push(namespace(inode)),
                // It is not allowed, and will not be for the next one.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
                Err(error) => tracing::debug!(inode, %error, "network namespace was not entered"),
            }
        }
        read
    };
    // On a thread that ends afterwards: it does not come back to this namespace.
    let thread = std::thread::Builder::new().name("weir-netns".into()).spawn(visit);
    thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_default()
}

/// The counters of the namespace that the calling thread is in.
fn namespace(inode: u64) -> Namespace {
    let interfaces = interfaces().unwrap_or_else(|error| {
        tracing::debug!(inode, %error, "interfaces of a namespace could not be read");
        Vec::new()
    });
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    let value = |text: io::Result<String>, line, name| proc_value(&text.ok()?, line, name);
    Namespace {
        inode,
        interfaces,
        retransmits: value(read("snmp"), "Tcp:", "RetransSegs"),
        timeouts: value(read("netstat"), "TcpExt:", "TCPTimeouts"),
    }
}

fn interfaces() -> io::Result<Vec<Interface>> {
    let socket = Netlink::open(libc::NETLINK_ROUTE)?;
    socket.dump(RTM_GETLINK, &[0; IFINFOMSG], |kind, payload| {
        (kind == RTM_NEWLINK).then(|| interface(payload))?
    })
}

fn interface(payload: &[u8]) -> Option<Interface> {
    let (mut name, mut counters) = (None, None);
    for (kind, value) in attributes(payload.get(IFINFOMSG..)?) {
        match kind {
            IFLA_IFNAME => {
                let text = value.split(|b| *b == 0).next()?;
                name = Some(String::from_utf8_lossy(text).into_owned());
            }
            IFLA_STATS64 => {
                let mut read = [0; 8];
                for (to, bytes) in read.iter_mut().zip(value.chunks_exact(8)) {
                    *to = u64::from_ne_bytes(*bytes.first_chunk()?);
                }
                counters = Some(read);
            }
            _ => {}
        }
    }
    Some(Interface { name: name?, counters: counters? })
}

/// A value of `/proc/net/snmp` or `netstat`: a line of names is followed by one of values.
fn proc_value(text: &str, line: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|l| l.starts_with(line));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|n| n == name)?;
    values.split_whitespace().nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_own_namespace_has_loopback_and_tcp() {
        let own = namespace(0);
        assert!(own.interfaces.iter().any(|i| i.name == "lo"), "{own:?}");
        assert!(own.retransmits.is_some() && own.timeouts.is_some(), "{own:?}");
    }

    #[test]
    fn values_stand_below_their_names() {
        let text = "Ip: A B\nIp: 1 2\nTcp: X RetransSegs Y\nTcp: 3 -4 5\nTcp: Y\n";
        assert_eq!(proc_value(text, "Tcp:", "Y"), Some(5));
        assert_eq!(proc_value(text, "Tcp:", "RetransSegs"), None);
        assert_eq!(proc_value(text, "Udp:", "Y"), None);
    }

    proptest! {
        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = interface(&bytes);
        }
    }
}
