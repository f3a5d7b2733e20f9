//! Measuring without BPF: the kernel's own `tcp_info` of every socket, through netlink `sock_diag`.
//!
//! One collection:
//!
//! 1. dump the sockets of every network namespace that may be entered ([`namespaces`], [`netlink`],
//!    [`message`]);
//! 2. compare with the last dump ([`track`]): what was there when measuring began is a baseline and
//!    counts nothing, what two dumps in a row lack is closed;
//! 3. name the process of each new socket through `/proc/*/fd`.
//!
//! Dumps are made once a second, however long the interval is, or less often where they take long. Needs Linux 4.2 and no privilege for
//! the agent's own namespace. What it cannot see: connections that open and close between two dumps,
//! what a connection did between the last dump and its end, how long handshakes take, resets, and,
//! before Linux 6.7, retransmission timeouts. Round-trip times are one reading of the smoothed
//! estimate per dump and socket, while segments come in.

pub(crate) mod message;
pub(crate) mod namespaces;
mod netlink;
mod track;

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::attribution::process;
use crate::socket::SocketState;

/// Least time between two dumps. A dump of ten thousand sockets takes some ten milliseconds.
const DUMP_EVERY: Duration = Duration::from_secs(1);
/// That time, as a multiple of what a dump takes: so dumps take at most a hundredth of a processor, and those that each
/// collection makes.
const DUMP_REST: u32 = 100;

/// Why sockets could not be read.
#[derive(Debug, Error)]
pub enum SockDiagError {
    /// The dump of this process's own network namespace failed.
    #[error(
        "sockets cannot be read through netlink sock_diag; the kernel needs CONFIG_INET_DIAG (modprobe tcp_diag)"
    )]
    Dump(#[source] io::Error),
}

/// The fallback source. [`SockDiag::start`] takes the baseline.
#[derive(Debug)]
pub struct SockDiag {
    tracker: track::Tracker,
    last_dump: Instant,
    /// How long it took.
    took: Duration,
    read: fn() -> io::Result<namespaces::Dumped>,
}

impl SockDiag {
    /// Takes the baseline: whatever sockets did until now is not counted.
    ///
    /// # Errors
    /// When the kernel has no `sock_diag` for TCP.
    pub fn start() -> Result<Self, SockDiagError> {
        let dumped = namespaces::dump_all().map_err(SockDiagError::Dump)?;
        let mut tracker = track::Tracker::default();
        tracker.baseline(&dumped);
        let mut source = Self {
            tracker,
            last_dump: Instant::now(),
            took: Duration::ZERO,
            read: namespaces::dump_all,
        };
        source.name_owners();
        Ok(source)
    }

    /// Takes the baseline, and from then on measures only the sockets in it: those that BPF cannot
    /// know because they were there before it.
    ///
    /// # Errors
    /// When the kernel has no `sock_diag` for TCP.
    pub fn start_for_existing() -> Result<Self, SockDiagError> {
        let mut source = Self::start()?;
        source.tracker.close_to_new();
        Ok(source)
    }

    /// Leaves the given sockets to another source; they are not reported any more.
    pub fn leave(&mut self, cookies: &HashSet<u64>) {
        self.tracker.forget(cookies);
    }

    /// There is nothing left to measure (only after [`SockDiag::start_for_existing`]).
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.tracker.is_done()
    }

    /// Every open socket, and those that have gone since the last collection.
    ///
    /// # Errors
    /// When the dump fails; the next call covers the time since the last one that succeeded.
    pub fn collect(&mut self) -> Result<Vec<SocketState>, SockDiagError> {
        self.dump()?;
        Ok(self.tracker.report())
    }

    /// As [`SockDiag::collect`]; when the dump fails, what the last one gave. A socket that nobody
    /// reports for long would be forgotten, and its totals taken for new when they come again.
    pub fn collect_or_last_known(&mut self) -> Vec<SocketState> {
        if let Err(error) = self.dump() {
            // The next dump covers this time too.
            tracing::debug!(%error, "sockets could not be read, last known totals stand in");
        }
        self.tracker.report()
    }

    /// Makes the dumps between two collections, at most one in each second, fewer if they take long.
    ///
    /// # Errors
    /// When the dump fails; nothing is lost by it that the next one does not find.
    pub fn poll(&mut self) -> Result<(), SockDiagError> {
        let every = DUMP_EVERY.max(DUMP_REST * self.took);
        if self.last_dump.elapsed() >= every && !self.is_done() { self.dump() } else { Ok(()) }
    }

    /// Looks as often as it takes, but for the next [`SockDiag::collect`], to be sure of what has
    /// vanished. For the last collection, which no other follows.
    ///
    /// # Errors
    /// When the dump fails; what has vanished is then reported as it was last.
    pub fn settle(&mut self) -> Result<(), SockDiagError> {
        (1..track::GONE_AFTER).try_for_each(|_| self.dump())
    }

    fn dump(&mut self) -> Result<(), SockDiagError> {
        self.last_dump = Instant::now();
        let dumped = (self.read)().map_err(SockDiagError::Dump)?;
        self.tracker.update(&dumped);
        self.name_owners();
        self.took = self.last_dump.elapsed();
        Ok(())
    }

    /// One line for the log: how far this source sees.
    #[must_use]
    pub fn blind_spots() -> &'static str {
        "measuring through sock_diag once a second: connections shorter than that, the last moments \
         before a close, handshake times, resets, UDP and ICMP are not seen; timeouts need Linux 6.7"
    }

    fn name_owners(&mut self) {
        let unnamed: HashSet<u64> = self.tracker.unnamed().collect();
        if !unnamed.is_empty() {
            self.tracker.name(&process::socket_holders(&unnamed));
        }
    }
}

#[cfg(test)]
mod tests;
