//! Dropped packets: by the kernel's reason, as many as the kernel's and nftables' own counters say.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use weir_agent::bpf::{BpfCollector, Dropped, Options};
use weir_agent::socket::Protocol;

use crate::lab::{Lab, Link, Namespace};

const FILTERED: u16 = 5301;
const CLOSED: u16 = 5302;
const SLOW: u16 = 5303;

fn nstat(namespace: &Namespace, counter: &str) -> u64 {
    let text = namespace.run("nstat", &["-asz", counter]);
    let line = text.lines().find(|line| line.starts_with(counter)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn between(
    drops: &[Dropped],
    protocol: Protocol,
    to: SocketAddr,
) -> BTreeMap<(String, IpAddr), u64> {
    let mut all = BTreeMap::new();
    for drop in drops.iter().filter(|d| d.protocol == protocol && d.destination == to) {
        *all.entry((drop.reason.to_string(), drop.source.ip())).or_default() += drop.packets;
    }
    all
}

#[test]
fn drops_have_their_ends_and_reasons() {
    let Some(lab) = Lab::build(&["nft", "nstat", "ping"], Link::Veth) else { return };
    let rules = format!(
        "add table inet weir; add chain inet weir in {{ type filter hook input priority 0; }}; \
         add rule inet weir in udp dport {FILTERED} counter drop; \
         add rule inet weir in tcp dport {FILTERED} counter drop"
    );
    lab.b.run("nft", &[&rules]);
    let mut collector = BpfCollector::start(&Options::default()).unwrap();
    assert!(collector.counts_drops());
    for six in [false, true] {
        let (a, b) = if six {
            (IpAddr::from(lab.a.address6), IpAddr::from(lab.b.address6))
        } else {
            (IpAddr::from(lab.a.address), IpAddr::from(lab.b.address))
        };
        // Before the neighbour is known, its packets wait in a short queue, and some are dropped there.
        lab.a.run("ping", &["-c", "1", "-q", &b.to_string()]);
        let errors = if six { "Udp6RcvbufErrors" } else { "UdpRcvbufErrors" };
        let before = nstat(&lab.b, errors);
        let slow = lab.b.enter(move || UdpSocket::bind((b, SLOW)).unwrap()).join().unwrap();
        let sender = lab.a.enter(move || {
            let socket = UdpSocket::bind((a, 0)).unwrap();
            for _ in 0..7 {
                socket.send_to(&[1; 100], (b, FILTERED)).unwrap();
                socket.send_to(&[1; 100], (b, CLOSED)).unwrap();
            }
            for _ in 0..2000 {
                socket.send_to(&[1; 1000], (b, SLOW)).unwrap();
            }
            assert!(TcpStream::connect((b, CLOSED)).is_err());
            let filtered = SocketAddr::new(b, FILTERED);
            assert!(TcpStream::connect_timeout(&filtered, Duration::from_millis(500)).is_err());
        });
        sender.join().unwrap();
        thread::sleep(Duration::from_millis(200));
        let overflown = nstat(&lab.b, errors) - before;
        assert!(overflown > 100, "{overflown}");
        let mut drops = Vec::new();
        collector.poll_drops(|drop| drops.push(drop));
        let of = |protocol, port| between(&drops, protocol, SocketAddr::new(b, port));
        let only = |reason: &str, packets| BTreeMap::from([((reason.to_owned(), a), packets)]);
        assert_eq!(of(Protocol::Udp, FILTERED), only("NETFILTER_DROP", 7), "{drops:#?}");
        assert_eq!(of(Protocol::Udp, CLOSED), only("NO_SOCKET", 7), "{drops:#?}");
        assert_eq!(of(Protocol::Udp, SLOW), only("SOCKET_RCVBUFF", overflown), "{drops:#?}");
        assert_eq!(of(Protocol::Tcp, CLOSED), only("NO_SOCKET", 1), "{drops:#?}");
        assert_eq!(of(Protocol::Tcp, FILTERED), only("NETFILTER_DROP", 1), "{drops:#?}");
        let ours = drops.iter().filter(|d| d.destination.ip() == b);
        assert!(ours.clone().all(|d| d.netns == lab.b.cookie), "{drops:#?}");
        drop(slow);
    }
}

/// A packet that stands for many segments counts as those: nftables counts packets and bytes.
#[test]
fn segments_that_were_dropped_whole_are_counted_one_by_one() {
    const SEGMENT: u64 = 1448;
    let Some(lab) = Lab::build(&["nft", "iperf3"], Link::Veth) else { return };
    let rules = "add table inet weir; add chain inet weir in { type filter hook input priority 0; }; \
         add rule inet weir in tcp dport 5201 meta length > 1000 numgen inc mod 500 0 counter drop";
    lab.b.run("nft", &[rules]);
    let mut collector = BpfCollector::start(&Options::default()).unwrap();
    let address = lab.b.address.to_string();
    let _server = lab.b.start("iperf3", &["-s", "-1", "-B", &address]);
    thread::sleep(Duration::from_millis(300));
    lab.a.run("iperf3", &["-c", &address, "-n", "200M", "-C", "cubic"]);
    let text = lab.b.run("nft", &["list", "table", "inet", "weir"]);
    let mut words = text.split_whitespace().skip_while(|word| *word != "counter");
    let mut number = |name| {
        words.find(|word| *word == name).unwrap();
        words.next().unwrap().parse::<u64>().unwrap()
    };
    let (packets, bytes) = (number("packets"), number("bytes"));
    let mut dropped = 0;
    collector.poll_drops(|drop| {
        if &*drop.reason == "NETFILTER_DROP" && drop.destination.port() == 5201 {
            dropped += drop.packets;
        }
    });
    let least = bytes / SEGMENT;
    assert!(dropped > packets, "{dropped} segments in {packets} packets");
    assert!((least..=least + packets).contains(&dropped), "{dropped}, {packets} of {bytes}");
}
