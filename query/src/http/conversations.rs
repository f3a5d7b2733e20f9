//! `/api/v1/flows`, `/api/v1/service-map`, `/api/v1/compare` and `/api/v1/completeness`.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use jiff::Timestamp;
use serde::Serialize;

use super::envelope::{Failure, Success};
use super::parameter::{
    Choice, Count, Duration, END, Limit, Name, Names, Parameter, Parameters, START, Selectors,
    TIMEOUT, Text, Texts, Time,
};
use super::params::{Params, invalid};
use super::{Api, sql};
use crate::conversations::answer::{Standing, Told, seconds};
use crate::conversations::compare::compare as compared;
use crate::conversations::completeness::{Completeness, StoredTable};
use crate::conversations::gather::Gather;
use crate::conversations::map::{Level, MapQuestion, map};
use crate::conversations::measure::{MEASURES, named};
use crate::conversations::node_graph::NodeGraph;
use crate::conversations::question::{Question, View, all_labels};
use crate::conversations::spark::{self, lines};
use crate::conversations::table::{MAX_ROWS, Order, Table};
use crate::error::Error;
use crate::flows::catalog::Period;
use crate::flows::tiers::Span;
use crate::promql::Stop;
use crate::sql::encode::{Encoder, Format};

/// Rows unless `limit` says otherwise.
const ROWS: usize = 100;
/// Edges of a map unless `limit` says otherwise, and at most.
const EDGES: usize = 5_000;
const MAX_EDGES: usize = 20_000;
/// Rows that may come before those of an answer.
const MAX_OFFSET: usize = 10_000_000;
/// Length of the period unless `start` says otherwise, microseconds.
const HOUR: i64 = 3_600_000_000;

const MATCH: Parameter<Selectors> = Parameter::new(
    "match[]",
    Selectors,
    "Selectors without a metric's name; several are alternatives. Labels with `either_` before them mean either end.",
)
.example("{namespace=\"shop\"}");
const VIEW: Parameter<Choice<View>> =
    Parameter::new("view", Choice(&View::ALL), "Which conversations; all without it.");
const BY: Parameter<Names> = Parameter::new(
    "by",
    Names(all_labels),
    "Labels to group by, separated by commas; those of the view without it.",
)
.example("workload,peer_workload");
const MEASURED: Parameter<Names> = Parameter::new(
    "measures",
    Names(measure_names),
    "Measures, separated by commas; those of the view without it.",
)
.example("bytes,retransmit_ratio");
const ORDER: Parameter<Text> = Parameter::new(
    "order",
    Text,
    "A column of the answer, `-` before it for descending; the first measure, descending, without it.",
)
.example("-bytes");
const CHANGE_ORDER: Parameter<Text> = Parameter::new(
    "order",
    Text,
    "The measure whose change puts rows in order, whatever its sign; `bytes` or the first measure without it.",
)
.example("bytes");
const ROW_LIMIT: Parameter<Limit> =
    Parameter::new("limit", Limit(Some(MAX_ROWS)), "Rows at most; 100 without it.");
const EDGE_LIMIT: Parameter<Limit> =
    Parameter::new("limit", Limit(Some(MAX_EDGES)), "Edges at most; 5,000 without it.");
const OFFSET: Parameter<Count> = Parameter::new(
    "offset",
    Count { least: 0, most: MAX_OFFSET },
    "Rows that are left out before.",
);
const POINTS: Parameter<Count> = Parameter::new(
    "points",
    Count { least: 0, most: spark::MAX_POINTS },
    "About how many values over time each row has; none without it.",
)
.example("12");
const SPARK: Parameter<Name> = Parameter::new(
    "spark",
    Name(measure_names),
    "The measure over time; that of `order`, or `bytes`, without it.",
);
const FORMAT: Parameter<Name> =
    Parameter::new("format", Name(sql::formats), "All but `json` give the rows alone.");
const LEVEL: Parameter<Choice<Level>> =
    Parameter::new("level", Choice(&Level::ALL), "What nodes are; `workload` without it.");
const EXPAND: Parameter<Texts> =
    Parameter::new("expand", Texts, "Workloads, `namespace/workload`, that are shown pod by pod.");
const GRAPH: Parameter<Choice<bool>> = Parameter::new(
    "format",
    Choice(&[("json", false), ("node-graph", true)]),
    "`node-graph`: the tables of Grafana's node graph.",
);
const BEFORE_START: Parameter<Time> = Parameter::new(
    "before_start",
    Time,
    "Begin of the other period, with `before_end`; the one of the same length just before without both.",
);
const BEFORE_END: Parameter<Time> =
    Parameter::new("before_end", Time, "End of the other period, with `before_start`.");
