//! Range vectors: the samples of each series that lie in the window of each evaluation time.

use super::error::Error;
use super::source::{Series, StepSeries, Steps};
use super::stop::Stop;
use super::vector;

/// Bit pattern of the NaN that marks the end of a series.
pub(crate) const STALE: u64 = 0x7ff0_0000_0000_0002;

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

    /// Calls `f` with the number of the step and the window, for every window that has samples. It returns
    /// early when the query is given up: see [`Stop::check`].
    pub(crate) fn each<'a>(
        &self,
        samples: &'a [(i64, f64)],
        steps: &Steps,
        stop: &Stop,
        mut f: impl FnMut(usize, View<'a>),
    ) {
        self.places(
            samples,
            |(time, _)| *time,
            steps,
            stop,
            |window| {
                if let Some(view) = window.view(samples) {
                    f(window.step, view);
                }
            },
        );
    }

    /// The same with the places of the windows' samples, whose times `time_of` tells.
    pub(crate) fn places<T>(
        &self,
        samples: &[T],
        time_of: impl Fn(&T) -> i64,
        steps: &Steps,
        stop: &Stop,
        mut f: impl FnMut(Window),
    ) {
        let (mut low, mut high) = (Bound::default(), Bound::default());
        for (step, time) in steps.iter().enumerate() {
            if stop.is_stopped() {
                return;
            }
            let end = self.end(time);
            let start = end - self.range;
            low.advance(samples, |sample| time_of(sample) <= start);
            high.advance(samples, |sample| time_of(sample) <= end);
            if low.at < high.at {
                f(Window { step, low: low.at, high: high.at, start, end, time });
            }
        }
    }
}

/// Where one of the two bounds of windows lies among samples. Windows never go back, so it only moves
/// forward, mostly as far as the last time.
#[derive(Debug, Default)]
struct Bound {
    at: usize,
    moved: usize,
}

impl Bound {
    /// Moves on to the first sample that is not `before` it.
    fn advance<T>(&mut self, samples: &[T], before: impl Fn(&T) -> bool) {
        let mut at = (self.at + self.moved).min(samples.len());
        while at > self.at && samples.get(at - 1).is_some_and(|sample| !before(sample)) {
            at -= 1;
        }
        while samples.get(at).is_some_and(&before) {
            at += 1;
        }
        self.moved = at - self.at;
        self.at = at;
    }
}

/// Where the samples of a window are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// The number of the evaluation time.
    pub(crate) step: usize,
    /// The first of its samples; there is at least one.
    pub(crate) low: usize,
    /// The one after its last.
    pub(crate) high: usize,
    /// The window is `(start, end]`.
    pub(crate) start: i64,
    /// See `start`.
    pub(crate) end: i64,
    /// The evaluation time.
    pub(crate) time: i64,
}

impl Window {
    /// Its samples.
    pub(crate) fn view<'a>(&self, samples: &'a [(i64, f64)]) -> Option<View<'a>> {
        let Self { low, high, start, end, time, .. } = *self;
        Some(View { samples: samples.get(low..high)?, start, end, time })
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
        f: impl FnMut(usize, View<'a>),
    ) {
        self.frame.each(&series.samples, steps, &self.stop, f);
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
        let mut values = vec![None; steps.len()];
        for series in &self.series {
            values.fill(None);
            self.each(series, steps, |step, view| {
                if let Some(place) = values.get_mut(step) {
                    *place = f(step, view);
                }
            });
            if values.iter().any(Option::is_some) {
                note(series.labels.metric());
            }
            let labels = if keep_name { series.labels.clone() } else { series.labels.nameless() };
            out.push(StepSeries { labels, values: values.as_slice().into() });
        }
        self.stop.check()?;
        vector::drop_empty(&mut out);
        vector::unique(out.iter().map(|series| &series.labels))?;
        Ok(out)
    }
}
