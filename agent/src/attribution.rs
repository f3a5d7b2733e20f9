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

mod cgroup_handle;
pub mod cgroup_path;
mod cgroups;
mod host;
mod listeners;
mod pairs;
pub mod process;
mod workload;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::conntrack::Translation;
use crate::deltas::Delta;
use crate::socket::{End, Owner, Protocol, Role, SocketState, end};
use cgroups::Cgroups;
use listeners::Holders;
pub(crate) use pairs::Pair;
use pairs::Pairs;
pub use workload::Workload;
use workload::Workloads;

/// Processes that are remembered.
const MAX_PROCESSES: usize = 65_536;
/// Collections that a socket is remembered after its last report.
const KEEP: u32 = 8;
/// The same of a socket or flow that is over.
const KEEP_CLOSED: u32 = 2;
/// Sockets that wait for a search.
const MAX_UNOWNED: usize = 50_000;
/// Searches for the process of a socket before it stays `unknown`.
const ATTEMPTS: u8 = 3;

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
    peer: Option<(End, Arc<Workload>)>,
    attempts: u8,
    /// The collection that met it last.
    round: u32,
    /// The collection in which it is forgotten.
    until: u32,
}

/// Which flow: a socket has one with each peer.
type FlowId = (u64, End, End);

/// A socket of which nobody is known, as much of it as the search needs.
#[derive(Debug)]
struct Unowned {
    cookie: u64,
    netns: u64,
    role: Role,
    local: SocketAddr,
    pair: Pair,
    closed: bool,
}

