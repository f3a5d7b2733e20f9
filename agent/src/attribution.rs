//! From sockets to workloads, at both ends.
//!
//! The local end, first answer wins:
//!
//! 1. the socket's cgroup (v2), where it is a container or a systemd service;
//! 2. the cgroup of the process that made it, in systemd's own v1 hierarchy on hybrid hosts;
//! 3. the name of that process, or of the thread as it was captured when the process has ended;
//! 4. for a socket nobody is known to have made (accepted ones): the process that holds it, or that
//!    holds the listening socket it came from;
//! 5. `unknown` (kernel sockets, processes that ended before they were looked at).
//!
//! The answer is kept for the life of the socket, so that one connection never splits over two
//! workloads. The peer of a conversation within the host is found by its reverse address pair among
//! the host's own sockets; where addresses are translated, by the pair that the other end sees
//! ([`crate::conntrack`]), which is found when a flow is first seen and kept with it. A collection can fall between the connect at one end and the accept at the
//! other: then whoever accepted at that address before names the peer, if it was one workload. Addresses that are neither this host's nor known from its sockets are
//! `external`: a private range alone does not make them part of a cluster; the server's enrichment
//! may know better.

pub mod cgroup_path;
mod cgroups;
mod host;
mod listeners;
pub mod process;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::conntrack::Translation;
use crate::deltas::Delta;
use crate::socket::{Owner, Protocol, Role, SocketState};
use cgroup_path::Named;
use cgroups::Cgroups;
use listeners::Holders;

/// Processes that are remembered.
const MAX_PROCESSES: usize = 65_536;
/// Collections that a socket or an address pair is remembered after its last report.
const KEEP: u64 = 8;
/// The same for the address pair of a connection that is closed.
const KEEP_CLOSED: u64 = 2;
/// Searches for the process of a socket before it stays `unknown`.
const ATTEMPTS: u8 = 3;
/// Digits of a container id that are shown, as the runtimes' own tools do.
const SHORT_ID: usize = 12;

/// Who is at one end of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// Column `workload`.
    pub name: String,
    /// Column `workload_kind`: `SystemdUnit`, `Container`, `Process` or `Unknown`.
    pub kind: &'static str,
    /// Column `container`: the shortened id.
    pub container: Option<String>,
    /// Column `pod`: the pod's uid, the only thing that its cgroup tells.
    pub pod: Option<String>,
}

impl Workload {
    fn unknown() -> Self {
        Self { name: "unknown".into(), kind: "Unknown", container: None, pod: None }
    }

    fn process(name: String) -> Self {
        Self { name, kind: "Process", container: None, pod: None }
    }

    fn of_process(pid: u32) -> Option<Self> {
        let paths = process::cgroups(pid);
        let by_cgroup =
            [paths.unified, paths.systemd].iter().flatten().find_map(|path| Self::of_cgroup(path));
        by_cgroup.or_else(|| process::name(pid).map(Self::process))
    }

    fn of_cgroup(path: &str) -> Option<Self> {
        Some(match cgroup_path::parse(path)? {
            Named::Unit(name) => Self { name, kind: "SystemdUnit", container: None, pod: None },
            Named::Container { id, pod_uid } => {
                let short: String = id.chars().take(SHORT_ID).collect();
                Self {
                    name: short.clone(),
                    kind: "Container",
                    container: Some(short),
                    pod: pod_uid,
                }
            }
        })
    }
}

/// The workloads with a process in one of the network namespaces that are `wanted` by inode; each with the
/// namespace.
pub(crate) fn namespace_workloads(wanted: impl Fn(u64) -> bool) -> Vec<(u64, Workload)> {
    let processes = process::in_namespaces(wanted).into_iter();
    processes.filter_map(|(inode, pid)| Some((inode, Workload::of_process(pid)?))).collect()
}

/// Where a peer is, as far as a node can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// On this node.
    Node,
    /// Anywhere else.
    External,
}

impl Scope {
    /// Value of the column `peer_scope`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::External => "external",
        }
    }
}

