//! How connections begin badly and end badly.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use weir_agent::socket::Counters;

use crate::lab::{Lab, Link};
use crate::watch::{Watch, set_option, sum};

const TOOLS: [&str; 2] = ["nft", "nstat"];

#[test]
fn refused_connection_is_a_failure() {
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let watch = Watch::every_second();
    let address = SocketAddr::from((lab.b.address, 9));
    let error = lab.a.enter(move || TcpStream::connect(address).unwrap_err()).join().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let seen = watch.stop(&lab);
    let socket = seen.only(&lab.a);
    let expected =
        Counters { connects: 1, connect_failures: 1, connect_refused: 1, ..Counters::default() };
    assert_eq!(socket.counters, expected);
    assert!(socket.closed && socket.connect_time_us.is_none() && socket.peer == address);
    assert!(seen.of(lab.b.cookie).is_empty());
}

/// A process may try again with the same socket: one cookie, two connections.
#[test]
fn second_attempt_of_a_socket_counts_anew() {
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let watch = Watch::every_second();
    let address = lab.b.address;
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = lab.b.enter(move || {
        let listener = TcpListener::bind((address, 7001)).unwrap();
        ready.send(()).unwrap();
        let mut received = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
        received
    });
    is_ready.recv().unwrap();
    lab.a
        .enter(move || {
            let socket = stream_socket();
            assert_ne!(connect(&socket, address, 9), 0);
            assert_eq!(connect(&socket, address, 7001), 0);
            let mut stream = TcpStream::from(socket);
            stream.write_all(b"hello").unwrap();
        })
        .join()
        .unwrap();
    assert_eq!(server.join().unwrap(), b"hello");
    let seen = watch.stop(&lab);
    let sockets = seen.of(lab.a.cookie);
    assert_eq!(sockets.len(), 2, "{sockets:#?}");
    let [first, second] = [sockets[0], sockets[1]];
    assert_eq!(first.cookie, second.cookie);
    assert_eq!((first.peer.port(), first.counters.connect_failures), (9, 1));
    assert_eq!((second.peer.port(), second.counters.connect_failures), (7001, 0));
    assert_eq!((second.counters.tx_bytes, second.counters.closes), (5, 1));
    assert_ne!(second.owner.tgid, 0);
}

fn stream_socket() -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd as _;
    // SAFETY: a new descriptor, owned from here on.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0);
        std::os::fd::OwnedFd::from_raw_fd(fd)
    }
}

fn connect(socket: &std::os::fd::OwnedFd, address: std::net::Ipv4Addr, port: u16) -> i32 {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(address).to_be() },
        sin_zero: [0; 8],
    };
    let length = size_of_val(&address) as u32;
    // SAFETY: a valid address of that length.
    unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) }
}

#[test]
fn reset_in_mid_stream_is_counted_at_both_ends() {
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let watch = Watch::every_second();
    let address = SocketAddr::from((lab.b.address, 7002));
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = lab.b.enter(move || {
        let listener = TcpListener::bind(address).unwrap();
        ready.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        let abort = libc::linger { l_onoff: 1, l_linger: 0 };
        set_option(&stream, libc::SOL_SOCKET, libc::SO_LINGER, &abort);
    });
    is_ready.recv().unwrap();
    let client = lab.a.enter(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&[b'x'; 1000]).unwrap();
        stream.read(&mut [0]).unwrap_err().kind()
    });
    server.join().unwrap();
    assert_eq!(client.join().unwrap(), io::ErrorKind::ConnectionReset);
    let seen = watch.stop(&lab);
    let (client, server) = (seen.only(&lab.a), seen.only(&lab.b));
    assert_eq!((client.counters.tx_bytes, server.counters.rx_bytes), (1000, 1000));
    for socket in [client, server] {
        let c = socket.counters;
        assert_eq!((c.closes, c.resets, c.connect_failures), (1, 1, 0), "{socket:#?}");
    }
}

/// SYNs into a black hole: first after 1 s, then after 2 s more the SYN is repeated.
#[test]
fn unanswered_syns_are_timeouts_of_the_handshake() {
    let Some(lab) = Lab::build(&TOOLS, Link::Veth) else { return };
    lab.b.nft("add table inet hole");
    lab.b.nft("add chain inet hole in { type filter hook input priority 0; }");
    lab.b.nft("add rule inet hole in tcp dport 81 drop");
    let watch = Watch::every_second();
    let address = SocketAddr::from((lab.b.address, 81));
    let patience = Duration::from_millis(3500);
    lab.a
        .enter(move || TcpStream::connect_timeout(&address, patience).unwrap_err())
        .join()
        .unwrap();
    let seen = watch.stop(&lab);
    let c = seen.only(&lab.a).counters;
    assert!(c.retransmits >= 2, "{c:?}");
    assert_eq!((c.retransmits, c.timeouts), (c.retransmits_syn, c.timeouts_syn));
    assert_eq!(c.retransmits, lab.a.counter("TcpRetransSegs"));
    assert_eq!(c.retransmits_syn, lab.a.counter("TcpExtTCPSynRetrans"));
    assert_eq!(c.timeouts, lab.a.counter("TcpExtTCPTimeouts"));
    assert_eq!((c.connects, c.connect_failures, c.closes, c.resets), (1, 1, 0, 0));
}

