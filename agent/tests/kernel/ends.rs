//! Why connections do not begin, and why they end.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use weir_agent::socket::Counters;

use crate::lab::{Lab, Link, Namespace};
use crate::watch::{Watch, set_option, sum};

const TOOLS: [&str; 4] = ["nft", "nstat", "sysctl", "ss"];

fn filter(namespace: &Namespace, rule: &str) {
    namespace.nft("add table inet ends");
    namespace.nft("add chain inet ends in { type filter hook input priority 0; }");
    namespace.nft(&format!("add rule inet ends in {rule}"));
}

fn connected(lab: &Lab, port: u16) -> (TcpStream, TcpStream) {
    let address = SocketAddr::from((lab.b.address, port));
    let listener = lab.b.enter(move || TcpListener::bind(address).unwrap()).join().unwrap();
    let client = lab.a.enter(move || TcpStream::connect(address).unwrap()).join().unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn failures_have_their_reasons() {
    let Some(lab) = Lab::build(&TOOLS, Link::Veth) else { return };
    lab.a.run("sysctl", &["-qw", "net.ipv4.tcp_syn_retries=1"]);
    filter(&lab.b, "tcp dport 7101 reject with icmpx type host-unreachable");
    lab.b.nft("add rule inet ends in tcp dport 7102 drop");
    let watch = Watch::every_second();
    let address = lab.b.address;
    let kinds = lab.a.enter(move || {
        let attempts = (7100..=7102).map(|port| {
            thread::spawn(move || TcpStream::connect((address, port)).unwrap_err().kind())
        });
        attempts.collect::<Vec<_>>().into_iter().map(|a| a.join().unwrap()).collect::<Vec<_>>()
    });
    let kinds = kinds.join().unwrap();
    let expected =
        [io::ErrorKind::ConnectionRefused, io::ErrorKind::HostUnreachable, io::ErrorKind::TimedOut];
    assert_eq!(kinds, expected);
    let seen = watch.stop(&lab);
    let of = |port| {
        let sockets = seen.of(lab.a.cookie);
        let c = sockets.iter().find(|s| s.peer.port() == port).unwrap().counters;
        assert_eq!((c.connects, c.connect_failures, c.closes, c.resets), (1, 1, 0, 0));
        [c.connect_refused, c.connect_unreachable, c.connect_timed_out]
    };
    assert_eq!((of(7100), of(7101), of(7102)), ([1, 0, 0], [0, 1, 0], [0, 0, 1]));
}

#[test]
fn whoever_gave_up_first_has_no_reason() {
    let Some(lab) = Lab::build(&TOOLS, Link::Veth) else { return };
    filter(&lab.b, "tcp dport 7103 drop");
    let watch = Watch::every_second();
    let address = SocketAddr::from((lab.b.address, 7103));
    let patience = Duration::from_millis(300);
    let attempt = lab.a.enter(move || TcpStream::connect_timeout(&address, patience).unwrap_err());
    attempt.join().unwrap();
    let seen = watch.stop(&lab);
    let c = seen.only(&lab.a).counters;
    assert_eq!(c.connect_failures, 1);
    assert_eq!(c.connect_refused + c.connect_unreachable + c.connect_timed_out, 0, "{c:?}");
}

#[test]
fn a_reset_is_received_at_one_end_and_sent_by_the_other() {
    let Some(lab) = Lab::build(&TOOLS, Link::Veth) else { return };
    let watch = Watch::every_second();
    let (mut client, server) = connected(&lab, 7104);
    client.write_all(b"never read").unwrap();
    thread::sleep(Duration::from_millis(100));
    // With data unread, that is a reset.
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    drop(client);
    let seen = watch.stop(&lab);
    let sides = |c: Counters| [c.resets, c.resets_received, c.resets_sent];
    assert_eq!(sides(seen.only(&lab.a).counters), [1, 1, 0]);
    assert_eq!(sides(seen.only(&lab.b).counters), [1, 0, 1]);
    assert_eq!(lab.b.counter("TcpOutRsts"), 1);
}

/// The peer's machine is gone: nothing answers, not even with a reset.
#[test]
fn a_peer_that_vanishes() {
    let Some(lab) = Lab::build(&TOOLS, Link::Veth) else { return };
    let watch = Watch::every_second();
    let (mut client, mut server) = connected(&lab, 7105);
    let patience: libc::c_uint = 2000;
    set_option(&client, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, &patience);
    client.write_all(b"hello").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    filter(&lab.b, "tcp dport 7105 drop");
    client.write_all(b"are you there?").unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::TimedOut);
    let c = {
        let seen = watch.stop(&lab);
        seen.only(&lab.a).counters
    };
    // What nobody acknowledged is not counted as sent; the end is nobody's reset.
    assert_eq!((c.tx_bytes, c.closes, c.resets), (5, 1, 1), "{c:?}");
    assert_eq!((c.resets_received, c.resets_sent), (0, 0), "{c:?}");
    assert!(c.timeouts >= 1);
    assert_eq!(c.timeouts, lab.a.counter("TcpExtTCPTimeouts"));
    assert_eq!(c.retransmits, lab.a.counter("TcpRetransSegs"));
    drop(server);
}

