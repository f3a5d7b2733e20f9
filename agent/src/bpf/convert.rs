//! From the kernel's record to what the agent works with.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use weir_agent_ebpf::{DnsMessage, Socket, flag};

use crate::socket::{Counters, Histogram, Owner, Protocol, Role, SocketState};

/// Errors of a `connect` to where there is no way (`icmp_err_convert` of net/ipv4/icmp.c).
const UNREACHABLE: [i32; 5] =
    [libc::EHOSTUNREACH, libc::ENETUNREACH, libc::EHOSTDOWN, libc::ENONET, libc::ENOPROTOOPT];

/// Errors of a socket that a RST has reached (`tcp_reset` of net/ipv4/tcp_input.c).
const RESET_BY_PEER: [i32; 2] = [libc::ECONNRESET, libc::EPIPE];

/// A record as the ring gives it; `None` if it has another size.
pub(super) fn parse(bytes: &[u8]) -> Option<Socket> {
    if bytes.len() != size_of::<Socket>() {
        return None;
    }
    // SAFETY: the length is right, and any bytes make a valid record: it has only integers.
    Some(unsafe { bytes.as_ptr().cast::<Socket>().read_unaligned() })
}

/// The same of a message of DNS.
pub(super) fn parse_dns(bytes: &[u8]) -> Option<DnsMessage> {
    if bytes.len() != size_of::<DnsMessage>() {
        return None;
    }
    // SAFETY: the length is right, and any bytes make a valid message: it has only integers.
    Some(unsafe { bytes.as_ptr().cast::<DnsMessage>().read_unaligned() })
}

pub(super) fn state(socket: &Socket) -> SocketState {
    let client = socket.has(flag::CLIENT);
    let established = socket.has(flag::ESTABLISHED);
    let closed = socket.has(flag::CLOSED);
    let failed = client && closed && !established;
    let aborted = socket.has(flag::ABORTED);
    let error = i32::try_from(socket.error).unwrap_or(0);
    let (retransmits_closing, timeouts_closing) = socket.since_fin();
    SocketState {
        cookie: socket.cookie,
        netns: socket.netns,
        began_ns: socket.connect_begin_ns,
        sampling: 1 << socket.sampling.min(31),
        protocol: Protocol::Tcp,
        owner: Owner {
            cgroup: socket.owner.cgroup,
            tgid: socket.owner.tgid,
            comm: socket.owner.comm,
        },
        role: if client { Role::Client } else { Role::Server },
        local: address(socket.local_address, socket.local_port),
        peer: address(socket.peer_address, socket.peer_port),
        counters: Counters {
            tx_bytes: socket.tx_bytes,
            rx_bytes: socket.rx_bytes,
            tx_packets: socket.tx_packets,
            rx_packets: socket.rx_packets,
            retransmits: socket.retransmits.into(),
            retransmits_syn: socket.retransmits_syn.into(),
            retransmits_closing: retransmits_closing.into(),
            timeouts: socket.timeouts.into(),
            timeouts_syn: socket.timeouts_syn.into(),
            timeouts_closing: timeouts_closing.into(),
            connects: client.into(),
            connect_failures: failed.into(),
            connect_refused: (failed && error == libc::ECONNREFUSED).into(),
            connect_timed_out: (failed && error == libc::ETIMEDOUT).into(),
            connect_unreachable: (failed && UNREACHABLE.contains(&error)).into(),
            accepts: (!client).into(),
            closes: (closed && established).into(),
            resets: aborted.into(),
            resets_received: (aborted && RESET_BY_PEER.contains(&error)).into(),
            resets_sent: (aborted && (error == 0 || error == libc::ECONNABORTED)).into(),
            delivered_ce: socket.delivered_ce.into(),
        },
        rtt: Histogram {
            sum_us: socket.rtt_sum_us,
            min_us: socket.rtt_min_us.into(),
            max_us: socket.rtt_max_us.into(),
            slots: (&socket.rtt_slots).into(),
        },
        connect_time_us: (client && established).then_some(socket.connect_time_us.into()),
        open: established && !closed,
        closed,
    }
}

pub(super) fn address(words: [u32; 4], port: u16) -> SocketAddr {
    let mut octets = [0; 16];
    for (bytes, word) in octets.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    let v6 = Ipv6Addr::from(octets);
    SocketAddr::new(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Socket {
        let mut socket = Socket::ZERO;
        socket.cookie = 7;
        socket.local_address = [0, 0, 0xffff_u32.to_be(), u32::from_ne_bytes([10, 213, 1, 2])];
        socket.peer_address = [u32::from_ne_bytes([0xfd, 0, 0, 1]), 0, 0, u32::from_be(9)];
        (socket.local_port, socket.peer_port) = (40_000, 443);
        socket
    }

    #[test]
    fn shows_mapped_addresses_as_ipv4() {
        let state = state(&record());
        assert_eq!(state.local.to_string(), "10.213.1.2:40000");
        assert_eq!(state.peer.to_string(), "[fd00:1::9]:443");
    }

    #[test]
    fn counts_events_by_what_became_of_the_socket() {
        let events = |flags| {
            let c = state(&Socket { flags, ..record() }).counters;
            [c.connects, c.connect_failures, c.accepts, c.closes, c.resets]
        };
        let (client, up, closed, aborted) =
            (flag::CLIENT, flag::ESTABLISHED, flag::CLOSED, flag::ABORTED);
        assert_eq!(events(client), [1, 0, 0, 0, 0]);
        assert_eq!(events(client | closed), [1, 1, 0, 0, 0]);
        assert_eq!(events(client | up | closed), [1, 0, 0, 1, 0]);
        assert_eq!(events(client | up | closed | aborted), [1, 0, 0, 1, 1]);
        assert_eq!(events(up), [0, 0, 1, 0, 0]);
        assert_eq!(events(up | closed), [0, 0, 1, 1, 0]);
    }

    #[test]
    fn ends_have_their_reasons() {
        let ends = |flags, error: i32| {
            let error = u32::try_from(error).unwrap();
            let c = state(&Socket { flags: flags | flag::CLOSED, error, ..record() }).counters;
            let failures = [c.connect_refused, c.connect_timed_out, c.connect_unreachable];
            (failures, [c.resets_received, c.resets_sent])
        };
        let (failed, aborted) = (flag::CLIENT, flag::ESTABLISHED | flag::ABORTED);
        assert_eq!(ends(failed, libc::ECONNREFUSED), ([1, 0, 0], [0, 0]));
        assert_eq!(ends(failed, libc::ETIMEDOUT), ([0, 1, 0], [0, 0]));
        assert_eq!(ends(failed, libc::EHOSTUNREACH), ([0, 0, 1], [0, 0]));
        assert_eq!(ends(failed, 0), ([0, 0, 0], [0, 0]));
        assert_eq!(ends(aborted, libc::ECONNRESET), ([0, 0, 0], [1, 0]));
        assert_eq!(ends(aborted, 0), ([0, 0, 0], [0, 1]));
        // Nobody answered any more.
        assert_eq!(ends(aborted, libc::ETIMEDOUT), ([0, 0, 0], [0, 0]));
        assert_eq!(ends(flag::ESTABLISHED, libc::ECONNRESET), ([0, 0, 0], [0, 0]));
    }

    #[test]
    fn parses_only_whole_records() {
        let size = size_of::<Socket>();
        assert_eq!(parse(&vec![0; size]), Some(Socket::ZERO));
        assert_eq!(parse(&vec![0; size - 1]), None);
        assert_eq!(parse(&[]), None);
    }
}
