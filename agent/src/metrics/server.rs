//! `/metrics` over HTTP: one thread, a bounded number of connections, each bounded in time. A connection that finds no
//! room takes that of the one that has been there longest: whoever reads slowly, or not at all, keeps nobody out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::{Format, Listen, Metrics, render};

/// Connections at a time.
const MAX_CONNECTIONS: usize = 32;
/// Longest time of one connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Time to send a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADERS: usize = 16 << 10;

/// Why metrics cannot be offered.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Everybody who reaches the port would read them.
    #[error(
        "metrics on {0} would be open to everybody who reaches it; give --metrics-token-file FILE, or \
         --insecure if that is meant"
    )]
    Open(SocketAddr),
    /// The address is not to be had.
    #[error("metrics cannot be offered on {address}; give another address by --listen, or `off`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The token file is of no use.
    #[error("token file {path} for metrics cannot be read, or has no token")]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no more threads.
    #[error("thread for metrics cannot be started")]
    Thread(#[source] io::Error),
}

/// The endpoint; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and answers from then on.
    pub(crate) fn start(listen: Listen, metrics: Metrics) -> Result<Self, ListenError> {
        let Listen { address, token_file, insecure } = listen;
        if let Some(path) = &token_file {
            token(path).ok_or_else(|| ListenError::Token { path: path.clone() })?;
        } else if !address.ip().is_loopback() && !insecure {
            return Err(ListenError::Open(address));
        }
        let bind = |source| ListenError::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ListenError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("weir-metrics".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = stopped => {}
                        () = serve(listener, token_file, metrics) => {}
                    }
                });
            })
            .map_err(ListenError::Thread)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn serve(listener: TcpListener, token_file: Option<PathBuf>, metrics: Metrics) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "metrics are not offered");
            return;
        }
    };
    // In the order in which they came.
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    let token_file: Option<Arc<Path>> = token_file.map(Into::into);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a scraper could not connect");
                // Most likely there are too many open files: that does not pass at once.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= MAX_CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            tracing::debug!("a scraper's connection has made room for another");
            oldest.abort();
        }
        let (metrics, token_file) = (metrics.clone(), token_file.clone());
        let connection = tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = answer(&request, token_file.as_deref(), &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_HEADERS)
                .serve_connection(TokioIo::new(stream), service);
            let done = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            if let Ok(Err(error)) = done {
                tracing::debug!(%error, "a scraper's connection has failed");
            }
        });
        connections.push_back(connection.abort_handle());
    }
}

fn answer<B>(
    request: &Request<B>,
    token_file: Option<&Path>,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    if let Some(path) = token_file
        && !is_admitted(request.headers(), path)
    {
        return plain(
            StatusCode::UNAUTHORIZED,
            "give the token of --metrics-token-file as a bearer token\n",
        );
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "metrics are read by GET\n");
    }
    match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|v| v.to_str().ok());
            let format = Format::of(accept.unwrap_or_default());
            let text = render(&metrics.families(), format);
            let mut response = Response::new(Full::from(text));
            let kind = HeaderValue::from_static(format.content_type());
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        "/-/healthy" => plain(StatusCode::OK, "Weir's agent is healthy.\n"),
        _ => plain(StatusCode::NOT_FOUND, "there is /metrics and /-/healthy\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn is_admitted(headers: &HeaderMap, path: &Path) -> bool {
    let given = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    let given = given.and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default().as_bytes();
    let Some(wanted) = token(path) else { return false };
    let wanted = wanted.as_bytes();
    // Every byte is compared, so that the time says nothing of how many are right.
    let different = given.iter().zip(wanted).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == wanted.len() && different == 0
}

