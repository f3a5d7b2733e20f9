//! `/api/v1/query` and `/api/v1/query_range`.
//!
//! The header `weir-tier` of an answer names the tables of flows that it was read from: `raw`, `5m`,
//! `1h`. With `stats=true` (or `all`) the answer has Prometheus' `stats`, seconds and samples, and the
//! same names as `tiers`.

use std::time::Instant;

use axum::extract::State;
use futures::FutureExt;
use jiff::Timestamp;

use super::Api;
use super::envelope::{Data, Failure, Success};
use super::parameter::{
    Duration, END, LIMIT, Parameter, Parameters, QUERY, START, TIMEOUT, Text, Time,
};
use super::params::{Params, invalid};
use super::parts::Parts;
use crate::error::Error;
use crate::promql::source::Steps;
use crate::promql::{Answer, Engine, Query, Stop, Value};

const TIME: Parameter<Time> =
    Parameter::new("time", Time, "When the expression is evaluated; now without it.");
const FROM: Parameter<Time> = START.required().example("1700000000");
const UNTIL: Parameter<Time> = END.required().example("1700000600");
const STEP: Parameter<Duration> =
    Parameter::new("step", Duration, "From one evaluation to the next: 11,000 at most.")
        .required()
        .example("1m");
const LOOKBACK: Parameter<Duration> =
    Parameter::new("lookback_delta", Duration, "How old a sample may be; 5m without it.");
const STATS: Parameter<Text> =
    Parameter::new("stats", Text, "With any value, the answer says what it has cost.");

/// What [`instant`] takes.
pub(super) const INSTANT_TAKES: Parameters = &[&QUERY, &TIME, &TIMEOUT, &LOOKBACK, &LIMIT, &STATS];

/// What [`range`] takes.
pub(super) const RANGE_TAKES: Parameters =
    &[&QUERY, &FROM, &UNTIL, &STEP, &TIMEOUT, &LOOKBACK, &LIMIT, &STATS];

/// An instant query: `query`, `time` (now), `timeout`, `lookback_delta`, `limit`, `stats`.
pub(super) async fn instant(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let now = || Timestamp::now().as_millisecond();
    let time = params.time(&TIME)?.unwrap_or_else(now);
    evaluate(&api, &params, Steps { start: time, end: time, step: 1 }, true).await
}

/// A range query: `query`, `start`, `end`, `step`, `timeout`, `lookback_delta`, `limit`,
/// `stats`.
pub(super) async fn range(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let steps = Steps {
        start: params.required_time(&FROM)?,
        end: params.required_time(&UNTIL)?,
        step: params.required_duration(&STEP)?,
    };
    evaluate(&api, &params, steps, false).await
}

async fn evaluate(
    api: &Api,
    params: &Params,
    steps: Steps,
    instant: bool,
) -> Result<Success, Failure> {
    let limit = params.limit(&LIMIT)?;
    let lookback_ms = params.lookback(&LOOKBACK)?;
    let query = Query { expr: expression(params)?, steps, instant, lookback_ms };
    api.engine.check(&query)?;
    let stats = params.text(&STATS).is_some();
    let asked = Instant::now();
    let owned = api.clone();
    let work = |stop: Stop| async move {
        let begun = Instant::now();
        let source = owned.source();
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
    let text = params.expression(&QUERY);
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
    let data = Data::Parts(Parts::answer(value, query, limit, stats));
    Success { warnings, infos, ..Success::from(data) }
}
