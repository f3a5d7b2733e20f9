//! All series of one moment: flow metrics and samples, side by side.
//!
//! A selector that names a flow metric asks the flows, one that names any other metric the samples, and
//! one that names none by equality asks both.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::StreamExt;

use crate::cardinality::Cardinality;
use crate::error::Error as ApiError;
use crate::flows::catalog::{self, Period};
use crate::flows::metrics::metric_named;
use crate::flows::{FlowSource, Used, cardinality};
use crate::promql::Stop;
use crate::promql::error::Error;
use crate::promql::source::{
    Blocks, Grouping, Labels, Selector, Series, Source, StepSeries, Steps, Window,
};
use crate::samples::{SampleSource, Span};
use crate::session::LazySession;

/// Flows and samples of one moment.
pub(crate) struct AllSeries {
    session: Arc<LazySession>,
    flows: FlowSource,
    /// A store may have no table of samples.
    samples: Option<SampleSource>,
}

/// Who can have series of a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Flows,
    Samples,
    Both,
}

fn owner(selector: &Selector) -> Owner {
    match &selector.metric {
        None => Owner::Both,
        Some(name) if metric_named(name).is_some() => Owner::Flows,
        Some(_) => Owner::Samples,
    }
}

impl AllSeries {
    pub(crate) fn new(session: LazySession, samples: Option<SampleSource>) -> Self {
        let session = Arc::new(session);
        Self { flows: FlowSource::new(session.clone()), session, samples }
    }

    /// Which tables of flows have answered so far.
    pub(crate) fn used(&self) -> Used {
        self.flows.used()
    }

    /// Names of `flow_` metrics that were asked for and do not exist.
    pub(crate) fn unknown_metrics(&self) -> BTreeSet<Arc<str>> {
        self.flows.unknown_metrics()
    }

    fn samples(&self, selector: &Selector) -> Option<&SampleSource> {
        self.samples.as_ref().filter(|_| owner(selector) != Owner::Flows)
    }

    /// The selectors that samples can match.
    fn of_samples(&self, selectors: &[Selector]) -> Option<(&SampleSource, Vec<Selector>)> {
        let samples = self.samples.as_ref()?;
        let wanted = selectors.iter().filter(|s| owner(s) != Owner::Flows);
        let wanted: Vec<Selector> = wanted.cloned().collect();
        (!wanted.is_empty()).then_some((samples, wanted))
    }

    /// The selectors that flows can match.
    fn of_flows(selectors: &[Selector]) -> Vec<Selector> {
        selectors.iter().filter(|s| owner(s) != Owner::Samples).cloned().collect()
    }

    /// Label sets of matching series, in order, at most about `most`.
    pub(crate) async fn label_sets(
        &self,
        selectors: &[Selector],
        period: Period,
        most: usize,
        stop: &Stop,
    ) -> Result<BTreeSet<Labels>, ApiError> {
        let flows = Self::of_flows(selectors);
        let mut all = BTreeSet::new();
        if !flows.is_empty() {
            all.extend(catalog::series(self.session.get()?, &flows, period, most).await?);
        }
        if let Some((samples, selectors)) = self.of_samples(selectors)
            && all.len() < most
        {
            all.extend(samples.label_sets(&selectors, span(period), most, stop).await?);
        }
        Ok(all)
    }

    /// Names of the labels of matching series.
    pub(crate) async fn label_names(
        &self,
        selectors: &[Selector],
        period: Period,
        stop: &Stop,
    ) -> Result<BTreeSet<Arc<str>>, ApiError> {
        let flows = Self::of_flows(selectors);
        let mut all = BTreeSet::new();
        if !flows.is_empty() {
            all.extend(catalog::label_names(self.session.get()?, &flows, period).await?);
        }
        if let Some((samples, selectors)) = self.of_samples(selectors) {
            all.extend(samples.label_names(&selectors, span(period), stop).await?);
        }
        Ok(all)
    }

    /// Values of a label of matching series.
    pub(crate) async fn label_values(
        &self,
        name: &str,
        selectors: &[Selector],
        period: Period,
        stop: &Stop,
    ) -> Result<BTreeSet<Arc<str>>, ApiError> {
        let flows = Self::of_flows(selectors);
        let mut all = BTreeSet::new();
        if !flows.is_empty() {
            all.extend(catalog::label_values(self.session.get()?, name, &flows, period).await?);
        }
        if let Some((samples, selectors)) = self.of_samples(selectors) {
            all.extend(samples.label_values(name, &selectors, span(period), stop).await?);
        }
        Ok(all)
    }

    /// Counts the series of a period.
    pub(crate) async fn cardinality(
        &self,
        period: Period,
        stop: &Stop,
    ) -> Result<Cardinality, ApiError> {
        let mut counts = Cardinality::default();
        cardinality::count_series(self.session.get()?, period, &mut counts).await?;
        match &self.samples {
            None => Ok(counts),
            Some(samples) => {
                let all = catalog::everything();
                samples.count_series(&all, span(period), stop, counts).await
            }
        }
    }
}

fn span(period: Period) -> Span {
    // Points lie at whole milliseconds.
    Span { after: period.after.div_euclid(1000), until: period.until.div_euclid(1000) }
}

#[async_trait]
impl Source for AllSeries {
    async fn series(
        &self,
        selector: &Selector,
        after: i64,
        until: i64,
    ) -> Result<Vec<Series>, Error> {
        let mut all = self.flows.series(selector, after, until).await?;
        if let Some(samples) = self.samples(selector) {
            all.extend(samples.series(selector, after, until).await?);
        }
        Ok(all)
    }

    async fn blocks(&self, selector: &Selector, after: i64, until: i64) -> Result<Blocks, Error> {
        let flows = self.flows.blocks(selector, after, until).await?;
        match self.samples(selector) {
            None => Ok(flows),
            Some(samples) => Ok(flows.chain(samples.blocks(selector, after, until).await?).boxed()),
        }
    }

    async fn window_sums(
        &self,
        selector: &Selector,
        window: &Window,
        steps: &Steps,
        grouping: &Grouping,
    ) -> Result<Option<Vec<StepSeries>>, Error> {
        if owner(selector) == Owner::Flows || self.samples.is_none() {
            return self.flows.window_sums(selector, window, steps, grouping).await;
        }
        self.flows.note(selector);
        Ok(None)
    }
}
