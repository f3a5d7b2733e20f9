//! The one error at the crate's face.

use datafusion::error::DataFusionError;
use thiserror::Error;

use crate::promql;

/// What the sender of a failed query can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The query or a parameter is not well formed, or asks for something that is not allowed.
    BadData,
    /// The query is well formed and cannot be answered; a smaller one might.
    Execution,
    /// The query ran out of time. Repeating can help, a smaller query more so.
    Timeout,
    /// Too many queries at once. Repeating in a second can help.
    Busy,
    /// The disk is full or refuses writes. Repeating helps once that is mended.
    Unavailable,
    /// There is no such endpoint or object.
    NotFound,
    /// The request is longer than is read.
    TooLarge,
    /// No format that the client accepts can be made.
    NotAcceptable,
    /// The store or the engine failed.
    Internal,
}

/// A failed query.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// What the sender can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// What a failure inside DataFusion means for the sender of the SQL that caused it.
impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        // DataFusion's own words for its bound on files name an option that nobody can reach.
        if error.to_string().contains("max_temp_directory_size") {
            return Self::new(
                ErrorKind::Execution,
                "query needs more disk for intermediate results than it may have; narrow its time \
                 range or group by fewer columns, or raise --query-spill-mib (a twentieth of the \
                 disk and 1 GiB of it stay free for the history)",
            );
        }
        // What code of this crate said from within a plan.
        if let DataFusionError::External(own) = error.find_root()
            && let Some(own) = own.downcast_ref::<Self>()
        {
            return Self::new(own.kind, own.message.clone());
        }
        let kind = match error.find_root() {
            DataFusionError::SQL(..)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::NotImplemented(_) => ErrorKind::BadData,
            DataFusionError::ResourcesExhausted(_)
            | DataFusionError::Execution(_)
            | DataFusionError::ArrowError(..) => ErrorKind::Execution,
            _ => ErrorKind::Internal,
        };
        let message = match error.find_root() {
            DataFusionError::ResourcesExhausted(detail) => format!(
                "query needs more memory than it may have; narrow its time range or group by fewer \
                 columns ({detail})"
            ),
            _ => error.strip_backtrace(),
        };
        Self { kind, message }
    }
}

impl From<weir_storage::Error> for Error {
    fn from(error: weir_storage::Error) -> Self {
        Self::new(ErrorKind::Internal, format!("store has no snapshot: {error}"))
    }
}

impl From<promql::error::Error> for Error {
    fn from(error: promql::error::Error) -> Self {
        use promql::error::Error as Promql;
        let (kind, message) = match error {
            Promql::BadData(m) => (ErrorKind::BadData, m),
            Promql::Execution(m) => (ErrorKind::Execution, m),
            Promql::Timeout(m) => (ErrorKind::Timeout, m),
            Promql::Internal(m) => (ErrorKind::Internal, m),
        };
        Self { kind, message }
    }
}

/// The way back: what the PromQL engine is told when a source fails.
impl From<Error> for promql::error::Error {
    fn from(error: Error) -> Self {
        match error.kind {
            ErrorKind::Execution => Self::Execution(error.message),
            ErrorKind::Timeout | ErrorKind::Busy => Self::Timeout(error.message),
            ErrorKind::BadData | ErrorKind::NotAcceptable | ErrorKind::TooLarge => {
                Self::BadData(error.message)
            }
            // A plan that the crate made itself and DataFusion refuses is a defect here.
            ErrorKind::NotFound | ErrorKind::Unavailable | ErrorKind::Internal => {
                Self::Internal(error.message)
            }
        }
    }
}
