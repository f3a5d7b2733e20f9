//! `/api/v1/labels`, `/api/v1/label/<name>/values` and `/api/v1/series`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use futures::FutureExt;

use super::Api;
use super::envelope::{Failure, Success};
use super::params::Params;
use super::promql::metric;
use crate::error::Error;
use crate::flows::catalog::{self, Period};

/// Names of the labels of matching series: `match[]`, `start`, `end`, `limit`.
pub(super) async fn names(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let (selectors, period) = (selectors_or_all(&params)?, period(&params)?);
    let database = api.database.clone();
    let work = async move { catalog::label_names(&database.session()?, &selectors, period).await };
    let names = api.within(params.timeout()?, |_| work.boxed()).await?;
    texts(names, &params)
}

/// Values of one label among matching series: `match[]`, `start`, `end`, `limit`.
pub(super) async fn values(
    State(api): State<Api>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Success, Failure> {
    let (selectors, period) = (selectors_or_all(&params)?, period(&params)?);
    let name = label_name(&name);
    let database = api.database.clone();
    let work =
        async move { catalog::label_values(&database.session()?, &name, &selectors, period).await };
    let values = api.within(params.timeout()?, |_| work.boxed()).await?;
    texts(values, &params)
}

/// Label sets of matching series: `match[]` at least once, `start`, `end`, `limit`.
pub(super) async fn series(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let (selectors, period) = (params.selectors()?, period(&params)?);
    if selectors.is_empty() {
        return Err(Error::bad("no match[] parameter provided").into());
    }
    let limit = params.limit()?.unwrap_or(usize::MAX);
    // One more than is shown tells whether there are more.
    let most = limit.saturating_add(1);
    let database = api.database.clone();
    let work = async move {
        let found = catalog::series(&database.session()?, &selectors, period, most).await?;
        let items: Vec<String> = found.iter().take(limit).map(metric).collect();
        let mut success = Success::new(format!("[{}]", items.join(",")));
        if found.len() > limit {
            success.warnings.push("results truncated due to limit".into());
        }
        Ok(success)
    };
    Ok(api.within(params.timeout()?, |_| work.boxed()).await?)
}

/// The selectors of a request; without any, one that matches everything.
fn selectors_or_all(params: &Params) -> Result<Vec<crate::promql::source::Selector>, Error> {
    let selectors = params.selectors()?;
    Ok(if selectors.is_empty() { vec![catalog::everything()] } else { selectors })
}

/// Rows that end between `start` and `end`, both included; all rows without them.
fn period(params: &Params) -> Result<Period, Error> {
    let micros = |ms: i64| ms.saturating_mul(1000);
    let start = params.time("start")?.map_or(i64::MIN, micros);
    let until = params.time("end")?.map_or(i64::MAX, micros);
    if until < start {
        return Err(Error::bad(
            "invalid parameter \"end\": end timestamp must not be before start time",
        ));
    }
    Ok(Period { after: start.saturating_sub(1), until })
}

/// Prometheus 3 lets clients write names that are not plain as `U__` and escapes; no flow label needs
/// it, but the prefix may come with a plain name.
fn label_name(name: &str) -> String {
    name.strip_prefix("U__").unwrap_or(name).to_owned()
}

fn texts(found: BTreeSet<Arc<str>>, params: &Params) -> Result<Success, Failure> {
    let limit = params.limit()?.unwrap_or(usize::MAX);
    let shown: Vec<&str> = found.iter().take(limit).map(AsRef::as_ref).collect();
    let mut success = Success::of(&shown)?;
    if found.len() > limit {
        success.warnings.push("results truncated due to limit".into());
    }
    Ok(success)
}
