use proptest::prelude::*;

use super::*;

fn reading(bytes_acked: u64, bytes_received: u64) -> Reading {
    // `snd_nxt` ahead: something is always under way unless a test says otherwise.
    Reading { bytes_acked, bytes_received, snd_nxt: 1, ..Reading::default() }
}

fn all_acked(mut reading: Reading) -> Reading {
    reading.snd_una = 7;
    reading.snd_nxt = 7;
    reading
}

fn client() -> Socket {
    let mut socket = Socket { flags: flag::CLIENT, state: state::SYN_SENT, ..Socket::ZERO };
    socket.establish(&reading(1, 0));
    socket.change_state(state::SYN_SENT, state::ESTABLISHED, &reading(1, 0));
    socket
}

fn bytes(socket: &Socket) -> (u64, u64) {
    (socket.tx_bytes, socket.rx_bytes)
}

#[test]
fn peer_closes_first() {
    let mut socket = client();
    socket.refresh(&reading(101, 1000));
    assert_eq!(bytes(&socket), (100, 1000));
    socket.change_state(state::ESTABLISHED, state::CLOSE_WAIT, &reading(101, 1001));
    assert_eq!(bytes(&socket), (100, 1000));
    socket.change_state(state::CLOSE_WAIT, state::LAST_ACK, &reading(101, 1001));
    socket.change_state(state::LAST_ACK, state::CLOSE, &all_acked(reading(102, 1001)));
    assert_eq!(bytes(&socket), (100, 1000));
    assert!(socket.has(flag::CLOSED) && !socket.has(flag::ABORTED));
}

#[test]
fn we_close_first_and_the_peer_follows() {
    let mut socket = client();
    socket.change_state(state::ESTABLISHED, state::FIN_WAIT1, &reading(101, 1000));
    // Data still flow both ways; the FIN may or may not be among them.
    socket.refresh(&reading(151, 1500));
    assert_eq!(bytes(&socket), (150, 1499));
    let fin_acked = all_acked(reading(202, 1500));
    socket.change_state(state::FIN_WAIT1, state::FIN_WAIT2, &fin_acked);
    assert_eq!(bytes(&socket), (200, 1500));
    // The ACK of the peer's FIN leaves before the state changes.
    let peer_fin = Reading { bytes_received: 1601, rcv_nxt: 101, ..fin_acked };
    socket.refresh(&peer_fin);
    assert_eq!(bytes(&socket), (200, 1600));
    socket.change_state(state::FIN_WAIT2, state::CLOSE, &peer_fin);
    assert_eq!(bytes(&socket), (200, 1600));
    assert!(socket.has(flag::FIN_RECEIVED) && !socket.has(flag::ABORTED));
}

/// An orphan goes to TIME-WAIT's substitute for FIN-WAIT-2 before the peer's FIN is there.
#[test]
fn orphan_leaves_without_the_peers_fin() {
    let mut socket = client();
    socket.change_state(state::ESTABLISHED, state::FIN_WAIT1, &reading(1, 50));
    let fin_acked = all_acked(reading(2, 50));
    socket.change_state(state::FIN_WAIT1, state::FIN_WAIT2, &fin_acked);
    socket.change_state(state::FIN_WAIT2, state::CLOSE, &fin_acked);
    assert_eq!(bytes(&socket), (0, 50));
    assert!(!socket.has(flag::FIN_RECEIVED));
}

#[test]
fn both_close_at_once() {
    let mut socket = client();
    socket.change_state(state::ESTABLISHED, state::FIN_WAIT1, &reading(11, 20));
    socket.change_state(state::FIN_WAIT1, state::CLOSING, &reading(11, 21));
    socket.change_state(state::CLOSING, state::CLOSE, &all_acked(reading(12, 21)));
    assert_eq!(bytes(&socket), (10, 20));
    assert!(!socket.has(flag::ABORTED));
}

#[test]
fn aborts_are_told_from_closes() {
    for (old, unacked, aborted) in [
        (state::ESTABLISHED, false, true),
        (state::CLOSE_WAIT, false, true),
        (state::FIN_WAIT1, true, true),
        (state::LAST_ACK, true, true),
        (state::LAST_ACK, false, false),
        (state::CLOSING, true, true),
        (state::FIN_WAIT2, false, false),
    ] {
        let mut socket = client();
        socket.state = old;
        let last = if unacked { reading(11, 0) } else { all_acked(reading(11, 0)) };
        socket.change_state(old, state::CLOSE, &last);
        assert_eq!(socket.has(flag::ABORTED), aborted, "from {old}, unacked {unacked}");
        assert!(socket.has(flag::CLOSED));
    }
}

