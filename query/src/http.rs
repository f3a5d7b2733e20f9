//! The HTTP API: Prometheus' query endpoints and SQL.
//!
//! A request waits for one of a bounded number of places, then has until its timeout to be answered.
//! PromQL is computed away from the server's own threads, so that it delays no other request. When the
//! client goes away its query ends, and only then gives its place back.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use weir_storage::Store;

use crate::database::{Database, Resources};
use crate::error::{Error, ErrorKind};
use crate::promql::{Engine, Stop};

mod admin;
mod envelope;
mod labels;
mod params;
mod promql;
mod sql;
mod status;
#[cfg(test)]
mod tests;

pub use self::admin::admin_router;

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
}

impl Default for Settings {
    /// 20 queries at a time and two minutes for each, as Prometheus has it.
    fn default() -> Self {
        Self {
            resources: Resources::default(),
            concurrency: 20,
            timeout: Duration::from_secs(120),
            engine: Engine::default(),
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
        places: Arc::new(Semaphore::new(settings.concurrency.clamp(1, Semaphore::MAX_PERMITS))),
        timeout: settings.timeout,
        engine: settings.engine.clone(),
    };
    Router::new()
        .route("/api/v1/query", get(promql::instant).post(promql::instant))
        .route("/api/v1/query_range", get(promql::range).post(promql::range))
        .route("/api/v1/labels", get(labels::names).post(labels::names))
        .route("/api/v1/label/{name}/values", get(labels::values))
        .route("/api/v1/series", get(labels::series).post(labels::series))
        .route("/api/v1/metadata", get(status::metadata))
        .route("/api/v1/query_exemplars", get(status::empty_list).post(status::empty_list))
        .route("/api/v1/rules", get(status::rules))
        .route("/api/v1/alerts", get(status::alerts))
        .route("/api/v1/targets", get(status::targets))
        .route("/api/v1/status/buildinfo", get(status::build_info))
        .route("/api/v1/sql", post(sql::query))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(api)
}

/// What every handler needs.
#[derive(Clone)]
struct Api {
    database: Database,
    places: Arc<Semaphore>,
    timeout: Duration,
    engine: Engine,
}

impl Api {
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
                "query timed out waiting for other queries to finish; try again, or run fewer at once",
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
        let stop = Stop::default();
        let (waiting, gone) = oneshot::channel();
        let _waiting = Waiting { stop: stop.clone(), _waiting: waiting };
        let query = query(stop);
        let runtime = Handle::current();
        let work = tokio::task::spawn_blocking(move || {
            let _place = place;
            runtime.block_on(async move {
                tokio::select! {
                    answer = query => answer,
                    _ = gone => Err(timed_out()),
                }
            })
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

fn timed_out() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "query timed out; narrow its time range, use a longer step or allow it more by timeout=",
    )
}
