//! Range vectors: the samples of each series that lie in the window of each evaluation time.

use super::error::Error;
use super::source::{Series, StepSeries, Steps};
use super::stop::Stop;
use super::vector;

/// Bit pattern of the NaN that marks the end of a series.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Whether a value marks the end of a series.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}

/// Where windows lie: the window of an evaluation time `t` is `(end - range, end]` with
/// `end = at.unwrap_or(t) - offset`. All milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// Width, positive.
    pub(crate) range: i64,
    /// How far before the evaluation time windows end.
    pub(crate) offset: i64,
    /// The time that stands for every evaluation time.
    pub(crate) at: Option<i64>,
}

impl Frame {
    /// The end of the window of an evaluation time.
    pub(crate) fn end(&self, time: i64) -> i64 {
        self.at.unwrap_or(time) - self.offset
    }

    /// The times `(after, until]` in which the windows of all evaluation times lie.
    pub(crate) fn span(&self, steps: &Steps) -> (i64, i64) {
        let last = steps.start + (steps.end - steps.start) / steps.step * steps.step;
        (self.end(steps.start) - self.range, self.end(last))
    }

    /// Calls `f` with the number of the step, that of the window's first sample and the window, for every
    /// window that has samples. It returns early when the query is given up: see [`Stop::check`].
    pub(crate) fn each<'a>(
        &self,
        samples: &'a [(i64, f64)],
        steps: &Steps,
        stop: &Stop,
        mut f: impl FnMut(usize, usize, View<'a>),
    ) {
        let (mut low, mut high) = (0, 0);
        for (step, time) in steps.iter().enumerate() {
            if stop.is_stopped() {
                return;
            }
            let end = self.end(time);
            let start = end - self.range;
            // Window ends never go back, so both bounds only move forward.
            while samples.get(low).is_some_and(|(at, _)| *at <= start) {
                low += 1;
            }
            high = high.max(low);
            while samples.get(high).is_some_and(|(at, _)| *at <= end) {
                high += 1;
            }
            match samples.get(low..high) {
                Some(samples) if !samples.is_empty() => {
                    f(step, low, View { samples, start, end, time });
                }
                _ => {}
            }
        }
    }
}

/// Series with their windows.
#[derive(Debug)]
pub(crate) struct Windows {
    /// Series without stale markers, sorted by labels.
    pub(crate) series: Vec<Series>,
    /// Where the windows lie.
    pub(crate) frame: Frame,
    /// Whether anybody still waits for what is made of them.
    pub(crate) stop: Stop,
}

/// One window of one series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    /// Samples in order of time; at least one.
    pub(crate) samples: &'a [(i64, f64)],
    /// The window is `(start, end]`.
    pub(crate) start: i64,
    /// See `start`.
    pub(crate) end: i64,
    /// The evaluation time.
    pub(crate) time: i64,
}

impl Windows {
    /// How many samples all windows hold together.
    pub(crate) fn views(&self, steps: &Steps) -> usize {
        let mut views = 0_usize;
        for series in &self.series {
            self.each(series, steps, |_, view| views = views.saturating_add(view.samples.len()));
        }
        views
    }

    /// Calls `f` with the number of the step and the window, for every window that has samples. It
    /// returns early when the query is given up: see [`Stop::check`].
    pub(crate) fn each<'a>(
        &self,
        series: &'a Series,
        steps: &Steps,
        mut f: impl FnMut(usize, View<'a>),
    ) {
        self.frame.each(&series.samples, steps, &self.stop, |step, _, view| f(step, view));
    }

    /// A vector of what `f` makes of each window.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the query is given up, [`Error::Execution`] if dropping the metric names makes two series equal.
    pub(crate) fn map(
        &self,
        steps: &Steps,
        keep_name: bool,
        f: impl FnMut(usize, View<'_>) -> Option<f64>,
    ) -> Result<Vec<StepSeries>, Error> {
        self.map_noting(steps, keep_name, f, |_| {})
    }

    /// The same; `note` is told the metric of each series that has a value.
    pub(crate) fn map_noting(
        &self,
        steps: &Steps,
        keep_name: bool,
        mut f: impl FnMut(usize, View<'_>) -> Option<f64>,
        note: impl Fn(&str),
    ) -> Result<Vec<StepSeries>, Error> {
        let mut out = Vec::with_capacity(self.series.len());
        for series in &self.series {
            let mut values = vec![None; steps.len()];
            self.each(series, steps, |step, view| {
                if let Some(place) = values.get_mut(step) {
                    *place = f(step, view);
                }
            });
            if values.iter().any(Option::is_some) {
                note(series.labels.metric());
            }
            let labels = if keep_name { series.labels.clone() } else { series.labels.nameless() };
            out.push(StepSeries { labels, values });
        }
        self.stop.check()?;
        vector::drop_empty(&mut out);
        vector::unique(out.iter().map(|series| &series.labels))?;
        Ok(out)
    }
}
