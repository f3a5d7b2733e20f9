//! Which workload holds a listening socket, or any socket that is still open.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::{Workload, process};
use crate::sock_diag::message::state;
use crate::sock_diag::namespaces::{self, Which};

/// The answer of the last search.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// By network namespace (inode and cookie alike: sources name it by either) and address.
    listeners: HashMap<(u64, SocketAddr), Arc<Workload>>,
    sockets: HashMap<u64, Arc<Workload>>,
}

impl Holders {
    /// Searches all listening sockets and the given open ones. Listeners that have gone meanwhile
    /// are kept while their address is not taken by another: their last connections still report.
    pub(super) fn refresh(
        &mut self,
        cookies: &HashSet<u64>,
        mut workload_of: impl FnMut(u32) -> Option<Arc<Workload>>,
    ) {
        const MAX_LISTENERS: usize = 100_000;
        self.sockets.clear();
        if self.listeners.len() > MAX_LISTENERS {
            self.listeners.clear();
        }
        let dumped = match namespaces::dump_all_of(Which::TcpAndUdp) {
            Ok(dumped) => dumped,
            Err(error) => {
                tracing::debug!(%error, "listening sockets could not be read");
                return;
            }
        };
        let wanted = |s: &&crate::sock_diag::message::DiagSocket| {
            s.inode != 0 && (s.state == state::LISTEN || cookies.contains(&s.cookie))
        };
        let inodes: HashSet<u64> = dumped
            .namespaces
            .iter()
            .flat_map(|n| n.sockets.iter().filter(wanted).map(|s| s.inode))
            .collect();
        let holders = process::socket_holders(&inodes);
        for namespace in &dumped.namespaces {
            for socket in namespace.sockets.iter().filter(wanted) {
                let Some(workload) = holders.get(&socket.inode).and_then(|&p| workload_of(p))
                else {
                    continue;
                };
                if socket.state == state::LISTEN {
                    for id in [Some(namespace.inode), namespace.cookie].into_iter().flatten() {
                        self.listeners.insert((id, socket.local), Arc::clone(&workload));
                    }
                } else {
                    self.sockets.insert(socket.cookie, workload);
                }
            }
        }
    }

    /// Who holds an open socket.
    pub(super) fn of_socket(&self, cookie: u64) -> Option<Arc<Workload>> {
        self.sockets.get(&cookie).cloned()
    }

    /// Who listens on an address, itself or through the wildcard address.
    pub(super) fn listener(&self, netns: u64, local: SocketAddr) -> Option<Arc<Workload>> {
        let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        std::iter::once(local.ip())
            .chain(any)
            .find_map(|ip| self.listeners.get(&(netns, SocketAddr::new(ip, local.port()))))
            .cloned()
    }
}
