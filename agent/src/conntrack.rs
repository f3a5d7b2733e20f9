//! What connection tracking knows of address translation: who is really at the other end.
//!
//! ```text
//! start     in each network namespace: subscribe to events, then dump what is there
//! poll      take events in; where some were lost, dump anew
//! translate the pair of addresses that a socket sees -> the pair that the other end sees
//! ```
//!
//! A client that dials a service sees the service's address; the server sees its own, and perhaps a translated
//! one of the client. Translation happens in the socket's own namespace (a sidecar's redirection) or in that of
//! the host (services of Kubernetes), which are asked in that order; a connection that is translated in both
//! is resolved in the first alone.
//!
//! Linux 3.3 (`ctnetlink`: linux/netfilter/nfnetlink_conntrack.h); reading takes `CAP_NET_ADMIN` in the
//! namespace. Events of connections that are not translated are dropped in the kernel by a filter on the
//! socket, so that tracking without translation costs nothing. A namespace that cannot be followed is tried again
//! each minute. A socket keeps its namespace alive: those of
//! namespaces that no process is in any more are closed at the next look, within ten seconds.

mod events;
mod message;
mod table;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::sock_diag::namespaces;
use crate::socket::{Protocol, SocketState};
use events::Events;
use table::Table;

/// Time between two looks for namespaces.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The least, where somebody asks for one that is not known.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Time until a namespace is tried again that could not be followed.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// Time between two dumps of one namespace.
const DUMP_EVERY: Duration = Duration::from_secs(5);
/// Translations that are kept over all namespaces; about 150 bytes each.
const MAX_ENTRIES: usize = 262_144;

/// The two ends of a translated connection, each by its own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// By which address the other end knows this one, or dials it.
    pub known_as: SocketAddr,
    /// What this end dialled, if it did and it was not the other end's own address.
    pub service: Option<SocketAddr>,
}

/// How far translation is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Network namespaces whose tracking is followed.
    pub namespaces: usize,
    /// Namespaces that could not be followed.
    pub refused: usize,
    /// Translations that are kept.
    pub entries: usize,
}

/// What was not seen since the last question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Times that events were lost because they were not taken in time; each was followed by a dump.
    pub overruns: u64,
    /// Translations for which there was no room.
    pub entries: u64,
    /// Namespaces that could not be followed, each counted once.
    pub namespaces: u64,
}

/// Follows connection tracking; none, by default.
#[derive(Debug, Default)]
pub struct Conntrack {
    /// By inode.
    namespaces: HashMap<u64, Watched>,
    /// Inode by cookie.
    inodes: HashMap<u64, u64>,
    own: u64,
    looked: Option<Instant>,
    losses: Losses,
}

#[derive(Debug)]
enum Watched {
    Followed {
        cookie: Option<u64>,
        events: Events,
        table: Table,
        dumped: Instant,
        stale: bool,
    },
    Refused {
        /// If it could be entered.
        cookie: Option<u64>,
        tried: Instant,
    },
}

/// A socket of a namespace, opened inside of it.
struct Opened {
    cookie: Option<u64>,
    events: io::Result<(Events, Vec<message::Entry>)>,
}

impl Conntrack {
    /// Follows every namespace that can be entered; what is refused is said once and counted.
    #[must_use]
    pub fn start() -> Self {
        let own = namespaces::own_inode().unwrap_or_default();
        let mut conntrack = Self {
            namespaces: HashMap::new(),
            inodes: HashMap::new(),
            own,
            looked: None,
            losses: Losses::default(),
        };
        conntrack.look(Instant::now());
        match conntrack.namespaces.get(&own) {
            Some(Watched::Followed { table, .. }) => {
                tracing::info!(translations = table.len(), "connection tracking is followed");
            }
            _ => tracing::warn!(
                "connection tracking cannot be read: dialled services are not resolved to what \
                 answers; it takes CAP_NET_ADMIN and nf_conntrack_netlink"
            ),
        }
        conntrack
    }

