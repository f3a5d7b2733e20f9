//! Which paths there are. `docs/api.md` describes each of them; a test compares the two.

use axum::routing::{MethodRouter, get, post};

use super::{Api, federate, labels, promql, sql, status, syntax};

/// A path and what answers there.
pub(super) struct Route {
    pub(super) path: &'static str,
    /// Methods, `OPTIONS` aside.
    pub(super) methods: &'static [&'static str],
    pub(super) handler: MethodRouter<Api>,
}

const GET: &[&str] = &["GET"];
const GET_POST: &[&str] = &["GET", "POST"];

/// All paths of the query API.
pub(super) fn routes() -> Vec<Route> {
    let route = |path, methods, handler| Route { path, methods, handler };
    vec![
        route("/api/v1/query", GET_POST, get(promql::instant).post(promql::instant)),
        route("/api/v1/query_range", GET_POST, get(promql::range).post(promql::range)),
        route("/api/v1/labels", GET_POST, get(labels::names).post(labels::names)),
        route("/api/v1/label/{name}/values", GET, get(labels::values)),
        route("/api/v1/series", GET_POST, get(labels::series).post(labels::series)),
        route("/api/v1/metadata", GET, get(status::metadata)),
        route("/api/v1/query_exemplars", GET_POST, get(syntax::exemplars).post(syntax::exemplars)),
        route("/api/v1/format_query", GET_POST, get(syntax::format).post(syntax::format)),
        route("/api/v1/parse_query", GET_POST, get(syntax::parse).post(syntax::parse)),
        route("/api/v1/rules", GET, get(status::rules)),
        route("/api/v1/alerts", GET, get(status::alerts)),
        route("/api/v1/alertmanagers", GET, get(status::alertmanagers)),
        route("/api/v1/targets", GET, get(status::targets)),
        route("/api/v1/targets/metadata", GET, get(status::targets_metadata)),
        route("/api/v1/scrape_pools", GET, get(status::scrape_pools)),
        route("/api/v1/status/buildinfo", GET, get(status::build_info)),
        route("/api/v1/status/runtimeinfo", GET, get(status::runtime_info)),
        route("/api/v1/status/config", GET, get(status::config)),
        route("/api/v1/status/flags", GET, get(status::flags)),
        route("/api/v1/status/tsdb", GET, get(status::tsdb)),
        route("/api/v1/status/walreplay", GET, get(status::wal_replay)),
        route("/api/v1/sql", &["POST"], post(sql::query)),
        route("/federate", GET, get(federate::federate)),
    ]
}

#[cfg(test)]
mod tests;
