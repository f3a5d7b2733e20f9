//! `/api/v1/flows`, `/api/v1/service-map`, `/api/v1/compare` and `/api/v1/completeness`.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Api;
use super::envelope::{Failure, Success};
use super::params::{Params, invalid};
use crate::conversations::compare::compare as compared;
use crate::conversations::completeness::Completeness;
use crate::conversations::gather::Gather;
use crate::conversations::map::{Level, MapQuestion, map, node_graph};
use crate::conversations::measure::named;
use crate::conversations::question::{Question, View};
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
/// Length of the period unless `start` says otherwise, microseconds.
const HOUR: i64 = 3_600_000_000;

/// Whole milliseconds, as times of requests are.
fn now() -> i64 {
    Timestamp::now().as_millisecond().saturating_mul(1000)
}

fn micros(ms: i64) -> i64 {
    ms.saturating_mul(1000).clamp(0, 253_402_300_799_000_000)
}

/// `start` and `end`: the last hour unless they say otherwise.
fn period(params: &Params) -> Result<Period, Error> {
    let until = params.time("end")?.map_or_else(now, micros);
    let after = params.time("start")?.map_or(until.saturating_sub(HOUR), micros);
    if after >= until {
        return Err(invalid("end", "end timestamp must be after start time"));
    }
    Ok(Period { after, until })
}

fn limit(params: &Params, usual: usize, most: usize) -> Result<usize, Error> {
    match params.limit()? {
        Some(limit) if limit > most => {
            Err(invalid("limit", &format!("{limit} is more than {most}")))
        }
        limit => Ok(limit.unwrap_or(usual)),
    }
}

fn count(params: &Params, name: &str, most: usize) -> Result<usize, Error> {
    let Some(text) = params.get(name) else { return Ok(0) };
    let number = text.parse::<usize>().ok().filter(|number| *number <= most);
    number.ok_or_else(|| invalid(name, &format!("`{text}` is no whole number from 0 to {most}")))
}

fn question(params: &Params) -> Result<Question, Error> {
    let view = View::parse(params.get("view").unwrap_or("all"))?;
    let selectors = params.labels()?;
    Question::new(view, period(params)?, selectors, params.get("by"), params.get("measures"))
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// Puts what an answer stands on beside it.
fn standing(
    mut data: Value,
    period: Period,
    spans: &[Span],
    notes: &BTreeSet<String>,
    completeness: &Completeness,
) -> Success {
    let tiers: Vec<Value> = spans
        .iter()
        .map(|span| {
            json!({ "table": span.table, "start": seconds(span.after), "end": seconds(span.until) })
        })
        .collect();
    if let Some(object) = data.as_object_mut() {
        object.insert("start".into(), json!(seconds(period.after)));
        object.insert("end".into(), json!(seconds(period.until)));
        object.insert("seconds".into(), json!(seconds(period.until - period.after)));
        object.insert("notes".into(), json!(notes));
        object.insert("tiers".into(), tiers.into());
        object.insert("completeness".into(), completeness.short());
    }
    let mut success = Success::new(data.to_string());
    let mut used: Vec<&'static str> = ["flows_1h", "flows_5m", "flows"]
        .into_iter()
        .filter(|table| spans.iter().any(|span| span.table == *table))
        .collect();
    used.iter_mut().for_each(|table| *table = table.strip_prefix("flows_").unwrap_or("raw"));
    success.tiers = used;
    success
}

/// The flow table.
pub(super) async fn flows(State(api): State<Api>, params: Params) -> Result<Response, Failure> {
    let question = question(&params)?;
    let period = question.period;
    let order = match params.get("order") {
        Some(text) => Order::parse(text, &question)?,
        None => Order::usual(&question),
    };
    let (limit, offset) = (limit(&params, ROWS, MAX_ROWS)?, count(&params, "offset", 10_000_000)?);
    let points = count(&params, "points", spark::MAX_POINTS)?;
    let measure = match params.get("spark") {
        Some(name) => {
            named(name).ok_or_else(|| invalid("spark", &format!("there is no measure `{name}`")))?
        }
        None => {
            let own = order.measure().filter(|measure| spark::is_shown(measure));
            own.or(named("bytes")).ok_or_else(|| invalid("spark", "there is no measure"))?
        }
    };
    let format = params.get("format").map(|name| Format::choose(Some(name), None)).transpose()?;
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
        let mut data = table.json();
        let line = match points {
            0 => Value::Null,
            _ if !spark::is_shown(measure) => {
                table.notes.insert(format!("{} is not shown over time", measure.name));
                Value::Null
            }
            points => lines(&gather, &table, measure, points).await?,
        };
        if let Some(object) = data.as_object_mut() {
            object.insert("view".into(), table.question.view.name().into());
            object.insert("spark".into(), line);
        }
        let completeness = Completeness::ask(&session, period, now()).await?;
        Ok(standing(data, period, &table.spans, &table.notes, &completeness).into_response())
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
        selectors: params.labels()?,
        level: Level::parse(params.get("level").unwrap_or("workload"))?,
        expand: params.every("expand").map(str::to_owned).collect(),
        limit: limit(&params, EDGES, MAX_EDGES)?,
    };
    let is_node_graph = match params.get("format") {
        None | Some("json") => false,
        Some("node-graph") => true,
        Some(other) => {
            return Err(invalid("format", &format!("`{other}` is none of json, node-graph")).into());
        }
    };
    let owned = api.clone();
    let work = |stop: Stop| async move {
        let session = owned.database.session(&stop)?;
        let found = map(&Gather::new(&session, &stop), &asked).await?;
        let completeness = Completeness::ask(&session, asked.period, now()).await?;
        let json = if is_node_graph { node_graph(&found.json) } else { found.json };
        Ok(standing(json, asked.period, &found.spans, &found.notes, &completeness))
    };
    Ok(api.within(params.timeout()?, |stop| work(stop).boxed()).await?)
}

