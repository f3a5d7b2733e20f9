//! Posting to the server, whatever it is.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::backoff::{self, Verdict};
use super::tls::Clients;
use super::token;

/// A server that is out of memory or disk may be slow; an answer after this is not waited for.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest part of an error's text that is read.
const MAX_MESSAGE: u64 = 4096;

/// Where everything goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Base URL of the server.
    pub(crate) server: String,
    /// File with the bearer token, read again for each request, so that it can be replaced.
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Error)]
pub(crate) enum SendError {
    #[error("token file {path} cannot be read: {source}")]
    Token { path: PathBuf, source: io::Error },
    #[error("token file {path} has neither a line `agent TOKEN` nor just a token")]
    TokenText { path: PathBuf },
    #[error("{0}")]
    Http(#[from] ureq::Error),
    #[error("server answered {status}: {message}")]
    Status {
        status: u16,
        message: String,
        retry_after: Option<Duration>,
        /// The answer names the coding of our bodies among those that the server reads.
        accepts_coding: bool,
    },
    #[error("request cannot be encoded: {0}")]
    Encode(String),
    #[error("batch in the spool cannot be decompressed: {0}")]
    Spooled(#[from] weir_wire::frame::InflateError),
}

/// Posts requests, over connections that are kept.
#[derive(Debug)]
pub(crate) struct Poster {
    clients: Arc<Clients>,
    target: Target,
}

impl Poster {
    pub(crate) fn new(target: Target, clients: Arc<Clients>) -> Self {
        Self { clients, target }
    }

    /// Where a path of the server is.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.target.server.trim_end_matches('/'))
    }

    /// Posts to a path of the server; a status that is no success is an error.
    pub(crate) fn post(
        &self,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<(), SendError> {
        self.post_within(REQUEST_TIMEOUT, path, body, headers)
    }

    /// The same in less time.
    pub(super) fn post_within(
        &self,
        timeout: Duration,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<(), SendError> {
        let mut request = self
            .clients
            .client()
            .post(self.url(path))
            .config()
            .timeout_global(Some(timeout))
            .build();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = self.token()? {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.send(body)?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|v| v.to_str().ok())
            .and_then(backoff::retry_after);
        let accepts_coding = response
            .headers()
            .get("accept-encoding")
            .and_then(|v| v.to_str().ok())
            .is_some_and(|codings| codings.contains(weir_wire::CONTENT_ENCODING));
        // Read to its end also when it is good: only then is the connection used again.
        let body = response.body_mut().with_config().limit(MAX_MESSAGE).lossy_utf8(true);
        let message = body.read_to_string().unwrap_or_default().trim().to_owned();
        match backoff::verdict(status) {
            Verdict::Delivered => Ok(()),
            _ => Err(SendError::Status { status, message, retry_after, accepts_coding }),
        }
    }

    fn token(&self) -> Result<Option<String>, SendError> {
        let Some(path) = &self.target.token_file else { return Ok(None) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| SendError::Token { path: path.clone(), source })?;
        match token::parse(&text) {
            Some(token) => Ok(Some(token)),
            None => Err(SendError::TokenText { path: path.clone() }),
        }
    }
}
