//! The record of one TCP socket and the rules by which readings of the kernel's counters enter it.
//!
//! The rules are pure, so that they run on the host's tests as they run in the kernel.
//!
//! ```text
//! tx_bytes = bytes_acked    - 1 for our SYN (active open) - 1 for our FIN, once acknowledged
//! rx_bytes = bytes_received - 1 for the peer's FIN, once arrived
//! ```
//!
//! The kernel's two counters (RFC 4898 `ThruOctetsAcked`, `ThruOctetsReceived`) advance with
//! `snd_una` and `rcv_nxt`, so they count the sequence numbers that SYN and FIN occupy. Whether a FIN
//! is among them follows from the state machine (RFC 9293, figure 5) as `tcp_fin`,
//! `tcp_rcv_state_process` and `tcp_time_wait` of the kernel walk through it. Where a reading is
//! taken at a moment at which the FIN may or may not be counted already, the byte in doubt is left
//! out, and the counters never step back: they are exact again at the next change of state.
//!
//! One byte can be missing for good, never too many: if our FIN waits unsent behind a closed window
//! while the connection is reset, or if a half-closed connection (FIN-WAIT-2) that received data
//! after its half-close ends without the peer's FIN.

use crate::{Owner, SLOTS, histogram_slot};

/// States of a TCP socket, as the kernel numbers them (`include/net/tcp_states.h`).
pub mod state {
    /// Connection open.
    pub const ESTABLISHED: u32 = 1;
    /// SYN sent, waiting for the answer.
    pub const SYN_SENT: u32 = 2;
    /// SYN received, handshake not complete.
    pub const SYN_RECV: u32 = 3;
    /// We closed; our FIN is not acknowledged.
    pub const FIN_WAIT1: u32 = 4;
    /// We closed; our FIN is acknowledged, the peer's has not come.
    pub const FIN_WAIT2: u32 = 5;
    /// The end.
    pub const CLOSE: u32 = 7;
    /// The peer closed, we have not.
    pub const CLOSE_WAIT: u32 = 8;
    /// Both closed, the peer first; our FIN is not acknowledged.
    pub const LAST_ACK: u32 = 9;
    /// Both closed at once; our FIN is not acknowledged.
    pub const CLOSING: u32 = 11;
}

/// Bits of [`Socket::flags`].
pub mod flag {
    /// This end called `connect`; else it accepted.
    pub const CLIENT: u32 = 1;
    /// The handshake was completed.
    pub const ESTABLISHED: u32 = 1 << 1;
    /// The peer has acknowledged our FIN.
    pub const FIN_ACKED: u32 = 1 << 2;
    /// The peer's FIN has arrived.
    pub const FIN_RECEIVED: u32 = 1 << 3;
    /// The socket is gone; the record is its last.
    pub const CLOSED: u32 = 1 << 4;
    /// An established connection ended otherwise than by an exchange of FINs: a RST came, we sent one
    /// (`close` with unread data, `SO_LINGER` 0), or retransmission was given up.
    pub const ABORTED: u32 = 1 << 5;
    /// We have sent our FIN.
    pub const CLOSING: u32 = 1 << 6;
}