/// What has changed between two periods.
pub(super) async fn compare(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let question = question(&params)?;
    let period = question.period;
    let length = period.until - period.after;
    let before = match (params.time("before_start")?, params.time("before_end")?) {
        (None, None) => {
            let back = params.duration("offset_seconds")?.map_or(length, micros);
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
    let name = params.get("order").map_or("bytes", |text| text.trim_start_matches('-'));
    let by = question.measures.iter().copied().find(|measure| measure.name == name);
    let by =
        by.or_else(|| params.get("order").is_none().then(|| question.measures.first().copied())?);
    let by = by.ok_or_else(|| invalid("order", &format!("`{name}` is none of the measures")))?;
    let limit = limit(&params, ROWS, MAX_ROWS)?;
    let owned = api.clone();
    let work = |stop: Stop| async move {
        let session = owned.database.session(&stop)?;
        let found = compared(&Gather::new(&session, &stop), &question, before, by, limit).await?;
        let completeness = Completeness::ask(&session, period, now()).await?;
        Ok(standing(found.json, period, &found.spans, &found.notes, &completeness))
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
        let mut data = found.json();
        if let Some(object) = data.as_object_mut() {
            object.insert("start".into(), json!(seconds(period.after)));
            object.insert("end".into(), json!(seconds(period.until)));
            object.insert("storage".into(), storage(&owned));
            object.insert("notes".into(), json!([]));
        }
        Ok::<_, Error>(Success::new(data.to_string()))
    };
    Ok(api.within(params.timeout()?, |stop| work(stop).boxed()).await?)
}

/// What each table has on disk.
fn storage(api: &Api) -> Value {
    let one = |table: &crate::database::Stored| {
        let tier = match table.name {
            "flows" => Some("raw"),
            name => name.strip_prefix("flows_"),
        };
        json!({
            "table": table.name,
            "tier": tier,
            "rows": table.rows,
            "rows_in_memory": table.rows_in_memory,
            "bytes": table.bytes,
            "files": table.files,
            "oldest": table.oldest.map(seconds),
            "newest": table.newest.map(seconds),
            "retention": api.about.retention,
        })
    };
    api.database.stored().iter().map(one).collect()
}