    /// Takes in what happened. Called several times a second.
    pub fn poll(&mut self) {
        let now = Instant::now();
        if self.looked.is_none_or(|at| now.duration_since(at) >= LOOK_EVERY) {
            self.look(now);
        }
        let mut kept: usize = self.namespaces.values().map(Watched::len).sum();
        for watched in self.namespaces.values_mut() {
            let Watched::Followed { events, table, dumped, stale, .. } = watched else { continue };
            let before = table.len();
            let room = MAX_ENTRIES.saturating_sub(kept - before);
            match events.read(|event| table.take(event, room, now)) {
                Ok(0) => {}
                Ok(overruns) => {
                    self.losses.overruns += overruns;
                    *stale = true;
                }
                Err(error) => tracing::debug!(%error, "connection tracking could not be read"),
            }
            if *stale && now.duration_since(*dumped) >= DUMP_EVERY {
                *dumped = now;
                match events.dump() {
                    Ok(entries) => {
                        table.replace(entries, room, now);
                        *stale = false;
                    }
                    Err(error) => tracing::debug!(%error, "connection tracking was not dumped"),
                }
            }
            table.expire(now);
            self.losses.entries += table.refused();
            kept = kept - before + table.len();
        }
    }

    /// Who is at the other end of a socket, if its addresses are translated.
    #[must_use]
    pub fn translate(&self, socket: &SocketState) -> Option<Translation> {
        if socket.protocol == Protocol::Icmp {
            return None;
        }
        let inode = self.inodes.get(&socket.netns).copied().unwrap_or(socket.netns);
        let host = if inode == self.own { None } else { Some(self.own) };
        [Some(inode), host].into_iter().flatten().find_map(|inode| {
            match self.namespaces.get(&inode)? {
                Watched::Followed { table, .. } => table.translate(socket),
                Watched::Refused { .. } => None,
            }
        })
    }

    /// A namespace, by its cookie, is one of those in which this node's processes are. One that is not known may be new.
    pub(crate) fn is_of_node(&mut self, cookie: u64) -> bool {
        let now = Instant::now();
        let is_due = |at| now.duration_since(at) >= LOOK_AGAIN;
        if !self.inodes.contains_key(&cookie) && self.looked.is_some_and(is_due) {
            self.look(now);
        }
        self.inodes.contains_key(&cookie)
    }

    /// Connection tracking of the agent's own namespace, which is the host's, can be read.
    #[must_use]
    pub fn follows_host(&self) -> bool {
        matches!(self.namespaces.get(&self.own), Some(Watched::Followed { .. }))
    }

    /// How far translation is known.
    #[must_use]
    pub fn status(&self) -> Status {
        let refused =
            self.namespaces.values().filter(|w| matches!(w, Watched::Refused { .. })).count();
        Status {
            namespaces: self.namespaces.len() - refused,
            refused,
            entries: self.namespaces.values().map(Watched::len).sum(),
        }
    }

    /// What was not seen since the last call.
    pub fn losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    /// Begins to follow namespaces that are new, and leaves those that are gone.
    fn look(&mut self, now: Instant) {
        self.looked = Some(now);
        self.take_over(namespaces::others(), now);
    }

    /// What cannot be listed says nothing of those that are followed.
    fn take_over(&mut self, found: io::Result<HashMap<u64, File>>, now: Instant) {
        let own = self.own;
        let found = match found {
            Ok(found) => {
                self.namespaces.retain(|inode, _| *inode == own || found.contains_key(inode));
                found
            }
            Err(error) => {
                tracing::debug!(%error, "network namespaces could not be listed");
                HashMap::new()
            }
        };
        let new: Vec<(u64, Option<File>)> = found
            .into_iter()
            .map(|(inode, file)| (inode, Some(file)))
            .chain([(own, None)])
            .filter(|(inode, _)| self.is_due(*inode, now))
            .collect();
        if !new.is_empty() {
            for (inode, opened) in open_all(new) {
                self.enter(inode, opened, now);
            }
        }
        let cookie = |(inode, watched): (&u64, &Watched)| {
            let (Watched::Followed { cookie, .. } | Watched::Refused { cookie, .. }) = watched;
            Some(((*cookie)?, *inode))
        };
        self.inodes = self.namespaces.iter().filter_map(cookie).collect();
    }