const OFFSET_SECONDS: Parameter<Duration> = Parameter::new(
    "offset_seconds",
    Duration,
    "The other period is so long before, in place of `before_start` and `before_end`.",
)
.example("3600");

/// What [`flows`] takes.
pub(super) const FLOWS_TAKES: Parameters = &[
    &START, &END, &MATCH, &VIEW, &BY, &MEASURED, &ORDER, &ROW_LIMIT, &OFFSET, &POINTS, &SPARK,
    &FORMAT, &TIMEOUT,
];
/// What [`service_map`] takes.
pub(super) const MAP_TAKES: Parameters =
    &[&START, &END, &MATCH, &LEVEL, &EXPAND, &EDGE_LIMIT, &GRAPH, &TIMEOUT];
/// What [`compare`] takes.
pub(super) const COMPARE_TAKES: Parameters = &[
    &START,
    &END,
    &BEFORE_START,
    &BEFORE_END,
    &OFFSET_SECONDS,
    &MATCH,
    &VIEW,
    &BY,
    &MEASURED,
    &CHANGE_ORDER,
    &ROW_LIMIT,
    &TIMEOUT,
];
/// What [`completeness`] takes.
pub(super) const COMPLETENESS_TAKES: Parameters = &[&START, &END, &TIMEOUT];

fn measure_names() -> Vec<&'static str> {
    MEASURES.iter().map(|measure| measure.name).collect()
}

/// Whole milliseconds, as times of requests are.
fn now() -> i64 {
    Timestamp::now().as_millisecond().saturating_mul(1000)
}

fn micros(ms: i64) -> i64 {
    ms.saturating_mul(1000).clamp(0, 253_402_300_799_000_000)
}

/// `start` and `end`: the last hour unless they say otherwise.
fn period(params: &Params) -> Result<Period, Error> {
    let until = params.time(&END)?.map_or_else(now, micros);
    let after = params.time(&START)?.map_or(until.saturating_sub(HOUR), micros);
    if after >= until {
        return Err(invalid("end", "end timestamp must be after start time"));
    }
    Ok(Period { after, until })
}

fn question(params: &Params) -> Result<Question, Error> {
    let view = params.choice(&VIEW)?.unwrap_or(View::All);
    let selectors = params.labels(&MATCH)?;
    Question::new(view, period(params)?, selectors, params.names(&BY), params.names(&MEASURED))
}

/// An answer with what it stands on.
fn standing<T: Serialize>(
    answer: T,
    period: Period,
    spans: &[Span],
    notes: BTreeSet<String>,
    completeness: &Completeness,
) -> Result<Success, Error> {
    let standing = Standing::new(period, spans, notes, completeness.short());
    let mut success = Success::written(&Told { answer, standing })?;
    let mut used: Vec<&'static str> = ["flows_1h", "flows_5m", "flows"]
        .into_iter()
        .filter(|table| spans.iter().any(|span| span.table == *table))
        .collect();
    used.iter_mut().for_each(|table| *table = table.strip_prefix("flows_").unwrap_or("raw"));
    success.tiers = used;
    Ok(success)
}

/// The flow table.
pub(super) async fn flows(State(api): State<Api>, params: Params) -> Result<Response, Failure> {
    let question = question(&params)?;
    let period = question.period;
    let order = match params.text(&ORDER) {
        Some(text) => Order::parse(text, &question)?,
        None => Order::usual(&question),
    };
    let limit = params.limit(&ROW_LIMIT)?.unwrap_or(ROWS);
    let offset = params.count(&OFFSET)?.unwrap_or(0);
    let points = params.count(&POINTS)?.unwrap_or(0);
    let measure = match params.name(&SPARK) {
        Some(name) => {
            named(name).ok_or_else(|| invalid("spark", &format!("there is no measure `{name}`")))?
        }
        None => {
            let own = order.measure().filter(|measure| spark::is_shown(measure));
            own.or(named("bytes")).ok_or_else(|| invalid("spark", "there is no measure"))?
        }
    };
    let format = params.name(&FORMAT).map(|name| Format::choose(Some(name), None)).transpose()?;
    let export = format.filter(|format| *format != Format::Json);
    let owned = api.clone();
    let work = |stop: Stop| async move {
        let session = owned.database.session(&stop)?;
        let gather = Gather::new(&session, &stop);
        let mut table = Table::ask(&gather, question, order, limit, offset).await?;
        if let Some(format) = export {
            let batch = table.batch()?;
            let (mut encoder, mut bytes) = Encoder::new(format, &batch.schema())?;
            bytes.extend(encoder.batch(&batch)?);
            bytes.extend(encoder.finish()?);
            let mut response = bytes.into_response();
            let media = HeaderValue::from_static(format.media_type());
            response.headers_mut().insert(CONTENT_TYPE, media);
            return Ok(response);
        }
        let line = match points {
            0 => None,
            _ if !spark::is_shown(measure) => {
                table.notes.insert(format!("{} is not shown over time", measure.name));
                None
            }
            points => Some(lines(&gather, &table, measure, points).await?),
        };
        let completeness = Completeness::ask(&session, period, now()).await?;
        let (answer, spans) = (table.answer(line), table.spans);
        let told = standing(answer, period, &spans, table.notes, &completeness);
        Ok(told?.into_response())
    };
    Ok(api.within(params.timeout()?, |stop| work(stop).boxed()).await?)
}

