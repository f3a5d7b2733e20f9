//! The translations of one namespace.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Translation;
use super::events::Event;
use super::message::Entry;
use crate::socket::{Protocol, Role, SocketState};

/// How long an entry is known after the kernel has let go of it: its socket is told of at the next
/// collection, or the one after.
const KEEP: Duration = Duration::from_secs(60);

/// An address pair as a socket sees it.
type View = (Protocol, SocketAddr, SocketAddr);

/// Translations by the pairs of addresses that sockets see.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// As the end that began sees it.
    began: HashMap<View, Known>,
    /// As the end that answers sees it.
    answers: HashMap<View, Known>,
    entries: usize,
    refused: u64,
    expired: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    entry: Entry,
    /// When the kernel let go of it.
    ended: Option<Instant>,
}

impl Table {
    /// Enters what an event says, if it is of a translation; `room` entries may be kept.
    pub(super) fn take(&mut self, event: Event, room: usize, now: Instant) {
        match event {
            Event::New(entry) => self.insert(entry, room),
            Event::Destroy(entry) => {
                let ends = |known: Option<&mut Known>| {
                    if let Some(known) = known.filter(|known| known.entry.id == entry.id) {
                        known.ended = Some(now);
                    }
                };
                let Views { began, translated, answers } = Views::of(&entry);
                ends(self.began.get_mut(&began));
                ends(self.began.get_mut(&translated));
                ends(self.answers.get_mut(&answers));
            }
        }
    }

    /// Enters a dump; what is not in it has ended.
    pub(super) fn replace(&mut self, entries: Vec<Entry>, room: usize, now: Instant) {
        for known in self.began.values_mut().chain(self.answers.values_mut()) {
            known.ended.get_or_insert(now);
        }
        for entry in entries {
            self.insert(entry, room);
        }
    }

    /// Forgets what ended a while ago.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.expired.is_some_and(|at| now.duration_since(at) < KEEP / 8) {
            return;
        }
        self.expired = Some(now);
        let lives = |known: &Known| known.ended.is_none_or(|at| now.duration_since(at) < KEEP);
        self.began.retain(|_, known| lives(known));
        self.answers.retain(|_, known| lives(known));
        self.entries = self.answers.len();
    }

    /// How many translations there are.
    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// How many found no room since the last call.
    pub(super) fn refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Both ends of a socket's connection.
    pub(super) fn translate(&self, socket: &SocketState) -> Option<Translation> {
        let view = (socket.protocol, socket.local, socket.peer);
        if socket.role != Role::Server
            && let Some(Known { entry, .. }) = self.began.get(&view)
        {
            let dialled = entry.original.destination;
            return Some(Translation {
                local: entry.original.source,
                peer: entry.reply.source,
                known_as: entry.reply.destination,
                service: (dialled != entry.reply.source).then_some(dialled),
            });
        }
        if socket.role != Role::Client
            && let Some(Known { entry, .. }) = self.answers.get(&view)
        {
            return Some(Translation {
                local: socket.local,
                peer: entry.original.source,
                known_as: entry.original.destination,
                service: None,
            });
        }
        None
    }

    fn insert(&mut self, entry: Entry, room: usize) {
        if !entry.is_translated() {
            return;
        }
        let known = Known { entry, ended: None };
        let Views { began, translated, answers } = Views::of(&entry);
        if self.entries >= room && !self.answers.contains_key(&answers) {
            self.refused += 1;
            return;
        }
        self.began.insert(translated, known);
        self.began.insert(began, known);
        self.answers.insert(answers, known);
        self.entries = self.answers.len();
    }
}

/// The pairs of addresses by which an entry is found.
struct Views {
    /// As the end that began sees it.
    began: View,
    /// The same after translation: packets of datagram sockets that are not connected.
    translated: View,
    /// As the end that answers sees it.
    answers: View,
}

