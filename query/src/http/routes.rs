//! Which paths there are. `docs/api.md` describes each of them, and so does the API's document, which is made of this list.

use std::sync::Arc;

use axum::Extension;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde_json::json;

use super::parameter::Parameters;
use super::params::Taken;
use super::{Api, conversations, federate, labels, metadata, promql, shapes, sql, status, syntax};
use crate::cardinality::TsdbStatus;
use crate::conversations::answer::Told;
use crate::conversations::compare::Comparison;
use crate::conversations::completeness::State;
use crate::conversations::map::ServiceMap;
use crate::conversations::node_graph::NodeGraph;
use crate::conversations::table::FlowTable;
use crate::openapi::{Operation, Shape};

/// Methods of a path, `OPTIONS` aside.
pub(super) type Methods = &'static [(&'static str, MethodFilter)];

pub(super) const GET: Methods = &[("get", MethodFilter::GET)];
pub(super) const POST: Methods = &[("post", MethodFilter::POST)];
pub(super) const GET_POST: Methods = &[("get", MethodFilter::GET), ("post", MethodFilter::POST)];
pub(super) const POST_PUT: Methods = &[("post", MethodFilter::POST), ("put", MethodFilter::PUT)];

/// Makes a handler answer to methods.
type Answer<S> = Box<dyn FnOnce(MethodFilter) -> MethodRouter<S>>;

/// A path, what is said of it, and what answers there.
pub(super) struct Route<S> {
    pub(super) operation: Operation,
    methods: Methods,
    /// Names that its body may have beside its parameters.
    fields: Vec<&'static str>,
    handler: Answer<S>,
}

impl<S: Clone + Send + Sync + 'static> Route<S> {
    pub(super) fn new<H: Handler<T, S>, T: 'static>(
        path: &'static str,
        methods: Methods,
        id: &'static str,
        about: &'static str,
        handler: H,
    ) -> Self {
        let names: Vec<_> = methods.iter().map(|(name, _)| *name).collect();
        let operation = Operation::new(path, &names, id, about);
        let handler = Box::new(move |methods| on(methods, handler));
        Self { operation, methods, fields: Vec::new(), handler }
    }

    /// The group that the document has it in.
    pub(super) fn of(self, tag: &'static str) -> Self {
        self.with(|operation| operation.of(tag))
    }

    /// Its parameters: the handler gets no others.
    pub(super) fn takes(self, parameters: Parameters) -> Self {
        let inputs: Vec<_> = parameters.iter().map(|parameter| parameter.input()).collect();
        self.with(|operation| operation.takes(inputs))
    }

    /// What its body may have beside these.
    fn fields(mut self, parameters: Parameters) -> Self {
        self.fields.extend(parameters.iter().map(|parameter| parameter.input().name));
        self
    }

    /// Says more of it.
    pub(super) fn with(mut self, say: impl FnOnce(Operation) -> Operation) -> Self {
        self.operation = say(self.operation);
        self
    }

    /// What it answers, after at most the time of a query.
    fn answers(self, data: Shape) -> Self {
        self.with(|operation| operation.gives(data).query_like())
    }

    /// The handler for these methods.
    pub(super) fn router(self) -> MethodRouter<S> {
        let names: Arc<[&'static str]> = self.operation.inputs().chain(self.fields).collect();
        let methods = self.methods.iter().map(|(_, filter)| *filter).reduce(MethodFilter::or);
        let router = (self.handler)(methods.unwrap_or(MethodFilter::GET));
        router.layer(Extension(Taken(names)))
    }
}

/// All paths of the query API.
pub(super) fn routes() -> Vec<Route<Api>> {
    [queries(), conversations(), series(), state()].into_iter().flatten().collect()
}

