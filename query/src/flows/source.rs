//! The flow table as the PromQL engine's [`Source`].

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::metrics::{METRICS, Metric, metric_named};
use super::sums::{Read, surviving_columns};
use super::tiers::{Need, Tiers, value_columns};
use super::{counters, sums};
use crate::database::FLOWS;
use crate::promql::error::Error;
use crate::promql::source::{Grouping, Selector, Series, Source, StepSeries, Steps, Window};
use crate::session::LazySession;

/// The flow metrics of one session, which is one moment of the store.
pub(crate) struct FlowSource {
    session: Arc<LazySession>,
    /// Names that selectors gave and that begin like a flow metric, but are none.
    unknown: Mutex<BTreeSet<Arc<str>>>,
    tiers: Arc<Tiers>,
    used: Mutex<Used>,
}

/// What answered.
#[derive(Debug, Default)]
pub(crate) struct Used {
    /// Tables, coarsest first: each one's width and name.
    tiers: BTreeSet<(Reverse<i64>, &'static str)>,
    /// What retention has left out of the answer.
    pub(crate) lost: BTreeSet<String>,
}

impl Used {
    /// Names of the tiers: `raw`, `5m`, `1h`.
    pub(crate) fn tiers(&self) -> impl Iterator<Item = &'static str> {
        self.tiers.iter().map(|(_, name)| *name)
    }
}

impl FlowSource {
    pub(crate) fn new(session: Arc<LazySession>) -> Self {
        let tiers = session.tiers().clone();
        Self { session, unknown: Mutex::default(), tiers, used: Mutex::default() }
    }

    /// Which tables have answered so far.
    pub(crate) fn used(&self) -> Used {
        std::mem::take(&mut *self.used.lock())
    }

    /// The table that answers; what it lacks is noted.
    fn table(&self, need: &Need<'_>, exact: bool) -> &'static str {
        let chosen = if exact { self.tiers.rows() } else { self.tiers.choose(need) };
        let Some(tier) = chosen else { return FLOWS };
        let mut used = self.used.lock();
        used.tiers.insert((Reverse(tier.micros()), tier.name));
        used.lost.extend(self.tiers.lost(tier, need));
        used.lost.extend(self.tiers.removed(tier, need));
        tier.table
    }

    /// Names of `flow_` metrics that were asked for and do not exist: likely misspelt.
    pub(crate) fn unknown_metrics(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut *self.unknown.lock())
    }

    /// Remembers a name that looks like that of a flow metric and is none.
    pub(crate) fn note(&self, selector: &Selector) {
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
        let micros = |ms: i64| ms.saturating_mul(1000);
        for metric in metrics_of(selector) {
            let columns: BTreeSet<_> = surviving_columns(&Grouping::Every)
                .into_iter()
                .map(|c| c.name)
                .chain(value_columns(metric))
                .collect();
            let (after, until) = (micros(after), micros(until));
            self.table(&Need { columns: &columns, after, until, strides: &[] }, true);
        }
        for metric in metrics_of(selector) {
            all.extend(
                counters::series(self.session.get()?, metric, selector, after, until).await?,
            );
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
        let windows = sums::cut(window, steps)?;
        let read = Read { metric, selector, grouping, windows };
        let (after, until) = (windows.origin, windows.end);
        let strides = [windows.step, windows.rest];
        let columns = read.columns();
        let table = self.table(&Need { columns: &columns, after, until, strides: &strides }, false);
        Ok(Some(sums::window_sums(self.session.get()?, table, &read, steps).await?))
    }
}
