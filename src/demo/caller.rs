//! An HTTP client as services have them: connections are kept and used again for a while, and whoever is called has
//! to answer in time.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;

use super::dns;
use super::shop::{DNS_PORT, NAME_SERVER};

/// Time for a call, connecting included.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Requests after which a connection is given up, as load balancing clients do.
const REQUESTS: u32 = 60;
/// Most bytes of an answer.
const ANSWER: usize = 4 << 20;

struct Connection {
    sender: SendRequest<Body>,
    requests: u32,
}

/// Own address and the place that is called.
type Way = (Option<IpAddr>, SocketAddr);

/// Calls one or several places, turn by turn.
pub(super) struct Caller {
    to: Vec<SocketAddr>,
    from: Vec<IpAddr>,
    name: Option<String>,
    turn: AtomicUsize,
    idle: Mutex<HashMap<Way, Vec<Connection>>>,
}

impl Caller {
    /// Asks for the name, if there is one, each time before it connects.
    pub(super) fn new(to: Vec<SocketAddr>, from: Vec<IpAddr>, name: Option<String>) -> Self {
        Self { to, from, name, turn: AtomicUsize::new(0), idle: Mutex::default() }
    }

    /// Sends some bytes and asks for some.
    ///
    /// # Errors
    /// When there is no good answer in time.
    pub(super) async fn call(&self, bytes: usize, sent: usize) -> anyhow::Result<()> {
        let way = self.way()?;
        let work = async {
            let mut connection = self.connection(way).await?;
            let body = Bytes::from(vec![b'.'; sent]);
            let request = Request::builder()
                .method(if sent == 0 { Method::GET } else { Method::POST })
                .uri(format!("/{bytes}"))
                .header("host", way.1.ip().to_string())
                .header("content-length", sent)
                .body(Body::from(body))?;
            let answer = connection.sender.send_request(request).await?;
            let status = answer.status();
            axum::body::to_bytes(Body::new(answer.into_body()), ANSWER).await?;
            connection.requests += 1;
            if connection.requests < REQUESTS && !connection.sender.is_closed() {
                self.idle().entry(way).or_default().push(connection);
            }
            if status.is_success() { Ok(()) } else { bail!("{} answers {status}", way.1) }
        };
        let late = |_| anyhow!("{} does not answer within {PATIENCE:?}", way.1);
        tokio::time::timeout(PATIENCE, work).await.map_err(late)?
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, HashMap<Way, Vec<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn way(&self) -> anyhow::Result<Way> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let to = turn.checked_rem(self.to.len()).and_then(|at| self.to.get(at));
        // Every own address meets every place.
        let lap = turn.checked_div(self.to.len()).unwrap_or_default();
        let from = lap.checked_rem(self.from.len()).and_then(|at| self.from.get(at));
        Ok((from.copied(), *to.context("nobody is to be called")?))
    }

    async fn connection(&self, way: Way) -> anyhow::Result<Connection> {
        loop {
            let kept = self.idle().get_mut(&way).and_then(Vec::pop);
            let Some(mut kept) = kept else { break };
            // What the other end has closed meanwhile is of no use.
            if kept.sender.ready().await.is_ok() {
                return Ok(kept);
            }
        }
        let mut to = way.1;
        if let Some(name) = &self.name {
            to.set_ip(dns::resolve((NAME_SERVER, DNS_PORT).into(), name).await?);
        }
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = way.0 {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the connection.
        tokio::spawn(connection);
        Ok(Connection { sender, requests: 0 })
    }
}
