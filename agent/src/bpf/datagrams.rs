//! Flows of UDP and ICMP, out of the kernel's map.
//!
//! The kernel makes an entry for each socket and peer, and never removes one. A sweep reads all of them, and
//! removes those in which nothing happened since the sweep before: their totals are told a last time, as
//! those of a closed flow. Sweeps are made at each collection, and, at most once a second, when the kernel
//! has made as many new entries as fill a quarter of the map: sockets that ask one question each (DNS)
//! would fill it in seconds.
//!
//! A datagram that another processor counts in the very moment in which an entry is removed is lost; it
//! would have to come after an interval of silence, within less than a microsecond.

use std::collections::HashMap;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use aya::maps::MapData;
use weir_agent_ebpf::{DatagramKey, Datagrams, protocol};

use super::{batch, convert};
use crate::socket::{Counters, Owner, Protocol, Role, SocketState, Visit};

/// Least time between two sweeps that nobody asked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The map, and what is known of it.
pub(super) struct Flows {
    map: MapData,
    /// Entries that the kernel had made at the last sweep.
    entered_before: u64,
    capacity: u32,
    ephemeral: RangeInclusive<u16>,
    /// Datagrams of each entry at the last sweep.
    seen: HashMap<DatagramKey, u64>,
    swept: Instant,
}

impl Flows {
    /// `ephemeral`: the host's range of ports for sockets that ask for none.
    pub(super) fn new(map: MapData, capacity: u32, ephemeral: RangeInclusive<u16>) -> Self {
        Self {
            map,
            entered_before: 0,
            capacity,
            ephemeral,
            seen: HashMap::new(),
            swept: Instant::now(),
        }
    }

    /// Makes room if the map is filling; so many entries have been made since the start.
    pub(super) fn poll(&mut self, entered: u64, visit: &mut dyn Visit) -> io::Result<()> {
        let new = entered.saturating_sub(self.entered_before);
        if self.swept.elapsed() >= SWEEP_EVERY && new > u64::from(self.capacity / 4) {
            self.sweep(entered, visit, |_| {})?;
        }
        Ok(())
    }

    /// Tells of flows that are over, and gives all others. A flow can be over more than once.
    pub(super) fn collect(
        &mut self,
        entered: u64,
        visit: &mut dyn Visit,
    ) -> io::Result<Vec<SocketState>> {
        let mut open = Vec::new();
        self.sweep(entered, visit, |flow| open.push(flow))?;
        Ok(open)
    }

    fn sweep(
        &mut self,
        entered: u64,
        visit: &mut dyn Visit,
        mut open: impl FnMut(SocketState),
    ) -> io::Result<()> {
        self.swept = Instant::now();
        self.entered_before = entered;
        let mut now = HashMap::with_capacity(self.seen.len());
        let mut silent = Vec::new();
        let fd = self.map.fd().as_fd();
        batch::for_each(fd, |key: &DatagramKey, flow: &Datagrams| {
            let datagrams = flow.tx_packets.wrapping_add(flow.rx_packets);
            if self.seen.get(key) == Some(&datagrams) {
                silent.push(*key);
            } else {
                now.insert(*key, datagrams);
                open(state(key, flow, &self.ephemeral));
            }
        })?;
        self.seen = now;
        for key in silent {
            if let Some(flow) = batch::take::<DatagramKey, Datagrams>(fd, &key)? {
                let state = state(&key, &flow, &self.ephemeral);
                visit.closed(SocketState { closed: true, ..state });
            }
        }
        Ok(())
    }
}

fn state(key: &DatagramKey, flow: &Datagrams, ephemeral: &RangeInclusive<u16>) -> SocketState {
    let protocol = match key.protocol {
        protocol::UDP => Protocol::Udp,
        _ => Protocol::Icmp,
    };
    let ports = (key.local_port, key.peer_port);
    SocketState {
        cookie: key.cookie,
        netns: flow.netns,
        began_ns: 0,
        sampling: 1,
        protocol,
        owner: Owner { cgroup: flow.owner.cgroup, tgid: flow.owner.tgid, comm: flow.owner.comm },
        role: role(protocol, ports, flow.sent_first != 0, ephemeral),
        local: convert::address(key.local_address, key.local_port),
        peer: convert::address(key.peer_address, key.peer_port),
        counters: Counters {
            tx_bytes: flow.tx_bytes,
            rx_bytes: flow.rx_bytes,
            tx_packets: flow.tx_packets,
            rx_packets: flow.rx_packets,
            ..Counters::default()
        },
        rtt: Default::default(),
        connect_time_us: None,
        open: false,
        closed: false,
    }
}

/// Datagrams have no handshake: who asks is the end with a port that the kernel chose; if that is both or
/// neither, the end that was seen to send first.
fn role(
    protocol: Protocol,
    (local, peer): (u16, u16),
    sent_first: bool,
    ephemeral: &RangeInclusive<u16>,
) -> Role {
    let by_ports = ephemeral.contains(&local) != ephemeral.contains(&peer);
    let asks = match protocol {
        Protocol::Udp if by_ports => ephemeral.contains(&local),
        _ => sent_first,
    };
    if asks { Role::Client } else { Role::Server }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_with_the_chosen_port_asks() {
        let range = 32768..=60999;
        let role = |local, peer, sent| role(Protocol::Udp, (local, peer), sent, &range);
        for sent in [false, true] {
            assert_eq!(role(40_000, 53, sent), Role::Client);
            assert_eq!(role(53, 40_000, sent), Role::Server);
        }
        for (local, peer) in [(123, 123), (51_820, 51_821)] {
            assert_eq!(role(local, peer, true), Role::Client);
            assert_eq!(role(local, peer, false), Role::Server);
        }
    }

    #[test]
    fn records_are_shown_as_sockets() {
        let mut key = DatagramKey { cookie: 9, protocol: protocol::UDP, ..DatagramKey::ZERO };
        key.local_address = [0, 0, 0xffff_u32.to_be(), u32::from_ne_bytes([10, 0, 0, 1])];
        key.peer_address = [0, 0, 0xffff_u32.to_be(), u32::from_ne_bytes([10, 0, 0, 2])];
        (key.local_port, key.peer_port) = (40_000, 53);
        let flow = Datagrams { tx_bytes: 30, tx_packets: 1, netns: 5, ..Datagrams::ZERO };
        let state = state(&key, &flow, &(32768..=60999));
        assert_eq!(state.local.to_string(), "10.0.0.1:40000");
        assert_eq!(state.peer.to_string(), "10.0.0.2:53");
        assert_eq!((state.protocol, state.role, state.netns), (Protocol::Udp, Role::Client, 5));
        assert_eq!((state.counters.tx_bytes, state.counters.connects, state.open), (30, 0, false));
    }
}
