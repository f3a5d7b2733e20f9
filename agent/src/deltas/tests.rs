use proptest::prelude::*;

use super::*;
use crate::socket::{Owner, Protocol, Role};

fn socket(cookie: u64, tx_bytes: u64) -> SocketState {
    SocketState {
        protocol: Protocol::Tcp,
        cookie,
        netns: 1,
        began_ns: 0,
        sampling: 1,
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

impl Deltas {
    /// One collection.
    fn collect(&mut self, sockets: Vec<SocketState>) -> Vec<Delta> {
        let all = sockets.into_iter().map(|socket| self.advance(socket)).collect();
        self.end_collection();
        all
    }
}

fn tx(deltas: &[Delta]) -> Vec<u64> {
    deltas.iter().map(|d| d.counters.tx_bytes).collect()
}

#[test]
fn the_first_report_counts_in_full_and_each_one_after_by_its_growth() {
    let mut deltas = Deltas::default();
    assert_eq!(tx(&deltas.collect(vec![socket(1, 100)])), [100]);
    let second = deltas.collect(vec![socket(1, 150), socket(2, 7)]);
    assert_eq!(tx(&second), [50, 7]);
    assert_eq!(second[0].counters.connects, 0);
    assert!(second[0].open);
}

#[test]
fn a_closed_socket_counts_its_rest_and_is_forgotten() {
    let mut deltas = Deltas::default();
    deltas.collect(vec![socket(1, 100)]);
    let last = deltas.collect(vec![closed(1, 130)]);
    assert_eq!((last[0].counters.tx_bytes, last[0].counters.closes, last[0].open), (30, 1, false));
    assert!(deltas.is_empty());
}

#[test]
fn a_socket_that_connects_anew_under_its_cookie_counts_in_full() {
    let mut deltas = Deltas::default();
    let both = deltas.collect(vec![closed(1, 100), socket(1, 300)]);
    assert_eq!(tx(&both), [100, 300]);
    assert!(both[1].open && !both[0].open);
    // Another connection failed and was tried again: neither is a repetition of the other.
    let mut failed = closed(2, 0);
    failed.counters.closes = 0;
    failed.counters.connect_failures = 1;
    assert_eq!(deltas.collect(vec![failed.clone(), failed]).len(), 2);
}

#[test]
fn connections_of_one_cookie_are_told_apart_by_their_beginning() {
    let mut deltas = Deltas::default();
    let began = |began_ns, socket| SocketState { began_ns, ..socket };
    assert_eq!(tx(&deltas.collect(vec![began(1, socket(7, 100))])), [100]);
    // The end of the first is read after the second was seen.
    let both = vec![began(2, socket(7, 400)), began(1, closed(7, 130))];
    assert_eq!(tx(&deltas.collect(both)), [400, 30]);
    assert_eq!(tx(&deltas.collect(vec![began(2, closed(7, 405))])), [5]);
    assert!(deltas.is_empty());
}

#[test]
fn a_counter_that_went_back_is_another_socket() {
    let mut deltas = Deltas::default();
    deltas.collect(vec![socket(1, 100)]);
    assert_eq!(tx(&deltas.collect(vec![socket(1, 40)])), [40]);
}

#[test]
fn a_socket_passed_by_once_is_remembered_and_one_never_reported_again_is_not() {
    let mut deltas = Deltas::default();
    deltas.collect(vec![socket(1, 100)]);
    deltas.collect(vec![]);
    assert_eq!(tx(&deltas.collect(vec![socket(1, 110)])), [10]);
    (0..FORGET_AFTER).for_each(|_| drop(deltas.collect(vec![])));
    assert!(deltas.is_empty());
}

#[test]
fn the_handshake_is_reported_once() {
    let mut deltas = Deltas::default();
    assert_eq!(deltas.collect(vec![socket(1, 0)])[0].connect_time_us, None);
    let done = SocketState { connect_time_us: Some(250), ..socket(1, 1) };
    assert_eq!(deltas.collect(vec![done.clone()])[0].connect_time_us, Some(250));
    assert_eq!(deltas.collect(vec![done])[0].connect_time_us, None);
}

proptest! {
    #[test]
    fn deltas_add_up_to_the_totals(growth in prop::collection::vec(0u64..1_000_000, 1..20)) {
        let mut deltas = Deltas::default();
        let (mut total, mut sum) = (0, 0);
        for g in &growth {
            total += g;
            sum += tx(&deltas.collect(vec![socket(1, total)]))[0];
        }
        sum += tx(&deltas.collect(vec![closed(1, total)]))[0];
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
        deltas.collect(vec![state.clone()]);
        now.iter().for_each(|us| sample(&mut state.rtt, *us));
        let rtt = deltas.collect(vec![state]).remove(0).rtt;
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
