//! Aggregations that take one series after the other and keep only their groups.

use std::collections::HashMap;

use crate::promql::expr::Aggregator;
use crate::promql::number::{Mean, Sum, to_f64};
use crate::promql::source::{Grouping, Labels, StepSeries};
use crate::promql::values::Values;
use crate::promql::vector;

/// Groups of an aggregation over series that come one by one.
#[derive(Debug)]
pub(crate) struct Fold {
    op: Aggregator,
    grouping: Grouping,
    steps: usize,
    index: HashMap<Labels, usize>,
    groups: Vec<(Labels, Cells)>,
}

/// The running aggregates of one group, one for each evaluation time.
#[derive(Debug)]
enum Cells {
    Sum(Vec<Option<Sum>>),
    Mean(Vec<Option<Mean>>),
    Extreme(Vec<Option<f64>>, fn(f64, f64) -> bool),
    Count(Vec<usize>),
    Group(Vec<bool>),
    Moments(Vec<Option<Moments>>, fn(f64) -> f64),
}

impl Fold {
    /// No groups yet; `None` for an operator that has to see all series at once.
    pub(crate) fn new(op: Aggregator, grouping: &Grouping, steps: usize) -> Option<Self> {
        Cells::new(op, 0)?;
        let grouping = grouping.clone();
        Some(Self { op, grouping, steps, index: HashMap::new(), groups: Vec::new() })
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Takes a series in.
    pub(crate) fn add(&mut self, series: &StepSeries) {
        let (op, steps, groups) = (self.op, self.steps, &mut self.groups);
        let at = *self.index.entry(series.labels.grouped(&self.grouping)).or_insert_with_key(|l| {
            groups.extend(Cells::new(op, steps).map(|cells| (l.clone(), cells)));
            groups.len().saturating_sub(1)
        });
        if let Some((_, cells)) = self.groups.get_mut(at) {
            cells.add(&series.values);
        }
    }

    /// The groups in the order in which they first occurred, without those that have no value.
    pub(crate) fn finish(self) -> Vec<StepSeries> {
        let groups = self.groups.into_iter();
        let mut out: Vec<_> =
            groups.map(|(labels, cells)| StepSeries { labels, values: cells.finish() }).collect();
        vector::drop_empty(&mut out);
        out
    }
}

impl Cells {
    fn new(op: Aggregator, steps: usize) -> Option<Self> {
        Some(match op {
            Aggregator::Sum => Self::Sum(vec![None; steps]),
            Aggregator::Avg => Self::Mean(vec![None; steps]),
            Aggregator::Min => Self::Extreme(vec![None; steps], |value, best| value < best),
            Aggregator::Max => Self::Extreme(vec![None; steps], |value, best| value > best),
            Aggregator::Count => Self::Count(vec![0; steps]),
            Aggregator::Group => Self::Group(vec![false; steps]),
            Aggregator::Stddev => Self::Moments(vec![None; steps], f64::sqrt),
            Aggregator::Stdvar => Self::Moments(vec![None; steps], |variance| variance),
            _ => return None,
        })
    }

    fn add(&mut self, values: &Values) {
        match self {
            Self::Sum(cells) => each(cells, values, |cell, v| cell.get_or_insert_default().add(v)),
            Self::Mean(cells) => each(cells, values, |cell, v| cell.get_or_insert_default().add(v)),
            Self::Extreme(cells, beats) => each(cells, values, |cell, v| match cell {
                Some(best) if !best.is_nan() && !beats(v, *best) => {}
                _ => *cell = Some(v),
            }),
            Self::Count(cells) => each(cells, values, |cell, _| *cell += 1),
            Self::Group(cells) => each(cells, values, |cell, _| *cell = true),
            Self::Moments(cells, _) => {
                each(cells, values, |cell, v| cell.get_or_insert_default().add(v));
            }
        }
    }

    fn finish(self) -> Values {
        match self {
            Self::Sum(cells) => cells.into_iter().map(|cell| Some(cell?.value())).collect(),
            Self::Mean(cells) => cells.into_iter().map(|cell| Some(cell?.value())).collect(),
            Self::Extreme(cells, _) => cells.as_slice().into(),
            Self::Count(cells) => {
                cells.into_iter().map(|count| (count > 0).then(|| to_f64(count))).collect()
            }
            Self::Group(cells) => cells.into_iter().map(|any| any.then_some(1.0)).collect(),
            Self::Moments(cells, of) => {
                cells.into_iter().map(|cell| Some(of(cell?.variance()))).collect()
            }
        }
    }
}

fn each<C>(cells: &mut [C], values: &Values, mut add: impl FnMut(&mut C, f64)) {
    for (step, value) in values.present() {
        if let Some(cell) = cells.get_mut(step) {
            add(cell, value);
        }
    }
}

/// Mean and sum of squared distances from it, by Welford's method.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    /// Population variance; NaN if any value is not finite.
    fn variance(self) -> f64 {
        self.squares / self.count
    }
}