/// Remembers whose each socket is.
///
/// Sockets are met, one by one; those that nothing is known of are then searched for, all at once; and what a
/// socket did is attributed when the other ends have been met too.
#[derive(Debug)]
pub struct Attribution {
    workloads: Workloads,
    cgroups: Cgroups,
    /// Processes have the same numbers here as in the kernel's programs.
    sees_all_processes: bool,
    holders: Holders,
    processes: HashMap<(u32, u64), Arc<Workload>>,
    /// Processes that were looked at since the last collection. A process may make thousands of sockets in
    /// that time, and its id is not given to another so soon.
    looked_at: HashMap<u32, Option<Arc<Workload>>>,
    sockets: HashMap<u64, Known>,
    unowned: Vec<Unowned>,
    pairs: Pairs,
    /// Of flows that are translated, with the collection in which it is forgotten.
    translations: HashMap<FlowId, (Translation, u32)>,
    host: HashSet<IpAddr>,
    unknown: Arc<Workload>,
    round: u32,
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
            workloads: Workloads::default(),
            cgroups: Cgroups::new(),
            sees_all_processes: process::in_initial_namespace(),
            holders: Holders::default(),
            processes: HashMap::new(),
            looked_at: HashMap::new(),
            sockets: HashMap::new(),
            unowned: Vec::new(),
            pairs: Pairs::default(),
            translations: HashMap::new(),
            host: host::addresses(),
            unknown: Arc::new(Workload::unknown()),
            round: 0,
        }
    }

    /// A collection begins, which meets every open socket.
    pub fn begin_collection(&mut self) {
        self.round += 1;
        self.cgroups.begin();
        self.looked_at.clear();
        self.host = host::addresses();
    }

    /// The collection is over: forgets what it has not met for long.
    pub fn end_collection(&mut self) {
        let round = self.round;
        self.sockets.retain(|_, known| round < known.until);
        self.translations.retain(|_, (_, until)| round < *until);
        self.pairs.end_collection();
        self.workloads.shrink();
    }

    /// A socket is there, or was until now; `translate` knows of translated addresses.
    pub fn meet(
        &mut self,
        socket: &SocketState,
        translate: impl Fn(&SocketState) -> Option<Translation>,
    ) {
        if is_of_one_host(socket.local.ip()) {
            self.host.insert(socket.local.ip());
        }
        self.translate(socket, translate);
        let pair = Pair::of(socket);
        match self.resolve(socket) {
            Some(local) => self.remember_pair(pair, socket.role, &local, socket.closed),
            // Beyond the bound they stay nobody's.
            None if self.unowned.len() >= MAX_UNOWNED => {}
            None => self.unowned.push(Unowned {
                cookie: socket.cookie,
                netns: socket.netns,
                role: socket.role,
                local: socket.local,
                pair,
                closed: socket.closed,
            }),
        }
    }

    /// Some of those that were met are nobody's, and were not searched for.
    #[must_use]
    pub fn has_unowned(&self) -> bool {
        !self.unowned.is_empty()
    }

    /// It is known whose a socket is.
    #[must_use]
    pub fn is_owned(&self, cookie: u64) -> bool {
        self.sockets.get(&cookie).is_some_and(|known| known.local.is_some())
    }

    /// This process is shown every process of the machine: no other node shares its kernel, as far as can be seen.
    pub(crate) fn sees_all_processes(&self) -> bool {
        self.sees_all_processes
    }

    /// An end of a conversation is known to be on this host.
    pub(crate) fn knows(&self, pair: &Pair) -> bool {
        self.pairs.contains(pair)
    }

    /// A socket has been met since the collection began.
    #[must_use]
    pub fn has_met(&self, cookie: u64) -> bool {
        self.sockets.get(&cookie).is_some_and(|known| known.round == self.round)
    }

    /// Whose a socket is, by who made it if it has not been met.
    pub(crate) fn whose(&mut self, cookie: u64, owner: &Owner) -> Option<Arc<Workload>> {
        let known = self.sockets.get(&cookie).and_then(|known| known.local.clone());
        known.or_else(|| self.by_owner(owner))
    }

    /// Looks for the processes that hold the sockets which nothing is known of. The search goes
    /// through every process of the host, so it is to be made seldom.
    pub fn search(&mut self) {
        let unowned = std::mem::take(&mut self.unowned);
        let mut cookies = HashSet::new();
        for socket in &unowned {
            if let Some(known) = self.sockets.get_mut(&socket.cookie)
                && known.local.is_none()
                && known.attempts < ATTEMPTS
            {
                known.attempts += 1;
                cookies.insert(socket.cookie);
            }
        }
        if cookies.is_empty() {
            return;
        }
        let mut holders = std::mem::take(&mut self.holders);
        holders.refresh(&cookies, |pid| self.by_process(pid));
        for socket in unowned.iter().filter(|socket| cookies.contains(&socket.cookie)) {
            let listens = || listener_of(&holders, socket.role, socket.netns, socket.local);
            let Some(found) = holders.of_socket(socket.cookie).or_else(listens) else { continue };
            if let Some(known) = self.sockets.get_mut(&socket.cookie) {
                known.local = Some(Arc::clone(&found));
            }
            self.remember_pair(socket.pair, socket.role, &found, socket.closed);
        }
        self.holders = holders;
    }

    /// Whose the socket is, as far as it tells itself.
    fn resolve(&mut self, socket: &SocketState) -> Option<Arc<Workload>> {
        let round = self.round;
        let until = round + if socket.closed { KEEP_CLOSED } else { KEEP };
        if let Some(known) = self.sockets.get_mut(&socket.cookie) {
            known.round = round;
            known.until = known.until.max(until);
            if known.local.is_some() {
                return known.local.clone();
            }
        }
        let found = self
            .by_owner(&socket.owner)
            .or_else(|| listener_of(&self.holders, socket.role, socket.netns, socket.local));
        let fresh = Known { local: None, peer: None, attempts: 0, round, until };
        let known = self.sockets.entry(socket.cookie).or_insert(fresh);
        known.local.clone_from(&found);
        found
    }

    fn by_owner(&mut self, owner: &Owner) -> Option<Arc<Workload>> {
        if let Some(workload) = self.cgroups.path(owner.cgroup).and_then(Workload::of_cgroup) {
            return Some(self.workloads.one(workload));
        }
        // The programs tell the number that the process has in the initial namespace.
        if self.sees_all_processes
            && let Some(workload) = self.by_process(owner.tgid)
        {
            return Some(workload);
        }
        let name = process::clean_name(&owner.comm)?;
        Some(self.workloads.one(Workload::process(name)))
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
        let workload = self.workloads.one(workload);
        self.processes.insert(key, Arc::clone(&workload));
        Some(workload)
    }

    fn remember_pair(&mut self, pair: Pair, role: Role, local: &Arc<Workload>, closed: bool) {
        if role == Role::Server {
            self.pairs.remember_acceptor(pair.place(), local);
        }
        self.pairs.remember(pair, local, closed);
    }

    /// A translation is looked for until it is found: the kernel forgets it with the connection. True once it is.
    pub(crate) fn translate(
        &mut self,
        socket: &SocketState,
        translate: impl Fn(&SocketState) -> Option<Translation>,
    ) -> bool {
        let until = self.round + KEEP;
        match self.translations.entry(flow_id(socket)) {
            Entry::Occupied(mut known) => {
                known.get_mut().1 = until;
                true
            }
            Entry::Vacant(place) => {
                translate(socket).map(|translation| place.insert((translation, until))).is_some()
            }
        }
    }

    /// Says whose it was and who was at the other end. Of a socket that is closed it is the last time.
    pub fn attribute(&mut self, delta: Delta) -> Attributed {
        let socket = &delta.socket;
        let id = flow_id(socket);
        let translation = if socket.closed {
            self.translations.remove(&id)
        } else {
            self.translations.get(&id).copied()
        };
        let Translation { local: local_address, peer: peer_address, known_as, service } =
            translation.map(|(translation, _)| translation).unwrap_or(Translation {
                local: socket.local,
                peer: socket.peer,
                known_as: socket.local,
                service: None,
            });
        let there = end(peer_address);
        let reverse = Pair::between(socket, there, end(known_as));
        let at_reverse = self.pairs.get(&reverse);
        let on_host = at_reverse.is_some()
            || peer_address.ip().is_loopback()
            || self.host.contains(&peer_address.ip());
        let mut local = None;
        let mut peer = at_reverse;
        if let Some(known) = self.sockets.get_mut(&socket.cookie) {
            local.clone_from(&known.local);
            known.peer = known.peer.take().filter(|(address, _)| *address == there);
            if known.peer.is_none() {
                let found = peer.or_else(|| {
                    let may_listen = on_host && socket.role == Role::Client;
                    let listener = || self.holders.listener(socket.netns, peer_address);
                    let accepts = || self.pairs.acceptor(&reverse.place());
                    may_listen.then(|| listener().or_else(accepts)).flatten()
                });
                known.peer = found.map(|workload| (there, workload));
            }
            peer = known.peer.as_ref().map(|(_, workload)| Arc::clone(workload));
        }
        // A socket of datagrams may have other flows.
        if socket.closed && socket.protocol == Protocol::Tcp {
            self.sockets.remove(&socket.cookie);
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

fn flow_id(socket: &SocketState) -> FlowId {
    (socket.cookie, socket.local_end(), socket.peer_end())
}

/// A datagram may have been sent to many.
fn is_of_one_host(ip: IpAddr) -> bool {
    let v4 = |ip: Ipv4Addr| ip.is_broadcast() || ip.is_unspecified();
    !ip.is_multicast() && !matches!(ip, IpAddr::V4(ip) if v4(ip))
}

/// An accepted socket belongs to whoever listens.
fn listener_of(
    holders: &Holders,
    role: Role,
    netns: u64,
    local: SocketAddr,
) -> Option<Arc<Workload>> {
    match role {
        Role::Client => None,
        Role::Server | Role::Unknown => holders.listener(netns, local),
    }
}

#[cfg(test)]
mod tests;
