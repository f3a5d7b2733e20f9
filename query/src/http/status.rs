//! Endpoints about the server and about what there is.

use std::collections::BTreeMap;

use axum::extract::State;
use futures::FutureExt;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, Schema, SchemaType};
use utoipa::{PartialSchema, ToSchema};

use super::envelope::{Failure, Success};
use super::parameter::{Choice, Count, Parameter, Parameters, TIMEOUT, Text};
use super::params::{Params, invalid};
use super::{Api, metadata};
use crate::error::Error;
use crate::flows::catalog::Period;
use crate::promql::Stop;

/// Entries of each list of `status/tsdb` unless `limit` says otherwise.
const TOP: usize = 10;
/// The time that `status/tsdb` looks back, microseconds: that of Prometheus' newest block.
const HEAD: i64 = 2 * 3600 * 1_000_000;

/// The version, in the fields that clients look at to learn Prometheus'.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BuildInfo {
    /// Of the semantics, which is what clients compare.
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    application: &'static str,
    /// Of this server.
    weir_version: &'static str,
}

/// What answers here.
pub(super) async fn build_info() -> Result<Success, Failure> {
    Success::of(&BuildInfo {
        version: "3.5.0",
        revision: "",
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
        application: "weir",
        weir_version: env!("CARGO_PKG_VERSION"),
    })
}

/// How the process is doing; what it has not is 0 or empty.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuntimeInfo {
    /// RFC 3339.
    start_time: String,
    #[serde(rename = "CWD")]
    folder: String,
    hostname: String,
    /// RFC 3339.
    server_time: String,
    reload_config_success: bool,
    /// RFC 3339.
    last_config_time: String,
    corruption_count: u64,
    /// The nearest that there is: tasks.
    goroutine_count: usize,
    /// The nearest that there is: threads that run at the same time.
    #[serde(rename = "GOMAXPROCS")]
    threads: usize,
    #[serde(rename = "GOMEMLIMIT")]
    memory_limit: u64,
    #[serde(rename = "GOGC")]
    collection: &'static str,
    #[serde(rename = "GODEBUG")]
    debug: &'static str,
    /// How long rows are kept.
    storage_retention: String,
}

/// How the process is doing.
pub(super) async fn runtime_info(State(api): State<Api>) -> Result<Success, Failure> {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Success::of(&RuntimeInfo {
        start_time: api.started.to_string(),
        folder: std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default(),
        hostname: hostname.trim().to_owned(),
        server_time: Timestamp::now().to_string(),
        reload_config_success: true,
        last_config_time: api.started.to_string(),
        corruption_count: 0,
        goroutine_count: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        memory_limit: 0,
        collection: "",
        debug: "",
        storage_retention: api.about.retention.clone(),
    })
}

/// The configuration in effect.
#[derive(Serialize, ToSchema)]
pub(super) struct Config {
    yaml: String,
}

