use super::*;
use crate::socket::{Owner, Role};

fn named(name: &str) -> Owner {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    Owner { comm, ..Owner::default() }
}

/// Both ends of a connection on this host, with nothing sent yet.
fn ends(cookie: u64, port: u16) -> (SocketState, SocketState) {
    let mut client = SocketState::example(cookie, Role::Client);
    client.owner = named("curl");
    client.local.set_port(port);
    client.counters.connects = 1;
    let mut server = SocketState::example(cookie + 1, Role::Server);
    (server.local, server.peer) = (client.peer, client.local);
    server.owner = named("nginx");
    server.counters.accepts = 1;
    (client, server)
}

fn closed(mut socket: SocketState) -> SocketState {
    (socket.open, socket.closed, socket.counters.closes) = (false, true, 1);
    socket
}

impl Pipeline {
    fn empty() -> Self {
        Self::new(Conntrack::default())
    }

    /// One collection of these open sockets, in the ten seconds up to `end`.
    fn collect(&mut self, open: &[SocketState], end: i64) -> BTreeMap<Key, Row> {
        self.begin_look();
        self.attribution.begin_collection();
        open.iter().for_each(|socket| self.meet(socket));
        self.all_met();
        open.iter().for_each(|socket| self.count(socket.clone()));
        self.end_collection(Interval { start_us: (end - 10) * 1_000_000, end_us: end * 1_000_000 })
    }

    /// One look between two collections.
    fn look(&mut self, ended: impl IntoIterator<Item = SocketState>) {
        self.begin_look();
        ended.into_iter().for_each(|socket| self.closed(socket));
        self.end_look();
    }
}

fn told(rows: &BTreeMap<Key, Row>) -> Vec<(&str, Option<&str>, u64, u64)> {
    let row = |(key, row): (_, &Row)| {
        let key: &'_ Key = key;
        let peer = key.peer.as_ref().map(|peer| peer.name.as_str());
        (key.local.name.as_str(), peer, row.counters.tx_bytes, row.active)
    };
    rows.iter().map(row).collect()
}

#[test]
fn what_ended_within_an_interval_knows_its_other_end() {
    let mut pipeline = Pipeline::empty();
    let (mut client, mut server) = ends(1, 40_000);
    (client.counters.tx_bytes, server.counters.tx_bytes) = (100, 9000);
    // One end is told at one look, the other at the next.
    pipeline.look([closed(client)]);
    pipeline.look([closed(server)]);
    for _ in 0..3 {
        pipeline.look([]);
    }
    assert!(pipeline.ended.is_empty(), "attributed between collections");
    let rows = pipeline.collect(&[], 10);
    let expected = [("curl", Some("nginx"), 100, 0), ("nginx", Some("curl"), 9000, 0)];
    assert_eq!(told(&rows), expected);
    assert!(pipeline.collect(&[], 20).is_empty());
}

#[test]
fn what_begins_to_connect_is_left_until_it_may_be_translated() {
    let mut pipeline = Pipeline::empty();
    let now_ns = clock::monotonic_ns();
    let connecting = |cookie, began_ns| {
        let (client, _) = ends(cookie, 40_000);
        SocketState { open: false, began_ns, ..client }
    };
    let long_ago = connecting(1, now_ns - FIRST_PACKET_NS);
    let connects = |rows: BTreeMap<Key, Row>| rows.values().map(|r| r.counters.connects).sum();
    let told: u64 = connects(pipeline.collect(&[long_ago.clone(), connecting(3, now_ns)], 10));
    assert_eq!(told, 1, "the one that has not got an answer for long");
    // Now it has one.
    let connected = SocketState { open: true, ..connecting(3, now_ns) };
    let told: u64 = connects(pipeline.collect(&[long_ago, connected], 20));
    assert_eq!(told, 1);
    assert!(pipeline.connecting.is_empty() && pipeline.young.is_empty());
}

