//! The way in for agents: in the network between the nodes, which the server is not in, somebody passes their requests
//! on to it, and keeps what was accepted if a day is recorded.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::recording::Sent;

/// Most bytes of a request.
const REQUEST: usize = 64 << 20;

/// Bodies as agents sent them and the server took them.
#[derive(Debug, Clone, Default)]
pub(super) struct Tape(Arc<Mutex<Vec<(Sent, Bytes)>>>);

impl Tape {
    fn keep(&self, sent: Sent, body: Bytes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((sent, body));
    }

    /// What there is.
    pub(super) fn take(&self) -> Vec<(Sent, Bytes)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug, Clone)]
struct Gateway {
    server: SocketAddr,
    tape: Option<Tape>,
}

/// Listens at `address` in the network of a process and passes on to `server`, until the tasks are dropped.
///
/// # Errors
/// When the network cannot be entered, or the address is refused there.
pub(super) fn serve(
    process: u32,
    address: SocketAddr,
    server: SocketAddr,
    tape: Option<Tape>,
) -> anyhow::Result<JoinSet<()>> {
    let path = format!("/proc/{process}/ns/net");
    // A thread that ends here: this process stays where it is, and the socket where it was made.
    let bind = move || listen(Path::new(&path), address);
    let listener =
        std::thread::spawn(bind).join().map_err(|_| anyhow!("a thread has failed"))??;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let router = Router::new().fallback(pass).with_state(Gateway { server, tape });
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    Ok(tasks)
}

fn listen(network: &Path, address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let cannot = || format!("network {} cannot be entered", network.display());
    let file = std::fs::File::open(network).with_context(cannot)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(cannot)?;
    std::net::TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address} in the demo's network"))
}

async fn pass(State(gateway): State<Gateway>, request: Request) -> Response {
    match gateway.pass(request).await {
        Ok(answer) => answer,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}\n")).into_response(),
    }
}

impl Gateway {
    async fn pass(&self, request: Request) -> anyhow::Result<Response> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, REQUEST).await?;
        let sent = Sent::to(parts.uri.path());
        let stream = TcpStream::connect(self.server).await.context("the server is away")?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let answer =
            sender.send_request(Request::from_parts(parts, Body::from(body.clone()))).await?;
        if let (Some(tape), Some(sent), true) = (&self.tape, sent, answer.status().is_success()) {
            tape.keep(sent, body);
        }
        Ok(answer.map(Body::new))
    }
}