/// The configuration, as YAML.
pub(super) async fn config(State(api): State<Api>) -> Result<Success, Failure> {
    Success::of(&Config { yaml: api.about.config.clone() })
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

const TOP_LIMIT: Parameter<Count> = Parameter::new(
    "limit",
    Count { least: 1, most: usize::MAX >> 1 },
    "Entries of each list at most; 10 without it.",
);

/// What [`tsdb`] takes.
pub(super) const TSDB_TAKES: Parameters = &[&TOP_LIMIT, &TIMEOUT];

/// How many series the last two hours have, and which labels make them many: `limit`.
pub(super) async fn tsdb(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let positive = |_| Error::bad("limit must be a positive number");
    let limit = params.count(&TOP_LIMIT).map_err(positive)?.unwrap_or(TOP);
    let until = Timestamp::now().as_microsecond();
    let period = Period { after: until.saturating_sub(HEAD), until: i64::MAX };
    let owned = api.clone();
    let work = |stop: Stop| async move {
        Success::written(&owned.source().cardinality(period, &stop).await?.status(limit))
    };
    Ok(api.within(params.timeout()?, |stop| work(stop).boxed()).await?)
}

/// How far the log has been read.
#[derive(Serialize, ToSchema)]
pub(super) struct WalReplay {
    min: u64,
    max: u64,
    current: u64,
}

/// The log is read before the server listens.
pub(super) async fn wal_replay() -> Result<Success, Failure> {
    Success::of(&WalReplay { min: 0, max: 0, current: 0 })
}

/// What there is none of.
#[derive(Serialize)]
pub(super) struct Nothing;

impl PartialSchema for Nothing {
    fn schema() -> RefOr<Schema> {
        Object::with_type(SchemaType::AnyValue).into()
    }
}

impl ToSchema for Nothing {}

/// Groups of rules.
#[derive(Serialize, ToSchema)]
pub(super) struct Rules {
    /// Always empty.
    groups: Vec<Nothing>,
}

const TYPE: Parameter<Choice<()>> = Parameter::new(
    "type",
    Choice(&[("alert", ()), ("record", ())]),
    "Which rules; all without it.",
);

/// What [`rules`] takes.
pub(super) const RULES_TAKES: Parameters = &[&TYPE];

/// No rules: `type` may be `alert` or `record`.
pub(super) async fn rules(params: Params) -> Result<Success, Failure> {
    params.choice(&TYPE).map_err(|_| {
        let given = params.given(&TYPE).unwrap_or_default();
        invalid("type", &format!("not supported value {given:?}"))
    })?;
    Success::of(&Rules { groups: Vec::new() })
}

/// Alerts that fire.
#[derive(Serialize, ToSchema)]
pub(super) struct Alerts {
    /// Always empty.
    alerts: Vec<Nothing>,
}

/// No alerts.
pub(super) async fn alerts() -> Result<Success, Failure> {
    Success::of(&Alerts { alerts: Vec::new() })
}

/// Who is alerted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alertmanagers {
    /// Always empty.
    active_alertmanagers: Vec<Nothing>,
    /// Always empty.
    dropped_alertmanagers: Vec<Nothing>,
}

/// Nobody is alerted.
pub(super) async fn alertmanagers() -> Result<Success, Failure> {
    let (active_alertmanagers, dropped_alertmanagers) = (Vec::new(), Vec::new());
    Success::of(&Alertmanagers { active_alertmanagers, dropped_alertmanagers })
}

/// Scrape targets.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Targets {
    /// Always empty.
    active_targets: Vec<Nothing>,
    /// Always empty.
    dropped_targets: Vec<Nothing>,
    /// By pool, of which there is none.
    dropped_target_counts: Option<BTreeMap<String, u64>>,
}

const STATE: Parameter<Text> =
    Parameter::new("state", Text, "Which targets: `active`, `dropped` or `any`.");

/// What [`targets`] takes.
pub(super) const TARGETS_TAKES: Parameters = &[&STATE];

/// No scrape targets: agents send on their own. `state`.
pub(super) async fn targets(params: Params) -> Result<Success, Failure> {
    let dropped_target_counts =
        matches!(params.text(&STATE), None | Some("any" | "dropped")).then(BTreeMap::new);
    let (active_targets, dropped_targets) = (Vec::new(), Vec::new());
    Success::of(&Targets { active_targets, dropped_targets, dropped_target_counts })
}

/// What [`targets_metadata`] takes.
pub(super) const TARGETS_METADATA_TAKES: Parameters = &[&metadata::LIMIT];

/// No metadata of scrape targets: `limit`.
pub(super) async fn targets_metadata(params: Params) -> Result<Success, Failure> {
    params.bound(&metadata::LIMIT)?;
    Success::of(&Vec::<Nothing>::new())
}

/// Pools of scrape targets.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScrapePools {
    /// Always empty.
    scrape_pools: Vec<Nothing>,
}

/// No scrape pools.
pub(super) async fn scrape_pools() -> Result<Success, Failure> {
    Success::of(&ScrapePools { scrape_pools: Vec::new() })
}
