//! Which paths there are. `docs/api.md` describes each of them; a test compares the two.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::{Api, conversations, federate, labels, metadata, promql, sql, status, syntax};

/// A path and what answers there.
pub(super) struct Route {
    pub(super) path: &'static str,
    /// Methods, `OPTIONS` aside.
    pub(super) methods: MethodFilter,
    handler: Answer,
}

impl Route {
    /// The handler for these methods.
    pub(super) fn router(self) -> MethodRouter<Api> {
        (self.handler)(self.methods)
    }
}

/// Makes a handler answer to methods.
type Answer = Box<dyn FnOnce(MethodFilter) -> MethodRouter<Api>>;

fn by<H: Handler<T, Api>, T: 'static>(handler: H) -> Answer {
    Box::new(move |methods| on(methods, handler))
}

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;
const GET_POST: MethodFilter = GET.or(POST);

/// All paths of the query API.
pub(super) fn routes() -> Vec<Route> {
    let route = |path, methods, handler| Route { path, methods, handler };
    vec![
        route("/api/v1/query", GET_POST, by(promql::instant)),
        route("/api/v1/query_range", GET_POST, by(promql::range)),
        route("/api/v1/labels", GET_POST, by(labels::names)),
        route("/api/v1/label/{name}/values", GET, by(labels::values)),
        route("/api/v1/series", GET_POST, by(labels::series)),
        route("/api/v1/metadata", GET, by(metadata::metadata)),
        route("/api/v1/query_exemplars", GET_POST, by(syntax::exemplars)),
        route("/api/v1/format_query", GET_POST, by(syntax::format)),
        route("/api/v1/parse_query", GET_POST, by(syntax::parse)),
        route("/api/v1/rules", GET, by(status::rules)),
        route("/api/v1/alerts", GET, by(status::alerts)),
        route("/api/v1/alertmanagers", GET, by(status::alertmanagers)),
        route("/api/v1/targets", GET, by(status::targets)),
        route("/api/v1/targets/metadata", GET, by(status::targets_metadata)),
        route("/api/v1/scrape_pools", GET, by(status::scrape_pools)),
        route("/api/v1/status/buildinfo", GET, by(status::build_info)),
        route("/api/v1/status/runtimeinfo", GET, by(status::runtime_info)),
        route("/api/v1/status/config", GET, by(status::config)),
        route("/api/v1/status/flags", GET, by(status::flags)),
        route("/api/v1/status/tsdb", GET, by(status::tsdb)),
        route("/api/v1/status/walreplay", GET, by(status::wal_replay)),
        route("/api/v1/flows", GET_POST, by(conversations::flows)),
        route("/api/v1/service-map", GET_POST, by(conversations::service_map)),
        route("/api/v1/compare", GET_POST, by(conversations::compare)),
        route("/api/v1/completeness", GET_POST, by(conversations::completeness)),
        route("/api/v1/sql", POST, by(sql::query)),
        route("/federate", GET, by(federate::federate)),
    ]
}

#[cfg(test)]
mod tests;
