//! Evaluation: every node of the tree yields its values for all evaluation times at once.
//!
//! Only leaves wait (for the [`Source`]); everything above them is plain computation in
//! [`super::functions`], [`super::aggregate`] and [`super::binary`]. Dropping the future ends the
//! query at its next leaf, [`Stop`] at its next node or window.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{BoxFuture, try_join};
use futures::{FutureExt, TryStreamExt};
use parking_lot::Mutex;

use super::aggregate::Fold;
use super::error::Error;
use super::expr::{Aggregate, At, Binary, Call, Expr, Kind, Pick, Subquery, When};
use super::functions::{self, Function, Windowed};
use super::info;
use super::notes::Notes;
use super::number::seconds;
use super::plan::{self, Sums};
use super::source::{Selector, Series, Source, StepSeries, Steps, Window, collected};
use super::stop::Stop;
use super::stream::{Ask, Unique, Work, Yield};
use super::values::Values;
use super::vector::Data;
use super::window::{Frame, Windows, is_stale};
use super::{aggregate, binary, vector};

/// One running query.
pub(crate) struct Evaluator<'a> {
    /// Where samples come from.
    pub(crate) source: &'a dyn Source,
    /// The query's own evaluation times; subqueries have others.
    pub(crate) steps: Steps,
    /// How far back an instant selector looks, milliseconds.
    pub(crate) lookback: i64,
    /// Resolution of subqueries that name none, milliseconds.
    pub(crate) subquery_step: i64,
    /// Most samples and values that the query may hold at a time.
    pub(crate) max_samples: usize,
    /// How many it holds.
    pub(crate) held: AtomicUsize,
    /// The most that it has held.
    pub(crate) peak: AtomicUsize,
    /// Samples that it has read.
    pub(crate) read: AtomicUsize,
    /// Whether anybody still waits for the answer.
    pub(crate) stop: Stop,
    /// Remarks so far.
    pub(crate) notes: Mutex<Notes>,
}

/// Samples seen in windows that weigh as much as one value: each is read once and nothing is kept.
const VIEWED_PER_VALUE: usize = 100;

