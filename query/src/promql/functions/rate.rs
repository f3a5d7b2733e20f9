//! Differences over a window: `rate`, `increase`, `delta` by extrapolation, `irate`, `idelta`.

use parking_lot::Mutex;

use crate::promql::expr::Place;
use crate::promql::notes::Notes;
use crate::promql::number::{go, seconds, to_f64};
use crate::promql::window::View;

/// Gaps longer than this many average sample distances are not extrapolated over.
const EXTRAPOLATION_THRESHOLD: f64 = 1.1;

/// The difference between a window's ends, extrapolated from its first and last sample as Prometheus'
/// `extrapolatedRate` does. A counter's resets are added up and it is not extrapolated below zero.
pub(super) fn extrapolated(view: View<'_>, is_counter: bool, per_second: bool) -> Option<f64> {
    let resets = if is_counter { resets(view.samples) } else { Vec::new() };
    let resets = resets.into_iter().map(|(_, before)| before);
    extrapolated_over(view, resets, is_counter, per_second)
}

/// Where a counter starts anew, and its value before that.
pub(super) fn resets(samples: &[(i64, f64)]) -> Vec<(usize, f64)> {
    samples
        .windows(2)
        .enumerate()
        .filter_map(|(at, pair)| match pair {
            [(_, before), (_, after)] if after < before => Some((at + 1, *before)),
            _ => None,
        })
        .collect()
}

/// [`extrapolated`] for a counter whose values before each reset in the window are known.
pub(super) fn extrapolated_over(
    view: View<'_>,
    resets: impl Iterator<Item = f64>,
    is_counter: bool,
    per_second: bool,
) -> Option<f64> {
    let [(first_time, first), .., (last_time, last)] = view.samples else { return None };
    let difference = resets.fold(last - first, |difference, before| difference + before);
    let mut to_start = seconds(first_time - view.start);
    let mut to_end = seconds(view.end - last_time);
    let sampled = seconds(last_time - first_time);
    let average = sampled / to_f64(view.samples.len() - 1);
    let threshold = average * EXTRAPOLATION_THRESHOLD;
    if to_start >= threshold {
        to_start = average / 2.0;
    }
    if is_counter && difference > 0.0 && *first >= 0.0 {
        let to_zero = sampled * (first / difference);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= seconds(view.end - view.start);
    }
    Some(difference * factor)
}

/// `delta`
pub(super) fn delta(view: View<'_>, _: &[f64]) -> Option<f64> {
    extrapolated(view, false, false)
}

/// `irate`
pub(super) fn irate(view: View<'_>, _: &[f64]) -> Option<f64> {
    let [.., (before_time, before), (time, value)] = view.samples else { return None };
    let difference = if value < before { *value } else { value - before };
    Some(difference / seconds(time - before_time))
}

/// `idelta`
pub(super) fn idelta(view: View<'_>, _: &[f64]) -> Option<f64> {
    let [.., (_, before), (_, value)] = view.samples else { return None };
    Some(value - before)
}

/// Remarks on a metric that by its name is no counter.
pub(super) fn note_name(metric: &str, place: Place, notes: &Mutex<Notes>) {
    let is_counter =
        ["_total", "_sum", "_count", "_bucket"].iter().any(|end| metric.ends_with(end));
    if metric.is_empty() || is_counter {
        return;
    }
    notes.lock().inform(
        place,
        format_args!(
            "metric might not be a counter, name does not end in \
             _total/_sum/_count/_bucket: {}",
            go::quoted(metric)
        ),
    );
}
