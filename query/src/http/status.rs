//! Endpoints about the server and about what there is.

use axum::extract::State;
use futures::FutureExt;
use jiff::Timestamp;
use serde_json::json;

use super::Api;
use super::envelope::{Failure, Success};
use super::params::{Params, invalid};
use crate::error::Error;
use crate::flows::catalog::Period;
use crate::promql::Stop;

/// Entries of each list of `status/tsdb` unless `limit` says otherwise.
const TOP: usize = 10;
/// The time that `status/tsdb` looks back, microseconds: that of Prometheus' newest block.
const HEAD: i64 = 2 * 3600 * 1_000_000;

/// What answers here: the fields that clients look at to learn Prometheus' version.
pub(super) async fn build_info() -> Result<Success, Failure> {
    Success::of(&json!({
        // The version of the semantics, which is what clients compare.
        "version": "3.5.0",
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "application": "weir",
        "weirVersion": env!("CARGO_PKG_VERSION"),
    }))
}

/// How the process is doing.
pub(super) async fn runtime_info(State(api): State<Api>) -> Result<Success, Failure> {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let folder = std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    Success::of(&json!({
        "startTime": api.started.to_string(),
        "CWD": folder,
        "hostname": hostname.trim(),
        "serverTime": Timestamp::now().to_string(),
        "reloadConfigSuccess": true,
        "lastConfigTime": api.started.to_string(),
        "corruptionCount": 0,
        // The nearest that there is: tasks instead of goroutines, threads instead of processors.
        "goroutineCount": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        "GOMAXPROCS": std::thread::available_parallelism().map_or(1, usize::from),
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": api.about.retention,
    }))
}

/// The configuration, as YAML.
pub(super) async fn config(State(api): State<Api>) -> Result<Success, Failure> {
    Success::of(&json!({ "yaml": api.about.config }))
}

/// The options of the command line, and what they amount to.
pub(super) async fn flags(State(api): State<Api>) -> Result<Success, Failure> {
    let mut flags = api.about.flags.clone();
    for (name, value) in [
        ("query.lookback-delta", format!("{}ms", api.engine.lookback_ms)),
        ("query.max-concurrency", api.concurrency.to_string()),
        ("query.max-samples", api.engine.max_samples.to_string()),
        ("query.timeout", format!("{}ms", api.timeout.as_millis())),
    ] {
        flags.insert(name.to_owned(), value);
    }
    Success::of(&flags)
}

/// How many series the last two hours have, and which labels make them many: `limit`.
pub(super) async fn tsdb(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let positive = || Error::bad("limit must be a positive number");
    let limit = match params.get("limit") {
        None => TOP,
        Some(text) => text.parse().ok().filter(|limit| *limit > 0).ok_or_else(positive)?,
    };
    let until = Timestamp::now().as_microsecond();
    let period = Period { after: until.saturating_sub(HEAD), until: i64::MAX };
    let owned = api.clone();
    let work = |stop: Stop| async move {
        Ok(owned.source().cardinality(period, &stop).await?.status(limit).to_string())
    };
    Ok(Success::new(api.within(params.timeout()?, |stop| work(stop).boxed()).await?))
}

/// The log is read before the server listens.
pub(super) async fn wal_replay() -> Result<Success, Failure> {
    Success::of(&json!({"min": 0, "max": 0, "current": 0}))
}

/// No rules: `type` may be `alert` or `record`.
pub(super) async fn rules(params: Params) -> Result<Success, Failure> {
    match params.get("type") {
        None | Some("alert" | "record") => Success::of(&json!({"groups": []})),
        Some(other) => Err(invalid("type", &format!("not supported value {other:?}")).into()),
    }
}

/// No alerts.
pub(super) async fn alerts() -> Result<Success, Failure> {
    Success::of(&json!({"alerts": []}))
}

/// Nobody is alerted.
pub(super) async fn alertmanagers() -> Result<Success, Failure> {
    Success::of(&json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}

/// No scrape targets: agents send on their own. `state`.
pub(super) async fn targets(params: Params) -> Result<Success, Failure> {
    let counts = match params.get("state") {
        None | Some("any" | "dropped") => json!({}),
        Some(_) => json!(null),
    };
    let targets = json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": counts});
    Success::of(&targets)
}

/// No metadata of scrape targets: `limit`.
pub(super) async fn targets_metadata(params: Params) -> Result<Success, Failure> {
    params.number("limit")?;
    Success::of(&json!([]))
}

/// No scrape pools.
pub(super) async fn scrape_pools() -> Result<Success, Failure> {
    Success::of(&json!({"scrapePools": []}))
}
