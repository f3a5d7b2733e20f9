//! Messages of DNS, copied as they pass.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use weir_agent::bpf::{BpfCollector, Options};

use crate::lab::{Lab, Link};

/// What passed between a socket that asks and one that answers on port 53, of this many bytes each.
fn messages(dns: bool, lengths: &[usize]) -> Option<Vec<(u32, bool, usize)>> {
    let lab = Lab::build(&[], Link::Veth)?;
    let options = Options { dns, ..Options::default() };
    let mut collector = BpfCollector::start(&options).unwrap_or_else(|e| panic!("{e:?}"));
    let at = SocketAddr::new(lab.b.address.into(), 53);
    let server = lab.b.enter(move || UdpSocket::bind(at).unwrap()).join().unwrap();
    let from = (lab.a.address, 0);
    let client = lab.a.enter(move || UdpSocket::bind(from).unwrap()).join().unwrap();
    client.connect(at).unwrap();
    let mut buffer = [0; 4096];
    for (number, length) in lengths.iter().enumerate() {
        client.send(&vec![number as u8; *length]).unwrap();
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..length], from).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.recv(&mut buffer).unwrap();
    }
    let mut seen = Vec::new();
    collector.poll_dns(|message| {
        let kept = message.bytes.len().min(message.length as usize);
        let number = message.bytes[0];
        assert!(message.bytes[..kept].iter().all(|byte| *byte == number));
        assert!(message.cookie != 0 && message.at_ns != 0);
        seen.push((message.length, message.received == 1, number.into()));
    });
    Some(seen)
}

#[test]
fn both_ways_at_the_end_that_asks() {
    let lengths = [1, 33, 512, 1024, 1400];
    let Some(seen) = messages(true, &lengths) else { return };
    let expected: Vec<_> = (0..lengths.len())
        .flat_map(|i| [(lengths[i] as u32, false, i), (lengths[i] as u32, true, i)])
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn none_if_they_are_not_asked_for() {
    let Some(seen) = messages(false, &[33]) else { return };
    assert_eq!(seen, []);
}