/// Lost SYN-ACKs: the accepted socket knows how many were resent. Their timer runs on the listener
/// and fires no callback, so here `TCPTimeouts` of the server's namespace is larger than `timeouts`.
#[test]
fn resent_syn_acks_are_retransmits_of_the_accepted_socket() {
    let Some(lab) = Lab::build(&TOOLS, Link::Veth) else { return };
    lab.a.nft("add table inet hole");
    lab.a.nft("add chain inet hole in { type filter hook input priority 0; }");
    lab.a.nft("add rule inet hole in tcp flags & (syn|ack) == syn|ack numgen inc mod 4 < 3 drop");
    let watch = Watch::every_second();
    let address = SocketAddr::from((lab.b.address, 7003));
    let listener = lab.b.enter(move || TcpListener::bind(address).unwrap()).join().unwrap();
    let client = lab.a.enter(move || TcpStream::connect(address).unwrap());
    let (accepted, _) = listener.accept().unwrap();
    drop(client.join().unwrap());
    drop(accepted);
    let seen = watch.stop(&lab);
    let (client, server) = (seen.only(&lab.a).counters, seen.only(&lab.b).counters);
    let kernel_timeouts = lab.b.counter("TcpExtTCPTimeouts");
    eprintln!("client {client:?}\nserver {server:?}\nkernel's timeouts {kernel_timeouts}");
    assert!(server.retransmits_syn > 0);
    assert_eq!(server.retransmits, lab.b.counter("TcpRetransSegs"));
    assert_eq!(server.retransmits_syn, lab.b.counter("TcpExtTCPSynRetrans"));
    assert_eq!(client.retransmits, lab.a.counter("TcpRetransSegs"));
    assert_eq!(client.timeouts_syn, lab.a.counter("TcpExtTCPTimeouts"));
    assert_eq!(server.timeouts, 0);
    assert!(kernel_timeouts > 0);
}

/// The path goes dark in mid-stream for two seconds.
#[test]
fn timeouts_of_an_established_connection() {
    let Some(lab) = Lab::build(&TOOLS, Link::Veth) else { return };
    let watch = Watch::every_second();
    let address = SocketAddr::from((lab.b.address, 7004));
    let listener = lab.b.enter(move || TcpListener::bind(address).unwrap()).join().unwrap();
    let mut client = lab.a.enter(move || TcpStream::connect(address).unwrap()).join().unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"before").unwrap();
    server.read_exact(&mut [0; 6]).unwrap();
    lab.b.nft("add table inet hole");
    lab.b.nft("add chain inet hole in { type filter hook input priority 0; }");
    lab.b.nft("add rule inet hole in tcp dport 7004 drop");
    client.write_all(b"in the dark").unwrap();
    thread::sleep(Duration::from_secs(2));
    lab.b.nft("delete table inet hole");
    server.read_exact(&mut [0; 11]).unwrap();
    drop((client, server));
    let seen = watch.stop(&lab);
    let c = seen.only(&lab.a).counters;
    eprintln!("{c:?}");
    assert!(c.timeouts >= 2, "{c:?}");
    assert_eq!(c.timeouts, lab.a.counter("TcpExtTCPTimeouts"));
    assert_eq!(c.retransmits, lab.a.counter("TcpRetransSegs"));
    assert_eq!((c.timeouts_syn, c.retransmits_syn, c.tx_bytes), (0, 0, 17));
    let servers = seen.of(lab.b.cookie);
    assert_eq!(sum(&servers, |c| c.rx_bytes), 17);
}

/// A closed window is probed by a timer of its own, which is not a retransmission timeout.
#[test]
fn window_probes_are_no_timeouts() {
    let Some(lab) = Lab::build(&TOOLS, Link::Veth) else { return };
    let watch = Watch::every_second();
    let address = SocketAddr::from((lab.b.address, 7006));
    let listener = lab.b.enter(move || TcpListener::bind(address).unwrap()).join().unwrap();
    let mut client = lab.a.enter(move || TcpStream::connect(address).unwrap()).join().unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.set_nonblocking(true).unwrap();
    let mut written = 0;
    for _ in 0..20 {
        while let Ok(length) = client.write(&[b'x'; 65536]) {
            written += length;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert!(lab.b.counter("TcpExtTCPToZeroWindowAdv") > 0);
    drop(client);
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), written);
    drop(server);
    let seen = watch.stop(&lab);
    let c = seen.only(&lab.a).counters;
    assert_eq!((c.tx_bytes, c.closes, c.resets), (written as u64, 1, 0), "{c:?}");
    assert_eq!(c.timeouts, lab.a.counter("TcpExtTCPTimeouts"));
    assert_eq!(c.retransmits, lab.a.counter("TcpRetransSegs"));
    assert_eq!(seen.only(&lab.b).counters.rx_bytes, written as u64);
}

/// Links to one cgroup do not disturb each other: agents can overlap while one replaces the other.
#[test]
fn two_agents_see_the_same() {
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let (one, other) = (Watch::every_second(), Watch::every_second());
    let address = SocketAddr::from((lab.b.address, 9));
    lab.a.enter(move || TcpStream::connect(address).unwrap_err()).join().unwrap();
    let (one, other) = (one.stop(&lab), other.stop(&lab));
    assert_eq!(one.only(&lab.a).counters, other.only(&lab.a).counters);
    assert_eq!(one.only(&lab.a).counters.connect_failures, 1);
}