fn queries() -> Vec<Route<Api>> {
    let about_sql = "The statement: as text, or as the field `query`.";
    let sql = Route::new("/api/v1/sql", POST, "sql", "Runs a read-only SQL statement.", sql::query)
        .takes(sql::TAKES)
        .fields(sql::FIELDS)
        .with(|operation| {
            let fields = || Shape::asked::<sql::Json>();
            let operation = operation
                .reads(
                    about_sql,
                    [
                        ("text/plain", Shape::text()),
                        ("application/sql", Shape::text()),
                        ("application/json", fields()),
                        ("application/x-www-form-urlencoded", fields()),
                    ],
                )
                .query_like()
                .refuses(&[406]);
            sql::media().fold(operation, |operation, media| {
                operation.answers(200, "The rows.", [(media, shapes::rows(media))])
            })
        });
    vec![
        Route::new(
            "/api/v1/query",
            GET_POST,
            "query",
            "Evaluates an expression at one time.",
            promql::instant,
        )
        .takes(promql::INSTANT_TAKES)
        .answers(shapes::evaluated()),
        Route::new(
            "/api/v1/query_range",
            GET_POST,
            "query_range",
            "Evaluates an expression at times of equal distance.",
            promql::range,
        )
        .takes(promql::RANGE_TAKES)
        .answers(shapes::evaluated()),
        Route::new(
            "/api/v1/query_exemplars",
            GET_POST,
            "query_exemplars",
            "Exemplars, of which there are none.",
            syntax::exemplars,
        )
        .takes(syntax::EXEMPLARS_TAKES)
        .answers(shapes::empty_list()),
        Route::new(
            "/api/v1/format_query",
            GET_POST,
            "format_query",
            "An expression in a tidy layout.",
            syntax::format,
        )
        .takes(syntax::TAKES)
        .answers(Shape::text()),
        Route::new(
            "/api/v1/parse_query",
            GET_POST,
            "parse_query",
            "An expression as a syntax tree.",
            syntax::parse,
        )
        .takes(syntax::TAKES)
        .answers(shapes::syntax_tree()),
        sql,
    ]
    .into_iter()
    .map(|route| route.of("Queries"))
    .collect()
}

fn conversations() -> Vec<Route<Api>> {
    let mut flows = Route::new(
        "/api/v1/flows",
        GET_POST,
        "flows",
        "The flow table: who talked to whom.",
        conversations::flows,
    )
    .takes(conversations::FLOWS_TAKES)
    .answers(Told::<FlowTable>::shape());
    for media in sql::media().filter(|media| *media != "application/json") {
        flows = flows.with(|o| o.answers(200, "The rows.", [(media, shapes::rows(media))]));
    }
    let map = Told::<ServiceMap>::shape().or(Told::<NodeGraph>::shape());
    vec![
        flows,
        Route::new(
            "/api/v1/service-map",
            GET_POST,
            "service_map",
            "Workloads as nodes, conversations as edges.",
            conversations::service_map,
        )
        .takes(conversations::MAP_TAKES)
        .answers(map),
        Route::new(
            "/api/v1/compare",
            GET_POST,
            "compare",
            "The flow table of two periods, and what has changed.",
            conversations::compare,
        )
        .takes(conversations::COMPARE_TAKES)
        .answers(Told::<Comparison>::shape()),
        Route::new(
            "/api/v1/completeness",
            GET_POST,
            "completeness",
            "Which agents were heard, what they lost, and what the store has.",
            conversations::completeness,
        )
        .takes(conversations::COMPLETENESS_TAKES)
        .answers(Shape::of::<State>()),
    ]
    .into_iter()
    .map(|route| route.of("Conversations"))
    .collect()
}

