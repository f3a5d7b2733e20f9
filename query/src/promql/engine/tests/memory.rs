//! A [`Source`] in memory, filled from promtool's series notation.

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::promql::error::Error;
use crate::promql::labels::METRIC_NAME;
use crate::promql::source::{
    Grouping, Labels, MatchOp, Selector, Series, Source, StepSeries, Steps, Window,
};
use crate::promql::vector::Collector;
use crate::promql::{Answer, Engine, Query};

const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// What the engine asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Series { metric: Option<String>, after: i64, until: i64 },
    Sums { metric: Option<String>, range: i64, offset: i64, steps: Steps, grouping: Grouping },
}

/// Series, and series of deltas, with a record of what was asked.
#[derive(Debug, Default)]
pub(super) struct Memory {
    series: Vec<Series>,
    /// Samples are deltas; answered as sums, never as samples.
    deltas: Vec<Series>,
    pub(super) requests: Mutex<Vec<Request>>,
}

impl Memory {
    /// Adds a series such as `m{a="1"} 0+10x5 _ 3 stale`, a value every `interval` milliseconds from
    /// time 0.
    pub(super) fn load(&mut self, interval: i64, line: &str) {
        self.series.push(series(interval, line));
    }

    /// Adds a series of deltas.
    pub(super) fn load_deltas(&mut self, interval: i64, line: &str) {
        self.deltas.push(series(interval, line));
    }

    pub(super) async fn query(
        &self,
        expr: &str,
        steps: Steps,
        instant: bool,
    ) -> Result<Answer, Error> {
        let query = Query { expr: expr.to_owned(), steps, instant, lookback_ms: None };
        Engine::default().evaluate(self, &query).await
    }

    pub(super) async fn at(&self, time: i64, expr: &str) -> Result<Answer, Error> {
        self.query(expr, Steps { start: time, end: time, step: 1 }, true).await
    }
}

fn series(interval: i64, line: &str) -> Series {
    let (labels, values) = match line.split_once('}') {
        Some((labels, values)) => (format!("{labels}}}"), values),
        None => {
            let (name, values) = line.split_once(' ').unwrap();
            (name.to_owned(), values)
        }
    };
    let samples = (0..)
        .map(|i| i * interval)
        .zip(values.split_whitespace().flat_map(sequence))
        .filter_map(|(time, value)| value.map(|value| (time, value)))
        .collect();
    Series { labels: parse_labels(&labels), samples }
}

/// Labels as promtool prints and reads them: `m{a="1", b="2"}`, `{__name__="m"}`.
pub(super) fn parse_labels(text: &str) -> Labels {
    let mut labels = Labels::default();
    let (name, rest) = text.split_once('{').unwrap_or((text, "}"));
    labels.set(METRIC_NAME, name);
    let mut rest = rest.strip_suffix('}').unwrap();
    while let Some((name, tail)) = rest.split_once("=\"") {
        let (value, tail) = tail.split_once('"').unwrap();
        labels.set(name.trim_start_matches([',', ' ']), value);
        rest = tail;
    }
    labels
}

/// One item of the notation: `3`, `_`, `stale`, `1x3` (four values), `_x3` (three gaps), `0+10x3`.
fn sequence(item: &str) -> Vec<Option<f64>> {
    let value = |text: &str| match text {
        "_" => None,
        "stale" => Some(STALE),
        number => Some(number.parse::<f64>().unwrap()),
    };
    let Some((first, times)) = item.split_once('x') else { return vec![value(item)] };
    let times: u32 = times.parse().unwrap();
    if first == "_" {
        return (0..times).map(|_| None).collect();
    }
    let sign = first.rfind(['+', '-']).filter(|at| *at > 0);
    let (first, step) = sign.map_or((first, "0"), |at| first.split_at(at));
    let (first, step): (f64, f64) = (first.parse().unwrap(), step.parse().unwrap());
    (0..=times).map(|i| Some(first + step * f64::from(i))).collect()
}

fn selects(selector: &Selector, labels: &Labels) -> bool {
    let name = labels.get(METRIC_NAME).unwrap_or_default();
    selector.metric.as_ref().is_none_or(|metric| &**metric == name)
        && selector.name_matchers.iter().all(|op: &MatchOp| op.accepts(name))
        && selector
            .matchers
            .iter()
            .all(|matcher| matcher.op.accepts(labels.get(&matcher.name).unwrap_or_default()))
}

#[async_trait]
impl Source for Memory {
    async fn series(
        &self,
        selector: &Selector,
        after: i64,
        until: i64,
    ) -> Result<Vec<Series>, Error> {
        let metric = selector.metric.as_deref().map(str::to_owned);
        self.requests.lock().push(Request::Series { metric, after, until });
        let picked = self.series.iter().filter(|series| selects(selector, &series.labels));
        Ok(picked
            .map(|series| Series {
                labels: series.labels.clone(),
                samples: series
                    .samples
                    .iter()
                    .copied()
                    .filter(|(time, _)| *time > after && *time <= until)
                    .collect(),
            })
            .collect())
    }

    async fn window_sums(
        &self,
        selector: &Selector,
        window: &Window,
        steps: &Steps,
        grouping: &Grouping,
    ) -> Result<Option<Vec<StepSeries>>, Error> {
        let has_metric =
            |series: &Series| series.labels.get(METRIC_NAME) == selector.metric.as_deref();
        if !self.deltas.iter().any(has_metric) {
            return Ok(None);
        }
        self.requests.lock().push(Request::Sums {
            metric: selector.metric.as_deref().map(str::to_owned),
            range: window.range,
            offset: window.offset,
            steps: *steps,
            grouping: grouping.clone(),
        });
        let mut sums = std::collections::BTreeMap::new();
        for series in self.deltas.iter().filter(|series| selects(selector, &series.labels)) {
            for (step, time) in steps.iter().enumerate() {
                let end = window.at.unwrap_or(time) - window.offset;
                for (at, delta) in &series.samples {
                    if *at > end - window.range && *at <= end {
                        *sums.entry((series.labels.grouped(grouping), step)).or_insert(0.0) +=
                            delta;
                    }
                }
            }
        }
        let mut out = Collector::new(steps.len());
        for ((labels, step), sum) in sums {
            let slot = out.slot(labels);
            out.put(slot, step, sum);
        }
        Ok(Some(out.finish()))
    }
}