#[test]
fn a_handshake_that_failed_is_no_abort() {
    let mut socket = Socket { flags: flag::CLIENT, state: state::SYN_SENT, ..Socket::ZERO };
    socket.time_out();
    socket.refresh(&Reading { total_retrans: 1, ..Reading::default() });
    socket.change_state(state::SYN_SENT, state::CLOSE, &Reading::default());
    assert!(!socket.has(flag::ABORTED) && !socket.has(flag::ESTABLISHED));
    assert_eq!((socket.timeouts, socket.timeouts_syn), (1, 1));
    assert_eq!(bytes(&socket), (0, 0));
}

#[test]
fn phases_are_told_apart() {
    let mut socket = Socket { flags: flag::CLIENT, state: state::SYN_SENT, ..Socket::ZERO };
    socket.time_out();
    socket.establish(&Reading { total_retrans: 2, ..reading(1, 0) });
    socket.time_out();
    socket.refresh(&Reading { total_retrans: 5, ..reading(1, 0) });
    assert_eq!((socket.retransmits, socket.retransmits_syn), (5, 2));
    assert_eq!((socket.timeouts, socket.timeouts_syn), (2, 1));
    let before_fin = Reading { total_retrans: 6, ..reading(1, 0) };
    socket.change_state(state::ESTABLISHED, state::FIN_WAIT1, &before_fin);
    assert_eq!(socket.since_fin(), (0, 0));
    socket.time_out();
    socket.refresh(&Reading { total_retrans: 8, ..reading(1, 0) });
    let after_fin = Reading { total_retrans: 8, ..reading(1, 0) };
    socket.change_state(state::FIN_WAIT1, state::FIN_WAIT1, &after_fin);
    assert_eq!((socket.retransmits, socket.retransmits_syn), (8, 2));
    assert_eq!(socket.since_fin(), (2, 1));
}

#[test]
fn segment_counters_outlive_their_wrap() {
    let mut socket = client();
    for segs in [10, u32::MAX, 5, 0x8000_0000, 3] {
        socket.refresh(&Reading { data_segs_out: segs, ..reading(1, 0) });
        assert_eq!(socket.tx_packets as u32, segs);
    }
    assert_eq!(socket.tx_packets, (2 << 32) + 3);
}

#[test]
fn rtt_extremes_and_sum() {
    let mut socket = client();
    for us in [0, 300, 70, u32::MAX] {
        socket.measure_rtt(us);
    }
    assert_eq!((socket.rtt_min_us, socket.rtt_max_us), (1, u32::MAX));
    assert_eq!(socket.rtt_sum_us, 371 + u64::from(u32::MAX));
    assert_eq!(socket.rtt_slots.iter().sum::<u32>(), 4);
    let mut socket = client();
    socket.measure_rtt(300);
    socket.measure_rtt(500);
    assert_eq!((socket.rtt_min_us, socket.rtt_max_us), (300, 500));
}

proptest! {
    /// Whatever order readings and states come in: counters never step back and never exceed the
    /// kernel's.
    #[test]
    fn byte_counters_only_grow(
        steps in prop::collection::vec((0u64..1000, 0u64..1000, any::<bool>(), 1u32..12), 1..50)
    ) {
        let mut socket = client();
        let mut now = reading(1, 0);
        let mut before = bytes(&socket);
        for (tx, rx, acked, new) in steps {
            now.bytes_acked += tx;
            now.bytes_received += rx;
            let r = if acked { all_acked(now) } else { now };
            if new == state::CLOSE || new == state::SYN_SENT {
                socket.refresh(&r);
            } else {
                socket.change_state(socket.state, new, &r);
            }
            let after = bytes(&socket);
            prop_assert!(after.0 >= before.0 && after.1 >= before.1);
            prop_assert!(after.0 <= now.bytes_acked && after.1 <= now.bytes_received);
            before = after;
        }
    }
}
