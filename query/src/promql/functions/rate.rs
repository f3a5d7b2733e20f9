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
    let [first, .., last] = view.samples else { return None };
    let resets = view.samples.windows(2).filter_map(|pair| match pair {
        [(_, before), (_, after)] if is_counter && after < before => Some(*before),
        _ => None,
    });
    let ends = Ends { first: *first, last: *last, gaps: view.samples.len() - 1 };
    Some(ends.extrapolated((view.start, view.end), resets, is_counter, per_second))
}

/// Where a counter starts anew, and its value before that.
pub(super) fn resets(values: &[f64]) -> Vec<(usize, f64)> {
    // Most have none, which is seen fast.
    let pairs = || values.iter().zip(values.iter().skip(1));
    if !pairs().fold(false, |any, (before, after)| any | (after < before)) {
        return Vec::new();
    }
    let numbered = (1..).zip(pairs());
    numbered.filter(|(_, (before, after))| after < before).map(|(at, (b, _))| (at, *b)).collect()
}

/// First and last sample of a window.
pub(super) struct Ends {
    pub(super) first: (i64, f64),
    pub(super) last: (i64, f64),
    /// How many gaps between samples there are from the first to the last; positive.
    pub(super) gaps: usize,
}

impl Ends {
    /// [`extrapolated`] over the window `(start, end]`, when the values before each reset in it are known.
    pub(super) fn extrapolated(
        &self,
        (start, end): (i64, i64),
        resets: impl Iterator<Item = f64>,
        is_counter: bool,
        per_second: bool,
    ) -> f64 {
        let Self { first: (first_time, first), last: (last_time, last), gaps } = *self;
        let difference = resets.fold(last - first, |difference, before| difference + before);
        let mut to_start = seconds(first_time - start);
        let mut to_end = seconds(end - last_time);
        let sampled = seconds(last_time - first_time);
        let average = sampled / to_f64(gaps);
        let threshold = average * EXTRAPOLATION_THRESHOLD;
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if is_counter && difference > 0.0 && first >= 0.0 {
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
            factor /= seconds(end - start);
        }
        difference * factor
    }
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
