//! From what a source tells to rows, one socket at a time.
//!
//! ```text
//! meet     whose the socket is, and where its ends are       (attribution, conntrack)
//! count    what it did since its last report                 (deltas)
//!          who was at the other end, and by which name       (attribution, dns)
//!          which of its packets the kernel dropped           (drops)
//!          added to its flow                                 (rows)
//! ```
//!
//! What has ended is met when it is told and attributed a moment later, when the other end has been met as
//! well; so is what is open, of which a source tells twice. Nothing is kept of a socket but what the next
//! report needs.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use super::clock;
use crate::attribution::Attribution;
use crate::conntrack::Conntrack;
use crate::deltas::{Delta, Deltas};
use crate::dns::Dns;
use crate::drops::Drops;
use crate::rows::{self, Interval, Key, Row, Rows};
use crate::socket::{Protocol, Role, SocketState, Visit};
use crate::source::Source;

/// Least time between two searches for the owners of sockets.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// That time, as a multiple of what a search takes.
const SEARCH_REST: u32 = 100;
/// Ended sockets that wait to be attributed, at most.
const MAX_ENDED: usize = 50_000;

/// How long a first packet is given to get to where it is translated, a neighbour being asked for on the way. After
/// this time it is sent again (`TCP_TIMEOUT_INIT` of include/net/tcp.h).
const FIRST_PACKET_NS: u64 = 1_000_000_000;

/// What ended, and at which look.
#[derive(Debug)]
struct Ended {
    delta: Delta,
    look: u64,
}

/// Everything between the source and the rows.
#[derive(Debug)]
pub(super) struct Pipeline {
    deltas: Deltas,
    attribution: Attribution,
    pub(super) conntrack: Conntrack,
    pub(super) dns: Dns,
    pub(super) drops: Drops,
    pub(super) rows: Rows,
    ended: Vec<Ended>,
    /// Cookies of those that this collection met without an answer to their first packet.
    connecting: HashSet<u64>,
    /// What is known of them, if it is not to whom they connect.
    young: Vec<SocketState>,
    look: u64,
    /// The look at which owners were last searched for, and when that may be done again.
    searched: (u64, Option<Instant>),
    now: Instant,
}

impl Pipeline {
    pub(super) fn new(conntrack: Conntrack) -> Self {
        Self {
            deltas: Deltas::default(),
            attribution: Attribution::new(),
            conntrack,
            dns: Dns::default(),
            drops: Drops::default(),
            rows: Rows::new(rows::ephemeral_ports()),
            ended: Vec::new(),
            connecting: HashSet::new(),
            young: Vec::new(),
            look: 0,
            searched: (0, None),
            now: Instant::now(),
        }
    }

    /// Between two collections: takes in what the kernel cannot hold for long. True if it is much.
    pub(super) fn poll(&mut self, source: &mut Source) -> bool {
        self.begin_look();
        let much = source.poll(self);
        self.poll_messages(source);
        self.end_look();
        much
    }

    fn end_look(&mut self) {
        let due = self.searched.1.is_none_or(|next| self.now >= next);
        if due && self.attribution.has_unowned() {
            self.search();
        }
        self.finish(|ended, pipeline| {
            let is_old = ended.look < pipeline.look;
            let id = ended.delta.socket.cookie;
            is_old && (pipeline.attribution.is_owned(id) || ended.look <= pipeline.searched.0)
        });
    }

    /// Before a collection.
    pub(super) fn begin_collection(&mut self, source: &mut Source) {
        // Of a collection that failed; they are told of again.
        self.connecting.clear();
        self.young.clear();
        self.begin_look();
        self.attribution.begin_collection();
        self.poll_messages(source);
    }

    /// After a collection that went well: the rows of the interval.
    pub(super) fn end_collection(&mut self, interval: Interval) -> BTreeMap<Key, Row> {
        self.count_young();
        self.deltas.end_collection();
        self.attribution.end_collection();
        self.dns.end_collection(self.now, clock::monotonic_ns());
        self.drops.end_collection();
        self.rows.take(interval)
    }

