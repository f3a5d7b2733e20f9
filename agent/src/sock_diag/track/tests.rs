use super::*;

fn socket(state: u8, local_port: u16, info: TcpInfo) -> DiagSocket {
    DiagSocket {
        state,
        local: SocketAddr::from(([10, 0, 0, 1], local_port)),
        peer: SocketAddr::from(([10, 0, 0, 2], 443)),
        cookie: u64::from(local_port),
        inode: 5,
        cgroup: 0,
        info: Some(info),
    }
}

fn dumped(sockets: Vec<DiagSocket>) -> Dumped {
    let namespaces = vec![Namespace { inode: 1, cookie: None, sockets }];
    Dumped { namespaces, unread: Vec::new() }
}

const ESTABLISHED: u8 = 1;

#[test]
fn the_syn_and_its_repetitions_are_told_from_data() {
    let mut tracker = Tracker::default();
    tracker.baseline(&dumped(vec![]));
    let info = TcpInfo { total_retrans: 2, total_rto: Some(2), ..TcpInfo::default() };
    tracker.update(&dumped(vec![socket(state::SYN_SENT, 40000, info)]));
    let first = tracker.report().remove(0);
    assert!(!first.open);
    assert_eq!((first.counters.connects, first.counters.tx_bytes), (1, 0));
    assert_eq!((first.counters.retransmits, first.counters.retransmits_syn), (2, 2));
    let info = TcpInfo { total_retrans: 5, total_rto: Some(2), bytes_acked: 101, ..info };
    tracker.update(&dumped(vec![socket(ESTABLISHED, 40000, info)]));
    let second = tracker.report().remove(0);
    assert!(second.open);
    assert_eq!((second.counters.connects, second.counters.tx_bytes), (1, 100));
    assert_eq!((second.counters.retransmits, second.counters.retransmits_syn), (5, 2));
    assert_eq!((second.counters.timeouts, second.counters.timeouts_syn), (2, 2));
}

#[test]
fn a_handshake_that_vanished_has_failed() {
    let mut tracker = Tracker::default();
    tracker.baseline(&dumped(vec![]));
    tracker.update(&dumped(vec![socket(state::SYN_SENT, 40000, TcpInfo::default())]));
    tracker.report();
    tracker.update(&dumped(vec![]));
    assert!(!tracker.report()[0].closed);
    tracker.update(&dumped(vec![]));
    let last = tracker.report().remove(0);
    assert!(last.closed);
    assert_eq!((last.counters.connect_failures, last.counters.closes), (1, 0));
}

#[test]
fn a_namespace_that_cannot_be_read_does_not_close_its_sockets() {
    let mut tracker = Tracker::default();
    tracker.baseline(&dumped(vec![]));
    let info = TcpInfo { bytes_acked: 1, ..TcpInfo::default() };
    tracker.update(&dumped(vec![socket(ESTABLISHED, 40000, info)]));
    tracker.report();
    for _ in 0..5 {
        tracker.update(&Dumped { namespaces: vec![], unread: vec![1] });
        assert!(tracker.report()[0].open);
    }
    tracker.update(&Dumped::default());
    tracker.update(&Dumped::default());
    assert!(tracker.report()[0].closed);
}

#[test]
fn a_socket_that_one_dump_passed_by_goes_on_as_the_same() {
    let mut tracker = Tracker::default();
    let info = TcpInfo { bytes_acked: 1001, segs_in: 7, ..TcpInfo::default() };
    tracker.baseline(&dumped(vec![socket(ESTABLISHED, 40000, info)]));
    for bytes_acked in [1011, 1021] {
        tracker.update(&dumped(vec![]));
        assert!(!tracker.report()[0].closed);
        let info = TcpInfo { bytes_acked, ..info };
        tracker.update(&dumped(vec![socket(ESTABLISHED, 40000, info)]));
        let sockets = tracker.report();
        assert_eq!(sockets.len(), 1);
        let counters = &sockets[0].counters;
        assert_eq!((counters.tx_bytes, counters.closes), (bytes_acked - 1001, 0));
    }
}

#[test]
fn a_socket_that_connected_anew_while_it_was_missed_is_another() {
    let mut tracker = Tracker::default();
    tracker.baseline(&dumped(vec![]));
    let info = TcpInfo { bytes_acked: 101, segs_in: 7, ..TcpInfo::default() };
    tracker.update(&dumped(vec![socket(ESTABLISHED, 40000, info)]));
    tracker.report();
    tracker.update(&dumped(vec![]));
    let info = TcpInfo { bytes_acked: 31, segs_in: 2, ..TcpInfo::default() };
    tracker.update(&dumped(vec![socket(ESTABLISHED, 40000, info)]));
    let bytes: Vec<_> = tracker.report().iter().map(|s| (s.closed, s.counters.tx_bytes)).collect();
    assert_eq!(bytes, [(true, 100), (false, 30)]);
}

#[test]
fn totals_never_go_back() {
    let mut tracker = Tracker::default();
    tracker.baseline(&dumped(vec![]));
    // The state was read just before the FIN came in, the counter just after.
    let info = TcpInfo { bytes_received: 11, bytes_acked: 1, ..TcpInfo::default() };
    tracker.update(&dumped(vec![socket(ESTABLISHED, 40000, info)]));
    assert_eq!(tracker.report()[0].counters.rx_bytes, 11);
    tracker.update(&dumped(vec![socket(state::CLOSE_WAIT, 40000, info)]));
    assert_eq!(tracker.report()[0].counters.rx_bytes, 11);
}

#[test]
fn round_trips_are_sampled_only_when_something_came_in() {
    let mut tracker = Tracker::default();
    tracker.baseline(&dumped(vec![]));
    let samples = |tracker: &mut Tracker| tracker.report()[0].rtt.slots.iter().sum::<u32>();
    let info = TcpInfo { rtt_us: 900, segs_in: 3, ..TcpInfo::default() };
    for (segs_in, expected) in [(3, 1), (3, 1), (4, 2)] {
        let info = TcpInfo { segs_in, ..info };
        tracker.update(&dumped(vec![socket(ESTABLISHED, 40000, info)]));
        assert_eq!(samples(&mut tracker), expected);
    }
}