#[test]
fn a_connection_that_ends_after_the_look_at_it_counts_its_rest_in_the_next_interval() {
    let mut pipeline = Pipeline::empty();
    let (mut client, _) = ends(1, 40_000);
    client.counters.tx_bytes = 100;
    let rows = pipeline.collect(&[client.clone()], 10);
    assert_eq!(told(&rows), [("curl", None, 100, 1)]);
    client.counters.tx_bytes = 130;
    pipeline.look([closed(client)]);
    let rows = pipeline.collect(&[], 20);
    assert_eq!(told(&rows), [("curl", None, 30, 0)]);
}

#[test]
fn what_begins_while_others_are_counted_is_left_whole_to_the_next_collection() {
    let mut pipeline = Pipeline::empty();
    let (mut client, _) = ends(1, 40_000);
    client.counters.tx_bytes = 100;
    pipeline.begin_look();
    pipeline.attribution.begin_collection();
    pipeline.all_met();
    pipeline.count(client.clone());
    let interval = Interval { start_us: 0, end_us: 10_000_000 };
    assert!(pipeline.end_collection(interval).is_empty());
    assert_eq!(told(&pipeline.collect(&[client], 20)), [("curl", None, 100, 1)]);
}

#[test]
fn nobody_waits_for_long_to_be_attributed() {
    let mut pipeline = Pipeline::empty();
    let mut nobodys = closed(SocketState::example(u64::MAX, Role::Client));
    nobodys.counters.tx_bytes = 5;
    pipeline.look([nobodys]);
    // The first look has searched.
    pipeline.look([]);
    assert!(pipeline.ended.is_empty());
    assert_eq!(told(&pipeline.collect(&[], 10)), [("unknown", None, 5, 0)]);
}

/// Two hours without a byte, then one: the same flow, which was told of once a minute.
#[test]
fn an_idle_connection_keeps_its_identity() {
    let mut pipeline = Pipeline::empty();
    let (mut client, mut server) = ends(1, 40_000);
    (client.counters.tx_bytes, server.counters.rx_bytes) = (100, 100);
    let mut with_rows = 0;
    let mut keys = std::collections::BTreeSet::new();
    for end in (10..=7200).step_by(10) {
        let rows = pipeline.collect(&[client.clone(), server.clone()], end);
        with_rows += usize::from(!rows.is_empty());
        assert!(rows.values().all(|row| row.active == 1));
        keys.extend(rows.into_keys());
    }
    assert_eq!((with_rows, keys.len()), (120, 2));
    client.counters.tx_bytes += 1;
    server.counters.rx_bytes += 1;
    let rows = pipeline.collect(&[client.clone(), server.clone()], 7210);
    let expected = [("curl", Some("nginx"), 1, 1), ("nginx", Some("curl"), 0, 1)];
    assert_eq!(told(&rows), expected);
    assert!(rows.into_keys().all(|key| keys.contains(&key)));
    pipeline.look([closed(client), closed(server)]);
    let rows = pipeline.collect(&[], 7220);
    let expected = [("curl", Some("nginx"), 0, 0), ("nginx", Some("curl"), 0, 0)];
    assert_eq!(told(&rows), expected);
}

/// A storm of connections leaves nothing behind but its rows.
#[test]
fn what_has_ended_takes_no_room() {
    let mut pipeline = Pipeline::empty();
    for number in 0..20_000u64 {
        let (client, server) = ends(2 * number + 1, u16::try_from(1024 + number % 60_000).unwrap());
        pipeline.closed(closed(client));
        pipeline.closed(closed(server));
        if number % 500 == 0 {
            pipeline.look([]);
        }
    }
    pipeline.look([]);
    pipeline.look([]);
    assert!(pipeline.ended.is_empty() && pipeline.deltas.is_empty());
    let rows = pipeline.collect(&[], 10);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows.values().map(|row| row.counters.closes).sum::<u64>(), 40_000);
}