    /// Messages of DNS, whose sockets are known or bring their makers along, and dropped packets.
    fn poll_messages(&mut self, source: &mut Source) {
        source.poll_drops(|dropped| {
            // The kernel tells of all nodes that share it; each is to count its own.
            if self.attribution.sees_all_processes() || self.conntrack.is_of_node(dropped.netns) {
                self.drops.take(&dropped);
            }
        });
        source.poll_dns(|message| self.dns.take(message));
        self.dns.learn(|cookie, owner| self.attribution.whose(cookie, owner), self.now);
    }

    fn begin_look(&mut self) {
        self.look += 1;
        self.now = Instant::now();
        // What is told of has begun by now, and so has its translation.
        self.conntrack.poll();
    }

    /// What is answered has been translated by now, if it ever is: the answer came back that way. What is not is left
    /// to the next collection for a while, whole, or its beginning would be a flow with an address that is nobody's.
    fn count_young(&mut self) {
        self.connecting.clear();
        if self.young.is_empty() {
            return;
        }
        self.conntrack.poll();
        let now_ns = clock::monotonic_ns();
        for socket in std::mem::take(&mut self.young) {
            let is_old = now_ns.saturating_sub(socket.began_ns) >= FIRST_PACKET_NS;
            if self.is_translated(&socket) || socket.open || is_old {
                self.count_now(socket);
            }
        }
    }

    fn is_translated(&mut self, socket: &SocketState) -> bool {
        let conntrack = &self.conntrack;
        self.attribution.translate(socket, |socket| conntrack.translate(socket))
    }

    fn count_now(&mut self, socket: SocketState) {
        let delta = self.deltas.advance(socket);
        self.attribute(delta);
    }

    fn search(&mut self) {
        let began = Instant::now();
        self.attribution.search();
        let rest = (SEARCH_REST * began.elapsed()).max(SEARCH_EVERY);
        self.searched = (self.look, Some(began + rest));
    }

    /// Attributes those of the ended ones that are `ready`; all of them, if there are too many.
    fn finish(&mut self, ready: impl Fn(&Ended, &Self) -> bool) {
        let all = self.ended.len() > MAX_ENDED;
        for ended in std::mem::take(&mut self.ended) {
            if all || ready(&ended, self) {
                self.attribute(ended.delta);
            } else {
                self.ended.push(ended);
            }
        }
    }

    fn attribute(&mut self, delta: Delta) {
        let attribution = &self.attribution;
        let drops = self.drops.of(&delta.socket, |pair| attribution.knows(pair));
        let mut attributed = self.attribution.attribute(delta);
        attributed.domain = self.dns.name(&attributed, self.now);
        self.rows.add(&attributed, &drops);
    }
}

impl Visit for Pipeline {
    fn closed(&mut self, socket: SocketState) {
        self.meet(&socket);
        self.ended.push(Ended { delta: self.deltas.advance(socket), look: self.look });
    }

    fn meet(&mut self, socket: &SocketState) {
        if is_connecting(socket) {
            self.connecting.insert(socket.cookie);
        }
        let conntrack = &self.conntrack;
        self.attribution.meet(socket, |socket| conntrack.translate(socket));
    }

    fn all_met(&mut self) {
        if self.attribution.has_unowned() {
            self.search();
        }
        self.dns.learn(|cookie, owner| self.attribution.whose(cookie, owner), self.now);
        self.rows.begin_levels();
        // What began since this look did is in it, and its translation not yet.
        self.conntrack.poll();
        self.finish(|_, _| true);
    }

    fn count(&mut self, socket: SocketState) {
        // What began since the others were met is left to the next collection, whole.
        if !self.attribution.has_met(socket.cookie) {
            return;
        }
        if !self.is_translated(&socket) && self.connecting.contains(&socket.cookie) {
            self.young.push(socket);
        } else {
            self.count_now(socket);
        }
    }
}

fn is_connecting(socket: &SocketState) -> bool {
    let is_client = (socket.protocol, socket.role) == (Protocol::Tcp, Role::Client);
    is_client && !socket.open && !socket.closed
}

#[cfg(test)]
mod tests;
