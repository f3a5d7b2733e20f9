//! When there is no room: nothing is lost silently.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use weir_agent::bpf::{BpfCollector, Options};
use weir_agent::socket::SocketState;

use crate::lab::{Lab, Link};
use crate::watch::Watch;

fn connect(lab: &Lab, count: usize) -> (Vec<TcpStream>, Vec<TcpStream>) {
    let address = SocketAddr::from((lab.b.address, 7005));
    let listener = lab.b.enter(move || TcpListener::bind(address).unwrap()).join().unwrap();
    let clients = lab.a.enter(move || {
        (0..count).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>()
    });
    let servers = (0..count).map(|_| listener.accept().unwrap().0).collect();
    (clients.join().unwrap(), servers)
}

fn in_lab(lab: &Lab, sockets: &[SocketState]) -> usize {
    let ours = [lab.a.cookie, lab.b.cookie];
    sockets.iter().filter(|s| ours.contains(&s.netns)).count()
}

/// The ring holds some nine records: the others wait in the map, then leave it.
#[test]
fn full_ring_keeps_records_in_the_map() {
    const COUNT: usize = 300;
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let options = Options { ring_bytes: 4096, ..Options::default() };
    let mut collector = BpfCollector::start(&options).unwrap();
    let (clients, servers) = connect(&lab, COUNT);
    let open = collector.collect_all().unwrap();
    assert_eq!(in_lab(&lab, &open.sockets), 2 * COUNT);
    assert!(open.sockets.iter().filter(|s| s.netns == lab.a.cookie).all(|s| s.open));
    drop((clients, servers));
    thread::sleep(Duration::from_millis(300));
    let closed = collector.collect_all().unwrap();
    // Closed sockets beyond the ring's room are taken from the map at this or the next collection.
    let after = collector.collect_all().unwrap();
    let ours = [lab.a.cookie, lab.b.cookie];
    let reports: Vec<_> = closed
        .sockets
        .iter()
        .chain(&after.sockets)
        .filter(|s| s.closed && ours.contains(&s.netns))
        .map(|s| s.cookie)
        .collect();
    assert_eq!(reports.len(), 2 * COUNT);
    assert_eq!(reports.iter().collect::<HashSet<_>>().len(), 2 * COUNT);
    assert_eq!((after.unseen.ring_drops, after.unseen.map_insert_failures), (0, 0));
    assert_eq!(in_lab(&lab, &collector.collect_all().unwrap().sockets), 0);
}

#[test]
fn full_map_counts_what_it_cannot_hold() {
    const ROOM: u32 = 20;
    const COUNT: usize = 100;
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let options = Options { max_sockets: ROOM, ..Options::default() };
    let mut collector = BpfCollector::start(&options).unwrap();
    let held = connect(&lab, COUNT);
    let collected = collector.collect_all().unwrap();
    // Other sockets of the machine may take part of the room, and be refused too.
    let seen = in_lab(&lab, &collected.sockets);
    assert!(seen <= ROOM as usize, "{seen}");
    assert!(collected.unseen.map_insert_failures as usize >= 2 * COUNT - seen, "{collected:?}");
    assert_eq!(collector.collect_all().unwrap().unseen.map_insert_failures, 0, "a delta");
    drop(held);
}

/// A map that is too small: some sockets stand for others, and all are counted.
#[test]
fn a_filling_map_samples_new_sockets() {
    const ROOM: u32 = 2000;
    const COUNT: usize = 4000;
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    raise_descriptor_limit();
    let options = Options { max_sockets: ROOM, ..Options::default() };
    let watch = Watch::start(options, Duration::from_secs(1));
    let mut held = Vec::new();
    for _ in 0..COUNT / 20 {
        held.push(connect(&lab, 20));
        thread::sleep(Duration::from_millis(40));
    }
    thread::sleep(Duration::from_millis(1500));
    let mut seen = watch.stop_now();
    let open = seen.collections.pop().unwrap();
    let ours = [lab.a.cookie, lab.b.cookie];
    let open: Vec<_> = open.iter().filter(|s| ours.contains(&s.netns)).collect();
    let stand_for: u64 = open.iter().map(|s| u64::from(s.sampling)).sum();
    let all = 2 * COUNT as u64;
    eprintln!("{} sockets stand for {stand_for} of {all}", open.len());
    assert!(open.len() <= ROOM as usize && open.iter().any(|s| s.sampling > 1));
    assert_eq!(seen.map_insert_failures, 0);
    // Other sockets of the machine may be left out, too.
    let told = open.len() as u64 + seen.sampled_out;
    assert!((all..all + 50).contains(&told), "{} and {}", open.len(), seen.sampled_out);
    assert!((all * 3 / 4..=all * 5 / 4).contains(&stand_for), "{stand_for}");
    drop(held);
}

/// More entries than one batched lookup returns.
#[test]
fn thousands_of_open_sockets_are_each_read_once() {
    const COUNT: usize = 3000;
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    raise_descriptor_limit();
    let mut collector = BpfCollector::start(&Options::default()).unwrap();
    let held = connect(&lab, COUNT);
    let collected = collector.collect_all().unwrap();
    let ours = [lab.a.cookie, lab.b.cookie];
    let cookies: Vec<_> =
        collected.sockets.iter().filter(|s| ours.contains(&s.netns)).map(|s| s.cookie).collect();
    assert_eq!(cookies.len(), 2 * COUNT);
    assert_eq!(cookies.iter().collect::<HashSet<_>>().len(), 2 * COUNT);
    drop(held);
}

fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place to write to.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: a valid limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}