impl Evaluator<'_> {
    /// Evaluates an expression.
    pub(crate) fn eval<'b>(
        &'b self,
        expr: &'b Expr,
        steps: Steps,
    ) -> BoxFuture<'b, Result<Data, Error>> {
        async move {
            let literal = matches!(expr, Expr::Number(_) | Expr::Text(_));
            if steps.len() > 1 && !literal && expr.kind() != Kind::Matrix && expr.is_constant() {
                let once = Steps { start: steps.start, end: steps.start, step: steps.step };
                return self.repeat(self.eval(expr, once).await?, steps.len());
            }
            self.stop.check()?;
            let data = match plan::sums(expr) {
                Some(sums) => match self.window_sums(&sums, &steps).await? {
                    Some(series) => Data::Vector(series),
                    None => self.node(expr, steps).await?,
                },
                None => self.node(expr, steps).await?,
            };
            self.stop.check()?;
            self.hold(data.values())?;
            Ok(data)
        }
        .boxed()
    }

    async fn node(&self, expr: &Expr, steps: Steps) -> Result<Data, Error> {
        match expr {
            Expr::Number(value) => Ok(Data::Scalar(vec![*value; steps.len()])),
            Expr::Text(text) => Ok(Data::Text(text.clone())),
            Expr::Instant(pick) => {
                Ok(Data::Vector(self.instant(pick, &steps, Yield::Value, Keep::all()).await?))
            }
            Expr::Range(pick, range) => Ok(Data::Matrix(self.windows(pick, *range, &steps).await?)),
            Expr::Subquery(subquery) => Ok(Data::Matrix(self.subquery(subquery, &steps).await?)),
            Expr::Negate(inner) => {
                let inner = self.eval(inner, steps).await?;
                self.release(inner.values());
                match inner {
                    Data::Scalar(values) => Ok(Data::Scalar(values.iter().map(|v| -v).collect())),
                    Data::Vector(series) => Ok(Data::Vector(negated(series)?)),
                    other => Ok(other),
                }
            }
            Expr::Keep(inner) => {
                let inner = self.eval(inner, steps).await?;
                self.release(inner.values());
                Ok(inner)
            }
            Expr::Binary(operation) => self.binary(operation, steps).await,
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, steps).await,
            Expr::Call(call) => self.call(call, steps).await,
        }
    }

    async fn binary(&self, operation: &Binary, steps: Steps) -> Result<Data, Error> {
        let sides =
            try_join(self.eval(&operation.lhs, steps), self.eval(&operation.rhs, steps)).await?;
        let held = sides.0.values() + sides.1.values();
        let result = binary::apply(operation, sides.0, sides.1, steps.len());
        self.release(held);
        result
    }

    async fn aggregate(&self, aggregate: &Aggregate, steps: Steps) -> Result<Data, Error> {
        let param = match &aggregate.param {
            Some(param) => Some(self.eval(param, steps).await?),
            None => None,
        };
        if let Some(fold) = Fold::new(aggregate.op, &aggregate.grouping, steps.len())
            && param.is_none()
            && let Some(series) = self.streamed(&aggregate.expr, &steps, Keep::folded(fold)).await?
        {
            return Ok(Data::Vector(series));
        }
        let inner = self.eval(&aggregate.expr, steps).await?;
        let held = inner.values() + param.as_ref().map_or(0, |param| param.values());
        let Data::Vector(series) = inner else {
            return Err(Error::Internal("aggregation of something but a vector".to_owned()));
        };
        let out = aggregate::apply(aggregate, param.as_ref(), series, steps.len(), &self.notes)?;
        self.release(held);
        Ok(Data::Vector(out))
    }

    /// The vector of an expression whose series are read one by one, or `None` if it is of another kind.
    async fn streamed(
        &self,
        expr: &Expr,
        steps: &Steps,
        keep: Keep,
    ) -> Result<Option<Vec<StepSeries>>, Error> {
        if steps.len() > 1 && expr.is_constant() {
            return Ok(None);
        }
        match expr {
            Expr::Instant(pick) => self.instant(pick, steps, Yield::Value, keep).await.map(Some),
            Expr::Call(call) if !matches!(call.function, Function::Absent) => {
                // What the source sums up by itself is asked for elsewhere.
                if let Some(sums) = plan::sums(expr)
                    && let Some(series) = self.window_sums(&sums, steps).await?
                {
                    return Ok(Some(keep.of(series)));
                }
                self.over_windows(call, steps, keep).await
            }
            _ => Ok(None),
        }
    }

    /// What a window function makes of a selector, or `None` if the call is of another kind.
    async fn over_windows(
        &self,
        call: &Call,
        steps: &Steps,
        keep: Keep,
    ) -> Result<Option<Vec<StepSeries>>, Error> {
        let selected = |arg: &Expr| matches!(arg, Expr::Range(..));
        let Some(Expr::Range(pick, range)) = call.args.iter().find(|arg| selected(arg)) else {
            return Ok(None);
        };
        if !Windowed::is_like(call) {
            return Ok(None);
        }
        let mut scalars = Vec::new();
        for arg in &call.args {
            if !selected(arg) {
                scalars.push(self.eval(arg, *steps).await?);
            }
        }
        let held = scalars.iter().map(|scalar| scalar.values()).sum();
        let function = Windowed::of(call, scalars)?;
        let frame = Frame { range: *range, offset: pick.when.offset, at: self.at(pick.when) };
        let ask = Ask::Function(function);
        let series = self.stream(&pick.selector, ask, frame, steps, Some(call), keep).await?;
        self.release(held);
        Ok(Some(series))
    }

    /// Reads a selector block by block.
    async fn stream(
        &self,
        selector: &Selector,
        ask: Ask,
        frame: Frame,
        steps: &Steps,
        call: Option<&Call>,
        mut keep: Keep,
    ) -> Result<Vec<StepSeries>, Error> {
        let (after, until) = frame.span(steps);
        let blocks = self.source.blocks(selector, after, until).await?;
        let work = Work { ask, frame, steps: *steps, stop: self.stop.clone() };
        let mut unique = Unique::new(!work.ask.keeps_name() && selector.metric.is_none());
        work.run(blocks, |done| {
            self.read.fetch_add(done.samples, Ordering::Relaxed);
            if let (Ask::Function(function), Some(call)) = (&work.ask, call) {
                function.note(call, &done.metrics, &done.windows, &self.notes)?;
            }
            unique.check(&done.series)?;
            keep.add(done.series);
            self.check_room(keep.values(steps))
        })
        .await?;
        Ok(keep.finish())
    }

    async fn call(&self, call: &Call, steps: Steps) -> Result<Data, Error> {
        if let (Function::Timestamp, [Expr::Instant(pick)]) = (&call.function, call.args.as_slice())
        {
            let times = self.instant(pick, &steps, Yield::Time, Keep::all()).await?;
            return Ok(Data::Vector(vector::map(times, |_, time| Some(time))?));
        }
        if let Function::Info = call.function {
            return info::evaluate(self, call, steps).await;
        }
        let mut args = Vec::with_capacity(call.args.len());
        let mut held = 0;
        match self.over_windows(call, &steps, Keep::all()).await? {
            Some(present) if matches!(call.function, Function::Absent) => {
                args.push(Data::Vector(present));
            }
            Some(series) => return Ok(Data::Vector(series)),
            None => {
                for arg in &call.args {
                    let arg = self.eval(arg, steps).await?;
                    held += arg.values();
                    if let Data::Matrix(windows) = &arg {
                        self.check_room(windows.views(&steps) / VIEWED_PER_VALUE)?;
                    }
                    args.push(arg);
                }
            }
        }
        let result = functions::apply(call, args, &steps, &self.notes, &|values| self.hold(values));
        self.release(held);
        result
    }

    /// The store's own sums, or `None` when it has no deltas of that metric.
    async fn window_sums(
        &self,
        sums: &Sums<'_>,
        steps: &Steps,
    ) -> Result<Option<Vec<StepSeries>>, Error> {
        if sums.pick.selector.metric.is_none() {
            return Ok(None);
        }
        let at = self.at(sums.pick.when);
        let asked = at.map_or(*steps, |at| Steps { start: at, end: at, step: steps.step });
        let window = Window { range: sums.range, offset: sums.pick.when.offset, at: None };
        let answer =
            self.source.window_sums(&sums.pick.selector, &window, &asked, &sums.grouping).await?;
        let Some(mut series) = answer else { return Ok(None) };
        let factor = if sums.per_second { seconds(sums.range) } else { 1.0 };
        for one in &mut series {
            if one.values.len() != asked.len() {
                return Err(Error::Internal(format!(
                    "store answered {} values for {} evaluation times",
                    one.values.len(),
                    asked.len()
                )));
            }
            if sums.per_second {
                one.values.update(|_, value| Some(value / factor));
            }
            if asked.len() != steps.len() {
                one.values = Values::repeated(one.values.first(), steps.len());
            }
        }
        vector::drop_empty(&mut series);
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        // What the store summed up is its own; what it gave was read.
        let sums = series.iter().map(|one| one.values.present().count()).sum();
        self.read.fetch_add(sums, Ordering::Relaxed);
        Ok(Some(series))
    }

    /// The latest sample of each series within the lookback of each evaluation time.
    async fn instant(
        &self,
        pick: &Pick,
        steps: &Steps,
        what: Yield,
        keep: Keep,
    ) -> Result<Vec<StepSeries>, Error> {
        let frame =
            Frame { range: self.lookback, offset: pick.when.offset, at: self.at(pick.when) };
        // In Prometheus `timestamp` forgets `offset` beside `@`, but not which samples were read for
        // both: what it sees lies within the lookback of both times.
        let seen = match (what, frame.at) {
            (Yield::Time, Some(at)) => Some((at.saturating_sub(self.lookback), at)),
            _ => None,
        };
        let ask = Ask::Latest { what, seen };
        self.stream(&pick.selector, ask, frame, steps, None, keep).await
    }

    async fn windows(&self, pick: &Pick, range: i64, steps: &Steps) -> Result<Windows, Error> {
        let frame = Frame { range, offset: pick.when.offset, at: self.at(pick.when) };
        let mut series = self.load(&pick.selector, frame, steps).await?;
        for one in &mut series {
            one.samples.retain(|(_, value)| !is_stale(*value));
        }
        series.retain(|one| !one.samples.is_empty());
        Ok(Windows { series, frame, stop: self.stop.clone() })
    }

    async fn subquery(&self, subquery: &Subquery, steps: &Steps) -> Result<Windows, Error> {
        let frame = Frame {
            range: subquery.range,
            offset: subquery.when.offset,
            at: self.at(subquery.when),
        };
        let step = subquery.step.unwrap_or(self.subquery_step);
        let (after, until) = frame.span(steps);
        // The inner evaluation times are the multiples of the step in (after, until].
        let start = (after.div_euclid(step) + 1) * step;
        if start > until {
            return Ok(Windows { series: Vec::new(), frame, stop: self.stop.clone() });
        }
        let inner = Steps { start, end: until, step };
        self.check_room(inner.len())?;
        let Data::Vector(vector) = self.eval(&subquery.expr, inner).await? else {
            return Err(Error::BadData("subquery is only allowed on instant vector".to_owned()));
        };
        let mut series: Vec<Series> = vector
            .into_iter()
            .map(|one| Series {
                samples: inner
                    .iter()
                    .zip(one.values.iter())
                    .filter_map(|(time, value)| value.map(|value| (time, value)))
                    .collect(),
                labels: one.labels,
            })
            .collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Windows { series, frame, stop: self.stop.clone() })
    }

    pub(crate) async fn load(
        &self,
        selector: &Selector,
        frame: Frame,
        steps: &Steps,
    ) -> Result<Vec<Series>, Error> {
        let (after, until) = frame.span(steps);
        let mut blocks = self.source.blocks(selector, after, until).await?;
        let (mut series, mut samples) = (Vec::new(), 0usize);
        while let Some(block) = blocks.try_next().await? {
            let block = collected(block, |labels, points| {
                let values = points.values.iter().copied();
                Some(Series { labels, samples: points.times.iter().copied().zip(values).collect() })
            });
            let block = block.await?;
            let of_block: usize = block.iter().map(|one| one.samples.len()).sum();
            self.read.fetch_add(of_block, Ordering::Relaxed);
            samples = samples.saturating_add(of_block);
            series.extend(block);
            // Asked of each block: all of them together might not fit.
            self.check_room(samples.saturating_add(series.len().saturating_mul(steps.len())))?;
        }
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(series)
    }

    /// The time that `@` names.
    pub(crate) fn at(&self, when: When) -> Option<i64> {
        when.at.map(|at| match at {
            At::Start => self.steps.start,
            At::End => self.steps.end,
            At::Time(time) => time,
        })
    }

    /// Gives a value computed once to all evaluation times.
    fn repeat(&self, data: Data, steps: usize) -> Result<Data, Error> {
        match data {
            Data::Scalar(values) => {
                Ok(Data::Scalar(vec![values.first().copied().unwrap_or(f64::NAN); steps]))
            }
            Data::Vector(mut series) => {
                self.hold(series.len().saturating_mul(steps.saturating_sub(1)))?;
                for one in &mut series {
                    one.values = Values::repeated(one.values.first(), steps);
                }
                Ok(Data::Vector(series))
            }
            other => Ok(other),
        }
    }

    /// Counts samples and values that are held from now on.
    pub(crate) fn hold(&self, samples: usize) -> Result<(), Error> {
        self.check_room(samples)?;
        let before = self.held.fetch_add(samples, Ordering::Relaxed);
        self.peak.fetch_max(before.saturating_add(samples), Ordering::Relaxed);
        Ok(())
    }

    /// Counts samples and values that are held no more.
    fn release(&self, samples: usize) {
        self.held.fetch_sub(samples, Ordering::Relaxed);
    }

    /// Refuses to make room for so many values if they would exceed the limit.
    fn check_room(&self, samples: usize) -> Result<(), Error> {
        let before = self.held.load(Ordering::Relaxed);
        if before.saturating_add(samples) > self.max_samples {
            return Err(Error::Execution(format!(
                "query processing would load too many samples into memory in query execution \
                 (limit: {}); narrow its time range, use a longer step or match fewer series",
                self.max_samples
            )));
        }
        Ok(())
    }
}