/// What a socket did, and whose it is.
#[derive(Debug, Clone)]
pub struct Attributed {
    /// What it did.
    pub delta: Delta,
    /// The local end.
    pub local: Arc<Workload>,
    /// The peer, where it is on this host and known.
    pub peer: Option<Arc<Workload>>,
    /// Where the peer is.
    pub peer_scope: Scope,
    /// Local address and port, before any translation.
    pub local_address: SocketAddr,
    /// Address and port of the other end itself.
    pub peer_address: SocketAddr,
    /// What was dialled, where that is not the other end's own address.
    pub service: Option<SocketAddr>,
    /// The name by which the workload asked for the peer; filled in by [`crate::dns`].
    pub domain: Option<Arc<str>>,
}

#[derive(Debug)]
struct Known {
    local: Option<Arc<Workload>>,
    /// Found for this address; a socket may connect anew, to another.
    peer: Option<(SocketAddr, Arc<Workload>)>,
    attempts: u8,
    round: u64,
}

/// One end of a conversation, seen from one side. Loopback addresses mean something else in each
/// network namespace; other addresses pass between namespaces unchanged.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Pair {
    protocol: Protocol,
    netns: Option<u64>,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Pair {
    /// As a socket sees it.
    fn of(socket: &SocketState) -> Self {
        Self::between(socket, socket.local, socket.peer)
    }

    fn between(socket: &SocketState, local: SocketAddr, peer: SocketAddr) -> Self {
        let SocketState { protocol, netns, .. } = *socket;
        let netns = (local.ip().is_loopback() || peer.ip().is_loopback()).then_some(netns);
        Self { protocol, netns, local, peer }
    }
}

/// Where somebody accepts: of loopback addresses in which network namespace.
type Place = (Protocol, Option<u64>, SocketAddr);

/// Who accepts at an address.
#[derive(Debug)]
struct Acceptor {
    /// `None` when several do, in several network namespaces.
    workload: Option<Arc<Workload>>,
    /// The collection in which it is forgotten.
    until: u64,
}

/// Which flow: a socket has one with each peer.
type FlowId = (u64, SocketAddr, SocketAddr);

/// Remembers whose each socket is.
#[derive(Debug)]
pub struct Attribution {
    cgroups: Cgroups,
    holders: Holders,
    processes: HashMap<(u32, u64), Arc<Workload>>,
    /// Processes that were looked at in this collection. A process may make thousands of sockets in
    /// it, and its id is not given to another so soon.
    looked_at: HashMap<u32, Option<Arc<Workload>>>,
    sockets: HashMap<u64, Known>,
    /// With the collection in which it is forgotten.
    pairs: HashMap<Pair, (Arc<Workload>, u64)>,
    /// By the address that was dialled; loopback within its network namespace.
    acceptors: HashMap<Place, Acceptor>,
    /// Of flows that are translated, with the collection in which it is forgotten.
    translations: HashMap<FlowId, (Translation, u64)>,
    host: HashSet<IpAddr>,
    unknown: Arc<Workload>,
    round: u64,
}

impl Default for Attribution {
    fn default() -> Self {
        Self::new()
    }
}

impl Attribution {
    /// Knows nothing yet; finds the cgroup v2 mount.
    #[must_use]
    pub fn new() -> Self {
        Self {
            cgroups: Cgroups::new(),
            holders: Holders::default(),
            processes: HashMap::new(),
            looked_at: HashMap::new(),
            sockets: HashMap::new(),
            pairs: HashMap::new(),
            acceptors: HashMap::new(),
            translations: HashMap::new(),
            host: HashSet::new(),
            unknown: Arc::new(Workload::unknown()),
            round: 0,
        }
    }

