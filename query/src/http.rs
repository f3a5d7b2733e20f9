//! The HTTP API: Prometheus' query endpoints and SQL.
//!
//! A request waits for one of a bounded number of places, then has until its timeout to be answered.
//! Queries are computed on threads of their own ([`threads`]), so that they delay no other request. When
//! the client goes away its query ends, and only then gives its place back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tower_http::compression::CompressionLayer;
use weir_storage::Store;

use self::threads::Threads;
use crate::console;
use crate::database::{Database, Resources};
use crate::error::{Error, ErrorKind};
use crate::openapi::Operation;
use crate::promql::{Engine, Stop, TIMED_OUT};
use crate::series::AllSeries;

mod admin;
mod conversations;
mod cors;
mod envelope;
mod federate;
mod labels;
mod metadata;
mod parameter;
mod params;
mod parts;
mod promql;
mod routes;
mod shapes;
mod sql;
mod status;
mod syntax;
#[cfg(test)]
mod tests;
mod threads;

pub use self::admin::{admin_operations, admin_router};
pub use self::envelope::{Refusal, Refused};
pub use self::metadata::{Description, Descriptions, Tell};

/// Bytes of a request body; an expression or statement longer than this is refused (413).
const MAX_BODY: usize = 1 << 20;

/// Bounds of the API.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bounds on all queries together.
    pub resources: Resources,
    /// Queries that run at the same time; more wait.
    pub concurrency: usize,
    /// Longest time that a query may take, waiting included; `timeout=` can only shorten it.
    pub timeout: Duration,
    /// Limits of the PromQL engine.
    pub engine: Engine,
    /// What `/api/v1/status` tells of the server.
    pub about: About,
    /// What `/api/v1/metadata` tells of metrics that are no flow metrics.
    pub descriptions: Descriptions,
}

/// How a server is set up, for `/api/v1/status`. Nothing secret belongs here: whoever may ask reads it.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Options by name, without dashes before it.
    pub flags: BTreeMap<String, String>,
    /// The configuration, as YAML.
    pub config: String,
    /// How long rows are kept, such as `30d`.
    pub retention: String,
}

impl Default for Settings {
    /// 20 queries at a time and two minutes for each, as Prometheus has it.
    fn default() -> Self {
        Self {
            resources: Resources::default(),
            concurrency: 20,
            timeout: Duration::from_secs(120),
            engine: Engine::default(),
            about: About::default(),
            descriptions: Descriptions::default(),
        }
    }
}

/// The API over a store, with default settings.
pub fn router(store: Arc<Store>) -> Router {
    router_with(store, &Settings::default())
}

/// The API over a store.
pub fn router_with(store: Arc<Store>, settings: &Settings) -> Router {
    router_over(Database::new(store, &settings.resources), settings)
}

/// The API over a database.
pub fn router_over(database: Database, settings: &Settings) -> Router {
    let api = Api {
        database,
        threads: Threads::new(settings.resources.parallelism),
        places: Arc::new(Semaphore::new(settings.concurrency.clamp(1, Semaphore::MAX_PERMITS))),
        concurrency: settings.concurrency,
        timeout: settings.timeout,
        engine: settings.engine.clone(),
        about: Arc::new(settings.about.clone()),
        descriptions: settings.descriptions.clone(),
        started: Timestamp::now(),
    };
    let mut router = Router::new();
    for route in routes::routes() {
        router = router.route(route.operation.path, route.router());
    }
    router
        .fallback(other_paths)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        // Never unless the client asks for it.
        .layer(CompressionLayer::new())
        .layer(axum::middleware::from_fn(cors::allow))
        .with_state(api)
}

/// What [`router`] answers, for the document of a server.
pub fn operations() -> Vec<Operation> {
    routes::routes().into_iter().map(|route| route.operation).collect()
}

/// The console, and for what it does not have a plain page, as clients that try out what a server is
/// expect it.
async fn other_paths(request: Request) -> Response {
    if let Some(page) = console::answer(&request) {
        return page;
    }
    let nosniff = (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    (StatusCode::NOT_FOUND, [nosniff], "404 page not found\n").into_response()
}

/// What every handler needs.
#[derive(Clone)]
struct Api {
    database: Database,
    threads: Threads,
    places: Arc<Semaphore>,
    /// How many there are.
    concurrency: usize,
    timeout: Duration,
    engine: Engine,
    about: Arc<About>,
    descriptions: Descriptions,
    /// When the server began to answer.
    started: Timestamp,
}

impl Api {
    /// All series at this moment.
    fn source(&self) -> AllSeries {
        self.database.series()
    }

    /// When a request that came now has to be answered.
    fn deadline(&self, timeout: Option<Duration>) -> Instant {
        Instant::now() + timeout.map_or(self.timeout, |t| t.min(self.timeout))
    }

    /// Waits for a place among the running queries.
    async fn place(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Error> {
        let waiting = self.places.clone().acquire_owned();
        match tokio::time::timeout_at(deadline, waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::new(
                ErrorKind::Busy,
                "query timed out in query queue: others have to finish first; try again, or run fewer \
                 at once",
            )),
        }
    }

    /// Runs a query on a thread and in a place of its own, until the deadline. `query` is given what
    /// tells its computation to end.
    async fn within<T, Q>(
        &self,
        timeout: Option<Duration>,
        query: impl FnOnce(Stop) -> Q,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        Q: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let deadline = self.deadline(timeout);
        let place = self.place(deadline).await?;
        let (stop, _waiting, gone) = waiting(deadline);
        let query = query(stop);
        let work = self.threads.run(async move {
            let _place = place;
            tokio::select! {
                answer = query => answer,
                _ = gone => Err(timed_out()),
            }
        });
        match tokio::time::timeout_at(deadline, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(e)) => Err(Error::new(ErrorKind::Internal, format!("query failed: {e}"))),
            Err(_) => Err(timed_out()),
        }
    }
}

/// Somebody waits for a query's answer; once dropped, nobody does.
struct Waiting {
    stop: Stop,
    /// Its end wakes a query that waits for the store.
    _waiting: oneshot::Sender<()>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// What a query until `deadline` asks whether it goes on, what says so while it is kept, and what ends
/// with it.
fn waiting(deadline: Instant) -> (Stop, Waiting, oneshot::Receiver<()>) {
    let stop = Stop::at(deadline.into_std());
    let (waiting, gone) = oneshot::channel();
    (stop.clone(), Waiting { stop, _waiting: waiting }, gone)
}

fn timed_out() -> Error {
    Error::new(ErrorKind::Timeout, TIMED_OUT)
}