/// What becomes of series that are read one by one.
enum Keep {
    /// All are kept; how many values that is.
    All(Vec<StepSeries>, usize),
    /// They are aggregated at once.
    Folded(Fold),
}

impl Keep {
    fn all() -> Self {
        Self::All(Vec::new(), 0)
    }

    fn folded(fold: Fold) -> Self {
        Self::Folded(fold)
    }

    fn add(&mut self, series: Vec<StepSeries>) {
        match self {
            Self::All(kept, values) => {
                *values = values.saturating_add(vector::held(&series));
                kept.extend(series);
            }
            Self::Folded(fold) => series.iter().for_each(|one| fold.add(one)),
        }
    }

    /// Values that are held so far.
    fn values(&self, steps: &Steps) -> usize {
        match self {
            Self::All(_, values) => *values,
            Self::Folded(fold) => fold.len().saturating_mul(steps.len()),
        }
    }

    fn of(mut self, series: Vec<StepSeries>) -> Vec<StepSeries> {
        self.add(series);
        self.finish()
    }

    fn finish(self) -> Vec<StepSeries> {
        match self {
            Self::All(mut kept, _) => {
                kept.sort_by(|a, b| a.labels.cmp(&b.labels));
                kept
            }
            Self::Folded(fold) => fold.finish(),
        }
    }
}

/// Negates every value and drops the metric names.
fn negated(mut series: Vec<StepSeries>) -> Result<Vec<StepSeries>, Error> {
    for one in &mut series {
        one.labels = one.labels.nameless();
        one.values.update(|_, value| Some(-value));
    }
    vector::unique(series.iter().map(|one| &one.labels))?;
    Ok(series)
}