/// The service map.
pub(super) async fn service_map(
    State(api): State<Api>,
    params: Params,
) -> Result<Success, Failure> {
    let asked = MapQuestion {
        period: period(&params)?,
        selectors: params.labels(&MATCH)?,
        level: params.choice(&LEVEL)?.unwrap_or(Level::Workload),
        expand: params.texts(&EXPAND).map(str::to_owned).collect(),
        limit: params.limit(&EDGE_LIMIT)?.unwrap_or(EDGES),
    };
    let is_node_graph = params.choice(&GRAPH)?.unwrap_or(false);
    let owned = api.clone();
    let work = |stop: Stop| async move {
        let session = owned.database.session(&stop)?;
        let found = map(&Gather::new(&session, &stop), &asked).await?;
        let completeness = Completeness::ask(&session, asked.period, now()).await?;
        let (period, answer) = (asked.period, found.answer);
        if is_node_graph {
            standing(NodeGraph::of(answer), period, &found.spans, found.notes, &completeness)
        } else {
            standing(answer, period, &found.spans, found.notes, &completeness)
        }
    };
    Ok(api.within(params.timeout()?, |stop| work(stop).boxed()).await?)
}

/// What has changed between two periods.
pub(super) async fn compare(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let question = question(&params)?;
    let period = question.period;
    let length = period.until - period.after;
    let before = match (params.time(&BEFORE_START)?, params.time(&BEFORE_END)?) {
        (None, None) => {
            let back = params.duration(&OFFSET_SECONDS)?.map_or(length, micros);
            if back <= 0 {
                return Err(invalid("offset_seconds", "it has to be positive").into());
            }
            let back = |at: i64| at.saturating_sub(back);
            Period { after: back(period.after), until: back(period.until) }
        }
        (Some(start), Some(end)) if start < end => {
            Period { after: micros(start), until: micros(end) }
        }
        _ => {
            return Err(invalid(
                "before_start",
                "before_start and before_end come together, the first before the other",
            )
            .into());
        }
    };
    let name = params.text(&CHANGE_ORDER).map_or("bytes", |text| text.trim_start_matches('-'));
    let by = question.measures.iter().copied().find(|measure| measure.name == name);
    let by = by.or_else(|| {
        params.text(&CHANGE_ORDER).is_none().then(|| question.measures.first().copied())?
    });
    let by = by.ok_or_else(|| invalid("order", &format!("`{name}` is none of the measures")))?;
    let limit = params.limit(&ROW_LIMIT)?.unwrap_or(ROWS);
    let owned = api.clone();
    let work = |stop: Stop| async move {
        let session = owned.database.session(&stop)?;
        let found = compared(&Gather::new(&session, &stop), &question, before, by, limit).await?;
        let completeness = Completeness::ask(&session, period, now()).await?;
        standing(found.answer, period, &found.spans, found.notes, &completeness)
    };
    Ok(api.within(params.timeout()?, |stop| work(stop).boxed()).await?)
}

/// Which agents were heard, what they lost, and what the store has.
pub(super) async fn completeness(
    State(api): State<Api>,
    params: Params,
) -> Result<Success, Failure> {
    let period = period(&params)?;
    let owned = api.clone();
    let work = |stop: Stop| async move {
        let session = owned.database.session(&stop)?;
        let found = Completeness::ask(&session, period, now()).await?;
        let state = found.state(period, storage(&owned));
        Success::written(&state)
    };
    Ok(api.within(params.timeout()?, |stop| work(stop).boxed()).await?)
}

/// What each table has on disk.
fn storage(api: &Api) -> Vec<StoredTable> {
    let one = |table: &crate::database::Stored| StoredTable {
        table: table.name,
        tier: match table.name {
            "flows" => Some("raw"),
            name => name.strip_prefix("flows_"),
        },
        rows: table.rows,
        rows_in_memory: table.rows_in_memory,
        bytes: table.bytes,
        files: table.files,
        oldest: table.oldest.map(seconds),
        newest: table.newest.map(seconds),
        retention: api.about.retention.clone(),
    };
    api.database.stored().iter().map(one).collect()
}