/// One TCP socket from its `connect` or accept on. Counters are cumulative.
///
/// Addresses are in network byte order with IPv4 mapped into IPv6 (`::ffff:a.b.c.d`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Socket {
    /// The socket's cookie; 0 while the entry is being filled in.
    pub cookie: u64,
    /// Cookie of the network namespace.
    pub netns: u64,
    /// Who made it; of an accepted socket, who made the socket that listens on its port.
    pub owner: Owner,
    /// `CLOCK_MONOTONIC` at `connect`, nanoseconds; 0 for accepted sockets.
    pub connect_begin_ns: u64,
    /// Payload bytes acknowledged by the peer.
    pub tx_bytes: u64,
    /// Payload bytes received in order.
    pub rx_bytes: u64,
    /// Data segments sent, repetitions included.
    pub tx_packets: u64,
    /// Data segments received, repetitions included.
    pub rx_packets: u64,
    /// Sum of the round-trip times measured, microseconds.
    pub rtt_sum_us: u64,
    /// Local address.
    pub local_address: [u32; 4],
    /// Peer's address.
    pub peer_address: [u32; 4],
    /// Local port, host byte order.
    pub local_port: u16,
    /// Peer's port, host byte order.
    pub peer_port: u16,
    /// Segments resent, in the handshake and after.
    pub retransmits: u32,
    /// Segments resent in the handshake.
    pub retransmits_syn: u32,
    /// Segments resent before our FIN.
    pub retransmits_before_fin: u32,
    /// Retransmission timeouts, in the handshake and after.
    pub timeouts: u32,
    /// Retransmission timeouts in the handshake.
    pub timeouts_syn: u32,
    /// Retransmission timeouts before our FIN.
    pub timeouts_before_fin: u32,
    /// Packets that arrived with a mark of congestion, as the peer told.
    pub delivered_ce: u32,
    /// Why it closed: the socket's error (errno), 0 if it has none or it cannot be known.
    pub error: u32,
    /// From `connect` to established, microseconds; 0 if that has not happened.
    pub connect_time_us: u32,
    /// Smallest round-trip time measured, microseconds.
    pub rtt_min_us: u32,
    /// Largest round-trip time measured, microseconds.
    pub rtt_max_us: u32,
    /// `rcv_nxt` when the peer acknowledged our FIN (entry to FIN-WAIT-2).
    pub fin_wait_rcv_nxt: u32,
    /// One of [`state`].
    pub state: u32,
    /// Some of [`flag`].
    pub flags: u32,
    /// How many sockets it stands for, as a power of two.
    pub sampling: u32,
    /// Always 0.
    pub reserved: u32,
    /// Round-trip times by [`histogram_slot`].
    pub rtt_slots: [u32; SLOTS],
}

// No padding: the size is the sum of the fields' sizes.
const _: () = assert!(size_of::<Socket>() == 2 * 8 + 32 + 6 * 8 + 2 * 16 + 2 * 2 + 17 * 4 + 256);

/// Where the kernel keeps what no stable interface gives of a socket: byte offsets out of its own type information
/// (BTF); 0 if they are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct SocketLayout {
    /// `sock.sk_err`, 32 bits.
    pub error: u32,
    /// `sock.__sk_common.skc_net.net`, a pointer.
    pub netns: u32,
    /// `net.net_cookie`, 64 bits.
    pub netns_cookie: u32,
}

/// What the kernel says of a socket at one moment; fields of `bpf_sock_ops` and `bpf_tcp_sock`.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "each field is the kernel's field of the same name")]
pub struct Reading {
    pub bytes_acked: u64,
    pub bytes_received: u64,
    pub data_segs_out: u32,
    pub data_segs_in: u32,
    pub total_retrans: u32,
    pub snd_una: u32,
    pub snd_nxt: u32,
    pub rcv_nxt: u32,
}

impl Socket {
    /// An entry of which nothing is known.
    pub const ZERO: Self = Self {
        cookie: 0,
        netns: 0,
        owner: Owner { cgroup: 0, comm: [0; 16], tgid: 0, reserved: 0 },
        connect_begin_ns: 0,
        tx_bytes: 0,
        rx_bytes: 0,
        tx_packets: 0,
        rx_packets: 0,
        rtt_sum_us: 0,
        local_address: [0; 4],
        peer_address: [0; 4],
        local_port: 0,
        peer_port: 0,
        retransmits: 0,
        retransmits_syn: 0,
        retransmits_before_fin: 0,
        timeouts: 0,
        timeouts_syn: 0,
        timeouts_before_fin: 0,
        delivered_ce: 0,
        error: 0,
        connect_time_us: 0,
        rtt_min_us: 0,
        rtt_max_us: 0,
        fin_wait_rcv_nxt: 0,
        state: 0,
        flags: 0,
        sampling: 0,
        reserved: 0,
        rtt_slots: [0; SLOTS],
    };

    /// Every one of these flags is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// Enters a reading taken between two changes of state.
    #[inline(always)]
    pub fn refresh(&mut self, reading: &Reading) {
        // An ACK or an RTT sample may come between the FIN's arrival and the change of state.
        let in_doubt = (self.state == state::FIN_WAIT1 || self.state == state::FIN_WAIT2)
            && !self.has(flag::FIN_RECEIVED);
        self.enter(reading, in_doubt);
    }

    /// Enters the handshake's end.
    #[inline(always)]
    pub fn establish(&mut self, reading: &Reading) {
        self.enter(reading, false);
        self.flags |= flag::ESTABLISHED;
    }

