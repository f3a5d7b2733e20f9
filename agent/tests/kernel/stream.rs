//! A long-lived stream is reported while it lives, at both ends.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use weir_agent::bpf::Options;

use crate::lab::{Lab, Link};
use crate::watch::Watch;

/// The receiver sends nothing but acknowledgements.
#[test]
fn receiving_is_reported_every_interval() {
    const CHUNK: usize = 20_000;
    const CHUNKS: usize = 100;
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    let (ready, is_ready) = std::sync::mpsc::channel();
    let sender = lab.b.enter(move || {
        let listener = TcpListener::bind("0.0.0.0:7000").unwrap();
        ready.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..CHUNKS {
            stream.write_all(&[b'x'; CHUNK]).unwrap();
            thread::sleep(Duration::from_millis(50));
        }
    });
    is_ready.recv().unwrap();
    let address = (lab.b.address, 7000);
    let receiver = lab.a.enter(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut buffer = vec![0; CHUNK];
        while stream.read(&mut buffer).unwrap() > 0 {}
    });
    sender.join().unwrap();
    receiver.join().unwrap();
    let seen = watch.stop(&lab);

    for (netns, role) in [(lab.a.cookie, "receiver"), (lab.b.cookie, "sender")] {
        let volumes: Vec<u64> = seen
            .collections
            .iter()
            .flatten()
            .filter(|s| s.netns == netns)
            .map(|s| s.counters.rx_bytes + s.counters.tx_bytes)
            .collect();
        eprintln!("{role}: {volumes:?}");
        assert_eq!(volumes.last().copied(), Some((CHUNK * CHUNKS) as u64), "{role}");
        // Five seconds and more, one second each: in every one the stream moved on.
        assert!(volumes.len() >= 5, "{role}: {volumes:?}");
        let inner = volumes.get(..volumes.len() - 1).unwrap();
        for pair in inner.windows(2) {
            assert!(pair[0] < pair[1], "{role}: {volumes:?}");
        }
    }
}