    /// Attributes what one collection gave; `translate` knows of translated addresses.
    pub fn attribute(
        &mut self,
        deltas: Vec<Delta>,
        translate: impl Fn(&SocketState) -> Option<Translation>,
    ) -> Vec<Attributed> {
        self.round += 1;
        self.cgroups.begin();
        self.looked_at.clear();
        self.host = host::addresses();
        self.host
            .extend(deltas.iter().map(|d| d.socket.local.ip()).filter(|ip| is_of_one_host(*ip)));
        for delta in &deltas {
            self.resolve_by_owner(&delta.socket);
        }
        self.resolve_by_holder(&deltas);
        for delta in &deltas {
            self.remember_pair(&delta.socket);
            self.remember_translation(&delta.socket, &translate);
        }
        let attributed: Vec<_> = deltas.into_iter().map(|d| self.finish(d)).collect();
        for socket in attributed.iter().map(|a| &a.delta.socket).filter(|s| s.closed) {
            self.sockets.remove(&socket.cookie);
        }
        let round = self.round;
        self.sockets.retain(|_, known| round.saturating_sub(known.round) < KEEP);
        self.pairs.retain(|_, (_, until)| round < *until);
        self.acceptors.retain(|_, acceptor| round < acceptor.until);
        self.translations.retain(|_, (_, until)| round < *until);
        attributed
    }

    fn resolve_by_owner(&mut self, socket: &SocketState) {
        let round = self.round;
        let known = self.sockets.entry(socket.cookie).or_insert(Known {
            local: None,
            peer: None,
            attempts: 0,
            round,
        });
        known.round = round;
        if known.local.is_some() {
            return;
        }
        let found = self.by_owner(&socket.owner);
        if let Some(known) = self.sockets.get_mut(&socket.cookie) {
            known.local = found;
        }
    }

    fn by_owner(&mut self, owner: &Owner) -> Option<Arc<Workload>> {
        if let Some(workload) = self.cgroups.path(owner.cgroup).and_then(Workload::of_cgroup) {
            return Some(Arc::new(workload));
        }
        if let Some(workload) = self.by_process(owner.tgid) {
            return Some(workload);
        }
        process::clean_name(&owner.comm).map(|name| Arc::new(Workload::process(name)))
    }

    fn by_process(&mut self, tgid: u32) -> Option<Arc<Workload>> {
        if tgid == 0 {
            return None;
        }
        if let Some(known) = self.looked_at.get(&tgid) {
            return known.clone();
        }
        let found = self.look_at_process(tgid);
        self.looked_at.insert(tgid, found.clone());
        found
    }

    fn look_at_process(&mut self, tgid: u32) -> Option<Arc<Workload>> {
        let key = (tgid, process::start_time(tgid)?);
        if let Some(workload) = self.processes.get(&key) {
            return Some(Arc::clone(workload));
        }
        let workload = Workload::of_process(tgid)?;
        if self.processes.len() >= MAX_PROCESSES {
            self.processes.clear();
        }
        let workload = Arc::new(workload);
        self.processes.insert(key, Arc::clone(&workload));
        Some(workload)
    }

    /// Looks for the processes that hold the sockets which nothing is known of. The search goes
    /// through every process of the host, so it is made at most once in each collection.
    fn resolve_by_holder(&mut self, deltas: &[Delta]) {
        let mut unresolved: Vec<&SocketState> = Vec::new();
        for delta in deltas {
            let socket = &delta.socket;
            let Some(known) = self.sockets.get_mut(&socket.cookie) else { continue };
            if known.local.is_some() {
                continue;
            }
            known.local = listener_of(&self.holders, socket);
            if known.local.is_none() && known.attempts < ATTEMPTS {
                known.attempts += 1;
                unresolved.push(socket);
            }
        }
        if unresolved.is_empty() {
            return;
        }
        let cookies: HashSet<u64> = unresolved.iter().map(|s| s.cookie).collect();
        let mut holders = std::mem::take(&mut self.holders);
        holders.refresh(&cookies, |pid| self.by_process(pid));
        for socket in unresolved {
            let found = holders.of_socket(socket.cookie).or_else(|| listener_of(&holders, socket));
            if let Some(known) = self.sockets.get_mut(&socket.cookie) {
                known.local = found;
            }
        }
        self.holders = holders;
    }

