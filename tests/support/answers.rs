//! A server on loopback that answers what a test tells it to, over HTTP or HTTPS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Writes an answer, given the head of the request.
type Answer = Arc<dyn Fn(&str, &mut dyn Write) + Send + Sync>;

struct State {
    answer: Mutex<Answer>,
    heads: Mutex<Vec<String>>,
    stop: AtomicBool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// Ends when dropped.
pub(crate) struct Answers {
    state: Arc<State>,
    port: u16,
    /// Its own certificate, in PEM.
    pub(crate) certificate: String,
    thread: Option<thread::JoinHandle<()>>,
}

/// An answer of 200 with this body and these lines of its head.
pub(crate) fn ok(
    body: &str,
    lines: &[&str],
) -> impl Fn(&str, &mut dyn Write) + Send + Sync + 'static {
    let length = format!("Content-Length: {}", body.len());
    let lines = [lines, &[length.as_str()]].concat().join("\r\n");
    let whole = format!("HTTP/1.1 200 OK\r\n{lines}\r\nConnection: close\r\n\r\n{body}");
    text(whole)
}

/// These bytes and nothing else.
pub(crate) fn text(
    whole: impl Into<String>,
) -> impl Fn(&str, &mut dyn Write) + Send + Sync + 'static {
    let whole = whole.into();
    move |_, to| {
        // Whoever asks may have gone.
        let _ = to.write_all(whole.as_bytes());
    }
}

impl Answers {
    /// On a port of its own if 0 is given.
    pub(crate) fn start(port: u16, encrypted: bool) -> Self {
        let named = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(named.signing_key.serialize_der().into());
        let tls = encrypted.then(|| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![named.cert.der().clone()], key)
                .unwrap();
            Arc::new(config)
        });
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer: Answer = Arc::new(text("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
        let state = Arc::new(State {
            answer: Mutex::new(answer),
            heads: Mutex::default(),
            stop: AtomicBool::new(false),
            tls,
        });
        let own = Arc::clone(&state);
        let thread = Some(thread::spawn(move || accept(&listener, &own)));
        Self { state, port, certificate: named.cert.pem(), thread }
    }

    /// Where it is.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.state.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}{path}", self.port)
    }

    /// What every request gets from now on.
    pub(crate) fn say(&self, answer: impl Fn(&str, &mut dyn Write) + Send + Sync + 'static) {
        *self.state.answer.lock().unwrap() = Arc::new(answer);
    }

    /// Heads of the requests that came.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.state.heads.lock().unwrap().clone()
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming() {
        if state.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let state = Arc::clone(state);
        // Ends when whoever asks has gone: the next write fails.
        thread::spawn(move || {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            match &state.tls {
                None => answer(stream, &state),
                Some(config) => {
                    let connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
                    answer(rustls::StreamOwned::new(connection, stream), &state);
                }
            }
        });
    }
}

fn answer(mut stream: impl Read + Write, state: &State) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.extend(byte),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    state.heads.lock().unwrap().push(head.clone());
    let answer = Arc::clone(&state.answer.lock().unwrap());
    answer(&head, &mut stream);
    let _ = stream.flush();
}
