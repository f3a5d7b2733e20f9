//! Aggregation operators.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::error::Error;
use super::expr::{Aggregate, Aggregator, Place};
use super::notes::Notes;
use super::number::{self, go};
use super::source::{Grouping, Labels, StepSeries};
use super::vector::{self, Collector, Data};

mod fold;
mod select;

pub(crate) use fold::Fold;

/// Most values that `count_values` makes: each distinct value is a series over all steps.
const MAX_COUNTED: usize = 5_000_000;

/// The series of one group, by index.
#[derive(Debug)]
struct Group {
    labels: Labels,
    members: Vec<usize>,
}

/// Applies an aggregation to an evaluated vector.
///
/// # Errors
/// [`Error::Execution`] for a parameter out of range.
pub(crate) fn apply(
    aggregate: &Aggregate,
    param: Option<&Data>,
    series: Vec<StepSeries>,
    steps: usize,
    notes: &Mutex<Notes>,
) -> Result<Vec<StepSeries>, Error> {
    let grouping = &aggregate.grouping;
    match (aggregate.op, param) {
        (Aggregator::CountValues, Some(Data::Text(label))) => {
            count_values(label, grouping, &series, steps)
        }
        (
            Aggregator::Topk | Aggregator::Bottomk | Aggregator::Limitk | Aggregator::LimitRatio,
            Some(Data::Scalar(param)),
        ) => {
            if aggregate.op == Aggregator::LimitRatio {
                note_ratio(param, aggregate.param_place, notes);
            }
            select::apply(aggregate.op, param, &series, &groups(grouping, &series), steps)
        }
        (Aggregator::Quantile, Some(Data::Scalar(param))) => {
            let (least, most) = bounds(param);
            let nan = param.iter().find(|q| q.is_nan()).copied();
            let outside = [Some(most).filter(|q| *q > 1.0), Some(least).filter(|q| *q < 0.0)];
            for q in nan.into_iter().chain(outside.into_iter().flatten()) {
                note_quantile(q, aggregate.param_place, notes);
            }
            Ok(reduce(grouping, &series, steps, |step, values| {
                number::quantile(param.get(step).copied().unwrap_or(f64::NAN), values)
            }))
        }
        (op, None) => {
            let mut fold = Fold::new(op, grouping, steps).ok_or_else(wrong_parameter)?;
            series.iter().for_each(|one| fold.add(one));
            Ok(fold.finish())
        }
        _ => Err(wrong_parameter()),
    }
}

fn wrong_parameter() -> Error {
    Error::Internal("aggregation with the wrong kind of parameter".to_owned())
}

/// Warns about a quantile outside 0 to 1.
pub(crate) fn note_quantile(q: f64, place: Place, notes: &Mutex<Notes>) {
    if !(0.0..=1.0).contains(&q) {
        let q = go::shortest(q);
        notes.lock().warn(place, format_args!("quantile value should be between 0 and 1, got {q}"));
    }
}

/// Warns about ratios outside -1 to 1.
fn note_ratio(param: &[f64], place: Place, notes: &Mutex<Notes>) {
    let (least, most) = bounds(param);
    for (is_outside, got, bound) in [(most > 1.0, most, 1), (least < -1.0, least, -1)] {
        if is_outside {
            let got = go::shortest(got);
            notes.lock().warn(
                place,
                format_args!(
                    "ratio value should be between -1 and 1, got {got}, capping to {bound}"
                ),
            );
        }
    }
}

/// The smallest and the largest value of a parameter over all steps; NaN if any is, unless an infinity
/// outweighs it.
fn bounds(param: &[f64]) -> (f64, f64) {
    param.iter().fold((f64::MAX, f64::MIN), |(least, most), value| {
        (go::min(least, *value), go::max(most, *value))
    })
}

/// Groups in the order in which they first occur.
fn groups(grouping: &Grouping, series: &[StepSeries]) -> Vec<Group> {
    let mut index: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (member, one) in series.iter().enumerate() {
        let at = *index.entry(one.labels.grouped(grouping)).or_insert_with_key(|labels| {
            groups.push(Group { labels: labels.clone(), members: Vec::new() });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(at) {
            group.members.push(member);
        }
    }
    groups
}

/// One value for each group and step that has any.
fn reduce(
    grouping: &Grouping,
    series: &[StepSeries],
    steps: usize,
    mut f: impl FnMut(usize, &mut [f64]) -> f64,
) -> Vec<StepSeries> {
    let mut out = Vec::new();
    let mut present = Vec::new();
    for group in groups(grouping, series) {
        let values = (0..steps)
            .map(|step| {
                present.clear();
                present
                    .extend(group.members.iter().filter_map(|member| value(series, *member, step)));
                (!present.is_empty()).then(|| f(step, &mut present))
            })
            .collect();
        out.push(StepSeries { labels: group.labels, values });
    }
    vector::drop_empty(&mut out);
    out
}

fn value(series: &[StepSeries], member: usize, step: usize) -> Option<f64> {
    series.get(member)?.values.get(step)
}

/// Counts how often each value occurs, as one series for each value.
fn count_values(
    label: &str,
    grouping: &Grouping,
    series: &[StepSeries],
    steps: usize,
) -> Result<Vec<StepSeries>, Error> {
    if label.is_empty() {
        return Err(Error::Execution(format!("invalid label name {label:?}")));
    }
    let mut grouping = grouping.clone();
    if let Grouping::By(names) = &mut grouping {
        names.push(label.into());
    }
    let mut counts: HashMap<(usize, usize), f64> = HashMap::new();
    let mut out = Collector::new(steps);
    for one in series {
        for (step, value) in one.values.present() {
            let mut labels = one.labels.clone();
            labels.set(label, &number::format_plain(value));
            let slot = out.slot(labels.grouped(&grouping));
            if slot.saturating_mul(steps) > MAX_COUNTED {
                return Err(Error::Execution(format!(
                    "count_values would make more than {MAX_COUNTED} values"
                )));
            }
            *counts.entry((slot, step)).or_default() += 1.0;
        }
    }
    for ((slot, step), count) in counts {
        out.put(slot, step, count);
    }
    Ok(out.finish())
}
