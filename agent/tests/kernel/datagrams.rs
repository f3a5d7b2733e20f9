//! UDP and ICMP: each datagram counted once, at both ends, whoever is connected or not.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use weir_agent::bpf::Options;
use weir_agent::socket::{Counters, Protocol, Role, SocketState};

use crate::lab::{Lab, Link, Namespace};
use crate::watch::{Seen, Watch, set_option, sum};

const PORT: u16 = 5300;

/// What each flow of datagrams came to: those of a flow that fell silent and began anew add up.
fn flows(seen: &Seen, protocol: Protocol) -> Vec<SocketState> {
    let mut flows: Vec<SocketState> = Vec::new();
    for socket in seen.last.iter().filter(|s| s.protocol == protocol) {
        let is_it = |f: &&mut SocketState| {
            (f.cookie, f.local, f.peer) == (socket.cookie, socket.local, socket.peer)
        };
        match flows.iter_mut().find(is_it) {
            None => flows.push(socket.clone()),
            Some(flow) => {
                flow.counters.tx_bytes += socket.counters.tx_bytes;
                flow.counters.rx_bytes += socket.counters.rx_bytes;
                flow.counters.tx_packets += socket.counters.tx_packets;
                flow.counters.rx_packets += socket.counters.rx_packets;
            }
        }
    }
    flows
}

fn volume(c: &Counters) -> [u64; 4] {
    [c.tx_bytes, c.tx_packets, c.rx_bytes, c.rx_packets]
}

fn bind(namespace: &Namespace, address: SocketAddr) -> UdpSocket {
    namespace.enter(move || UdpSocket::bind(address).unwrap()).join().unwrap()
}

#[test]
fn every_kind_of_udp_socket() {
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let (a, b) = (IpAddr::from(lab.a.address), IpAddr::from(lab.b.address));
    // There before the agent, and dual-stack.
    let server = bind(&lab.b, (Ipv6Addr::UNSPECIFIED, PORT).into());
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    let connected = bind(&lab.a, (a, 0).into());
    connected.connect((b, PORT)).unwrap();
    let unconnected = bind(&lab.a, (Ipv6Addr::UNSPECIFIED, 0).into());
    let silent = bind(&lab.b, (b, PORT + 1).into());
    let six = IpAddr::from(lab.b.address6);
    for _ in 0..10 {
        connected.send(&[1; 100]).unwrap();
        unconnected.send_to(&[2; 2000], (lab.b.address.to_ipv6_mapped(), PORT)).unwrap();
        unconnected.send_to(&[3; 30], (six, PORT)).unwrap();
        // Received by one that never answers.
        unconnected.send_to(&[4; 7], (lab.b.address.to_ipv6_mapped(), PORT + 1)).unwrap();
    }
    let mut buffer = [0; 4096];
    for _ in 0..30 {
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..length / 2], from).unwrap();
    }
    let seen = watch.stop(&lab);
    assert_eq!(seen.datagrams_uncounted, 0);
    let flows = flows(&seen, Protocol::Udp);
    let local_port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    let find = |local: SocketAddr, peer: SocketAddr| {
        let mut found = flows.iter().filter(|f| (f.local, f.peer) == (local, peer));
        let one = found.next().unwrap_or_else(|| panic!("{local} {peer}: {flows:#?}"));
        assert!(found.next().is_none(), "{local} {peer}: {flows:#?}");
        one
    };
    let (one, other) = (local_port(&connected), local_port(&unconnected));
    let a6 = IpAddr::from(lab.a.address6);
    for (client, server, tx, rx) in [
        ((a, one), (b, PORT), 100, 50),
        ((a, other), (b, PORT), 2000, 1000),
        ((a6, other), (six, PORT), 30, 15),
        ((a, other), (b, PORT + 1), 7, 0),
    ] {
        let answers = if rx > 0 { 10 } else { 0 };
        let there = find(client.into(), server.into());
        assert_eq!(volume(&there.counters), [10 * tx, 10, 10 * rx, answers], "{there:#?}");
        assert_eq!((there.role, there.netns), (Role::Client, lab.a.cookie), "{there:#?}");
        assert_eq!(there.owner.tgid, std::process::id(), "{there:#?}");
        let here = find(server.into(), client.into());
        assert_eq!(volume(&here.counters), [10 * rx, answers, 10 * tx, 10], "{here:#?}");
        assert_eq!(here.role, Role::Server, "{here:#?}");
        assert!(here.owner.cgroup != 0, "{here:#?}");
    }
    assert_eq!(flows.len(), 8, "{flows:#?}");
    drop(silent);
}

#[test]
fn a_large_send_is_as_many_datagrams_as_it_is_cut_into() {
    const UDP_SEGMENT: libc::c_int = 103;
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let server = bind(&lab.b, (lab.b.address, PORT).into());
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    let client = bind(&lab.a, (lab.a.address, 0).into());
    let size: libc::c_int = 1000;
    set_option(&client, libc::SOL_UDP, UDP_SEGMENT, &size);
    for _ in 0..3 {
        client.send_to(&[7; 9500], (lab.b.address, PORT)).unwrap();
    }
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut buffer = [0; 2000];
    let lengths: Vec<usize> = (0..30).map(|_| server.recv(&mut buffer).unwrap()).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 28_500);
    let seen = watch.stop(&lab);
    let flows = flows(&seen, Protocol::Udp);
    let of = |netns| flows.iter().find(|f| f.netns == netns).unwrap();
    assert_eq!(volume(&of(lab.a.cookie).counters), [28_500, 30, 0, 0], "{flows:#?}");
    // The server is older than the agent.
    assert_eq!(volume(&of(0).counters), [0, 0, 28_500, 30], "{flows:#?}");
}