/// The token in a file; it may be replaced while the agent runs.
fn token(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    fn listen(token_file: Option<PathBuf>) -> Listen {
        Listen { address: "127.0.0.1:0".parse().unwrap(), token_file, insecure: false }
    }

    fn ask(server: &Server, request: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        // Sooner than others would have to go.
        stream.set_read_timeout(Some(CONNECTION_TIMEOUT / 2)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(path: &str, headers: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")
    }

    #[test]
    fn both_formats_and_nothing_else() {
        let metrics = Metrics::default();
        metrics.agent(|agent| agent.rows = 7);
        let server = Server::start(listen(None), metrics).unwrap();
        let text = ask(&server, &get("/metrics", ""));
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("version=0.0.4"), "{text}");
        assert!(text.contains("\nweir_agent_rows_total 7\n"), "{text}");
        let open = ask(&server, &get("/metrics", "Accept: application/openmetrics-text\r\n"));
        assert!(open.contains("# TYPE weir_agent_rows counter\n"), "{open}");
        assert!(open.ends_with("# EOF\n"), "{open}");
        assert!(ask(&server, &get("/-/healthy", "")).starts_with("HTTP/1.1 200"));
        assert!(ask(&server, &get("/", "")).starts_with("HTTP/1.1 404"));
        let post = get("/metrics", "Content-Length: 0\r\n").replace("GET", "POST");
        assert!(ask(&server, &post).starts_with("HTTP/1.1 405"));
        assert!(ask(&server, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    }

    #[test]
    fn a_token_is_asked_for_and_can_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let missing = Server::start(listen(Some(file.clone())), Metrics::default());
        assert!(matches!(missing, Err(ListenError::Token { .. })));
        fs::write(&file, "one\n").unwrap();
        let server = Server::start(listen(Some(file.clone())), Metrics::default()).unwrap();
        let status = |token: &str| {
            let headers = format!("Authorization: Bearer {token}\r\n");
            ask(&server, &get("/metrics", &headers))[9..12].to_owned()
        };
        assert_eq!(
            (status("one"), status("two"), status("")),
            ("200".into(), "401".into(), "401".into())
        );
        assert!(ask(&server, &get("/metrics", "")).starts_with("HTTP/1.1 401"));
        fs::write(&file, "two\n").unwrap();
        assert_eq!((status("one"), status("two")), ("401".into(), "200".into()));
    }

    #[test]
    fn listening_wide_needs_a_token_or_a_word() {
        let address = "0.0.0.0:0".parse().unwrap();
        let wide = |insecure| Listen { address, token_file: None, insecure };
        let refused = Server::start(wide(false), Metrics::default());
        assert!(matches!(refused, Err(ListenError::Open(_))));
        let server = Server::start(wide(true), Metrics::default()).unwrap();
        let taken = Listen { address: server.address(), token_file: None, insecure: true };
        let error = Server::start(taken, Metrics::default()).unwrap_err();
        assert!(error.to_string().contains("--listen"), "{error}");
    }

    #[test]
    fn silent_scrapers_hold_up_nobody() {
        let server = Server::start(listen(None), Metrics::default()).unwrap();
        let silent: Vec<_> = (0..3 * MAX_CONNECTIONS)
            .map(|_| TcpStream::connect(server.address()).unwrap())
            .collect();
        assert!(ask(&server, &get("/metrics", "")).starts_with("HTTP/1.1 200"));
        drop(silent);
    }
    #[test]
    fn scrapers_that_do_not_read_hold_up_nobody() {
        let metrics = Metrics::default();
        // More than the buffers of a connection hold.
        metrics.agent(|agent| {
            let reasons = (0..50_000).map(|n| (format!("{n:0100}"), n));
            agent.losses = reasons.collect();
        });
        let server = Server::start(listen(None), metrics).unwrap();
        let slow: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| {
                let mut stream = TcpStream::connect(server.address()).unwrap();
                stream.write_all(get("/metrics", "").as_bytes()).unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                stream
            })
            .collect();
        assert!(ask(&server, &get("/-/healthy", "")).starts_with("HTTP/1.1 200"));
        drop(slow);
    }
}