    /// One that is new, or was refused a while ago: a module may be there by now, or room for another file.
    fn is_due(&self, inode: u64, now: Instant) -> bool {
        self.namespaces.get(&inode).is_none_or(|watched| match watched {
            Watched::Followed { .. } => false,
            Watched::Refused { tried, .. } => now.duration_since(*tried) >= TRY_AGAIN,
        })
    }

    fn enter(&mut self, inode: u64, opened: io::Result<Opened>, now: Instant) {
        let (cookie, events) = match opened {
            Ok(Opened { cookie, events }) => (cookie, events),
            Err(error) => (None, Err(error)),
        };
        let watched = match events {
            Ok((events, entries)) => {
                let kept: usize = self.namespaces.values().map(Watched::len).sum();
                let mut table = Table::default();
                table.replace(entries, MAX_ENTRIES.saturating_sub(kept), now);
                Watched::Followed { cookie, events, table, dumped: now, stale: false }
            }
            Err(error) => {
                tracing::debug!(inode, %error, "connection tracking of a namespace is not followed");
                if !self.namespaces.contains_key(&inode) {
                    self.losses.namespaces += 1;
                }
                Watched::Refused { cookie, tried: now }
            }
        };
        self.namespaces.insert(inode, watched);
    }
}

impl Watched {
    fn len(&self) -> usize {
        match self {
            Self::Followed { table, .. } => table.len(),
            Self::Refused { .. } => 0,
        }
    }
}

/// Opens sockets inside of namespaces, on a thread that ends afterwards; `None` is the own one.
fn open_all(new: Vec<(u64, Option<File>)>) -> Vec<(u64, io::Result<Opened>)> {
    let visit = move || {
        let mut all: Vec<_> = new;
        // The own one first: the thread does not come back.
        all.sort_by_key(|(_, file)| file.is_some());
        let open = |file: Option<&File>| {
            file.map_or(Ok(()), namespaces::enter)?;
            let events = Events::open().and_then(|events| {
                let entries = events.dump()?;
                Ok((events, entries))
            });
            Ok(Opened { cookie: namespaces::cookie(), events })
        };
        all.iter().map(|(inode, file)| (*inode, open(file.as_ref()))).collect()
    };
    let thread = std::thread::Builder::new().name("weir-netns".into()).spawn(visit);
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(opened)) => opened,
        Ok(Err(_)) => Vec::new(),
        Err(error) => {
            tracing::debug!(%error, "network namespaces could not be visited");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_cannot_be_had_ends_nothing() {
        let now = Instant::now();
        let mut conntrack = Conntrack { own: 1, ..Conntrack::default() };
        for inode in [1, 2] {
            let refused = Watched::Refused { cookie: Some(10 * inode), tried: now };
            conntrack.namespaces.insert(inode, refused);
        }
        conntrack.take_over(Err(io::Error::from_raw_os_error(libc::EMFILE)), now);
        assert_eq!(conntrack.namespaces.len(), 2);
        assert_eq!(conntrack.inodes, HashMap::from([(10, 1), (20, 2)]));
        conntrack.take_over(Ok(HashMap::new()), now);
        assert_eq!(conntrack.inodes, HashMap::from([(10, 1)]), "one that is gone is left");
    }

    #[test]
    fn what_was_refused_is_tried_again_and_counted_once() {
        let now = Instant::now();
        let mut conntrack = Conntrack { own: 1, ..Conntrack::default() };
        // No namespace: nobody can enter it.
        let file = || File::open("/dev/null").unwrap();
        conntrack.enter(2, Err(io::Error::other("refused")), now);
        conntrack.enter(1, Err(io::Error::other("refused")), now + TRY_AGAIN);
        assert_eq!(conntrack.losses.namespaces, 2);
        assert!(conntrack.is_due(3, now) && !conntrack.is_due(2, now));
        let later = now + TRY_AGAIN;
        assert!(conntrack.is_due(2, later) && !conntrack.is_due(1, later));
        conntrack.take_over(Ok(HashMap::from([(2, file())])), later);
        assert!(!conntrack.is_due(2, later), "it was tried");
        assert_eq!(conntrack.losses.namespaces, 2);
    }
}
