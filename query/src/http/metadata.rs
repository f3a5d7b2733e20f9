//! `/api/v1/metadata`: type, help text and unit of metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;

use super::Api;
use super::envelope::{Failure, Success};
use super::parameter::{Bound, Parameter, Parameters, Text};
use super::params::Params;
use crate::flows::metrics::{FAMILIES, metric_named};

/// What is known of a metric. Any text may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Metadata)]
pub struct Description {
    /// `counter`, `gauge`, `histogram` and what else Prometheus knows.
    #[serde(rename = "type")]
    pub kind: String,
    /// The unit.
    pub unit: String,
    /// What it measures.
    pub help: String,
}

/// Told a metric's name and what is known of it.
pub type Tell<'a> = dyn FnMut(&str, Description) + 'a;

/// Whoever knows what senders of samples have said of metrics: calls back for each of them in the order of
/// names, or only for that of one name.
#[derive(Clone)]
pub struct Descriptions(Arc<Ask>);

type Ask = dyn Fn(Option<&str>, &mut Tell<'_>) + Send + Sync;

impl Descriptions {
    /// Asks `each` whenever somebody wants to know.
    pub fn new(each: impl Fn(Option<&str>, &mut Tell<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(each))
    }
}

/// Nobody has said anything.
impl Default for Descriptions {
    fn default() -> Self {
        Self::new(|_, _| {})
    }
}

impl fmt::Debug for Descriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptions").finish_non_exhaustive()
    }
}

const METRIC: Parameter<Text> = Parameter::new("metric", Text, "One metric; all without it.");
/// Also of the metadata of targets.
pub(super) const LIMIT: Parameter<Bound> =
    Parameter::new("limit", Bound, "How many metrics are told of at most; negative for all.");
const LIMIT_PER_METRIC: Parameter<Bound> =
    Parameter::new("limit_per_metric", Bound, "There is one description of a metric.");

/// What [`metadata`] takes.
pub(super) const TAKES: Parameters = &[&METRIC, &LIMIT, &LIMIT_PER_METRIC];

/// `metric` for one of them, `limit`, `limit_per_metric`. A metric has one description here, that of whoever
/// described it last, so that the last parameter is checked and leaves nothing out.
pub(super) async fn metadata(State(api): State<Api>, params: Params) -> Result<Success, Failure> {
    let wanted = params.text(&METRIC);
    let limit = params.bound(&LIMIT)?.unwrap_or(usize::MAX);
    params.bound(&LIMIT_PER_METRIC)?;
    let mut found: BTreeMap<String, [Description; 1]> = FAMILIES
        .iter()
        .filter(|family| wanted.is_none_or(|name| name == family.name))
        .map(|family| {
            let [kind, unit, help] = [family.kind, family.unit, family.help].map(str::to_owned);
            (family.name.to_owned(), [Description { kind, unit, help }])
        })
        .collect();
    let Descriptions(each) = &api.descriptions;
    each(wanted, &mut |name, description| {
        // Under the name of a flow metric the flows answer, whatever a sender may have called so.
        if !found.contains_key(name) && metric_named(name).is_none() {
            found.insert(name.to_owned(), [description]);
        }
    });
    while found.len() > limit {
        found.pop_last();
    }
    Success::of(&found)
}
