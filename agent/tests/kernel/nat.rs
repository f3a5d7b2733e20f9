//! Services that are translated addresses: each end learns who is really at the other.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use weir_agent::bpf::Options;
use weir_agent::conntrack::{Conntrack, Translation};
use weir_agent::socket::{Protocol, Role, SocketState};

use crate::lab::{Lab, Link};
use crate::watch::Watch;

const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 213, 200, 1);
const PORT: u16 = 80;
const BACKEND_PORT: u16 = 8080;

/// Dials to the service go to `b`, from a port that is not the client's. The rules are in the client's
/// namespace, which stands for the host.
fn service(lab: &Lab) {
    lab.a.nft("add table ip nat");
    lab.a.nft("add chain ip nat out { type nat hook output priority -100; }");
    lab.a.nft("add chain ip nat post { type nat hook postrouting priority 100; }");
    lab.a.run("ip", &["route", "add", &format!("{SERVICE}/32"), "dev", &lab.a.device]);
    let (a, b) = (lab.a.address, lab.b.address);
    for protocol in ["tcp", "udp"] {
        let to = format!("ip daddr {SERVICE} {protocol} dport {PORT} dnat to {b}:{BACKEND_PORT}");
        lab.a.nft(&format!("add rule ip nat out {to}"));
        let from = format!("ip daddr {b} {protocol} dport {BACKEND_PORT} snat to {a}:5000-5999");
        lab.a.nft(&format!("add rule ip nat post {from}"));
    }
}

#[test]
fn both_ends_of_a_translated_connection() {
    let Some(lab) = Lab::build(&["nft"], Link::Veth) else { return };
    service(&lab);
    let mut conntrack = lab.a.enter(Conntrack::start).join().unwrap();
    assert_eq!(conntrack.status().entries, 0);
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    let backend = SocketAddr::new(lab.b.address.into(), BACKEND_PORT);
    let listener = lab.b.enter(move || TcpListener::bind(backend).unwrap()).join().unwrap();
    let server = lab.b.enter(move || UdpSocket::bind(backend).unwrap()).join().unwrap();
    let answer = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        connection.write_all(&byte).unwrap();
        let mut buffer = [0; 10];
        for _ in 0..2 {
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&buffer[..length], from).unwrap();
        }
    });
    let dialled = SocketAddr::new(SERVICE.into(), PORT);
    let from = lab.a.address;
    let client = lab.a.enter(move || {
        let mut connection = TcpStream::connect(dialled).unwrap();
        connection.write_all(b"?").unwrap();
        connection.read_exact(&mut [0]).unwrap();
        let (mut buffer, mut datagrams) = ([0; 10], Vec::new());
        for connects in [true, false] {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            if connects {
                socket.connect(dialled).unwrap();
                socket.send(b"datagram").unwrap();
            } else {
                socket.send_to(b"datagram", dialled).unwrap();
            }
            assert_eq!(socket.recv(&mut buffer).unwrap(), 8);
            datagrams.push(socket.local_addr().unwrap());
        }
        (connection.local_addr().unwrap(), datagrams)
    });
    let (own, datagrams) = client.join().unwrap();
    answer.join().unwrap();
    conntrack.poll();
    let seen = watch.stop(&lab);
    assert_eq!(conntrack.status().entries, 3);

    let of = |protocol, role, netns| -> Vec<(&SocketState, Translation)> {
        let wanted = |s: &&SocketState| (s.protocol, s.role, s.netns) == (protocol, role, netns);
        let translate = |s| {
            (s, conntrack.translate(s).unwrap_or_else(|| panic!("it is not translated: {s:#?}")))
        };
        seen.last.iter().filter(wanted).map(translate).collect()
    };
    let clients = of(Protocol::Tcp, Role::Client, lab.a.cookie);
    let [(socket, client)] = clients[..] else { panic!("{clients:#?}") };
    assert_eq!((socket.local, socket.peer), (own, dialled));
    assert_eq!((client.local, client.peer, client.service), (own, backend, Some(dialled)));
    let servers = of(Protocol::Tcp, Role::Server, lab.b.cookie);
    let [(socket, server)] = servers[..] else { panic!("{servers:#?}") };
    assert_eq!((socket.local, socket.peer), (backend, client.known_as));
    assert_ne!(socket.peer, own, "the source was to be translated");
    assert_eq!((server.peer, server.known_as, server.service), (own, dialled, None));

    // An unconnected socket has a flow that it sends in and one that it receives in; both are one.
    let flows = of(Protocol::Udp, Role::Client, lab.a.cookie);
    assert_eq!(flows.len(), 3, "{flows:#?}");
    for (_, flow) in &flows {
        assert!(datagrams.contains(&flow.local), "{flow:?}");
        assert_eq!((flow.peer, flow.service), (backend, Some(dialled)));
    }
    for (_, flow) in of(Protocol::Udp, Role::Server, lab.b.cookie) {
        assert!(datagrams.contains(&flow.peer), "{flow:?}");
    }
}

#[test]
fn lost_events_are_counted_and_made_good() {
    const FLOWS: u16 = 20_000;
    let Some(lab) = Lab::build(&["nft"], Link::Veth) else { return };
    service(&lab);
    // Only the destination is translated: for so many there are not enough ports.
    lab.a.nft("flush chain ip nat post");
    let mut conntrack = lab.a.enter(Conntrack::start).join().unwrap();
    let from = lab.a.address;
    let send = move || {
        for port in 0..FLOWS {
            let socket = UdpSocket::bind((from, 10_000 + port)).unwrap();
            socket.send_to(b"x", (SERVICE, PORT)).unwrap();
        }
    };
    lab.a.enter(send).join().unwrap();
    conntrack.poll();
    assert!(conntrack.losses().overruns > 0);
    for _ in 0..80 {
        if conntrack.status().entries >= usize::from(FLOWS) {
            break;
        }
        thread::sleep(Duration::from_millis(100));
        conntrack.poll();
    }
    assert_eq!(conntrack.status().entries, usize::from(FLOWS));
    assert_eq!(conntrack.losses().entries, 0);
}

#[test]
fn plain_connections_are_none_of_its_business() {
    let Some(lab) = Lab::build(&["nft"], Link::Veth) else { return };
    // Tracked, but not translated.
    lab.a.nft("add table ip watch");
    lab.a.nft("add chain ip watch out { type filter hook output priority 0; }");
    lab.a.nft("add rule ip watch out ct state new accept");
    let mut conntrack = lab.a.enter(Conntrack::start).join().unwrap();
    let (from, to) = (lab.a.address, IpAddr::from(lab.b.address));
    let send = move || {
        for _ in 0..100 {
            UdpSocket::bind((from, 0)).unwrap().send_to(b"x", (to, PORT)).unwrap();
        }
    };
    lab.a.enter(send).join().unwrap();
    conntrack.poll();
    assert_eq!((conntrack.status().entries, conntrack.losses().overruns), (0, 0));
}