    fn remember_pair(&mut self, socket: &SocketState) {
        let Some(local) = self.sockets.get(&socket.cookie).and_then(|k| k.local.clone()) else {
            return;
        };
        let pair = Pair::of(socket);
        // The other end of a closed connection closes soon.
        let keep = if socket.closed { KEEP_CLOSED } else { KEEP };
        if socket.role == Role::Server {
            self.remember_acceptor((pair.protocol, pair.netns, socket.local), &local);
        }
        self.pairs.insert(pair, (local, self.round + keep));
    }

    /// A translation is looked for until it is found: the kernel forgets it with the connection.
    fn remember_translation(
        &mut self,
        socket: &SocketState,
        translate: impl Fn(&SocketState) -> Option<Translation>,
    ) {
        let until = self.round + if socket.closed { KEEP_CLOSED } else { KEEP };
        match self.translations.entry((socket.cookie, socket.local, socket.peer)) {
            Entry::Occupied(mut known) => known.get_mut().1 = until,
            Entry::Vacant(place) => {
                if let Some(translation) = translate(socket) {
                    place.insert((translation, until));
                }
            }
        }
    }

    fn remember_acceptor(&mut self, at: Place, workload: &Arc<Workload>) {
        let until = self.round + KEEP;
        let fresh = || Acceptor { workload: Some(Arc::clone(workload)), until };
        let acceptor = self.acceptors.entry(at).or_insert_with(fresh);
        if acceptor.workload.as_ref().is_some_and(|known| known != workload) {
            acceptor.workload = None;
        }
        acceptor.until = until;
    }

    /// Who accepted at the address that a client dials, if that is one workload.
    fn acceptor(&self, at: &Place) -> Option<Arc<Workload>> {
        self.acceptors.get(at)?.workload.clone()
    }

    fn finish(&mut self, delta: Delta) -> Attributed {
        let socket = &delta.socket;
        let id = (socket.cookie, socket.local, socket.peer);
        let translation = self.translations.get(&id).map(|(translation, _)| *translation);
        let Translation { local: local_address, peer: peer_address, known_as, service } =
            translation.unwrap_or(Translation {
                local: socket.local,
                peer: socket.peer,
                known_as: socket.local,
                service: None,
            });
        let reverse = Pair::between(socket, peer_address, known_as);
        let at_reverse = self.pairs.get(&reverse).map(|(workload, _)| Arc::clone(workload));
        let on_host = at_reverse.is_some()
            || peer_address.ip().is_loopback()
            || self.host.contains(&peer_address.ip());
        let accepted = self.acceptor(&(reverse.protocol, reverse.netns, peer_address));
        let mut local = None;
        let mut peer = at_reverse;
        if let Some(known) = self.sockets.get_mut(&socket.cookie) {
            local.clone_from(&known.local);
            known.peer = known.peer.take().filter(|(address, _)| *address == peer_address);
            if known.peer.is_none() {
                let found = peer.or_else(|| {
                    let may_listen = on_host && socket.role == Role::Client;
                    may_listen
                        .then(|| self.holders.listener(socket.netns, peer_address).or(accepted))
                        .flatten()
                });
                known.peer = found.map(|workload| (peer_address, workload));
            }
            peer = known.peer.as_ref().map(|(_, workload)| Arc::clone(workload));
        }
        Attributed {
            local: local.unwrap_or_else(|| Arc::clone(&self.unknown)),
            peer,
            peer_scope: if on_host { Scope::Node } else { Scope::External },
            local_address,
            peer_address,
            service,
            domain: None,
            delta,
        }
    }
}

/// A datagram may have been sent to many.
fn is_of_one_host(ip: IpAddr) -> bool {
    let v4 = |ip: Ipv4Addr| ip.is_broadcast() || ip.is_unspecified();
    !ip.is_multicast() && !matches!(ip, IpAddr::V4(ip) if v4(ip))
}

/// An accepted socket belongs to whoever listens.
fn listener_of(holders: &Holders, socket: &SocketState) -> Option<Arc<Workload>> {
    match socket.role {
        Role::Client => None,
        Role::Server | Role::Unknown => holders.listener(socket.netns, socket.local),
    }
}

#[cfg(test)]
mod tests;
