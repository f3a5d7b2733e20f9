//! Connections: accepted up to a bound, served, given up when nothing comes.
//!
//! 1. Wait for a free place among [`Limits::connections`]; then accept. Whoever comes beyond them
//!    waits in the kernel's queue until a place is free.
//! 2. Serve HTTP/1.1. A connection on which no whole request head arrives within
//!    [`Limits::head`] (a new one, or one that idles between two requests) is closed, so that
//!    every place becomes free again. Bodies have bounds of their own where they are read.
//!    An answer may come before its request has been read to the end (a body that is too large). Then
//!    the rest is read and thrown away for a while before the connection is closed: the kernel
//!    answers bytes that nobody reads with a reset, and the client would lose the answer to it
//!    (RFC 9112, section 9.6).
//! 3. On the signal to stop: accept no more, close idle connections, let requests under way end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

mod linger;

use self::linger::Lingering;

/// Most bytes that a connection holds of what has come and was not asked for yet.
const READ_AHEAD: usize = 64 << 10;
/// Wait after the kernel refused to accept, for want of file descriptors say.
const RETRY: Duration = Duration::from_secs(1);

/// Bounds on connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// Time for a request head to arrive.
    pub(crate) head: Duration,
}

impl Default for Limits {
    /// 4,096 connections, 30 s. Agents let go of idle connections after 15 s by themselves.
    fn default() -> Self {
        Self { connections: 4096, head: Duration::from_secs(30) }
    }
}

/// Serves until `stop` is true or its sender is gone, and then until all requests are answered.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        // Reaps what has ended, so that the set does not grow with every connection ever made.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, place)) => {
                let connection = connection(stream, router.clone(), limits.head, stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "connections cannot be accepted; next attempt follows");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits until there is to be an end.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a reason to stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = match places.clone().try_acquire_owned() {
        Ok(place) => place,
        Err(_) => {
            tracing::warn!("as many connections as are allowed; new ones wait");
            places.clone().acquire_owned().await.map_err(io::Error::other)?
        }
    };
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

/// Whether an error of `accept` is about the peer that was to be accepted (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(
    stream: TcpStream,
    router: Router,
    head: Duration,
    mut stop: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers on this connection may be slow");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(READ_AHEAD)
        .serve_connection(TokioIo::new(Lingering::new(stream)), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    use super::*;

    struct Server {
        address: std::net::SocketAddr,
        stop: watch::Sender<bool>,
        task: JoinHandle<()>,
        /// Counts the POSTs that arrived.
        arrived: Arc<Semaphore>,
        /// Lets a POST be answered.
        answer: Arc<Semaphore>,
    }

    async fn start(limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, answer) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let of_route = (arrived.clone(), answer.clone());
        let router = Router::new().route("/", get(|| async { "hello" })).route(
            "/",
            post(move || async move {
                of_route.0.add_permits(1);
                of_route.1.acquire().await.unwrap().forget();
                "done"
            }),
        );
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, router, limits, stopped));
        Server { address, stop, task, arrived, answer }
    }

    /// Reads until the text is there; false at the end of the connection.
    async fn read_until(stream: &mut TcpStream, text: &str) -> bool {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(text) {
            let mut chunk = [0; 1024];
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return false,
                Ok(n) => read.extend(&chunk[..n]),
            }
        }
        true
    }

    async fn connect(server: &Server) -> TcpStream {
        TcpStream::connect(server.address).await.unwrap()
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";

    #[tokio::test]
    async fn a_connection_that_says_nothing_gives_its_place_up() {
        let head = Duration::from_millis(50);
        let server = start(Limits { connections: 1, head }).await;
        let mut silent = connect(&server).await;
        silent.write_all(b"GET / HT").await.unwrap();
        // Behind it in the kernel's queue; served once the silent one is closed.
        let mut second = connect(&server).await;
        second.write_all(GET).await.unwrap();
        assert!(read_until(&mut second, "hello").await);
        assert!(!read_until(&mut silent, "hello").await, "it was closed without an answer");
        // An idle connection is closed as well.
        assert!(!read_until(&mut second, "never").await);
    }

    #[tokio::test]
    async fn an_answer_survives_a_body_that_nobody_reads() {
        let server = start(Limits::default()).await;
        server.answer.add_permits(1);
        let mut client = connect(&server).await;
        let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n";
        client.write_all(head).await.unwrap();
        // More than all buffers on the way hold, sent to its end before the answer is looked at.
        let piece = vec![0; 1 << 20];
        for _ in 0..64 {
            client.write_all(&piece).await.expect("it is taken");
        }
        assert!(read_until(&mut client, "done").await);
        assert!(!read_until(&mut client, "never").await, "closed");
    }

    #[tokio::test]
    async fn requests_under_way_are_answered_at_the_stop_and_idle_connections_closed() {
        let server = start(Limits::default()).await;
        let (mut idle, mut busy) = (connect(&server).await, connect(&server).await);
        idle.write_all(GET).await.unwrap();
        assert!(read_until(&mut idle, "hello").await);
        busy.write_all(POST).await.unwrap();
        server.arrived.acquire().await.unwrap().forget();
        server.stop.send_replace(true);
        assert!(!read_until(&mut idle, "never").await, "closed");
        server.answer.add_permits(1);
        assert!(read_until(&mut busy, "done").await);
        server.task.await.unwrap();
        assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens");
    }
}
