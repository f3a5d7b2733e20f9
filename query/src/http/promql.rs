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
use super::params::{Params, invalid};
use crate::error::Error;
use crate::promql::source::{Labels, Steps};
use crate::promql::{Answer, Engine, Query, Stop, Value, format_value};

/// An instant query: `query`, `time` (now), `timeout`, `lookback_delta`, `limit`, `stats`.
pub(super) async fn instant(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let now = || Timestamp::now().as_millisecond();
    let time = params.time("time")?.unwrap_or_else(now);
    evaluate(&api, &params, Steps { start: time, end: time, step: 1 }, true).await
}

/// A range query: `query`, `start`, `end`, `step`, `timeout`, `lookback_delta`, `limit`,
/// `stats`.
pub(super) async fn range(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let steps = Steps {
        start: params.required_time("start")?,
        end: params.required_time("end")?,
        step: params.required_duration("step")?,
    };
    evaluate(&api, &params, steps, false).await
}

async fn evaluate(
    api: &Api,
    params: &Params,
    steps: Steps,
    instant: bool,
) -> Result<Success, Failure> {
    let limit = params.limit()?;
    let lookback_ms = params.lookback()?;
    let query = Query { expr: expression(params)?, steps, instant, lookback_ms };
    api.engine.check(&query)?;
    let stats = params.get("stats").is_some();
    let asked = Instant::now();
    let owned = api.clone();
    let work = |stop: Stop| async move {
        let begun = Instant::now();
        let source = owned.source()?;
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
                    "resultSortTime": 0,
                    "queryPreparationTime": seconds(begun, prepared),
                    "innerEvalTime": seconds(prepared, done),
                    "execQueueTime": seconds(asked, begun),
                    "execTotalTime": seconds(asked, done),
                },
                "samples": {
                    "totalQueryableSamples": answer.samples,
                    "peakSamples": answer.peak,
                },
                "tiers": tiers,
            })
        });
        Ok(Success { tiers, ..success(answer, &query, limit, stats.as_ref()) })
    };
    // Boxed, so that the engine's and DataFusion's futures are compiled here and not by every user.
    Ok(api.within(params.timeout()?, |stop| work(stop).boxed()).await?)
}

/// The `query` parameter, which has to be an expression.
pub(super) fn expression(params: &Params) -> Result<String, Error> {
    let text = params.get("query").unwrap_or_default();
    match Engine::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(crate::promql::error::Error::BadData(why)) => Err(invalid("query", &why)),
        Err(error) => Err(error.into()),
    }
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
    let kind = match &value {
        Value::Str(_) => "string",
        Value::Scalar(_) if query.instant => "scalar",
        Value::Vector(_) if query.instant => "vector",
        _ => "matrix",
    };
    let mut out = format!("{{\"resultType\":\"{kind}\",\"result\":[");
    match value {
        Value::Str(text) => {
            seconds(&mut out, steps.start);
            out.push(',');
            out.push_str(&json(&text));
        }
        Value::Scalar(values) if query.instant => {
            scalar(&mut out, steps.start, values.first().copied().unwrap_or(f64::NAN));
        }
        Value::Scalar(values) => {
            series(&mut out, &Labels::default());
            points(&mut out, steps.iter().zip(values));
        }
        // Series are let go of as they are written.
        Value::Vector(all) => {
            let with_value = all.into_iter().filter(|s| s.values.iter().any(Option::is_some));
            for one in with_value.take(limit) {
                separate(&mut out);
                series(&mut out, &one.labels);
                if query.instant {
                    out.push_str("\"value\":[");
                    let value = one.values.first().copied().flatten().unwrap_or(f64::NAN);
                    scalar(&mut out, steps.start, value);
                    out.push_str("]}");
                } else {
                    let values = steps.iter().zip(one.values);
                    points(&mut out, values.filter_map(|(time, value)| Some((time, value?))));
                }
            }
        }
        Value::Matrix(all) => {
            for one in all.into_iter().take(limit) {
                separate(&mut out);
                series(&mut out, &one.labels);
                points(&mut out, one.samples.into_iter());
            }
        }
    }
    out.push(']');
    if let Some(stats) = stats {
        let _ = write!(out, ",\"stats\":{stats}");
    }
    out.push('}');
    out
}

/// A comma, unless something begins.
fn separate(out: &mut String) {
    if !out.ends_with('[') {
        out.push(',');
    }
}

/// The beginning of a series.
fn series(out: &mut String, labels: &Labels) {
    out.push_str("{\"metric\":");
    out.push_str(&metric(labels));
    out.push(',');
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

/// The points of a series, and its end.
fn points(out: &mut String, points: impl Iterator<Item = (i64, f64)>) {
    out.push_str("\"values\":[");
    for (time, value) in points {
        separate(out);
        out.push('[');
        scalar(out, time, value);
        out.push(']');
    }
    out.push_str("]}");
}

fn scalar(out: &mut String, ms: i64, value: f64) {
    seconds(out, ms);
    out.push_str(",\"");
    out.push_str(&format_value(value));
    out.push('"');
}

/// Milliseconds as a JSON number of seconds, without a fraction where there is none.
fn seconds(out: &mut String, ms: i64) {
    let sign = if ms < 0 { "-" } else { "" };
    let (whole, rest) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    let _ = write!(out, "{sign}{whole}");
    if rest > 0 {
        let _ = write!(out, ".{rest:03}");
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_keep_their_milliseconds() {
        for (ms, text) in [(1_500, "1.500"), (2_000, "2"), (7, "0.007"), (-1_001, "-1.001")] {
            let mut out = String::new();
            super::seconds(&mut out, ms);
            assert_eq!(out, text);
        }
    }
}
