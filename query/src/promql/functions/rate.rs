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
    let (gaps, window) = (view.samples.len() - 1, (view.start, view.end));
    let reach = Reach::new((first.0, last.0), gaps, window, per_second);
    Some(reach.extrapolated((first.1, last.1), resets, is_counter))
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

/// How far an extrapolation goes: what the times of a window's samples decide. Series with the same times
/// share it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// Seconds between the first and the last sample.
    sampled: f64,
    /// Seconds before the first sample, unless the counter would be below zero there.
    to_start: f64,
    /// Seconds after the last sample.
    to_end: f64,
    /// What the difference is divided by in the end: seconds of the window, or 1.
    per: f64,
    /// What the difference is multiplied with.
    factor: f64,
}

impl Reach {
    /// Of the window `(start, end]` with these times, milliseconds, of its first and last sample and that many
    /// gaps, at least one, from one to the other.
    pub(super) fn new(
        (first, last): (i64, i64),
        gaps: usize,
        (start, end): (i64, i64),
        per_second: bool,
    ) -> Self {
        let mut to_start = seconds(first - start);
        let mut to_end = seconds(end - last);
        let sampled = seconds(last - first);
        let average = sampled / to_f64(gaps);
        let threshold = average * EXTRAPOLATION_THRESHOLD;
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        let per = if per_second { seconds(end - start) } else { 1.0 };
        let reach = Self { sampled, to_start, to_end, per, factor: 0.0 };
        Self { factor: reach.factor(to_start), ..reach }
    }

    fn factor(&self, to_start: f64) -> f64 {
        (self.sampled + to_start + self.to_end) / self.sampled / self.per
    }

    /// [`extrapolated`], from the values of the first and last sample and those before each reset.
    pub(super) fn extrapolated(
        &self,
        (first, last): (f64, f64),
        resets: impl Iterator<Item = f64>,
        is_counter: bool,
    ) -> f64 {
        let difference = resets.fold(last - first, |difference, before| difference + before);
        if is_counter && difference > 0.0 && first >= 0.0 {
            let to_zero = self.sampled * (first / difference);
            if to_zero < self.to_start {
                return difference * self.factor(to_zero);
            }
        }
        difference * self.factor
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
