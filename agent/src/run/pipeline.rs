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

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::clock;
use crate::attribution::Attribution;
use crate::conntrack::Conntrack;
use crate::deltas::{Delta, Deltas};
use crate::dns::Dns;
use crate::drops::Drops;
use crate::rows::{self, Interval, Key, Row, Rows};
use crate::socket::{SocketState, Visit};
use crate::source::Source;

/// Least time between two searches for the owners of sockets.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// That time, as a multiple of what a search takes.
const SEARCH_REST: u32 = 100;
/// Ended sockets that wait to be attributed, at most.
const MAX_ENDED: usize = 50_000;

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
        self.begin_look();
        self.attribution.begin_collection();
        self.poll_messages(source);
    }

    /// After a collection that went well: the rows of the interval.
    pub(super) fn end_collection(&mut self, interval: Interval) -> BTreeMap<Key, Row> {
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
        if self.attribution.has_met(socket.cookie) {
            let conntrack = &self.conntrack;
            self.attribution.translate(&socket, |socket| conntrack.translate(socket));
            let delta = self.deltas.advance(socket);
            self.attribute(delta);
        }
    }
}

#[cfg(test)]
mod tests;
