//! `/federate`: the newest sample of each matching series, in the Prometheus text format.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, TryStreamExt};
use jiff::Timestamp;

use super::Api;
use super::parameter::{MATCH, Parameters, TIMEOUT};
use super::params::Params;
use crate::error::{Error, ErrorKind};
use crate::promql::source::{Labels, Selector, Source, collected};
use crate::promql::{Stop, format_shortest, is_stale};

pub(super) const MEDIA: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// What [`federate`] takes.
pub(super) const TAKES: Parameters = &[&MATCH, &TIMEOUT];

/// The newest samples of the last five minutes: `match[]` any number of times. Series that have ended
/// are left out. All are of unknown type, as Prometheus has it.
pub(super) async fn federate(State(api): State<Api>, params: Params) -> Response {
    match newest(&api, &params).await {
        Ok(text) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA))], text).into_response()
        }
        Err(error) => {
            let status = match error.kind() {
                ErrorKind::BadData => StatusCode::BAD_REQUEST,
                ErrorKind::Timeout | ErrorKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, format!("{error}\n")).into_response()
        }
    }
}

async fn newest(api: &Api, params: &Params) -> Result<String, Error> {
    let selectors = params.selectors(&MATCH)?;
    let now = Timestamp::now().as_millisecond();
    let after = now - api.engine.lookback_ms;
    let most = api.engine.max_samples;
    let owned = api.clone();
    let work = move |stop: Stop| async move {
        let source = owned.source();
        let mut found = BTreeMap::new();
        for selector in &selectors {
            read(&source, selector, (after, now), most, &stop, &mut found).await?;
        }
        Ok(text(found))
    };
    api.within(params.timeout()?, |stop| work(stop).boxed()).await
}

/// Adds the newest sample of each series of a selector.
async fn read(
    source: &dyn Source,
    selector: &Selector,
    (after, until): (i64, i64),
    most: usize,
    stop: &Stop,
    found: &mut BTreeMap<Labels, (i64, f64)>,
) -> Result<(), Error> {
    let mut blocks = source.blocks(selector, after, until).await?;
    while let Some(block) = blocks.try_next().await? {
        stop.check()?;
        let newest = collected(block, |labels, points| {
            let (time, value) = (*points.times.last()?, *points.values.last()?);
            (!is_stale(value)).then_some((labels, (time, value)))
        });
        found.extend(newest.await?);
        if found.len() > most {
            return Err(Error::new(ErrorKind::Execution, format!("more than {most} series match")));
        }
    }
    Ok(())
}

/// Series by metric, each metric with its type.
fn text(found: BTreeMap<Labels, (i64, f64)>) -> String {
    let mut by_name: Vec<(String, Labels, (i64, f64))> = found
        .into_iter()
        .filter_map(|(labels, last)| Some((labels.get("__name__")?.to_owned(), labels, last)))
        .collect();
    by_name.sort_by(|a, b| a.0.cmp(&b.0));
    let mut out = String::new();
    let mut last_name = None;
    for (name, labels, (time, value)) in &by_name {
        let shown = plain(name);
        if last_name != Some(name) {
            let _ = writeln!(out, "# TYPE {shown} untyped");
            last_name = Some(name);
        }
        out.push_str(&shown);
        let mut separator = '{';
        // Prometheus names the instance that a series has none of: else that of the federating scrape
        // would be put in.
        let instance = labels.get("instance").is_none().then_some(("instance", ""));
        let labels = labels.0.iter().map(|(name, value)| (&**name, &**value));
        for (name, value) in labels.filter(|(name, _)| *name != "__name__").chain(instance) {
            let _ = write!(out, "{separator}{}=\"{}\"", plain(name), escaped(value));
            separator = ',';
        }
        let _ = writeln!(out, "}} {} {time}", format_shortest(*value));
    }
    out
}

/// A name as the format has it: what it does not allow becomes an underscore.
fn plain(name: &str) -> String {
    let allowed = |at: usize, c: char| {
        c.is_ascii_alphabetic() || c == '_' || c == ':' || (at > 0 && c.is_ascii_digit())
    };
    name.chars().enumerate().map(|(at, c)| if allowed(at, c) { c } else { '_' }).collect()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_written_by_metric() {
        let labels = |pairs: &[(&str, &str)]| {
            Labels(pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect())
        };
        let found = BTreeMap::from([
            (labels(&[("__name__", "b"), ("instance", "i")]), (1000, 1.5)),
            (labels(&[("__name__", "a.b"), ("q", "x\"\\\n")]), (2000, f64::INFINITY)),
            (labels(&[("a", "1"), ("__name__", "b")]), (3000, 123_456_789.0)),
            (labels(&[("a", "1")]), (3000, 0.0)),
        ]);
        assert_eq!(
            text(found),
            "# TYPE a_b untyped\n\
             a_b{q=\"x\\\"\\\\\\n\",instance=\"\"} +Inf 2000\n\
             # TYPE b untyped\n\
             b{instance=\"i\"} 1.5 1000\n\
             b{a=\"1\",instance=\"\"} 1.23456789e+08 3000\n"
        );
    }
}
