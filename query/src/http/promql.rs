//! `/api/v1/query` and `/api/v1/query_range`.
//!
//! The header `weir-tier` of an answer names the tables of flows that it was read from: `raw`, `5m`,
//! `1h`. With `stats=true` (or `all`) the answer has Prometheus' `stats`, seconds and samples, and the
//! same names as `tiers`.

use std::fmt::Write;
use std::time::Instant;

use axum::extract::State;
use futures::FutureExt;
use jiff::Timestamp;

use super::Api;
use super::envelope::{Failure, Success};
use super::params::Params;
use crate::error::Error;
use crate::flows::FlowSource;
use crate::promql::source::{Labels, Steps};
use crate::promql::{Answer, Query, Stop, Value, format_value};

/// An instant query: `query`, `time` (now), `timeout`, `lookback_delta`, `limit`, `stats`.
pub(super) async fn instant(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let now = || Timestamp::now().as_millisecond();
    let time = params.time("time")?.unwrap_or_else(now);
    evaluate(&api, &params, Steps { start: time, end: time, step: 1 }, true).await
}

/// A range query: `query`, `start`, `end`, `step`, `timeout`, `lookback_delta`, `limit`,
/// `stats`.
pub(super) async fn range(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let missing = |name: &str| Error::bad(format!("invalid parameter \"{name}\": it is missing"));
    let steps = Steps {
        start: params.time("start")?.ok_or_else(|| missing("start"))?,
        end: params.time("end")?.ok_or_else(|| missing("end"))?,
        step: params.duration("step")?.ok_or_else(|| missing("step"))?,
    };
    evaluate(&api, &params, steps, false).await
}

async fn evaluate(
    api: &Api,
    params: &Params,
    steps: Steps,
    instant: bool,
) -> Result<Success, Failure> {
    let query = Query {
        expr: params.required("query")?.to_owned(),
        steps,
        instant,
        lookback_ms: params.duration("lookback_delta")?,
    };
    let limit = params.limit()?;
    let stats = params.get("stats").is_some();
    let asked = Instant::now();
    let owned = api.clone();
    let work = |stop: Stop| async move {
        let begun = Instant::now();
        let source = FlowSource::new(owned.database.session()?);
        let prepared = Instant::now();
        let evaluated = owned.engine.evaluate_until(&source, &query, &stop).await;
        let mut answer = evaluated.map_err(Error::from)?;
        let used = source.used();
        let tiers: Vec<_> = used.tiers().collect();
        answer.warnings.extend(used.lost);
        answer.infos.extend(source.unknown_metrics().into_iter().map(|name| {
            format!(
                "PromQL info: there is no metric \"{name}\"; /api/v1/label/__name__/values lists \
                 the flow metrics"
            )
        }));
        let stats = stats.then(|| {
            let seconds = |from: Instant, to: Instant| (to - from).as_secs_f64();
            let done = Instant::now();
            serde_json::json!({
                "timings": {
                    "evalTotalTime": seconds(begun, done),
                    "queryPreparationTime": seconds(begun, prepared),
                    "innerEvalTime": seconds(prepared, done),
                    "execQueueTime": seconds(asked, begun),
                    "execTotalTime": seconds(asked, done),
                },
                "samples": { "totalQueryableSamples": answer.samples },
                "tiers": tiers,
            })
        });
        Ok(Success { tiers, ..success(answer, &query, limit, stats.as_ref()) })
    };
    // Boxed, so that the engine's and DataFusion's futures are compiled here and not by every user.
    Ok(api.within(params.timeout()?, |stop| work(stop).boxed()).await?)
}

fn success(
    answer: Answer,
    query: &Query,
    limit: Option<usize>,
    stats: Option<&serde_json::Value>,
) -> Success {
    let Answer { value, mut warnings, infos, .. } = answer;
    let series = match &value {
        Value::Vector(series) => series.len(),
        Value::Matrix(series) => series.len(),
        _ => 0,
    };
    if limit.is_some_and(|limit| series > limit) {
        warnings.push("results truncated due to limit".into());
    }
    let limit = limit.unwrap_or(usize::MAX);
    Success { warnings, infos, ..Success::new(data(value, query, limit, stats)) }
}

/// The `data` of an answer.
fn data(value: Value, query: &Query, limit: usize, stats: Option<&serde_json::Value>) -> String {
    let steps = query.steps;
    let (kind, result) = match value {
        Value::Str(text) => ("string", format!("[{},{}]", seconds(steps.start), json(&text))),
        Value::Scalar(values) if query.instant => {
            let value = values.first().copied().unwrap_or(f64::NAN);
            ("scalar", point(steps.start, value))
        }
        Value::Scalar(values) => {
            let points = steps.iter().zip(values);
            ("matrix", list([series(&Labels::default(), "values", &points_list(points))]))
        }
        Value::Vector(all) if query.instant => {
            let items = all.into_iter().filter_map(|s| {
                let value = s.values.first().copied().flatten()?;
                Some(series(&s.labels, "value", &point(steps.start, value)))
            });
            ("vector", list(items.take(limit)))
        }
        Value::Vector(all) => {
            let items = all.into_iter().filter_map(|s| {
                let points = steps.iter().zip(&s.values).filter_map(|(t, v)| Some((t, (*v)?)));
                let mut points = points.peekable();
                points.peek()?;
                Some(series(&s.labels, "values", &points_list(points)))
            });
            ("matrix", list(items.take(limit)))
        }
        Value::Matrix(all) => {
            let items = all
                .into_iter()
                .map(|s| series(&s.labels, "values", &points_list(s.samples.into_iter())));
            ("matrix", list(items.take(limit)))
        }
    };
    let stats = stats.map(|stats| format!(",\"stats\":{stats}")).unwrap_or_default();
    format!("{{\"resultType\":\"{kind}\",\"result\":{result}{stats}}}")
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    let mut out = String::from("[");
    for item in items {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&item);
    }
    out.push(']');
    out
}

fn series(labels: &Labels, key: &str, points: &str) -> String {
    format!("{{\"metric\":{},\"{key}\":{points}}}", metric(labels))
}

/// Labels as a JSON object.
pub(super) fn metric(labels: &Labels) -> String {
    let mut out = String::from("{");
    for (name, value) in &labels.0 {
        if out.len() > 1 {
            out.push(',');
        }
        let _ = write!(out, "{}:{}", json(name), json(value));
    }
    out.push('}');
    out
}

fn points_list(points: impl Iterator<Item = (i64, f64)>) -> String {
    list(points.map(|(t, v)| point(t, v)))
}

fn point(ms: i64, value: f64) -> String {
    format!("[{},\"{}\"]", seconds(ms), format_value(value))
}

/// Milliseconds as a JSON number of seconds, without a fraction where there is none.
fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let (whole, rest) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    if rest == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest:03}") }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_keep_their_milliseconds() {
        for (ms, text) in [(1_500, "1.500"), (2_000, "2"), (7, "0.007"), (-1_001, "-1.001")] {
            assert_eq!(super::seconds(ms), text);
        }
    }
}
