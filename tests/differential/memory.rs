//! Weir's engine over series in memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_query::promql::error::Error;
use weir_query::promql::source::{
    Grouping, Labels, Selector, Series, Source, StepSeries, Steps, Window,
};
use weir_query::promql::{Engine, Query, Value};

use crate::Side;
use crate::data;
use crate::grammar::Question;
use crate::outcome::{self, Answer, Outcome};

pub(crate) struct Memory {
    series: Vec<Series>,
    runtime: tokio::runtime::Runtime,
}

impl Memory {
    pub(crate) fn new(series: &[data::Series]) -> Self {
        let series = series
            .iter()
            .map(|one| Series {
                labels: Labels(
                    one.labels
                        .iter()
                        .map(|(n, v)| (n.as_str().into(), v.as_str().into()))
                        .collect(),
                ),
                samples: one.samples.clone(),
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { series, runtime }
    }
}

fn selects(selector: &Selector, labels: &Labels) -> bool {
    let name = labels.get("__name__").unwrap_or_default();
    selector.metric.as_ref().is_none_or(|metric| &**metric == name)
        && selector.name_matchers.iter().all(|op| op.accepts(name))
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
        _: &Selector,
        _: &Window,
        _: &Steps,
        _: &Grouping,
    ) -> Result<Option<Vec<StepSeries>>, Error> {
        Ok(None)
    }
}

impl Side for Memory {
    fn ask(&self, question: &Question) -> Outcome {
        let steps = question.steps();
        let query = Query {
            expr: question.expr(),
            steps,
            instant: question.is_instant(),
            lookback_ms: None,
        };
        let engine = Engine { max_samples: 50_000_000, ..Engine::default() };
        match self.runtime.block_on(engine.evaluate(self, &query)) {
            Ok(answer) => {
                let (warnings, infos) = (set(answer.warnings), set(answer.infos));
                let (kind, series, text) = result(answer.value, steps, query.instant);
                Outcome::Answer(Answer { kind: kind.to_owned(), series, text, warnings, infos })
            }
            Err(error) => {
                let kind = match error {
                    Error::BadData(_) => "bad_data",
                    Error::Execution(_) => "execution",
                    Error::Timeout(_) => "timeout",
                    Error::Internal(_) => "internal",
                };
                Outcome::Refusal(kind.to_owned(), error.to_string())
            }
        }
    }
}

fn set(notes: Vec<String>) -> BTreeSet<String> {
    notes.into_iter().collect()
}

type Result_ = (&'static str, Vec<(outcome::Labels, Vec<(i64, f64)>)>, Option<String>);

fn result(value: Value, steps: Steps, instant: bool) -> Result_ {
    let labelled = |labels: Labels| -> outcome::Labels {
        labels.0.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    };
    match value {
        Value::Str(text) => ("string", Vec::new(), Some(text)),
        Value::Scalar(values) => {
            let kind = if instant { "scalar" } else { "matrix" };
            (kind, vec![(outcome::Labels::new(), steps.iter().zip(values).collect())], None)
        }
        Value::Vector(all) => {
            let series = all
                .into_iter()
                .map(|one| {
                    let points =
                        steps.iter().zip(one.values.iter()).filter_map(|(t, v)| Some((t, v?)));
                    (labelled(one.labels), points.collect())
                })
                .collect();
            (if instant { "vector" } else { "matrix" }, series, None)
        }
        Value::Matrix(all) => {
            let series = all.into_iter().map(|one| (labelled(one.labels), one.samples)).collect();
            ("matrix", series, None)
        }
    }
}
