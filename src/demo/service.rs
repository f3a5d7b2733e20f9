//! A program of the shop: an HTTP server that calls others for each request that it gets, or by itself.
//!
//! `GET /N` is answered with N bytes after all calls are made, one after the other. If one of them fails, so does
//! the request (502).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use super::caller::Caller;
use super::rhythm::{Day, Rhythm, now_us};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// Least time between two requests of a driver, and the most that it waits for the next when nothing is to be done.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(500));
/// What answers are made of, and the most that one holds.
static ANSWER: [u8; 256 << 10] = [b'.'; 256 << 10];

/// What a program does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Service {
    /// Where it listens; the places do the same.
    pub(super) listen: Vec<SocketAddr>,
    /// How long it works on a request, beside its calls.
    pub(super) think_ms: u64,
    /// What it calls for each request, in this order.
    pub(super) calls: Vec<Call>,
    /// It makes requests by itself.
    pub(super) driver: Option<Driver>,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Call {
    /// Who is called, turn by turn.
    pub(super) to: Vec<SocketAddr>,
    /// The name that is asked for before connecting, where there is one.
    pub(super) name: Option<String>,
    /// Own addresses, turn by turn; any if there are none.
    pub(super) from: Vec<IpAddr>,
    /// How often for each request; half a call is one for every second request.
    pub(super) per_request: f64,
    /// Bytes of the answer.
    pub(super) bytes: usize,
    /// Bytes that are sent along.
    pub(super) sent: usize,
}

/// What makes requests by itself, by the hour of the day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Driver {
    /// Requests a second at the busiest hour.
    pub(super) peak: f64,
    pub(super) rhythm: Rhythm,
}

/// Who is called, and how much of a call is still owed.
struct Calling {
    call: Call,
    caller: Caller,
    owed: Mutex<f64>,
}

impl Calling {
    fn new(call: &Call) -> Self {
        let caller = Caller::new(call.to.clone(), call.from.clone(), call.name.clone());
        Self { call: call.clone(), caller, owed: Mutex::new(0.0) }
    }

    /// Calls that are due with this request.
    fn due(&self) -> u32 {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        *owed += self.call.per_request;
        let mut due = 0;
        while *owed >= 1.0 {
            *owed -= 1.0;
            due += 1;
        }
        due
    }
}

struct Work {
    think: Duration,
    calls: Vec<Calling>,
}

impl Work {
    /// Does what a request asks for.
    async fn request(&self) -> anyhow::Result<()> {
        tokio::time::sleep(self.think).await;
        for calling in &self.calls {
            for _ in 0..calling.due() {
                calling.caller.call(calling.call.bytes, calling.call.sent).await?;
            }
        }
        Ok(())
    }
}

/// Serves and drives for ever.
///
/// # Errors
/// When a place to listen at is refused.
pub(super) async fn run(services: &[Service], day: Day) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for service in services {
        let calls = service.calls.iter().map(Calling::new).collect();
        let work = Arc::new(Work { think: Duration::from_millis(service.think_ms), calls });
        for place in &service.listen {
            let listener = listen(*place).with_context(|| format!("cannot listen on {place}"))?;
            let router = Router::new()
                .route("/{bytes}", axum::routing::any(answer))
                .with_state(Arc::clone(&work));
            tasks.spawn(async move {
                let _ = axum::serve(listener, router).await;
            });
        }
        if let Some(driver) = service.driver {
            tasks.spawn(drive(driver, work, day));
        }
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

fn listen(place: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if place.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(place)?;
    socket.listen(BACKLOG)
}

async fn answer(
    State(work): State<Arc<Work>>,
    Path(bytes): Path<usize>,
    _sent: Bytes,
) -> Result<Bytes, StatusCode> {
    work.request().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(Bytes::from_static(&ANSWER).slice(..bytes.min(ANSWER.len())))
}

/// Makes requests as they are due, however long each takes.
async fn drive(driver: Driver, work: Arc<Work>, day: Day) {
    let mut under_way = JoinSet::new();
    loop {
        while under_way.try_join_next().is_some() {}
        let now = now_us();
        let rate = driver.peak * driver.rhythm.level(day.hour(now));
        let pause = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(PAUSES.1);
        tokio::time::sleep(pause.clamp(PAUSES.0, PAUSES.1)).await;
        // Rates below that of the longest pause come out a little too high, which nobody will miss.
        if day.since_began(now) >= 0.0 {
            let work = Arc::clone(&work);
            under_way.spawn(async move {
                // Whoever called has seen the failure; the agents have seen what it was.
                let _ = work.request().await;
            });
        }
    }
}
