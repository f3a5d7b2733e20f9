//! Bearer tokens: who may send flows and samples, and who may ask.
//!
//! ```text
//! # comment
//! agent  3f9c...      admits POST /v1/flows, /api/v1/write and /api/v1/otlp
//! admin  c01d...      admits /api/v1/admin
//! reader 77ab...      admits everything else
//! ```
//!
//! The probes `/-/healthy` and `/-/ready` are open to all, and so is the console's page, which has no data: it
//! asks the user for a token. The file is read again when its time of
//! change or its size differs; a file that has become unreadable or malformed keeps the tokens that
//! were last good and says so in the log.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, bail};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use weir_query::{Refusal, Refused};

/// What a token admits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sending flows and samples.
    Agent,
    /// Deleting.
    Admin,
    /// Asking.
    Reader,
}

/// The tokens of a file, kept current.
#[derive(Debug)]
pub(crate) struct Tokens {
    path: PathBuf,
    state: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    stamp: Option<(SystemTime, u64)>,
    tokens: Vec<(Role, String)>,
}

impl Tokens {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// When it cannot be read, has a malformed line, or names no token.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Arc<Self>> {
        // Stamped before it is read: a change in between is then seen as one.
        let stamp = stamp(path);
        let state = Mutex::new(Loaded { stamp, tokens: read(path)? });
        Ok(Arc::new(Self { path: path.to_owned(), state }))
    }

    /// The first token of a role.
    pub(crate) fn first(&self, role: Role) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tokens.iter().find(|(r, _)| *r == role).map(|(_, token)| token.clone())
    }

    fn admits(&self, role: Role, token: &str) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&self.path);
        if now != state.stamp {
            state.stamp = now;
            match read(&self.path) {
                Ok(tokens) => state.tokens = tokens,
                Err(error) => tracing::error!(%error, "token file not reloaded"),
            }
        }
        // Every token is compared, in full, so that the time taken tells nothing.
        state.tokens.iter().fold(false, |found, (r, known)| {
            (*r == role && same(known.as_bytes(), token.as_bytes())) | found
        })
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn read(path: &Path) -> anyhow::Result<Vec<(Role, String)>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("token file {} cannot be read", path.display()))?;
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut words = line.split_whitespace();
        let (role, token) = match (words.next(), words.next(), words.next()) {
            (None, ..) => continue,
            (Some("agent"), Some(token), None) => (Role::Agent, token),
            (Some("admin"), Some(token), None) => (Role::Admin, token),
            (Some("reader"), Some(token), None) => (Role::Reader, token),
            _ => bail!(
                "token file {}, line {}: expected `agent TOKEN`, `reader TOKEN` or `admin TOKEN`",
                path.display(),
                number + 1
            ),
        };
        if token.len() < 16 {
            bail!(
                "token file {}, line {}: a token of under 16 characters can be guessed; make one \
                 with `openssl rand -hex 32`",
                path.display(),
                number + 1
            );
        }
        tokens.push((role, token.to_owned()));
    }
    if tokens.is_empty() {
        bail!("token file {} names no token", path.display());
    }
    Ok(tokens)
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

/// Middleware that lets a request pass only with a token for what it asks.
pub(crate) async fn require(
    State(tokens): State<Arc<Tokens>>,
    request: Request,
    next: Next,
) -> Response {
    // What a browser asks before it sends a token; the answer has no data.
    if request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let path = request.uri().path();
    let role = match path {
        "/-/healthy" | "/-/ready" => return next.run(request).await,
        path if weir_query::is_console(path) => return next.run(request).await,
        "/v1/flows" | "/api/v1/write" => Role::Agent,
        path if path.starts_with("/api/v1/otlp/") => Role::Agent,
        path if path.starts_with("/api/v1/admin/") => Role::Admin,
        _ => Role::Reader,
    };
    match bearer(request.headers()) {
        Some(token) if tokens.admits(role, token) => next.run(request).await,
        given => {
            let error = match given {
                None => "a bearer token is needed: send `Authorization: Bearer TOKEN`",
                Some(_) => "the bearer token does not admit to this",
            };
            let body = Json(Refusal::new(Refused::Unauthorized, error));
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response()
        }
    }
}

/// Middleware of a server without tokens: no page in a browser writes.
///
/// A browser sends the POST of any page to any address that its host reaches, loopback too, and asks
/// nobody as long as the request is a simple one. Of queries it may read the answers, too, as with
/// Prometheus (`query/src/http/cors.rs`): tokens keep pages out. What the page cannot do is leave the header `Origin` out, which browsers add to all that is not GET or HEAD (Fetch
/// Standard, "append a request `Origin` header"). Senders of flows are no browsers.
pub(crate) async fn refuse_pages(request: Request, next: Next) -> Response {
    let asks = request.method().is_safe() || is_query(request.uri().path());
    let of_page = ["origin", "sec-fetch-site"].iter().any(|h| request.headers().contains_key(*h));
    if asks || !of_page {
        return next.run(request).await;
    }
    let error = "a page in a browser may ask and not write, on a server without --token-file";
    let body = Json(Refusal::new(Refused::Forbidden, error));
    (StatusCode::FORBIDDEN, body).into_response()
}

/// Whether a POST to this path asks and changes nothing.
fn is_query(path: &str) -> bool {
    path.starts_with("/api/v1/")
        && !["/api/v1/admin/", "/api/v1/write", "/api/v1/otlp/"].iter().any(|p| path.starts_with(p))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = "agent-token-0123456789";
    const READER: &str = "reader-token-0123456789";

    #[test]
    fn each_token_admits_to_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, format!("# ours\nagent {AGENT}\nreader {READER} # grafana\n"))
            .unwrap();
        let tokens = Tokens::open(&path).unwrap();
        assert!(tokens.admits(Role::Agent, AGENT) && tokens.admits(Role::Reader, READER));
        assert!(!tokens.admits(Role::Agent, READER) && !tokens.admits(Role::Reader, AGENT));
        assert!(!tokens.admits(Role::Reader, "") && !tokens.admits(Role::Reader, &READER[..20]));
        // A change counts at once; a broken file changes nothing.
        std::fs::write(&path, "reader another-token-0123456789\n").unwrap();
        assert!(!tokens.admits(Role::Agent, AGENT));
        assert!(tokens.admits(Role::Reader, "another-token-0123456789"));
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(tokens.admits(Role::Reader, "another-token-0123456789"));
    }

    #[test]
    fn malformed_files_are_refused_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        for (text, expected) in [
            ("", "names no token"),
            ("agent\n", "line 1"),
            ("\nboss 0123456789abcdef\n", "line 2"),
            ("agent short\n", "under 16 characters"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Tokens::open(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
