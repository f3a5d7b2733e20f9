//! Many short connections: each is counted once, to the byte, whoever closes first.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use weir_agent::bpf::Options;
use weir_agent::socket::Role;

use crate::lab::{Lab, Link, Namespace};
use crate::watch::{Watch, sum};

const REQUEST: usize = 137;
const RESPONSE: usize = 4321;
const PORT: u16 = 8080;

/// Who ends a connection, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The server closes after its response, as HTTP/1.0 does.
    Server,
    /// The client half-closes after its request; the server answers after that.
    ClientHalf,
    /// The client closes when it has the response; the server waits for that.
    Client,
}

const ENDS: [End; 3] = [End::Server, End::ClientHalf, End::Client];

#[test]
fn two_thousand_short_connections() {
    const WORKERS: usize = 4;
    const EACH: usize = 500;
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    let total = WORKERS * EACH;
    // Dual-stack, so the server's sockets are IPv6 with mapped addresses.
    let server = serve(&lab.b, "[::]:8080".parse().unwrap(), total);
    let address = SocketAddr::new(lab.b.address.into(), PORT);
    let begin = Instant::now();
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            lab.a.enter(move || {
                for number in 0..EACH {
                    request(address, ENDS[(worker + number) % ENDS.len()]);
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|w| w.join().unwrap());
    server.join().unwrap();
    eprintln!("{total} connections in {:?}", begin.elapsed());
    let seen = watch.stop(&lab);
    assert_eq!((seen.map_insert_failures, seen.ring_drops), (0, 0));

    let total = total as u64;
    let (clients, servers) = (seen.of(lab.a.cookie), seen.of(lab.b.cookie));
    for (sockets, role, local, tx, rx) in [
        (&clients, Role::Client, lab.a.address, REQUEST, RESPONSE),
        (&servers, Role::Server, lab.b.address, RESPONSE, REQUEST),
    ] {
        assert_eq!(sockets.len() as u64, total);
        for s in sockets {
            assert_eq!((s.role, s.closed, s.open), (role, true, false), "{s:#?}");
            assert_eq!(s.local.ip(), IpAddr::from(local), "{s:#?}");
            let bytes = (s.counters.tx_bytes, s.counters.rx_bytes);
            assert_eq!(bytes, (tx as u64, rx as u64), "{s:#?}");
            assert_eq!(s.connect_time_us.is_some(), role == Role::Client, "{s:#?}");
        }
        assert_eq!(sum(sockets, |c| c.closes), total);
        assert_eq!(sum(sockets, |c| c.resets + c.connect_failures), 0);
    }
    assert_eq!(sum(&clients, |c| c.connects), total);
    assert_eq!(sum(&clients, |c| c.accepts), 0);
    assert_eq!(sum(&servers, |c| c.accepts), total);
    assert_eq!(sum(&servers, |c| c.connects), 0);
    let ports = clients.iter().all(|s| s.peer.port() == PORT && s.local.port() != PORT);
    assert!(ports && servers.iter().all(|s| s.local.port() == PORT), "ports");
}

#[test]
fn ipv6_connections() {
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    let address = SocketAddr::new(lab.b.address6.into(), PORT);
    let server = serve(&lab.b, address, ENDS.len());
    lab.a.enter(move || ENDS.map(|end| request(address, end))).join().unwrap();
    server.join().unwrap();
    let seen = watch.stop(&lab);
    let (clients, servers) = (seen.of(lab.a.cookie), seen.of(lab.b.cookie));
    assert_eq!((clients.len(), servers.len()), (ENDS.len(), ENDS.len()));
    for s in clients {
        assert_eq!((s.local.ip(), s.peer), (lab.a.address6.into(), address));
        assert_eq!(s.counters.tx_bytes, REQUEST as u64);
    }
    for s in servers {
        assert_eq!((s.local, s.peer.ip()), (address, lab.a.address6.into()));
        assert_eq!(s.counters.tx_bytes, RESPONSE as u64);
    }
}

/// Answers `total` connections. Returns once it listens.
fn serve(namespace: &Namespace, address: SocketAddr, total: usize) -> thread::JoinHandle<()> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = namespace.enter(move || {
        let listener = TcpListener::bind(address).unwrap();
        ready.send(()).unwrap();
        let mut answering = Vec::new();
        for _ in 0..total {
            let (stream, _) = listener.accept().unwrap();
            answering.push(thread::spawn(move || answer(stream)));
        }
        answering.into_iter().for_each(|a| a.join().unwrap());
    });
    is_ready.recv().unwrap();
    server
}

fn answer(mut stream: TcpStream) {
    let mut request = [0; REQUEST];
    stream.read_exact(&mut request).unwrap();
    let end = ENDS[usize::from(request[0])];
    if end == End::ClientHalf {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    stream.write_all(&[b'x'; RESPONSE]).unwrap();
    if end == End::Client {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

fn request(address: SocketAddr, end: End) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut request = [b'x'; REQUEST];
    request[0] = ENDS.iter().position(|&e| e == end).unwrap() as u8;
    stream.write_all(&request).unwrap();
    if end == End::ClientHalf {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    stream.read_exact(&mut [0; RESPONSE]).unwrap();
    if end != End::Client {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}
