//! Why a PromQL query has no answer.

use thiserror::Error;

/// A failed query, by what its sender can do. The HTTP API maps each kind to the status and
/// `errorType` that Prometheus gives.
#[derive(Debug, Error)]
pub enum Error {
    /// The expression or a parameter is not well formed (`bad_data`, 400).
    #[error("{0}")]
    BadData(String),
    /// The expression is well formed but cannot be evaluated (`execution`, 422).
    #[error("{0}")]
    Execution(String),
    /// The query was given up (`canceled` or `timeout`, 503).
    #[error("{0}")]
    Timeout(String),
    /// The store failed (`internal`, 500).
    #[error("{0}")]
    Internal(String),
}
