//! Selectors read block by block: what is asked of each series is computed where it is read, and its
//! samples are let go of.
//!
//! ```text
//! Source::blocks -> some blocks at a time: read, window function -> in their order again
//!   -> kept as a vector, or folded into an aggregation's groups
//! ```
//!
//! So a query over a billion samples holds those of a few series at a time, and its result.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::stream::{FuturesOrdered, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::error::Error;
use super::functions::{Placed, Windowed};
use super::number::seconds;
use super::source::{Block, Blocks, Points, StepSeries, Steps};
use super::stop::Stop;
use super::values::Values;
use super::vector;
use super::window::{Frame, is_stale};

/// Blocks under way for each core: while the first of them is not done, the cores have others.
const PER_CORE: usize = 2;

/// Blocks under way of all queries: some of the runtime's threads must stay free for the reads that these wait for.
static BLOCKS: Semaphore = Semaphore::const_new(128);

/// Which part of its latest sample an instant selector yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Yield {
    Value,
    /// Seconds since the Unix epoch.
    Time,
}

/// What is asked of each series at each evaluation time.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// Its latest sample in the window, unless that marks the end of the series.
    Latest {
        what: Yield,
        /// Only samples with times in `(after, until]` are seen.
        seen: Option<(i64, i64)>,
    },
    /// What a function makes of the window.
    Function(Windowed),
}

impl Ask {
    /// Whether what it yields is still the metric it was.
    pub(crate) fn keeps_name(&self) -> bool {
        match self {
            Self::Latest { .. } => true,
            Self::Function(function) => function.keeps_name(),
        }
    }
}

/// The work on every block.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) ask: Ask,
    pub(crate) frame: Frame,
    pub(crate) steps: Steps,
    pub(crate) stop: Stop,
}

/// What became of a block.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Series with at least one value.
    pub(crate) series: Vec<StepSeries>,
    /// Samples that were read.
    pub(crate) samples: usize,
    /// Metrics of the series that a function has given a value.
    pub(crate) metrics: BTreeSet<String>,
    /// The steps at which any series had a window.
    pub(crate) windows: Vec<bool>,
}

impl Work {
    /// Reads blocks on all cores and gives what became of them to `each`, in the
    /// order of the blocks.
    ///
    /// # Errors
    /// What the source and `each` return, and [`Error::Timeout`] when the query is given up.
    pub(crate) async fn run(
        &self,
        blocks: Blocks,
        mut each: impl FnMut(Done) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let most = cores * PER_CORE;
        let mut running = FuturesOrdered::new();
        let mut blocks = Some(blocks);
        loop {
            while let Some(more) = &mut blocks
                && running.len() < most
            {
                match more.next().await {
                    None => blocks = None,
                    Some(block) => running.push_back(self.begin(block?).await?),
                }
            }
            let Some(done) = running.next().await else { break };
            self.stop.check()?;
            each(done.map_err(|e| Error::Internal(e.to_string()))??)?;
        }
        self.stop.check()
    }

    /// One block, on a thread of its own.
    async fn begin(&self, block: Box<dyn Block>) -> Result<JoinHandle<Result<Done, Error>>, Error> {
        let place = BLOCKS.acquire().await.map_err(|e| Error::Internal(e.to_string()))?;
        let work = self.clone();
        let runtime = Handle::try_current()
            .map_err(|error| Error::Internal(format!("query runs outside a runtime: {error}")))?;
        Ok(runtime.spawn_blocking(move || {
            let _place = place;
            work.block(block)
        }))
    }

    fn block(&self, block: Box<dyn Block>) -> Result<Done, Error> {
        let windows = vec![false; self.steps.len()];
        let mut done = Done { windows, ..Done::default() };
        let mut values = vec![None; self.steps.len()];
        let mut windows = Windows::default();
        block.read(&mut |mut labels, points| {
            self.stop.check()?;
            done.samples += points.times.len();
            values.fill(None);
            windows.apply(self, points, &mut values, &mut done.windows);
            let values = Values::from(values.as_slice());
            if !values.any() {
                return Ok(());
            }
            if !self.ask.keeps_name() {
                if !done.metrics.contains(labels.metric()) {
                    done.metrics.insert(labels.metric().to_owned());
                }
                labels = labels.nameless();
            }
            done.series.push(StepSeries { labels, values });
            Ok(())
        })?;
        Ok(done)
    }
}