fn series() -> Vec<Route<Api>> {
    vec![
        Route::new("/api/v1/series", GET_POST, "series", "Label sets of series.", labels::series)
            .takes(labels::SERIES_TAKES)
            .answers(shapes::label_sets()),
        Route::new("/api/v1/labels", GET_POST, "labels", "Names of labels.", labels::names)
            .takes(labels::TAKES)
            .answers(Shape::inline::<Vec<String>>()),
        Route::new(
            "/api/v1/label/{name}/values",
            GET,
            "label_values",
            "Values of a label.",
            labels::values,
        )
        .takes(labels::TAKES)
        .with(|operation| {
            let about = "The label; names that are not plain as Prometheus escapes them (`U__a_2e_b` is `a.b`).";
            operation.at("name", about, json!({ "type": "string", "minLength": 1 }))
        })
        .answers(Shape::inline::<Vec<String>>()),
        Route::new(
            "/api/v1/metadata",
            GET,
            "metadata",
            "Type, unit and help of metrics.",
            metadata::metadata,
        )
        .takes(metadata::TAKES)
        .with(|operation| operation.gives(shapes::metadata()).refuses(&[400])),
        Route::new(
            "/federate",
            GET,
            "federate",
            "The newest sample of each series.",
            federate::federate,
        )
        .takes(federate::TAKES)
        .with(|operation| {
            operation
                .answers(200, "Samples in the Prometheus text format.", [(federate::MEDIA, Shape::text())])
                .refuses_by("text/plain; charset=utf-8", Shape::text())
                .refuses(&[400, 500, 503])
        }),
    ]
    .into_iter()
    .map(|route| route.of("Series and labels"))
    .collect()
}

/// An endpoint of the state, which asks nothing of the store.
fn known<H: Handler<T, Api>, T: 'static>(
    path: &'static str,
    id: &'static str,
    about: &'static str,
    handler: H,
    data: Shape,
) -> Route<Api> {
    Route::new(path, GET, id, about, handler).with(|operation| operation.gives(data))
}

fn state() -> Vec<Route<Api>> {
    use status::{
        Alertmanagers, Alerts, BuildInfo, Config, Rules, RuntimeInfo, ScrapePools, Targets,
        WalReplay,
    };
    vec![
        known(
            "/api/v1/status/buildinfo",
            "buildinfo",
            "Versions.",
            status::build_info,
            Shape::of::<BuildInfo>(),
        ),
        known(
            "/api/v1/status/runtimeinfo",
            "runtimeinfo",
            "How the process is doing.",
            status::runtime_info,
            Shape::of::<RuntimeInfo>(),
        ),
        known(
            "/api/v1/status/config",
            "config",
            "The configuration in effect.",
            status::config,
            Shape::of::<Config>(),
        ),
        known(
            "/api/v1/status/flags",
            "flags",
            "Options and limits in effect.",
            status::flags,
            shapes::texts_by_name(),
        ),
        Route::new(
            "/api/v1/status/tsdb",
            GET,
            "tsdb",
            "How many series there are, and which labels make them many.",
            status::tsdb,
        )
        .takes(status::TSDB_TAKES)
        .answers(Shape::of::<TsdbStatus>()),
        known(
            "/api/v1/status/walreplay",
            "walreplay",
            "How far the log has been read: always to its end.",
            status::wal_replay,
            Shape::of::<WalReplay>(),
        ),
        known(
            "/api/v1/rules",
            "rules",
            "Rules, of which there are none.",
            status::rules,
            Shape::of::<Rules>(),
        )
        .takes(status::RULES_TAKES)
        .with(|operation| operation.refuses(&[400])),
        known(
            "/api/v1/alerts",
            "alerts",
            "Alerts, of which there are none.",
            status::alerts,
            Shape::of::<Alerts>(),
        ),
        known(
            "/api/v1/alertmanagers",
            "alertmanagers",
            "Alertmanagers, of which there are none.",
            status::alertmanagers,
            Shape::of::<Alertmanagers>(),
        ),
        known(
            "/api/v1/targets",
            "targets",
            "Scrape targets, of which there are none.",
            status::targets,
            Shape::of::<Targets>(),
        )
        .takes(status::TARGETS_TAKES),
        known(
            "/api/v1/targets/metadata",
            "targets_metadata",
            "Metadata of scrape targets, of which there are none.",
            status::targets_metadata,
            shapes::empty_list(),
        )
        .takes(status::TARGETS_METADATA_TAKES)
        .with(|operation| operation.refuses(&[400])),
        known(
            "/api/v1/scrape_pools",
            "scrape_pools",
            "Pools of scrape targets, of which there are none.",
            status::scrape_pools,
            Shape::of::<ScrapePools>(),
        ),
    ]
}

#[cfg(test)]
mod tests;
