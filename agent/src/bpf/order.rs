//! Which records of one collection are told, and in which order.
//!
//! Ring and map are read one after the other while the kernel goes on, and a socket that connects anew
//! keeps its cookie. So a collection may find of one cookie the end of a connection in the ring and
//! another connection in the map, or a connection in the map and, a moment later, its end in the ring.
//! The time of `connect` tells them apart; a socket that accepted has none, and began only once.

use std::collections::HashSet;

use weir_agent_ebpf::Socket;

use super::convert;
use crate::socket::SocketState;

/// A socket, and which of its connections it was.
#[derive(Debug)]
pub(super) struct Record {
    connect_begin_ns: u64,
    state: SocketState,
}

impl Record {
    pub(super) fn new(socket: &Socket) -> Self {
        Self { connect_begin_ns: socket.connect_begin_ns, state: convert::state(socket) }
    }

    fn connection(&self) -> (u64, u64) {
        (self.state.cookie, self.connect_begin_ns)
    }
}

/// Every connection once: first those that ended, each cookie's in the order in which they began, then
/// those that go on. `closed` is to be complete up to a moment after `open` was read.
pub(super) fn merge(mut closed: Vec<Record>, open: Vec<Record>) -> Vec<SocketState> {
    closed.sort_by_key(|r| r.connect_begin_ns);
    let mut ended = HashSet::with_capacity(closed.len());
    closed.retain(|r| ended.insert(r.connection()));
    let open = open.into_iter().filter(|r| !ended.contains(&r.connection()));
    closed.into_iter().chain(open).map(|r| r.state).collect()
}

#[cfg(test)]
mod tests {
    use weir_agent_ebpf::flag;

    use super::*;
    use crate::deltas::Deltas;

    const OPEN: u32 = flag::CLIENT | flag::ESTABLISHED;
    const CLOSED: u32 = OPEN | flag::CLOSED;

    fn record(connect_begin_ns: u64, flags: u32, tx_bytes: u64) -> Record {
        Record::new(&Socket { cookie: 7, connect_begin_ns, flags, tx_bytes, ..Socket::ZERO })
    }

    /// Bytes that each collection adds.
    fn bytes(collections: Vec<(Vec<Record>, Vec<Record>)>) -> Vec<Vec<u64>> {
        let mut deltas = Deltas::default();
        let tx = |sockets| deltas.advance(sockets).iter().map(|d| d.counters.tx_bytes).collect();
        collections.into_iter().map(|(closed, open)| merge(closed, open)).map(tx).collect()
    }

    #[test]
    fn the_end_of_a_connection_comes_before_the_next_one_of_its_cookie() {
        // The map shows the second connection; the first one's end came after the ring was emptied.
        let counted = bytes(vec![
            (vec![], vec![record(1, OPEN, 100)]),
            (vec![record(1, CLOSED, 130)], vec![record(2, OPEN, 40)]),
            (vec![record(2, CLOSED, 45)], vec![]),
        ]);
        assert_eq!(counted, [vec![100], vec![30, 40], vec![5]]);
    }

    #[test]
    fn a_connection_that_ended_after_the_look_at_the_map_is_not_told_as_open() {
        let counted = bytes(vec![
            (vec![], vec![record(1, OPEN, 100)]),
            (vec![record(1, CLOSED, 130)], vec![record(1, OPEN, 120)]),
        ]);
        assert_eq!(counted, [vec![100], vec![30]]);
    }

    #[test]
    fn what_waited_in_the_map_falls_into_its_place_and_comes_once() {
        // The second connection's end was taken out of the map before the first one's out of the ring,
        // and the kernel had handed it over meanwhile.
        let closed = || vec![record(2, CLOSED, 8), record(1, CLOSED, 130), record(2, CLOSED, 8)];
        let counted =
            bytes(vec![(vec![], vec![record(1, OPEN, 100)]), (closed(), vec![record(3, OPEN, 1)])]);
        assert_eq!(counted, [vec![100], vec![30, 8, 1]]);
        // Attempts that failed are told apart, too.
        let failed = flag::CLIENT | flag::CLOSED;
        let attempts = || vec![record(1, failed, 0), record(1, failed, 0), record(2, failed, 0)];
        assert_eq!(merge(attempts(), vec![]).len(), 2);
    }
}
