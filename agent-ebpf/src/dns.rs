//! A message of DNS, as a socket sent or received it.

use crate::Owner;

/// Bytes of a message that are kept; what is longer is cut. Answers of addresses rarely are.
pub const DNS_BYTES: usize = 1024;

/// Default size of the ring of messages, bytes; a power of two and a multiple of the page.
pub const DNS_RING_BYTES: u32 = 512 << 10;

/// The port of name servers.
pub const DNS_PORT: u16 = 53;

/// A message and when it passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct DnsMessage {
    /// The cookie of the socket that asks.
    pub cookie: u64,
    /// Who made that socket; of one that was there before the programs only the cgroup.
    pub owner: Owner,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// Bytes that the message has; there are at most [`DNS_BYTES`] of it.
    pub length: u32,
    /// 1 for an answer, 0 for a question.
    pub received: u32,
    /// The message.
    pub bytes: [u8; DNS_BYTES],
}

// No padding: the size is the sum of the fields' sizes.
const _: () = assert!(size_of::<DnsMessage>() == 2 * 8 + 32 + 2 * 4 + DNS_BYTES);
