use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::message::tests::{answer, question};
use super::*;
use crate::deltas::{Delta, Durations};
use crate::socket::{Counters, Histogram, Owner, Protocol, Role, SocketState};

const MS: u64 = 1_000_000;

fn workload(name: &str) -> Arc<Workload> {
    Arc::new(Workload { name: name.into(), kind: "Process", container: None, pod: None })
}

fn flow(cookie: u64, whose: &str, protocol: Protocol, peer: &str) -> Attributed {
    let local: SocketAddr = "10.0.0.1:40000".parse().unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    Attributed {
        delta: Delta {
            socket: SocketState {
                cookie,
                netns: 1,
                began_ns: 0,
                sampling: 1,
                protocol,
                owner: Owner::default(),
                role: Role::Client,
                local,
                peer,
                counters: Counters::default(),
                rtt: Histogram::default(),
                connect_time_us: None,
                open: true,
                closed: false,
            },
            counters: Counters::default(),
            rtt: Durations::default(),
            connect_time_us: None,
            open: true,
        },
        local: workload(whose),
        peer: None,
        peer_scope: Scope::External,
        local_address: local,
        peer_address: peer,
        service: None,
        domain: None,
    }
}

fn message(cookie: u64, at_ns: u64, received: bool, body: &[u8]) -> DnsMessage {
    let mut bytes = [0; weir_agent_ebpf::DNS_BYTES];
    let kept = body.len().min(bytes.len());
    bytes[..kept].copy_from_slice(&body[..kept]);
    let length = u32::try_from(body.len()).unwrap();
    DnsMessage {
        cookie,
        owner: Default::default(),
        at_ns,
        length,
        received: received.into(),
        bytes,
    }
}

