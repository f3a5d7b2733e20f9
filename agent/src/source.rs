//! The two ways to measure, behind one face.

use thiserror::Error;

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
    /// This build has no BPF programs.
    #[error("this build measures through sock_diag alone; use --source auto or sock_diag")]
    NoBpf,
}

/// A source that measures.
#[derive(Debug)]
pub(crate) enum Source {
    SockDiag(SockDiag),
}

impl Source {
    /// Begins measuring; what cannot be measured is said in one line of the log.
    pub(crate) fn start(choice: Choice) -> Result<Self, SourceError> {
        match choice {
            Choice::Bpf => return Err(SourceError::NoBpf),
            Choice::Auto | Choice::SockDiag => {}
        }
        let source = SockDiag::start()?;
        tracing::warn!("{}", SockDiag::blind_spots());
        Ok(Self::SockDiag(source))
    }

    /// Takes in what the kernel cannot hold for long. Called several times a second.
    pub(crate) fn poll(&mut self) {
        match self {
            Self::SockDiag(_) => {}
        }
    }

    /// What happened since the last call.
    pub(crate) fn collect(&mut self) -> Result<Collected, SourceError> {
        match self {
            Self::SockDiag(source) => Ok(source.collect()?),
        }
    }
}