/// Windows that are kept for the series to come: some megabytes on each core.
const KEPT_WINDOWS: usize = 64 << 10;

/// The windows of series, which are those of all with the same times.
#[derive(Debug, Default)]
struct Windows {
    /// By the number of the times.
    known: HashMap<u64, Placed>,
    /// Windows in all of them.
    kept: usize,
    /// Those of times that have no number.
    other: Placed,
    /// Times and values without stale markers.
    unmarked: (Vec<i64>, Vec<f64>),
}

impl Windows {
    fn apply(
        &mut self,
        work: &Work,
        points: Points<'_>,
        out: &mut [Option<f64>],
        windows: &mut [bool],
    ) {
        let Points { times, values, times_number } = points;
        match &work.ask {
            Ask::Latest { what, seen } => {
                let place = |placed: &mut Placed| {
                    placed.find(times, work.frame, &work.steps, &work.stop);
                };
                let placed = self.of(times_number, place);
                latest(*what, *seen, (times, values), placed, out);
            }
            Ask::Function(function) => {
                let place = |times: &[i64], placed: &mut Placed| {
                    function.place(times, work.frame, &work.steps, &work.stop, placed);
                };
                if values.iter().fold(false, |any, value| any | is_stale(*value)) {
                    let real = times.iter().zip(values).filter(|(_, value)| !is_stale(**value));
                    self.unmarked = real.map(|(time, value)| (*time, *value)).unzip();
                    place(&self.unmarked.0, &mut self.other);
                    let samples = (self.unmarked.0.as_slice(), self.unmarked.1.as_slice());
                    function.apply(samples, &self.other, out, windows);
                } else {
                    let placed = self.of(times_number, |placed| place(times, placed));
                    function.apply((times, values), placed, out, windows);
                }
            }
        }
    }

    /// The windows of times with this number.
    fn of(&mut self, number: u64, place: impl FnOnce(&mut Placed)) -> &Placed {
        if number == 0 {
            place(&mut self.other);
            return &self.other;
        }
        if self.kept > KEPT_WINDOWS {
            self.known.clear();
            self.kept = 0;
        }
        self.known.entry(number).or_insert_with(|| {
            let mut placed = Placed::default();
            place(&mut placed);
            self.kept += placed.windows().len();
            placed
        })
    }
}

/// The latest sample of each window, of those in `(after, until]` if that is given.
fn latest(
    what: Yield,
    seen: Option<(i64, i64)>,
    (times, values): (&[i64], &[f64]),
    placed: &Placed,
    out: &mut [Option<f64>],
) {
    for window in placed.windows() {
        let places = window.low..window.high;
        let last = match seen {
            None => places.last(),
            Some((after, until)) => {
                let is_seen = |time: &i64| *time > after && *time <= until;
                places.rev().find(|at| times.get(*at).is_some_and(is_seen))
            }
        };
        let Some(last) = last else { continue };
        if let (Some(place), Some(time), Some(value)) =
            (out.get_mut(window.step), times.get(last), values.get(last))
            && !is_stale(*value)
        {
            *place = Some(if what == Yield::Time { seconds(*time) } else { *value });
        }
    }
}

/// Checks as they come that label sets are unique.
#[derive(Debug, Default)]
pub(crate) struct Unique(Option<HashSet<super::source::Labels>>);

impl Unique {
    /// Nothing is remembered where label sets cannot be equal.
    pub(crate) fn new(can_be_equal: bool) -> Self {
        Self(can_be_equal.then(HashSet::new))
    }

    /// # Errors
    /// [`Error::Execution`] for a label set that has been there.
    pub(crate) fn check(&mut self, series: &[StepSeries]) -> Result<(), Error> {
        let Some(seen) = &mut self.0 else { return Ok(()) };
        for one in series {
            if !seen.insert(one.labels.clone()) {
                return Err(vector::same_labels());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
