//! Functions that make one value of each window of a series, applied series by series.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::rate::Ends;
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

    /// Puts the value of each window into its place, and marks the windows that there are; among the samples
    /// are no stale markers.
    pub(crate) fn apply(
        &self,
        (times, values): (&[i64], &[f64]),
        frame: Frame,
        steps: &Steps,
        stop: &Stop,
        out: &mut [Option<f64>],
        windows: &mut [bool],
    ) {
        match &self.what {
            What::Increase { per_second } => {
                // Windows overlap; resets are looked for once.
                let resets = rate::resets(values);
                let mut passed = 0;
                let sample = |at: usize| Some((*times.get(at)?, *values.get(at)?));
                frame.places(
                    times,
                    |time| *time,
                    steps,
                    stop,
                    |step, window| {
                        let Window { low, high, start, end, .. } = window;
                        // A reset counts if both of its samples are in the window.
                        while resets.get(passed).is_some_and(|(at, _)| *at <= low) {
                            passed += 1;
                        }
                        let within = resets
                            .iter()
                            .skip(passed)
                            .take_while(|(at, _)| *at < high)
                            .map(|(_, before)| *before);
                        let gaps = high - low - 1;
                        if let (Some(place), Some(first), Some(last)) =
                            (out.get_mut(step), sample(low), sample(high - 1))
                            && gaps > 0
                        {
                            let ends = Ends { first, last, gaps };
                            *place =
                                Some(ends.extrapolated((start, end), within, true, *per_second));
                        }
                    },
                );
            }
            What::Other { f, scalars } => {
                let samples: Vec<(i64, f64)> =
                    times.iter().copied().zip(values.iter().copied()).collect();
                frame.each(&samples, steps, stop, |step, view| {
                    if let (Some(place), Some(window)) = (out.get_mut(step), windows.get_mut(step))
                    {
                        *place = f(view, &scalars.at(step));
                        *window = true;
                    }
                });
            }
        }
    }
}