    /// Enters a change of state, with a reading taken just before it.
    #[inline(always)]
    pub fn change_state(&mut self, old: u32, new: u32, reading: &Reading) {
        // The FIN was received exactly when the state machine takes one of these edges. Out of
        // FIN-WAIT-2 it leaves with the FIN or, orphaned, without: then nothing has come since.
        if new == state::CLOSE_WAIT
            || new == state::CLOSING
            || (old == state::FIN_WAIT2 && reading.rcv_nxt != self.fin_wait_rcv_nxt)
        {
            self.flags |= flag::FIN_RECEIVED;
        }
        self.state = old;
        self.enter(reading, false);
        if new == state::FIN_WAIT2 {
            self.flags |= flag::FIN_ACKED;
            self.fin_wait_rcv_nxt = reading.rcv_nxt;
        }
        // `shutdown` and `close` each "change" to the state of which the second already is.
        if (new == state::FIN_WAIT1 || new == state::LAST_ACK) && !self.has(flag::CLOSING) {
            self.flags |= flag::CLOSING;
            self.retransmits_before_fin = self.retransmits;
            self.timeouts_before_fin = self.timeouts;
        }
        if new == state::CLOSE {
            let all_acked = reading.snd_una == reading.snd_nxt;
            let orderly = old == state::FIN_WAIT2
                || ((old == state::LAST_ACK || old == state::CLOSING) && all_acked);
            self.flags |= flag::CLOSED;
            if self.has(flag::ESTABLISHED) && !orderly {
                self.flags |= flag::ABORTED;
            }
        }
        self.state = new;
    }

    /// Enters a retransmission timeout.
    #[inline(always)]
    pub const fn time_out(&mut self) {
        self.timeouts += 1;
        if !self.has(flag::ESTABLISHED) {
            self.timeouts_syn += 1;
        }
    }

    /// Segments resent, and retransmission timeouts, since our FIN.
    #[must_use]
    pub const fn since_fin(&self) -> (u32, u32) {
        if !self.has(flag::CLOSING) {
            return (0, 0);
        }
        let retransmits = self.retransmits.saturating_sub(self.retransmits_before_fin);
        (retransmits, self.timeouts.saturating_sub(self.timeouts_before_fin))
    }

    /// Enters a measured round-trip time; less than the clock's unit counts as one microsecond.
    #[inline(always)]
    pub fn measure_rtt(&mut self, us: u32) {
        let us = if us == 0 { 1 } else { us };
        if us < self.rtt_min_us || self.rtt_sum_us == 0 {
            self.rtt_min_us = us;
        }
        if us > self.rtt_max_us {
            self.rtt_max_us = us;
        }
        self.rtt_sum_us += us as u64;
        self.rtt_slots[histogram_slot(us as u64)] += 1;
    }

    #[inline(always)]
    fn enter(&mut self, reading: &Reading, peer_fin_in_doubt: bool) {
        let syn = self.has(flag::CLIENT) as u64;
        let closing = self.state == state::FIN_WAIT1
            || self.state == state::LAST_ACK
            || self.state == state::CLOSING;
        let fin_acked =
            self.has(flag::FIN_ACKED) || (closing && reading.snd_una == reading.snd_nxt);
        raise(&mut self.tx_bytes, reading.bytes_acked.saturating_sub(syn + fin_acked as u64));
        let fin_received = self.has(flag::FIN_RECEIVED) || peer_fin_in_doubt;
        raise(&mut self.rx_bytes, reading.bytes_received.saturating_sub(fin_received as u64));
        extend(&mut self.tx_packets, reading.data_segs_out);
        extend(&mut self.rx_packets, reading.data_segs_in);
        self.retransmits = reading.total_retrans;
        if !self.has(flag::ESTABLISHED) {
            self.retransmits_syn = reading.total_retrans;
        }
    }
}

#[inline(always)]
const fn raise(counter: &mut u64, value: u64) {
    if value > *counter {
        *counter = value;
    }
}

/// Carries a counter of 32 bits on beyond its wrap: the low half of `counter` is its last value.
#[inline(always)]
const fn extend(counter: &mut u64, value: u32) {
    *counter += value.wrapping_sub(*counter as u32) as u64;
}

#[cfg(test)]
mod tests;