impl Dns {
    /// One collection.
    fn resolve(&mut self, flows: &mut [Attributed], now: Instant, now_ns: u64) {
        let whose = |cookie, _: &Owner| {
            let mut flows = flows.iter();
            flows.find(|f| f.delta.socket.cookie == cookie).map(|f| Arc::clone(&f.local))
        };
        self.learn(whose, now);
        for flow in flows.iter_mut() {
            flow.domain = self.name(flow, now);
        }
        self.end_collection(now, now_ns);
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn domains(flows: &[Attributed]) -> Vec<Option<&str>> {
    flows.iter().map(|f| f.domain.as_deref()).collect()
}

#[test]
fn each_workload_knows_an_address_by_the_name_that_it_asked_for() {
    let mut dns = Dns::default();
    let now = Instant::now();
    for (cookie, name) in [(1, "shop.example.com"), (2, "cdn.example.net")] {
        dns.take(&message(cookie, 0, true, &answer(7, name, 60, &[ip("192.0.2.1")])));
    }
    let resolver = "10.0.0.53:53";
    let mut flows = vec![
        flow(1, "shop", Protocol::Udp, resolver),
        flow(2, "crawler", Protocol::Udp, resolver),
        flow(3, "shop", Protocol::Tcp, "192.0.2.1:443"),
        flow(4, "crawler", Protocol::Tcp, "192.0.2.1:443"),
        flow(5, "other", Protocol::Tcp, "192.0.2.1:443"),
    ];
    dns.resolve(&mut flows, now, 0);
    let names = [None, None, Some("shop.example.com"), Some("cdn.example.net"), None];
    assert_eq!(domains(&flows), names);
    // A flow keeps its name, whatever the address is called later and however long it lives.
    dns.take(&message(1, 0, true, &answer(8, "new.example.com", 60, &[ip("192.0.2.1")])));
    for minute in 1..100 {
        let now = now + Duration::from_secs(60 * minute);
        dns.resolve(&mut flows, now, 0);
        assert_eq!(domains(&flows), names);
    }
    // A new one does not have it: it was too long ago.
    let mut late = vec![flow(6, "shop", Protocol::Tcp, "192.0.2.1:443")];
    dns.resolve(&mut late, now + Duration::from_secs(6001), 0);
    assert_eq!(domains(&late), [None]);
}

#[test]
fn an_answer_that_came_before_its_socket_was_told_of_is_not_lost() {
    let mut dns = Dns::default();
    let now = Instant::now();
    dns.take(&message(1, 0, true, &answer(7, "shop.example.com", 60, &[ip("192.0.2.1")])));
    dns.resolve(&mut [], now, 0);
    let mut flows = vec![
        flow(2, "shop", Protocol::Tcp, "192.0.2.1:443"),
        flow(1, "shop", Protocol::Udp, "10.0.0.53:53"),
    ];
    dns.resolve(&mut flows, now, 0);
    assert_eq!(domains(&flows), [Some("shop.example.com"), None]);
    assert_eq!(dns.dropped(), 0);
}

#[test]
fn peers_within_the_node_have_no_domain() {
    let mut dns = Dns::default();
    dns.take(&message(1, 0, true, &answer(7, "local.example.com", 60, &[ip("10.0.0.9")])));
    let mut flows = vec![
        flow(1, "a", Protocol::Udp, "10.0.0.53:53"),
        flow(2, "a", Protocol::Tcp, "10.0.0.9:80"),
    ];
    flows[1].peer_scope = Scope::Node;
    dns.resolve(&mut flows, Instant::now(), 0);
    assert_eq!(domains(&flows), [None, None]);
}

#[test]
fn questions_are_answered_or_time_out() {
    let mut dns = Dns::default();
    dns.take(&message(1, 0, false, &question(1, "a.example.com")));
    dns.take(&message(1, 3 * MS, true, &answer(1, "a.example.com", 60, &[])));
    dns.take(&message(1, 4 * MS, false, &question(2, "b.example.com")));
    let mut nowhere = answer(3, "c.example.com", 60, &[]);
    nowhere[3] |= 3;
    dns.take(&message(1, 5 * MS, false, &question(3, "c.example.com")));
    dns.take(&message(1, 6 * MS, true, &nowhere));
    let mut flows = vec![flow(1, "a", Protocol::Udp, "10.0.0.53:53")];
    dns.resolve(&mut flows, Instant::now(), 1000 * MS);
    let outcomes = |dns: &Dns| dns.questions().outcomes().next().unwrap().1.clone();
    let seen = outcomes(&dns);
    assert_eq!(seen.questions, BTreeMap::from([("A", 3)]));
    assert_eq!(seen.answers, BTreeMap::from([("NOERROR", 1), ("NXDOMAIN", 1)]));
    assert_eq!((seen.timeouts, seen.latency_us), (0, 4000));
    // 1 ms and 3 ms.
    assert_eq!((seen.latencies[1], seen.latencies[3]), (1, 1));
    dns.resolve(&mut flows, Instant::now(), 6000 * MS);
    dns.resolve(&mut flows, Instant::now(), 7000 * MS);
    assert_eq!(outcomes(&dns).timeouts, 1);
}

#[test]
fn what_cannot_be_read_or_kept_is_counted() {
    let mut dns = Dns::default();
    dns.take(&message(1, 0, true, b"no message"));
    dns.take(&message(1, 0, true, &[0; 2000]));
    assert_eq!(dns.dropped(), 2);
    let asks = message(1, 0, false, &question(1, "a.example.com"));
    for _ in 0..MAX_WAITING + 5 {
        dns.take(&asks);
    }
    assert_eq!(dns.dropped(), 5);
    // Nobody's socket: it was not reported, and not in the next interval.
    dns.resolve(&mut [], Instant::now(), 0);
    assert_eq!(dns.dropped(), 0);
    dns.resolve(&mut [], Instant::now(), 0);
    assert_eq!(usize::try_from(dns.dropped()).unwrap(), MAX_WAITING);
}

#[test]
fn names_are_bounded() {
    let mut names = Names::default();
    let (whose, name, now) = (workload("a"), Arc::<str>::from("x.example.com"), Instant::now());
    for n in 0..150_000u32 {
        let address = IpAddr::from(std::net::Ipv4Addr::from(n));
        names.learn(&whose, address, &name, n, now);
    }
    assert!((75_000..=100_001).contains(&names.len().0), "{:?}", names.len());
    names.end_interval(now + Duration::from_secs(90_000));
    assert_eq!(names.len(), (0, 0));
}
