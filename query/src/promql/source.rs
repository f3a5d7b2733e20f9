//! Where the PromQL engine gets its data from.
//!
//! The engine knows nothing of tables. A [`Source`] gives it raw samples, and, for metrics whose
//! rows are deltas, the exact sums of windows, already grouped: that is how
//! `sum by (a) (rate(m[w]))` becomes one aggregation over just the columns it names.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use regex::Regex;

use super::error::Error;
use super::values::Values;

/// Label names and values of a series, sorted by name, without empty values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Labels(pub Vec<(Arc<str>, Arc<str>)>);

/// A label matcher. A missing label counts as the empty string.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// Label name; `__name__` never appears here.
    pub name: Arc<str>,
    /// What its value must be.
    pub op: MatchOp,
}

/// What a label's value must be.
#[derive(Debug, Clone)]
pub enum MatchOp {
    /// `=`
    Equal(Arc<str>),
    /// `!=`
    NotEqual(Arc<str>),
    /// `=~`, compiled as `^(?s:...)$`.
    Matches(Regex),
    /// `!~`, compiled as `^(?s:...)$`.
    NotMatches(Regex),
}

impl MatchOp {
    /// Whether a label value (empty when the label is missing) satisfies the matcher.
    #[must_use]
    pub fn accepts(&self, value: &str) -> bool {
        match self {
            Self::Equal(wanted) => value == &**wanted,
            Self::NotEqual(wanted) => value != &**wanted,
            Self::Matches(regex) => regex.is_match(value),
            Self::NotMatches(regex) => !regex.is_match(value),
        }
    }
}

/// A vector selector without its modifiers.
#[derive(Debug, Clone)]
pub struct Selector {
    /// Metric name by equality, if the selector gives one.
    pub metric: Option<Arc<str>>,
    /// Matchers on `__name__` other than equality.
    pub name_matchers: Vec<MatchOp>,
    /// All other matchers; all must hold.
    pub matchers: Vec<Matcher>,
}

/// The evaluation times `start, start + step, ..., <= end`, milliseconds since the Unix epoch. An
/// instant query has `start == end` and any positive step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// First time.
    pub start: i64,
    /// Last time allowed.
    pub end: i64,
    /// Distance, positive.
    pub step: i64,
}

impl Steps {
    /// Number of evaluation times; at least 1 when `start <= end`.
    #[must_use]
    pub fn len(&self) -> usize {
        if self.end < self.start {
            return 0;
        }
        usize::try_from((self.end - self.start) / self.step + 1).unwrap_or(0)
    }

    /// Whether there is no evaluation time at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The evaluation times in order.
    pub fn iter(&self) -> impl Iterator<Item = i64> + use<> {
        let Self { start, end, step } = *self;
        (0..).map(move |i| start + i * step).take_while(move |t| *t <= end)
    }
}

/// Raw samples of one series in order of time.
#[derive(Debug, Clone)]
pub struct Series {
    /// Labels, `__name__` included.
    pub labels: Labels,
    /// (milliseconds since the Unix epoch, value), times strictly increasing.
    pub samples: Vec<(i64, f64)>,
}

/// One value, or none, for each evaluation time.
#[derive(Debug, Clone)]
pub struct StepSeries {
    /// Labels.
    pub labels: Labels,
    /// As long as the steps are.
    pub values: Values,
}

/// Which labels survive an aggregation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// None is aggregated away: every label but `__name__` survives.
    Every,
    /// `by (...)`; an empty list gives one group.
    By(Vec<Arc<str>>),
    /// `without (...)`; `__name__` goes too.
    Without(Vec<Arc<str>>),
}

/// A window function over deltas: for each evaluation time `t`, the sum of all deltas whose row ends
/// in `(t - offset - range, t - offset]`.
#[derive(Debug, Clone)]
pub struct Window {
    /// Width in milliseconds, positive.
    pub range: i64,
    /// How far before the evaluation time the window ends, milliseconds; may be negative.
    pub offset: i64,
    /// `@`: the evaluation time that stands for every step, if given.
    pub at: Option<i64>,
}

/// Some series that have not been read yet.
pub trait Block: Send {
    /// Reads the series one by one. It may wait for a disk or an object store: for a thread that may.
    ///
    /// # Errors
    /// What is wrong with the stored bytes, and what `each` returns.
    fn read(self: Box<Self>, each: EachSeries<'_>) -> Result<(), Error>;
}

/// The samples of a series of a block; good for one call.
#[derive(Debug, Clone, Copy)]
pub struct Points<'a> {
    /// Milliseconds since the Unix epoch, strictly increasing.
    pub times: &'a [i64],
    /// As many values.
    pub values: &'a [f64],
    /// Series of the block with the same number are known to have the same times: all of a target have, and
    /// what was made of them can be used again. 0 says nothing.
    pub times_number: u64,
}

/// What is done with a series.
pub type EachSeries<'a> = &'a mut dyn FnMut(Labels, Points<'_>) -> Result<(), Error>;

/// Reads a block on a thread that may wait, and collects what `of` makes of its series.
///
/// # Errors
/// Those of [`Block::read`].
pub(crate) async fn collected<T: Send + 'static>(
    block: Box<dyn Block>,
    of: impl Fn(Labels, Points<'_>) -> Option<T> + Send + 'static,
) -> Result<Vec<T>, Error> {
    let read = move || {
        let mut all = Vec::new();
        block.read(&mut |labels, points| {
            all.extend(of(labels, points));
            Ok(())
        })?;
        Ok(all)
    };
    tokio::task::spawn_blocking(read).await.map_err(|e| Error::Internal(e.to_string()))?
}

/// The series of a selector, block by block.
pub type Blocks = BoxStream<'static, Result<Box<dyn Block>, Error>>;

/// Series in a block that is in memory already.
const SERIES_PER_BLOCK: usize = 64;

/// Series that have been read, as blocks.
#[must_use]
pub fn blocks_of(series: Vec<Series>) -> Blocks {
    struct Read(Vec<Series>);
    impl Block for Read {
        fn read(self: Box<Self>, each: EachSeries<'_>) -> Result<(), Error> {
            self.0.into_iter().try_for_each(|one| {
                let (times, values): (Vec<i64>, Vec<f64>) = one.samples.into_iter().unzip();
                each(one.labels, Points { times: &times, values: &values, times_number: 0 })
            })
        }
    }
    stream::iter(series)
        .ready_chunks(SERIES_PER_BLOCK)
        .map(|series| Ok(Box::new(Read(series)) as Box<dyn Block>))
        .boxed()
}

/// A store of series.
#[async_trait]
pub trait Source: Send + Sync {
    /// Raw samples with times in `(after, until]`, milliseconds. A metric whose rows are deltas is
    /// given as a counter that restarts at UTC midnight.
    async fn series(
        &self,
        selector: &Selector,
        after: i64,
        until: i64,
    ) -> Result<Vec<Series>, Error>;

    /// The same as [`Source::series`] without holding all of it: each series once, in any order.
    async fn blocks(&self, selector: &Selector, after: i64, until: i64) -> Result<Blocks, Error> {
        Ok(blocks_of(self.series(selector, after, until).await?))
    }

    /// Sums of deltas by group, or `None` when the selector's metric does not consist of deltas (or is
    /// not given by equality): the caller then computes the window from [`Source::series`]. A group
    /// has a value at a step only if at least one row of it ends in the window.
    async fn window_sums(
        &self,
        selector: &Selector,
        window: &Window,
        steps: &Steps,
        grouping: &Grouping,
    ) -> Result<Option<Vec<StepSeries>>, Error>;
}
