//! Fetching a list over HTTP (RFC 9110), from a server that need not be honest.
//!
//! - The body has at most [`Limits::bytes`], whatever the server announces.
//! - The whole request, redirects and body included, has [`Limits::time`].
//! - There are at most five redirects, and from `https` none leads to `http`.
//! - Certificates are checked against the public authorities, or those of the user's file.
//! - A proxy is used if the environment names one (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use thiserror::Error;
use tokio::sync::oneshot;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use weir_ingest::places::MAX_LIST;

use super::kept::Validators;

const REDIRECTS: u32 = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a fetch may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes: u64,
    pub(super) time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: MAX_LIST, time: Duration::from_secs(120) }
    }
}

/// A fetch that brought nothing.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    /// Neither the list nor that it is unchanged.
    #[error("server answers {0}")]
    Status(u16),
    /// It answered with more than any list has.
    #[error("answer has over {0} bytes")]
    Size(u64),
    /// It redirects an encrypted request to where it would not be.
    #[error("server redirects from https to http")]
    Downgrade,
    /// It did not answer, not in time, or not to the end.
    #[error("{0}")]
    Http(ureq::Error),
    /// No thread could be had for it.
    #[error("no thread for it")]
    Thread,
}

/// What a server answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    New(Vec<u8>, Validators),
    Unchanged,
}

/// Fetches.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: ureq::Agent,
    limits: Limits,
}

impl Client {
    /// One that trusts the authorities of this file (PEM), or else the public ones.
    ///
    /// # Errors
    /// The file has no certificate.
    pub(super) fn new(authorities: Option<&Path>, limits: Limits) -> anyhow::Result<Self> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = authorities {
            let bytes = std::fs::read(path)
                .with_context(|| format!("cannot read certificates {}", path.display()))?;
            let mut certificates = Vec::new();
            for item in parse_pem(&bytes) {
                let item = item.with_context(|| format!("{} is not in PEM", path.display()))?;
                if let PemItem::Certificate(certificate) = item {
                    certificates.push(certificate);
                }
            }
            if certificates.is_empty() {
                bail!("{} has no certificate in PEM", path.display());
            }
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates)));
        }
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(limits.time))
            .max_idle_connections(0)
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build()
            .new_agent();
        Ok(Self { agent, limits })
    }

    /// Fetches a list, unless it is the one that is known by these.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub(super) async fn fetch(
        &self,
        url: &str,
        known: Option<&Validators>,
    ) -> Result<Answer, FetchError> {
        let (client, url, known) = (self.clone(), url.to_owned(), known.cloned());
        let (tell, answer) = oneshot::channel();
        // A thread of its own: the runtime would wait for one of its own when the server is to stop.
        let thread = std::thread::Builder::new().name("weir-fetch".into());
        let spawned = thread.spawn(move || {
            let _ = tell.send(client.fetch_now(&url, known.as_ref()));
        });
        spawned.map_err(|_| FetchError::Thread)?;
        answer.await.map_err(|_| FetchError::Thread)?
    }

    fn fetch_now(&self, url: &str, known: Option<&Validators>) -> Result<Answer, FetchError> {
        let mut request = self.agent.get(url).header("Accept", "application/json");
        if let Some(Validators { etag, last_modified }) = known {
            for (name, value) in [("If-None-Match", etag), ("If-Modified-Since", last_modified)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
        }
        let request = request.config().https_only(url.starts_with("https:")).build();
        let mut response = request.call().map_err(|error| self.tell(error))?;
        match response.status().as_u16() {
            200 => {}
            304 if known.is_some() => return Ok(Answer::Unchanged),
            status => return Err(FetchError::Status(status)),
        }
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let validators =
            Validators { etag: header("ETag"), last_modified: header("Last-Modified") };
        let body = response.body_mut().with_config().limit(self.limits.bytes).read_to_vec();
        Ok(Answer::New(body.map_err(|error| self.tell(error))?, validators))
    }

    fn tell(&self, error: ureq::Error) -> FetchError {
        match error {
            ureq::Error::BodyExceedsLimit(_) => FetchError::Size(self.limits.bytes),
            ureq::Error::RequireHttpsOnly(_) => FetchError::Downgrade,
            error => FetchError::Http(error),
        }
    }
}

#[cfg(test)]
mod tests;