#[test]
fn iperf3_over_udp() {
    let Some(lab) = Lab::build(&["iperf3"], Link::Veth) else { return };
    for (address, reverse) in [
        (lab.b.address.to_string(), false),
        (lab.b.address.to_string(), true),
        (lab.b.address6.to_string(), false),
    ] {
        let watch = Watch::start(Options::default(), Duration::from_secs(1));
        let _server = lab.b.start("iperf3", &["-s", "-1", "-B", &address]);
        thread::sleep(Duration::from_millis(500));
        let mut arguments = vec!["-u", "-c", &address, "-t", "3", "-b", "40M", "--json"];
        arguments.extend(reverse.then_some("-R"));
        let report: Value = serde_json::from_str(&lab.a.run("iperf3", &arguments)).unwrap();
        let seen = watch.stop(&lab);
        let flows = flows(&seen, Protocol::Udp);
        let (sender, receiver) = if reverse { (&lab.b, &lab.a) } else { (&lab.a, &lab.b) };
        let told = |end: &str, what: &str| report["end"][end][what].as_u64().unwrap();
        let of = |end: &Namespace| -> Vec<&SocketState> {
            flows.iter().filter(|f| f.netns == end.cookie).collect()
        };
        let sent = of(sender);
        let (bytes, packets) = (told("sum_sent", "bytes"), told("sum_sent", "packets"));
        let (tx_bytes, tx_packets) = (sum(&sent, |c| c.tx_bytes), sum(&sent, |c| c.tx_packets));
        eprintln!("tx_bytes {tx_bytes} of {bytes}, tx_packets {tx_packets} of {packets}");
        // Both ends greet each other with four bytes.
        assert!(tx_packets.abs_diff(packets) * 1000 <= packets.max(2000), "{tx_packets} {packets}");
        assert!(tx_bytes.abs_diff(bytes) * 1000 <= bytes, "{tx_bytes}, iperf3 sent {bytes}");
        let received = of(receiver);
        assert_eq!(sum(&received, |c| c.rx_packets), tx_packets, "{flows:#?}");
        assert_eq!(sum(&received, |c| c.rx_bytes), tx_bytes, "{flows:#?}");
    }
}

#[test]
fn pings_are_counted() {
    let Some(lab) = Lab::build(&["ping"], Link::Veth) else { return };
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    for address in [lab.b.address.to_string(), lab.b.address6.to_string()] {
        lab.a.run("ping", &["-c", "5", "-i", "0.2", "-s", "100", &address]);
    }
    let seen = watch.stop(&lab);
    let flows = flows(&seen, Protocol::Icmp);
    for address in [IpAddr::from(lab.b.address), lab.b.address6.into()] {
        let mut pings = flows.iter().filter(|f| f.peer.ip() == address && f.netns == lab.a.cookie);
        let ping = pings.next().unwrap_or_else(|| panic!("{address}: {flows:#?}"));
        assert_eq!(volume(&ping.counters), [500, 5, 500, 5], "{ping:#?}");
        assert_eq!((ping.role, ping.peer.port()), (Role::Client, 0), "{ping:#?}");
    }
}

/// Makes sockets that ask once each, as resolvers do.
fn ask_once(lab: &Lab, sockets: u64) {
    let (from, to) = (lab.a.address, (lab.b.address, PORT));
    let ask = move || {
        for _ in 0..sockets {
            UdpSocket::bind((from, 0)).unwrap().send_to(&[1; 10], to).unwrap();
        }
    };
    lab.a.enter(ask).join().unwrap();
}

fn counted(seen: &Seen) -> u64 {
    let flows = flows(seen, Protocol::Udp);
    flows.iter().map(|f| f.counters.tx_packets + f.counters.rx_packets).sum()
}

#[test]
fn what_finds_no_room_is_counted() {
    const SOCKETS: u64 = 30_000;
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let _server = bind(&lab.b, (lab.b.address, PORT).into());
    let options = Options { max_datagrams: 2048, ..Options::default() };
    let watch = Watch::start(options, Duration::from_millis(500));
    ask_once(&lab, SOCKETS);
    let seen = watch.stop(&lab);
    let (counted, lost) = (counted(&seen), seen.datagrams_uncounted);
    eprintln!("{counted} counted, {lost} found no room");
    // At both ends; among the lost may be a few that the kernel sent to find its neighbours.
    assert!((2 * SOCKETS..2 * SOCKETS + 20).contains(&(counted + lost)), "{counted} {lost}");
    assert!(lost > 0 && counted >= 2048, "{counted} {lost}");
}

#[test]
fn short_questions_do_not_fill_the_map_between_two_collections() {
    const BURSTS: u64 = 60;
    const EACH: u64 = 100;
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let _server = bind(&lab.b, (lab.b.address, PORT).into());
    // Room for fewer than there will be.
    let options = Options { max_datagrams: 8192, ..Options::default() };
    let watch = Watch::start(options, Duration::from_secs(3600));
    for _ in 0..BURSTS {
        ask_once(&lab, EACH);
        thread::sleep(Duration::from_millis(150));
    }
    let seen = watch.stop(&lab);
    assert_eq!((counted(&seen), seen.datagrams_uncounted), (2 * BURSTS * EACH, 0));
}
