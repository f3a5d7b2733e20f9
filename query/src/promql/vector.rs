//! Instant vectors over all evaluation times at once.

use std::collections::{HashMap, HashSet};

use super::error::Error;
use super::source::{Labels, StepSeries};
use super::values::Values;

/// What an expression has evaluated to.
#[derive(Debug)]
pub(crate) enum Data {
    /// A number at each evaluation time.
    Scalar(Vec<f64>),
    /// A string.
    Text(String),
    /// Series with a value, or none, at each evaluation time; label sets are unique.
    Vector(Vec<StepSeries>),
    /// Series with windows of samples.
    Matrix(super::window::Windows),
}

impl Data {
    /// Values and samples that are held for it.
    pub(crate) fn values(&self) -> usize {
        match self {
            Self::Scalar(_) | Self::Text(_) => 0,
            Self::Vector(series) => held(series),
            Self::Matrix(windows) => windows.series.iter().map(|one| one.samples.len()).sum(),
        }
    }
}

/// Values that are held for some series; a series counts even without any.
pub(crate) fn held(series: &[StepSeries]) -> usize {
    series.iter().map(|one| one.values.held().max(1)).sum()
}

/// Builds a vector out of single values.
#[derive(Debug)]
pub(crate) struct Collector {
    steps: usize,
    index: HashMap<Labels, usize>,
    out: Vec<StepSeries>,
}

impl Collector {
    /// An empty vector over that many evaluation times.
    pub(crate) fn new(steps: usize) -> Self {
        Self { steps, index: HashMap::new(), out: Vec::new() }
    }

    /// The place of a label set in the result.
    pub(crate) fn slot(&mut self, labels: Labels) -> usize {
        let steps = self.steps;
        let out = &mut self.out;
        *self.index.entry(labels).or_insert_with_key(|labels| {
            out.push(StepSeries { labels: labels.clone(), values: Values::none(steps) });
            out.len() - 1
        })
    }

    /// Sets a value; false if there was one already.
    pub(crate) fn put(&mut self, slot: usize, step: usize, value: f64) -> bool {
        match self.out.get_mut(slot) {
            Some(series) if step < series.values.len() && series.values.get(step).is_none() => {
                series.values.set(step, Some(value));
                true
            }
            _ => false,
        }
    }

    /// The vector, in the order in which label sets came first, without series that have no value.
    pub(crate) fn finish(mut self) -> Vec<StepSeries> {
        drop_empty(&mut self.out);
        self.out
    }
}

/// Removes series without any value.
pub(crate) fn drop_empty(series: &mut Vec<StepSeries>) {
    series.retain(|series| series.values.any());
}

/// Joins series that a change of labels has made equal.
///
/// # Errors
/// [`Error::Execution`] if two of them have a value at the same time.
pub(crate) fn joined(series: Vec<StepSeries>) -> Result<Vec<StepSeries>, Error> {
    let mut seen = HashSet::with_capacity(series.len());
    if series.iter().all(|series| seen.insert(&series.labels)) {
        return Ok(series);
    }
    let steps = series.first().map_or(0, |series| series.values.len());
    let mut collector = Collector::new(steps);
    for one in series {
        let slot = collector.slot(one.labels);
        if !one.values.present().all(|(step, value)| collector.put(slot, step, value)) {
            return Err(same_labels());
        }
    }
    Ok(collector.finish())
}

/// Checks that label sets are unique.
///
/// # Errors
/// [`Error::Execution`] if they are not.
pub(crate) fn unique<'a>(mut labels: impl Iterator<Item = &'a Labels>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    if labels.all(|labels| seen.insert(labels)) { Ok(()) } else { Err(same_labels()) }
}

/// Two series of a vector have the same labels.
pub(crate) fn same_labels() -> Error {
    Error::Execution("vector cannot contain metrics with the same labelset".to_owned())
}

/// Applies a function to every value and drops the metric name.
///
/// # Errors
/// [`Error::Execution`] if two series get equal labels.
pub(crate) fn map(
    mut series: Vec<StepSeries>,
    mut f: impl FnMut(usize, f64) -> Option<f64>,
) -> Result<Vec<StepSeries>, Error> {
    for one in &mut series {
        one.labels = one.labels.nameless();
        one.values.update(&mut f);
    }
    drop_empty(&mut series);
    joined(series)
}
