//! Aggregations of one series over a window.

use crate::promql::number::{self, Mean, Sum, Variance, seconds, to_f64};
use crate::promql::window::View;

fn values(view: View<'_>) -> Vec<f64> {
    view.samples.iter().map(|(_, value)| *value).collect()
}

pub(super) fn avg(view: View<'_>, _: &[f64]) -> Option<f64> {
    let mut mean = Mean::default();
    view.samples.iter().for_each(|(_, value)| mean.add(*value));
    Some(mean.value())
}

pub(super) fn sum(view: View<'_>, _: &[f64]) -> Option<f64> {
    let mut sum = Sum::default();
    view.samples.iter().for_each(|(_, value)| sum.add(*value));
    Some(sum.value())
}

pub(super) fn count(view: View<'_>, _: &[f64]) -> Option<f64> {
    Some(to_f64(view.samples.len()))
}

pub(super) fn present(_: View<'_>, _: &[f64]) -> Option<f64> {
    Some(1.0)
}

pub(super) fn min(view: View<'_>, _: &[f64]) -> Option<f64> {
    Some(extreme(view, |value, best| value < best))
}

pub(super) fn max(view: View<'_>, _: &[f64]) -> Option<f64> {
    Some(extreme(view, |value, best| value > best))
}

/// The value that none other beats; NaN only if there is nothing else.
fn extreme(view: View<'_>, beats: impl Fn(f64, f64) -> bool) -> f64 {
    view.samples.iter().fold(f64::NAN, |best, (_, value)| {
        if best.is_nan() || beats(*value, best) { *value } else { best }
    })
}

pub(super) fn first(view: View<'_>, _: &[f64]) -> Option<f64> {
    view.samples.first().map(|(_, value)| *value)
}

pub(super) fn last(view: View<'_>, _: &[f64]) -> Option<f64> {
    view.samples.last().map(|(_, value)| *value)
}

pub(super) fn ts_of_first(view: View<'_>, _: &[f64]) -> Option<f64> {
    view.samples.first().map(|(time, _)| seconds(*time))
}

pub(super) fn ts_of_last(view: View<'_>, _: &[f64]) -> Option<f64> {
    view.samples.last().map(|(time, _)| seconds(*time))
}

pub(super) fn ts_of_min(view: View<'_>, _: &[f64]) -> Option<f64> {
    time_of(view, |value, best| value <= best)
}

pub(super) fn ts_of_max(view: View<'_>, _: &[f64]) -> Option<f64> {
    time_of(view, |value, best| value >= best)
}

/// The time of the last sample that no earlier one beats.
fn time_of(view: View<'_>, beats: impl Fn(f64, f64) -> bool) -> Option<f64> {
    let best = view.samples.iter().copied().reduce(|best, sample| {
        if best.1.is_nan() || beats(sample.1, best.1) { sample } else { best }
    })?;
    Some(seconds(best.0))
}

fn variance(view: View<'_>) -> f64 {
    let mut variance = Variance::default();
    view.samples.iter().for_each(|(_, value)| variance.add(*value));
    variance.value()
}

pub(super) fn stdvar(view: View<'_>, _: &[f64]) -> Option<f64> {
    Some(variance(view))
}

pub(super) fn stddev(view: View<'_>, _: &[f64]) -> Option<f64> {
    Some(variance(view).sqrt())
}

pub(super) fn quantile(view: View<'_>, args: &[f64]) -> Option<f64> {
    Some(number::quantile(*args.first()?, &mut values(view)))
}

/// Median absolute deviation from the median.
pub(super) fn mad(view: View<'_>, _: &[f64]) -> Option<f64> {
    let mut values = values(view);
    let median = number::quantile(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    Some(number::quantile(0.5, &mut values))
}

/// How often the value changes from a sample to the next; NaN equals NaN.
#[expect(clippy::float_cmp, reason = "PromQL compares exactly")]
pub(super) fn changes(view: View<'_>, _: &[f64]) -> Option<f64> {
    Some(count_pairs(view, |before, after| before != after && !(before.is_nan() && after.is_nan())))
}

/// How often a counter starts anew.
pub(super) fn resets(view: View<'_>, _: &[f64]) -> Option<f64> {
    Some(count_pairs(view, |before, after| after < before))
}

fn count_pairs(view: View<'_>, counts: impl Fn(f64, f64) -> bool) -> f64 {
    let counted = view
        .samples
        .windows(2)
        .filter(|pair| matches!(pair, [(_, before), (_, after)] if counts(*before, *after)))
        .count();
    to_f64(counted)
}
