use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use super::*;
use crate::deltas::Deltas;
use crate::socket::{Role, SocketState};

fn find(collected: &[SocketState], local: SocketAddr, peer: SocketAddr) -> Option<&SocketState> {
    collected.iter().find(|s| s.local == local && s.peer == peer)
}

fn pair() -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = listener.accept().unwrap().0;
    (listener, client, server)
}

#[test]
fn bytes_are_those_that_were_sent() {
    let mut source = SockDiag::start().unwrap();
    let (_listener, mut client, mut server) = pair();
    let (here, there) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    client.write_all(&[1; 70_000]).unwrap();
    server.read_exact(&mut [0; 70_000]).unwrap();
    server.write_all(&[1; 11]).unwrap();
    client.read_exact(&mut [0; 11]).unwrap();

    let collected = source.collect().unwrap();
    for (local, peer, role, tx, rx) in
        [(here, there, Role::Client, 70_000, 11), (there, here, Role::Server, 11, 70_000)]
    {
        let socket = find(&collected, local, peer).unwrap();
        assert_eq!((socket.role, socket.open, socket.closed), (role, true, false));
        assert_eq!((socket.counters.tx_bytes, socket.counters.rx_bytes), (tx, rx), "{role:?}");
        assert_eq!(socket.counters.connects + socket.counters.accepts, 1);
        assert_eq!(socket.owner.tgid, std::process::id());
        assert_eq!(socket.rtt.slots.iter().sum::<u32>(), 1);
        assert!(socket.rtt.max_us > 0);
    }

    // Half-closed: the FIN takes a sequence number and is no payload.
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    let collected = source.collect().unwrap();
    let counters = |local, peer| find(&collected, local, peer).unwrap().counters;
    assert_eq!(counters(here, there).tx_bytes, 70_000);
    assert_eq!(counters(there, here).rx_bytes, 70_000);

    drop((client, server));
    // The last acknowledgements take their time.
    let mut last = find(&source.collect().unwrap(), there, here).unwrap().clone();
    for _ in 0..500 {
        if last.closed {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        last = find(&source.collect().unwrap(), there, here).unwrap().clone();
    }
    assert!(last.closed && !last.open);
    assert_eq!((last.counters.closes, last.counters.tx_bytes), (1, 11));
    assert!(find(&source.collect().unwrap(), there, here).is_none());
}

#[test]
fn what_happened_before_the_baseline_does_not_count() {
    let (_listener, mut client, mut server) = pair();
    let (here, there) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    client.write_all(&[1; 5000]).unwrap();
    server.read_exact(&mut [0; 5000]).unwrap();
    let mut source = SockDiag::start_for_existing().unwrap();
    client.write_all(&[1; 30]).unwrap();
    server.read_exact(&mut [0; 30]).unwrap();
    let (_other_listener, other, _other_server) = pair();

    let collected = source.collect().unwrap();
    let counters = find(&collected, here, there).unwrap().counters;
    assert_eq!((counters.tx_bytes, counters.connects), (30, 0));
    let new = find(&collected, other.local_addr().unwrap(), other.peer_addr().unwrap());
    assert!(new.is_none(), "left to the other source");
    source.leave(&collected.iter().map(|s| s.cookie).collect());
    assert!(source.is_done());
}

#[test]
fn both_address_families_are_dumped_and_mapped_addresses_unwrapped() {
    let mut source = SockDiag::start().unwrap();
    let Ok(listener) = TcpListener::bind("[::]:0") else {
        // Past the test harness, which would hide it.
        let _ = writeln!(std::io::stderr(), "skipped: no IPv6 here");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let v4 = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let _accepted = listener.accept().unwrap().0;
    let (here, there) = (v4.local_addr().unwrap(), v4.peer_addr().unwrap());
    let collected = source.collect().unwrap();
    assert_eq!(find(&collected, there, here).unwrap().role, Role::Server);
}

#[test]
fn a_connection_that_ends_between_two_collections_is_caught_by_a_dump_in_between() {
    let mut source = SockDiag::start().unwrap();
    let (_listener, mut client, mut server) = pair();
    let (here, there) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    client.write_all(&[1; 600]).unwrap();
    server.read_exact(&mut [0; 600]).unwrap();
    source.poll().unwrap();
    source.last_dump -= DUMP_EVERY;
    source.took = Duration::ZERO;
    source.poll().unwrap();
    drop((client, server));
    let mut collected = source.collect().unwrap();
    for _ in 0..500 {
        if find(&collected, here, there).is_none_or(|s| s.closed) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        collected = source.collect().unwrap();
    }
    let last = find(&collected, here, there).unwrap();
    assert_eq!((last.counters.tx_bytes, last.counters.connects, last.counters.closes), (600, 1, 1));
}

#[test]
fn dumps_that_fail_for_long_count_nothing_twice() {
    let mut source = SockDiag::start().unwrap();
    let mut deltas = Deltas::default();
    let (_listener, mut client, mut server) = pair();
    let here = client.local_addr().unwrap();
    let mut sent = 0;
    let mut round = |source: &mut SockDiag| {
        let sockets = source.collect_or_last_known();
        let of_client =
            sockets.into_iter().map(|s| deltas.advance(s)).filter(|d| d.socket.local == here);
        sent += of_client.map(|d| d.counters.tx_bytes).sum::<u64>();
        sent
    };
    client.write_all(&[1; 600]).unwrap();
    server.read_exact(&mut [0; 600]).unwrap();
    assert_eq!(round(&mut source), 600);
    source.read = || Err(io::Error::other("no memory"));
    client.write_all(&[1; 20]).unwrap();
    server.read_exact(&mut [0; 20]).unwrap();
    for _ in 0..20 {
        assert_eq!(round(&mut source), 600);
    }
    source.read = namespaces::dump_all;
    assert_eq!(round(&mut source), 620);
}
