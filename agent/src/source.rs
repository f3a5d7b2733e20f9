//! The two ways to measure, behind one face.
//!
//! BPF sees connections from their beginning. Those that were open before are measured beside it
//! through `sock_diag`, for as long as any of them lives: both name a socket by the same cookie, so
//! none is counted twice.

use thiserror::Error;
use weir_agent_ebpf::DnsMessage;

use crate::bpf::{BpfCollector, BpfError, Options};
use crate::sock_diag::{SockDiag, SockDiagError};
use crate::socket::Collected;

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
        Self::Bpf { collector: Box::new(collector), existing }
    }

    /// Takes in what the kernel cannot hold for long. Called several times a second.
    pub(crate) fn poll(&mut self) {
        if let Self::Bpf { collector, .. } = self {
            collector.poll_closed();
        }
        self.look(SockDiag::poll);
    }

    /// Gives the messages of DNS that passed to `each`; only BPF sees them.
    pub(crate) fn poll_dns(&mut self, each: impl FnMut(&DnsMessage)) {
        if let Self::Bpf { collector, .. } = self {
            collector.poll_dns(each);
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

    /// What happened since the last call.
    pub(crate) fn collect(&mut self) -> Result<Collected, SourceError> {
        let (collector, existing) = match self {
            Self::SockDiag(source) => return Ok(source.collect()?),
            Self::Bpf { collector, existing } => (collector, existing),
        };
        let mut collected = collector.collect()?;
        if let Some(source) = existing {
            source.leave(collected.sockets.iter().map(|s| s.cookie));
            collected.sockets.extend(source.collect_or_last_known().sockets);
            if source.is_done() {
                *existing = None;
            }
        }
        Ok(collected)
    }
}

#[cfg(test)]
mod tests;
