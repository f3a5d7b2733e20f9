//! The flow table as the PromQL engine's [`Source`].

use async_trait::async_trait;
use datafusion::prelude::SessionContext;

use super::metrics::{METRICS, Metric, metric_named};
use super::{counters, sums};
use crate::promql::error::Error;
use crate::promql::source::{Grouping, Selector, Series, Source, StepSeries, Steps, Window};

/// The flow metrics of one session, which is one moment of the store.
pub(crate) struct FlowSource {
    session: SessionContext,
}

impl FlowSource {
    pub(crate) fn new(session: SessionContext) -> Self {
        Self { session }
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
