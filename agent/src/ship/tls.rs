//! Certificates: whom the agent trusts, and by which it is known.
//!
//! The files are read again when they change, so that certificates can be renewed under a running agent. What
//! cannot be read any more leaves the last good ones in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use thiserror::Error;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Files in PEM (RFC 7468).
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// Certificates of the authorities that the server's certificate may come from, instead of the public ones.
    pub ca: Option<PathBuf>,
    /// The agent's own certificate and what leads from it to an authority, and its private key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What is wrong with a file.
#[derive(Debug, Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("file {path} cannot be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It lacks what it is for.
    #[error("file {path} has no {what} in PEM")]
    Lacks {
        /// Which.
        path: PathBuf,
        /// A certificate or a private key.
        what: &'static str,
    },
    /// It is damaged.
    #[error("file {path} is not in PEM: {reason}")]
    Pem {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// When a file was changed, and how long it is; `None` for one that is not there.
type Stamp = Option<(SystemTime, u64)>;

/// Clients with the certificates of now.
#[derive(Debug)]
pub(crate) struct Clients {
    files: TlsFiles,
    made: Mutex<(Vec<Stamp>, ureq::Agent)>,
}

impl Clients {
    /// # Errors
    /// When a file is of no use.
    pub(crate) fn new(files: TlsFiles) -> Result<Self, TlsError> {
        // Looked at first: what changes while they are read is read again.
        let stamps = stamps(&files);
        let client = client(&files)?;
        Ok(Self { files, made: Mutex::new((stamps, client)) })
    }

    /// A client, whose connections are kept until the files change.
    pub(super) fn client(&self) -> ureq::Agent {
        let now = stamps(&self.files);
        let mut made = self.made.lock();
        if made.0 != now {
            match client(&self.files) {
                Ok(client) => {
                    tracing::info!("certificates have changed and are used from now on");
                    made.1 = client;
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "certificates have changed and cannot be used, the former ones stay in use"
                ),
            }
            made.0 = now;
        }
        made.1.clone()
    }
}

fn paths(files: &TlsFiles) -> impl Iterator<Item = &Path> {
    let client = files.client.iter().flat_map(|(cert, key)| [cert, key]);
    files.ca.iter().chain(client).map(PathBuf::as_path)
}

fn stamps(files: &TlsFiles) -> Vec<Stamp> {
    let stamp = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    paths(files).map(stamp).collect()
}

fn client(files: &TlsFiles) -> Result<ureq::Agent, TlsError> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = &files.ca {
        tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(path)?)));
    }
    if let Some((cert, key)) = &files.client {
        let client = ClientCert::new_with_certs(&certificates(cert)?, private_key(key)?);
        tls = tls.client_cert(Some(client));
    }
    Ok(ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .user_agent(concat!("weir-agent/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls.build())
        .build()
        .new_agent())
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, TlsError> {
    let of = |item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    };
    let all = items(path, of)?;
    if all.is_empty() {
        return Err(TlsError::Lacks { path: path.to_owned(), what: "certificate" });
    }
    Ok(all)
}

fn private_key(path: &Path) -> Result<PrivateKey<'static>, TlsError> {
    let of = |item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    };
    let lacks = || TlsError::Lacks { path: path.to_owned(), what: "private key" };
    items(path, of)?.into_iter().next().ok_or_else(lacks)
}

fn items<T>(path: &Path, of: impl Fn(PemItem<'static>) -> Option<T>) -> Result<Vec<T>, TlsError> {
    let read = |source| TlsError::Read { path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(read)?;
    let mut all = Vec::new();
    for item in parse_pem(&bytes) {
        let pem =
            |error: ureq::Error| TlsError::Pem { path: path.to_owned(), reason: error.to_string() };
        all.extend(of(item.map_err(pem)?));
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
