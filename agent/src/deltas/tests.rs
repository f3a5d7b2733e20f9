use proptest::prelude::*;

use super::*;
use crate::socket::{Owner, Protocol, Role};

fn socket(cookie: u64, tx_bytes: u64) -> SocketState {
    SocketState {
        protocol: Protocol::Tcp,
        cookie,
        netns: 1,
        owner: Owner::default(),
        role: Role::Client,
        local: "10.0.0.1:40000".parse().unwrap(),
        peer: "10.0.0.2:80".parse().unwrap(),
        counters: Counters { tx_bytes, connects: 1, ..Counters::default() },
        rtt: Histogram::default(),
        connect_time_us: None,
        open: true,
        closed: false,
    }
}

fn closed(cookie: u64, tx_bytes: u64) -> SocketState {
    let mut socket = socket(cookie, tx_bytes);
    (socket.open, socket.closed, socket.counters.closes) = (false, true, 1);
    socket
}

fn sample(histogram: &mut Histogram, us: u64) {
    let empty = histogram.slots.iter().all(|&n| n == 0);
    histogram.min_us = if empty { us } else { histogram.min_us.min(us) };
    histogram.max_us = histogram.max_us.max(us);
    histogram.sum_us += us;
    let slot = weir_wire::histogram::index_of(us) - FIRST_INDEX;
    histogram.slots[usize::try_from(slot).unwrap()] += 1;
}

fn tx(deltas: &[Delta]) -> Vec<u64> {
    deltas.iter().map(|d| d.counters.tx_bytes).collect()
}

#[test]
fn the_first_report_counts_in_full_and_each_one_after_by_its_growth() {
    let mut deltas = Deltas::default();
    assert_eq!(tx(&deltas.advance(vec![socket(1, 100)])), [100]);
    let second = deltas.advance(vec![socket(1, 150), socket(2, 7)]);
    assert_eq!(tx(&second), [50, 7]);
    assert_eq!(second[0].counters.connects, 0);
    assert!(second[0].open);
}

#[test]
fn a_closed_socket_counts_its_rest_and_is_forgotten() {
    let mut deltas = Deltas::default();
    deltas.advance(vec![socket(1, 100)]);
    let last = deltas.advance(vec![closed(1, 130)]);
    assert_eq!((last[0].counters.tx_bytes, last[0].counters.closes, last[0].open), (30, 1, false));
    deltas.advance(vec![]);
    deltas.advance(vec![]);
    assert!(deltas.is_empty());
}

#[test]
fn a_socket_that_connects_anew_under_its_cookie_counts_in_full() {
    let mut deltas = Deltas::default();
    let both = deltas.advance(vec![closed(1, 100), socket(1, 300)]);
    assert_eq!(tx(&both), [100, 300]);
    assert!(both[1].open && !both[0].open);
    // Another connection failed and was tried again: neither is a repetition of the other.
    let mut failed = closed(2, 0);
    failed.counters.closes = 0;
    failed.counters.connect_failures = 1;
    assert_eq!(deltas.advance(vec![failed.clone(), failed]).len(), 2);
}

#[test]
fn a_record_that_comes_twice_counts_once() {
    let mut deltas = Deltas::default();
    assert_eq!(tx(&deltas.advance(vec![closed(1, 100)])), [100]);
    assert!(deltas.advance(vec![closed(1, 100)]).is_empty());
}

#[test]
fn a_counter_that_went_back_is_another_socket() {
    let mut deltas = Deltas::default();
    deltas.advance(vec![socket(1, 100)]);
    assert_eq!(tx(&deltas.advance(vec![socket(1, 40)])), [40]);
}

#[test]
fn a_socket_passed_by_once_is_remembered_and_one_never_reported_again_is_not() {
    let mut deltas = Deltas::default();
    deltas.advance(vec![socket(1, 100)]);
    deltas.advance(vec![]);
    assert_eq!(tx(&deltas.advance(vec![socket(1, 110)])), [10]);
    (0..FORGET_AFTER).for_each(|_| drop(deltas.advance(vec![])));
    assert!(deltas.is_empty());
}

#[test]
fn the_handshake_is_reported_once() {
    let mut deltas = Deltas::default();
    assert_eq!(deltas.advance(vec![socket(1, 0)])[0].connect_time_us, None);
    let done = SocketState { connect_time_us: Some(250), ..socket(1, 1) };
    assert_eq!(deltas.advance(vec![done.clone()])[0].connect_time_us, Some(250));
    assert_eq!(deltas.advance(vec![done])[0].connect_time_us, None);
}

proptest! {
    #[test]
    fn deltas_add_up_to_the_totals(growth in prop::collection::vec(0u64..1_000_000, 1..20)) {
        let mut deltas = Deltas::default();
        let (mut total, mut sum) = (0, 0);
        for g in &growth {
            total += g;
            sum += tx(&deltas.advance(vec![socket(1, total)]))[0];
        }
        sum += tx(&deltas.advance(vec![closed(1, total)]))[0];
        prop_assert_eq!(sum, total);
    }

    #[test]
    fn extremes_of_an_interval_hold_its_samples_within_a_bucket(
        earlier in prop::collection::vec(1u64..5_000_000, 0..20),
        now in prop::collection::vec(1u64..5_000_000, 1..20),
    ) {
        let mut deltas = Deltas::default();
        let mut state = socket(1, 0);
        earlier.iter().for_each(|us| sample(&mut state.rtt, *us));
        deltas.advance(vec![state.clone()]);
        now.iter().for_each(|us| sample(&mut state.rtt, *us));
        let rtt = deltas.advance(vec![state]).remove(0).rtt;
        let (min, max) = (*now.iter().min().unwrap(), *now.iter().max().unwrap());
        prop_assert_eq!(rtt.count(), now.len() as u64);
        prop_assert_eq!(rtt.sum_us, now.iter().sum::<u64>());
        prop_assert!(rtt.min_us <= min && rtt.max_us >= max);
        let index = weir_wire::histogram::index_of;
        prop_assert_eq!(index(rtt.min_us), index(min));
        prop_assert_eq!(index(rtt.max_us), index(max));
        prop_assert!(rtt.max_us <= rtt.sum_us);
        prop_assert!(now.len() > 1 || rtt.min_us == rtt.max_us);
    }
}