/// A listener that does not accept: the queue takes two, SYNs of others are dropped and repeated.
#[test]
fn a_full_backlog() {
    let Some(lab) = Lab::build(&TOOLS, Link::Veth) else { return };
    let watch = Watch::every_second();
    let address = SocketAddr::from((lab.b.address, 7106));
    let listener = lab.b.enter(move || TcpListener::bind(address).unwrap()).join().unwrap();
    // SAFETY: a listening socket; this only changes its queue.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 1) }, 0);
    let attempts = lab.a.enter(move || {
        let patience = Duration::from_millis(2500);
        let attempts = (0..6)
            .map(|_| thread::spawn(move || TcpStream::connect_timeout(&address, patience).ok()));
        let attempts: Vec<_> = attempts.collect();
        attempts.into_iter().filter_map(|a| a.join().unwrap()).collect::<Vec<_>>()
    });
    let up = attempts.join().unwrap();
    assert!((2..6).contains(&up.len()), "{}", up.len());
    let failed = 6 - up.len() as u64;
    assert!(lab.b.counter("TcpExtListenOverflows") > 0);
    drop((listener, up));
    let seen = watch.stop(&lab);
    let clients = seen.of(lab.a.cookie);
    assert_eq!((sum(&clients, |c| c.connects), sum(&clients, |c| c.connect_failures)), (6, failed));
    assert!(sum(&clients, |c| c.retransmits_syn) >= failed);
    assert_eq!(sum(&clients, |c| c.retransmits_syn), lab.a.counter("TcpExtTCPSynRetrans"));
    assert_eq!(sum(&clients, |c| c.timeouts), lab.a.counter("TcpExtTCPTimeouts"));
}

/// A FIN that is not heard is repeated.
#[test]
fn what_is_sent_again_after_the_fin_is_of_the_closing_phase() {
    let Some(lab) = Lab::build(&TOOLS, Link::Veth) else { return };
    let watch = Watch::every_second();
    let (mut client, mut server) = connected(&lab, 7107);
    client.write_all(b"all of it").unwrap();
    server.read_exact(&mut [0; 9]).unwrap();
    filter(&lab.b, "tcp dport 7107 drop");
    client.shutdown(Shutdown::Write).unwrap();
    thread::sleep(Duration::from_millis(1500));
    lab.b.nft("delete table inet ends");
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    drop((client, server));
    let seen = watch.stop(&lab);
    let c = seen.only(&lab.a).counters;
    let resent = lab.a.counter("TcpRetransSegs");
    assert!(resent >= 2, "{resent}");
    assert_eq!((c.retransmits, c.retransmits_closing, c.retransmits_syn), (resent, resent, 0));
    let timeouts = lab.a.counter("TcpExtTCPTimeouts");
    assert_eq!((c.timeouts, c.timeouts_closing), (timeouts, timeouts));
    assert_eq!((c.tx_bytes, c.resets), (9, 0));
}

/// A router marks packets instead of dropping them.
#[test]
fn marks_of_congestion_are_those_that_ss_shows() {
    let Some(lab) = Lab::build(&TOOLS, Link::VethSegmented) else { return };
    for end in [&lab.a, &lab.b] {
        end.run("sysctl", &["-qw", "net.ipv4.tcp_ecn=1"]);
    }
    filter(&lab.b, "tcp dport 7108 meta length > 1000 ip ecn set ce");
    let watch = Watch::every_second();
    let (mut client, mut server) = connected(&lab, 7108);
    let reader = thread::spawn(move || {
        server.read_exact(&mut vec![0; 300_000]).unwrap();
        server
    });
    client.write_all(&[1; 300_000]).unwrap();
    let server = reader.join().unwrap();
    thread::sleep(Duration::from_millis(300));
    let text = lab.a.run("ss", &["-tinH", "dport", "=", ":7108"]);
    let shown = text.split_whitespace().find_map(|word| word.strip_prefix("delivered_ce:"));
    let shown: u64 = shown.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    assert!(shown > 0, "{text}");
    drop((client, server));
    let seen = watch.stop(&lab);
    // The FIN comes after.
    let marked = seen.only(&lab.a).counters.delivered_ce;
    assert!((shown..=shown + 1).contains(&marked), "{marked}, {shown}");
    assert_eq!(seen.only(&lab.b).counters.delivered_ce, 0);
}
