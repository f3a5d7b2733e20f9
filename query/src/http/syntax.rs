//! Endpoints that look at an expression and at no data.

use super::envelope::{Failure, Success};
use super::parameter::{END, Parameters, QUERY, START};
use super::params::Params;
use super::promql::expression;
use crate::error::Error;
use crate::promql::{formatted, syntax_tree};

/// What [`format`] and [`parse`] take.
pub(super) const TAKES: Parameters = &[&QUERY];

/// What [`exemplars`] takes.
pub(super) const EXEMPLARS_TAKES: Parameters = &[&QUERY, &START, &END];

/// The expression in a tidy layout: `query`.
pub(super) async fn format(params: Params) -> Result<Success, Failure> {
    Success::of(&formatted(&expression(&params)?)?)
}

/// The expression as a syntax tree: `query`.
pub(super) async fn parse(params: Params) -> Result<Success, Failure> {
    Success::of(&syntax_tree(&expression(&params)?)?)
}

/// No exemplars: `query`, `start`, `end`. Some clients send milliseconds as seconds; all times are taken.
pub(super) async fn exemplars(params: Params) -> Result<Success, Failure> {
    let start = params.time(&START)?.unwrap_or(i64::MIN);
    let end = params.time(&END)?.unwrap_or(i64::MAX);
    if end < start {
        return Err(Error::bad("end timestamp must not be before start timestamp").into());
    }
    crate::promql::Engine::parse(params.expression(&QUERY))?;
    Ok(Success::new("[]".to_owned()))
}
