//! `/api/v1/labels`, `/api/v1/label/<name>/values` and `/api/v1/series`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use futures::FutureExt;

use super::Api;
use super::envelope::{Data, Failure, Success};
use super::parameter::{END, LIMIT, MATCH, Parameter, Parameters, START, Selectors, TIMEOUT};
use super::params::{Params, invalid};
use super::parts::Parts;
use crate::error::Error;
use crate::flows::catalog::{self, Period};
use crate::promql::Stop;

/// What [`names`] and [`values`] take.
pub(super) const TAKES: Parameters = &[&MATCH, &START, &END, &LIMIT, &TIMEOUT];

/// The selectors of [`series`].
const MATCHES: Parameter<Selectors> =
    Parameter::new("match[]", Selectors, "Selectors of series; several are alternatives.")
        .required()
        .example("{workload=\"web\"}");

/// What [`series`] takes.
pub(super) const SERIES_TAKES: Parameters = &[&MATCHES, &START, &END, &LIMIT, &TIMEOUT];

/// Names of the labels of matching series: `match[]`, `start`, `end`, `limit`.
pub(super) async fn names(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let (selectors, period) = (selectors_or_all(&params)?, period(&params)?);
    let owned = api.clone();
    let work =
        |stop: Stop| async move { owned.source().label_names(&selectors, period, &stop).await };
    let names = api.within(params.timeout()?, |stop| work(stop).boxed()).await?;
    texts(names, &params)
}

/// Values of one label among matching series: `match[]`, `start`, `end`, `limit`.
pub(super) async fn values(
    State(api): State<Api>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Success, Failure> {
    let (selectors, period) = (selectors_or_all(&params)?, period(&params)?);
    let name = label_name(&name)?;
    let owned = api.clone();
    let work = |stop: Stop| async move {
        owned.source().label_values(&name, &selectors, period, &stop).await
    };
    let values = api.within(params.timeout()?, |stop| work(stop).boxed()).await?;
    texts(values, &params)
}

/// Label sets of matching series: `match[]` at least once, `start`, `end`, `limit`.
pub(super) async fn series(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let period = period(&params)?;
    let selectors = params.selectors(&MATCHES).map_err(|e| invalid("match[]", &e.to_string()))?;
    if selectors.is_empty() {
        return Err(Error::bad("no match[] parameter provided").into());
    }
    let limit = params.limit(&LIMIT)?.unwrap_or(usize::MAX);
    // One more than is shown tells whether there are more.
    let most = limit.saturating_add(1);
    let owned = api.clone();
    let work = |stop: Stop| async move {
        let found = owned.source().label_sets(&selectors, period, most, &stop).await?;
        let more = found.len() > limit;
        let mut success = Success::from(Data::Parts(Parts::label_sets(found, limit)));
        if more {
            success.warnings.push("results truncated due to limit".into());
        }
        Ok(success)
    };
    Ok(api.within(params.timeout()?, |stop| work(stop).boxed()).await?)
}

/// The selectors of a request; without any, one that matches everything.
fn selectors_or_all(params: &Params) -> Result<Vec<crate::promql::source::Selector>, Error> {
    let selectors = params.selectors(&MATCH)?;
    Ok(if selectors.is_empty() { vec![catalog::everything()] } else { selectors })
}

/// Rows that end between `start` and `end`, both included; all rows without them.
fn period(params: &Params) -> Result<Period, Error> {
    let micros = |ms: i64| ms.saturating_mul(1000);
    let start = params.time(&START)?.map_or(i64::MIN, micros);
    let until = params.time(&END)?.map_or(i64::MAX, micros);
    Ok(Period { after: start.saturating_sub(1), until })
}

/// The label that a path names. Prometheus 3 lets clients write names that are not plain as `U__` and
/// escapes: `__` stands for an underscore, `_2e_` for the character of that number.
///
/// # Errors
/// [`crate::ErrorKind::BadData`] for an empty name.
fn label_name(name: &str) -> Result<String, Error> {
    let name = name.strip_prefix("U__").and_then(unescaped).unwrap_or_else(|| name.to_owned());
    if name.is_empty() {
        return Err(Error::bad(format!("invalid label name: {name:?}")));
    }
    Ok(name)
}

fn unescaped(escaped: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = escaped;
    while let Some((plain, after)) = rest.split_once('_') {
        name.push_str(plain);
        let (code, after) = after.split_once('_')?;
        name.push(match code {
            "" => '_',
            code => char::from_u32(u32::from_str_radix(code, 16).ok()?)?,
        });
        rest = after;
    }
    name.push_str(rest);
    Some(name)
}

fn texts(found: BTreeSet<Arc<str>>, params: &Params) -> Result<Success, Failure> {
    let limit = params.limit(&LIMIT)?.unwrap_or(usize::MAX);
    let shown: Vec<&str> = found.iter().take(limit).map(AsRef::as_ref).collect();
    let mut success = Success::of(&shown)?;
    if found.len() > limit {
        success.warnings.push("results truncated due to limit".into());
    }
    Ok(success)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_labels_come_plain_or_escaped() {
        for (escaped, name) in [
            ("job", "job"),
            ("U__a_2e_b", "a.b"),
            ("U__a__b", "a_b"),
            ("U___e4_", "ä"),
            ("a-b", "a-b"),
            ("U__a_zz_", "U__a_zz_"),
        ] {
            assert_eq!(super::label_name(escaped).unwrap(), name);
        }
        assert!(super::label_name("").is_err());
    }
}
