//! The two ways to measure, behind one face.
//!
//! BPF sees connections from their beginning. Those that were open before are measured beside it
//! through `sock_diag`, for as long as any of them lives: both name a socket by the same cookie, so
//! none is counted twice.

use std::collections::HashSet;

use thiserror::Error;
use weir_agent_ebpf::DnsMessage;

use crate::bpf::{BpfCollector, BpfError, Dropped, Options};
use crate::sock_diag::{SockDiag, SockDiagError};
use crate::socket::{SocketState, Unseen, Visit};

/// Which way to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// BPF, and `sock_diag` where the kernel or the privileges refuse it.
    #[default]
    Auto,
    /// BPF or nothing.
    Bpf,
    /// Netlink `sock_diag`.
    SockDiag,
}

/// Why nothing can be measured.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The socket dump.
    #[error(transparent)]
    SockDiag(#[from] SockDiagError),
    /// The BPF programs.
    #[error(transparent)]
    Bpf(#[from] BpfError),
}

/// A source that measures.
#[derive(Debug)]
pub(crate) enum Source {
    Bpf {
        collector: Box<BpfCollector>,
        /// Connections that were open before the programs were attached.
        existing: Option<SockDiag>,
        /// Cookies of what has ended since the last collection, while there are such connections.
        ended: HashSet<u64>,
    },
    SockDiag(SockDiag),
}

impl Source {
    /// Begins measuring; what cannot be measured is said in one line of the log.
    pub(crate) fn start(choice: Choice, options: &Options) -> Result<Self, SourceError> {
        Self::start_with(choice, || BpfCollector::start(options))
    }

    /// The same, with a way of its own to load the programs.
    fn start_with(
        choice: Choice,
        bpf: impl FnOnce() -> Result<BpfCollector, BpfError>,
    ) -> Result<Self, SourceError> {
        if choice != Choice::SockDiag {
            match bpf() {
                Ok(collector) => return Ok(Self::with_existing(collector)),
                Err(error) if choice == Choice::Bpf => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "BPF is not available; {}",
                        SockDiag::blind_spots()
                    );
                    return Ok(Self::SockDiag(SockDiag::start()?));
                }
            }
        }
        let source = SockDiag::start()?;
        tracing::info!("{}", SockDiag::blind_spots());
        Ok(Self::SockDiag(source))
    }

    fn with_existing(collector: BpfCollector) -> Self {
        let existing = match SockDiag::start_for_existing() {
            Ok(existing) => Some(existing),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "connections that are open already are not measured"
                );
                None
            }
        };
        tracing::info!("measuring through BPF");
        Self::Bpf { collector: Box::new(collector), existing, ended: HashSet::new() }
    }

    /// Tells of what has ended, which the kernel cannot hold for long. Called several times a second; more often
    /// while it says that there is much.
    pub(crate) fn poll(&mut self, visit: &mut dyn Visit) -> bool {
        let mut much = false;
        if let Self::Bpf { collector, existing, ended } = self {
            if existing.is_some() {
                let seen = Some(std::mem::take(ended));
                let mut beside = Beside { visit, other: None, sockets: Vec::new(), seen };
                much = collector.poll(&mut beside);
                *ended = beside.seen.unwrap_or_default();
            } else {
                much = collector.poll(visit);
            }
        }
        self.look(SockDiag::poll);
        much
    }

    /// Gives the messages of DNS that passed to `each`; only BPF sees them.
    pub(crate) fn poll_dns(&mut self, each: impl FnMut(&DnsMessage)) {
        if let Self::Bpf { collector, .. } = self {
            collector.poll_dns(each);
        }
    }

    /// Everything is seen, from its beginning.
    pub(crate) fn is_bpf(&self) -> bool {
        matches!(self, Self::Bpf { .. })
    }

    /// Packets that the kernel drops are counted.
    pub(crate) fn counts_drops(&self) -> bool {
        matches!(self, Self::Bpf { collector, .. } if collector.counts_drops())
    }

    /// Gives what the kernel dropped since the last call to `each`.
    pub(crate) fn poll_drops(&mut self, each: impl FnMut(Dropped)) {
        if let Self::Bpf { collector, .. } = self {
            collector.poll_drops(each);
        }
    }

    /// Called once, right before the last collection.
    pub(crate) fn settle(&mut self) {
        self.look(SockDiag::settle);
    }

    fn look(&mut self, how: fn(&mut SockDiag) -> Result<(), SockDiagError>) {
        let sock_diag = match self {
            Self::Bpf { existing, .. } => existing.as_mut(),
            Self::SockDiag(source) => Some(source),
        };
        if let Some(Err(error)) = sock_diag.map(how) {
            tracing::debug!(%error, "sockets could not be read between two collections");
        }
    }

    /// How it measures.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Bpf { .. } => "bpf",
            Self::SockDiag(_) => "sock_diag",
        }
    }

    /// Tells of what has ended, and of every socket that is open.
    pub(crate) fn collect(&mut self, visit: &mut dyn Visit) -> Result<Unseen, SourceError> {
        let (collector, existing, ended) = match self {
            Self::SockDiag(source) => {
                let sockets = source.collect()?;
                let mut beside = Beside { visit, other: None, sockets, seen: None };
                beside.all_met();
                beside.count_all();
                return Ok(Unseen::default());
            }
            Self::Bpf { collector, existing, ended } => (collector, existing, ended),
        };
        let Some(source) = existing else { return Ok(collector.collect(visit)?) };
        let seen = Some(std::mem::take(ended));
        let mut beside = Beside { visit, other: Some(source), sockets: Vec::new(), seen };
        let collected = collector.collect(&mut beside);
        if collected.is_ok() {
            beside.count_all();
        }
        let seen = beside.seen.unwrap_or_default();
        match collected {
            Ok(_) => source.leave(&seen),
            // Nobody has been told to leave them yet.
            Err(_) => *ended = seen,
        }
        if source.is_done() {
            *existing = None;
        }
        Ok(collected?)
    }
}

/// Passes on what one source tells, and tells of sockets that another has read beside it: of those that the
/// first does not know.
struct Beside<'a> {
    visit: &'a mut dyn Visit,
    /// Asked when the first has told all that it knows: what it says of ended sockets, it says once.
    other: Option<&'a mut SockDiag>,
    sockets: Vec<SocketState>,
    /// Cookies that the first knows; `None` if there is no first.
    seen: Option<HashSet<u64>>,
}

impl Beside<'_> {
    fn count_all(&mut self) {
        for socket in std::mem::take(&mut self.sockets) {
            self.visit.count(socket);
        }
    }
}

impl Visit for Beside<'_> {
    fn closed(&mut self, socket: SocketState) {
        if let Some(seen) = &mut self.seen {
            seen.insert(socket.cookie);
        }
        self.visit.closed(socket);
    }

    fn meet(&mut self, socket: &SocketState) {
        if let Some(seen) = &mut self.seen {
            seen.insert(socket.cookie);
        }
        self.visit.meet(socket);
    }

    fn all_met(&mut self) {
        if let Some(other) = &mut self.other {
            self.sockets = other.collect_or_last_known();
        }
        for socket in std::mem::take(&mut self.sockets) {
            if self.seen.as_ref().is_some_and(|seen| seen.contains(&socket.cookie)) {
                continue;
            }
            if socket.closed {
                self.visit.closed(socket);
            } else {
                self.visit.meet(&socket);
                self.sockets.push(socket);
            }
        }
        self.visit.all_met();
    }

    fn count(&mut self, socket: SocketState) {
        self.visit.count(socket);
    }
}

#[cfg(test)]
mod tests;
