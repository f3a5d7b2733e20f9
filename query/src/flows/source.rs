//! The flow table as the PromQL engine's [`Source`].

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::prelude::SessionContext;
use parking_lot::Mutex;

use super::metrics::{METRICS, Metric, metric_named};
use super::{counters, sums};
use crate::promql::error::Error;
use crate::promql::source::{Grouping, Selector, Series, Source, StepSeries, Steps, Window};

/// The flow metrics of one session, which is one moment of the store.
pub(crate) struct FlowSource {
    session: SessionContext,
    /// Names that selectors gave and that begin like a flow metric, but are none.
    unknown: Mutex<BTreeSet<Arc<str>>>,
}

impl FlowSource {
    pub(crate) fn new(session: SessionContext) -> Self {
        Self { session, unknown: Mutex::default() }
    }

    /// Names of `flow_` metrics that were asked for and do not exist: likely misspelt.
    pub(crate) fn unknown_metrics(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut *self.unknown.lock())
    }

    fn note(&self, selector: &Selector) {
        let unknown = |name: &&Arc<str>| name.starts_with("flow_") && metric_named(name).is_none();
        if let Some(name) = selector.metric.as_ref().filter(unknown) {
            self.unknown.lock().insert(name.clone());
        }
    }
}

/// The metrics that a selector names.
pub(crate) fn metrics_of(selector: &Selector) -> Vec<&'static Metric> {
    let named = |m: &&Metric| {
        selector.metric.as_ref().is_none_or(|name| &**name == m.name)
            && selector.name_matchers.iter().all(|op| op.accepts(m.name))
    };
    METRICS.iter().filter(named).collect()
}

#[async_trait]
impl Source for FlowSource {
    async fn series(
        &self,
        selector: &Selector,
        after: i64,
        until: i64,
    ) -> Result<Vec<Series>, Error> {
        self.note(selector);
        let mut all = Vec::new();
        for metric in metrics_of(selector) {
            all.extend(counters::series(&self.session, metric, selector, after, until).await?);
        }
        Ok(all)
    }

    async fn window_sums(
        &self,
        selector: &Selector,
        window: &Window,
        steps: &Steps,
        grouping: &Grouping,
    ) -> Result<Option<Vec<StepSeries>>, Error> {
        self.note(selector);
        let Some(name) = &selector.metric else { return Ok(None) };
        let Some(metric) = metric_named(name) else { return Ok(Some(Vec::new())) };
        if !metric.is_delta() {
            return Ok(None);
        }
        if selector.name_matchers.iter().any(|op| !op.accepts(name)) {
            return Ok(Some(Vec::new()));
        }
        let sums =
            sums::window_sums(&self.session, metric, selector, window, steps, grouping).await?;
        Ok(Some(sums))
    }
}
