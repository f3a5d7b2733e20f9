//! Functions that make one value of each window of a series, applied series by series.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::rate::Reach;
use super::{Args, Function, OverWindow, Scalars, check_window_args, over_time, rate};
use crate::promql::error::Error;
use crate::promql::expr::Call;
use crate::promql::notes::Notes;
use crate::promql::source::Steps;
use crate::promql::stop::Stop;
use crate::promql::vector::Data;
use crate::promql::window::{Frame, Window};

/// A window function with its scalar arguments.
#[derive(Debug, Clone)]
pub(crate) struct Windowed {
    what: What,
    keeps_name: bool,
}

#[derive(Debug, Clone)]
enum What {
    Increase { per_second: bool },
    Other { f: OverWindow, scalars: Arc<Scalars> },
}

impl Windowed {
    /// Whether a call is of that kind, its windows aside.
    pub(crate) fn is_like(call: &Call) -> bool {
        matches!(
            call.function,
            Function::Increase { .. } | Function::Window { .. } | Function::Absent
        )
    }

    /// The function of a call that [`Windowed::is_like`] this, with its evaluated scalar arguments. Of
    /// `absent_over_time` it is the part that looks for samples.
    ///
    /// # Errors
    /// [`Error::Internal`] for another call.
    pub(crate) fn of(call: &Call, scalars: Vec<Data>) -> Result<Self, Error> {
        let args = Args::sort(scalars);
        match call.function {
            Function::Increase { per_second } => {
                Ok(Self { what: What::Increase { per_second }, keeps_name: false })
            }
            Function::Window { f, keeps_name, .. } => {
                let scalars = Arc::new(args.clone_scalars());
                Ok(Self { what: What::Other { f, scalars }, keeps_name })
            }
            Function::Absent => {
                let what = What::Other { f: over_time::present, scalars: Arc::default() };
                Ok(Self { what, keeps_name: true })
            }
            _ => Err(Error::Internal(format!("\"{}\" is not a window function", call.name))),
        }
    }

    /// Whether the result is still the metric it was.
    pub(crate) fn keeps_name(&self) -> bool {
        self.keeps_name
    }

    /// Remarks on series of these metrics with a value, and on the arguments at the steps that had a window.
    ///
    /// # Errors
    /// [`Error::Execution`] for arguments out of range.
    pub(crate) fn note(
        &self,
        call: &Call,
        metrics: &BTreeSet<String>,
        windows: &[bool],
        notes: &Mutex<Notes>,
    ) -> Result<(), Error> {
        match &self.what {
            What::Increase { .. } => {
                metrics.iter().for_each(|metric| rate::note_name(metric, call.place(0), notes));
                Ok(())
            }
            What::Other { scalars, .. } if scalars.0.is_empty() => Ok(()),
            What::Other { scalars, .. } => {
                let had = windows.iter().enumerate().filter(|(_, had)| **had);
                had.map(|(step, _)| scalars.at(step))
                    .try_for_each(|scalars| check_window_args(call, &scalars, notes))
            }
        }
    }

    /// Finds the windows among samples with these times.
    pub(crate) fn place(
        &self,
        times: &[i64],
        frame: Frame,
        steps: &Steps,
        stop: &Stop,
        placed: &mut Placed,
    ) {
        placed.find(times, frame, steps, stop);
        if let What::Increase { per_second } = self.what {
            placed.windows.retain(|window| window.high - window.low > 1);
            placed.reaches.extend(placed.windows.iter().filter_map(|window| {
                let ends = (*times.get(window.low)?, *times.get(window.high - 1)?);
                let gaps = window.high - window.low - 1;
                Some(Reach::new(ends, gaps, (window.start, window.end), per_second))
            }));
        }
    }

    /// Puts the value of each window into its place, and marks the windows that there are; among the samples
    /// are no stale markers, and `placed` is of their times.
    pub(crate) fn apply(
        &self,
        (times, values): (&[i64], &[f64]),
        placed: &Placed,
        out: &mut [Option<f64>],
        windows: &mut [bool],
    ) {
        match &self.what {
            What::Increase { .. } => increase(values, placed, out),
            What::Other { f, scalars } => {
                let samples: Vec<(i64, f64)> =
                    times.iter().copied().zip(values.iter().copied()).collect();
                for window in &placed.windows {
                    let step = window.step;
                    if let (Some(place), Some(had), Some(view)) =
                        (out.get_mut(step), windows.get_mut(step), window.view(&samples))
                    {
                        *place = f(view, &scalars.at(step));
                        *had = true;
                    }
                }
            }
        }
    }
}

/// Where the windows are among samples: the same for all series with the same times.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    windows: Vec<Window>,
    /// Of each of the windows, where the function asks for it.
    reaches: Vec<Reach>,
}

impl Placed {
    /// Finds the windows that have samples among samples with these times.
    pub(crate) fn find(&mut self, times: &[i64], frame: Frame, steps: &Steps, stop: &Stop) {
        self.windows.clear();
        self.reaches.clear();
        frame.places(times, |time| *time, steps, stop, |window| self.windows.push(window));
    }

    /// In order of time.
    pub(crate) fn windows(&self) -> &[Window] {
        &self.windows
    }
}

fn increase(values: &[f64], placed: &Placed, out: &mut [Option<f64>]) {
    // Windows overlap; resets are looked for once.
    let resets = rate::resets(values);
    let mut passed = 0;
    for (window, reach) in placed.windows.iter().zip(&placed.reaches) {
        let Window { low, high, .. } = *window;
        // A reset counts if both of its samples are in the window.
        while resets.get(passed).is_some_and(|(at, _)| *at <= low) {
            passed += 1;
        }
        let within =
            resets.iter().skip(passed).take_while(|(at, _)| *at < high).map(|(_, before)| *before);
        if let (Some(place), Some(first), Some(last)) =
            (out.get_mut(window.step), values.get(low), values.get(high - 1))
        {
            *place = Some(reach.extrapolated((*first, *last), within, true));
        }
    }
}