impl Views {
    fn of(entry: &Entry) -> Self {
        let Entry { protocol, original, reply, .. } = *entry;
        Self {
            began: (protocol, original.source, original.destination),
            translated: (protocol, reply.destination, reply.source),
            answers: (protocol, reply.source, reply.destination),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::message::tests::payload;
    use crate::socket::{Counters, Histogram, Owner};

    fn socket(protocol: Protocol, role: Role, local: &str, peer: &str) -> SocketState {
        SocketState {
            cookie: 1,
            netns: 1,
            began_ns: 0,
            sampling: 1,
            protocol,
            owner: Owner::default(),
            role,
            local: local.parse().unwrap(),
            peer: peer.parse().unwrap(),
            counters: Counters::default(),
            rtt: Histogram::default(),
            connect_time_us: None,
            open: true,
            closed: false,
        }
    }

    fn entry(protocol: u8, addresses: [&str; 4]) -> Entry {
        Entry::parse(&payload(protocol, addresses)).unwrap()
    }

    /// Dialled 10.96.0.1, answered by 10.0.0.7 which sees 192.0.2.9.
    const BOTH: [&str; 4] = ["10.0.0.1:40000", "10.96.0.1:443", "10.0.0.7:6443", "192.0.2.9:1024"];

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_end_learns_of_the_other() {
        let mut table = Table::default();
        table.take(Event::New(entry(6, BOTH)), 10, Instant::now());
        let client = socket(Protocol::Tcp, Role::Client, BOTH[0], BOTH[1]);
        let translation = table.translate(&client).unwrap();
        assert_eq!((translation.local, translation.peer), (at(BOTH[0]), at(BOTH[2])));
        assert_eq!((translation.known_as, translation.service), (at(BOTH[3]), Some(at(BOTH[1]))));
        let server = socket(Protocol::Tcp, Role::Server, BOTH[2], BOTH[3]);
        let translation = table.translate(&server).unwrap();
        assert_eq!((translation.local, translation.peer), (at(BOTH[2]), at(BOTH[0])));
        assert_eq!((translation.known_as, translation.service), (at(BOTH[1]), None));
        // Neither another protocol nor another port.
        assert_eq!(
            table.translate(&SocketState { protocol: Protocol::Udp, ..client.clone() }),
            None
        );
        let other = socket(Protocol::Tcp, Role::Client, "10.0.0.1:40001", BOTH[1]);
        assert_eq!(table.translate(&other), None);
    }

    #[test]
    fn what_an_unconnected_socket_sends_is_translated_already() {
        let mut table = Table::default();
        table.take(Event::New(entry(17, BOTH)), 10, Instant::now());
        let sent = socket(Protocol::Udp, Role::Client, BOTH[3], BOTH[2]);
        let received = socket(Protocol::Udp, Role::Client, BOTH[0], BOTH[1]);
        assert_eq!(table.translate(&sent), table.translate(&received));
        assert!(table.translate(&sent).is_some());
    }

    #[test]
    fn only_translations_are_kept_and_masquerading_is_no_service() {
        let mut table = Table::default();
        let plain = ["10.0.0.1:4", "10.0.0.2:5", "10.0.0.2:5", "10.0.0.1:4"];
        table.take(Event::New(entry(6, plain)), 10, Instant::now());
        assert_eq!(table.len(), 0);
        let masqueraded = ["10.0.0.1:4", "203.0.113.1:5", "203.0.113.1:5", "192.0.2.9:4"];
        table.take(Event::New(entry(6, masqueraded)), 10, Instant::now());
        let client = socket(Protocol::Tcp, Role::Client, masqueraded[0], masqueraded[1]);
        let translation = table.translate(&client).unwrap();
        assert_eq!((translation.peer, translation.service), (client.peer, None));
    }

    #[test]
    fn an_entry_outlives_its_connection_for_a_while() {
        let mut table = Table::default();
        let (begin, entry) = (Instant::now(), entry(6, BOTH));
        let client = socket(Protocol::Tcp, Role::Client, BOTH[0], BOTH[1]);
        table.take(Event::New(entry), 10, begin);
        table.take(Event::Destroy(entry), 10, begin);
        table.expire(begin + KEEP / 2);
        assert!(table.translate(&client).is_some());
        table.expire(begin + KEEP + Duration::from_secs(1));
        assert_eq!((table.translate(&client), table.len()), (None, 0));
        // The end of another connection with the same addresses is not this one's.
        table.take(Event::New(entry), 10, begin);
        table.take(Event::Destroy(Entry { id: entry.id + 1, ..entry }), 10, begin);
        table.expire(begin + 3 * KEEP);
        assert!(table.translate(&client).is_some());
        // Nor is that of one that a dump does not have any more: it ends.
        table.replace(Vec::new(), 10, begin + 3 * KEEP);
        table.expire(begin + 5 * KEEP);
        assert_eq!(table.translate(&client), None);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut table = Table::default();
        for port in 0..5 {
            let source = format!("10.0.0.1:{}", 40_000 + port);
            let answered = format!("192.0.2.9:{}", 1024 + port);
            let addresses = [&source, BOTH[1], BOTH[2], &answered];
            table.take(Event::New(entry(6, addresses)), 3, Instant::now());
        }
        assert_eq!((table.len(), table.refused(), table.refused()), (3, 2, 0));
    }
}
