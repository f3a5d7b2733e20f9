//! Evaluation: every node of the tree yields its values for all evaluation times at once.
//!
//! Only leaves wait (for the [`Source`]); everything above them is plain computation in
//! [`super::functions`], [`super::aggregate`] and [`super::binary`]. Dropping the future ends the
//! query at its next leaf, [`Stop`] at its next node or window.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::{BoxFuture, try_join};
use parking_lot::Mutex;

use super::error::Error;
use super::expr::{Aggregate, At, Binary, Call, Expr, Kind, Pick, Subquery, When};
use super::functions::{self, Function};
use super::info;
use super::notes::Notes;
use super::number::seconds;
use super::plan::{self, Sums};
use super::source::{Selector, Series, Source, StepSeries, Steps, Window};
use super::stop::Stop;
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
    /// Most samples and values that the query may touch.
    pub(crate) max_samples: usize,
    /// How many it has touched.
    pub(crate) touched: AtomicUsize,
    /// Whether anybody still waits for the answer.
    pub(crate) stop: Stop,
    /// Remarks so far.
    pub(crate) notes: Mutex<Notes>,
}

/// Samples seen in windows that weigh as much as one value: each is read once and nothing is kept.
const VIEWED_PER_VALUE: usize = 100;

/// Which part of its samples an instant selector yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Yield {
    Value,
    /// Seconds since the Unix epoch.
    Time,
}

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
            if let Data::Vector(series) = &data {
                self.touch(series.len().saturating_mul(steps.len()))?;
            }
            Ok(data)
        }
        .boxed()
    }

    async fn node(&self, expr: &Expr, steps: Steps) -> Result<Data, Error> {
        match expr {
            Expr::Number(value) => Ok(Data::Scalar(vec![*value; steps.len()])),
            Expr::Text(text) => Ok(Data::Text(text.clone())),
            Expr::Instant(pick) => {
                Ok(Data::Vector(self.instant(pick, &steps, Yield::Value).await?))
            }
            Expr::Range(pick, range) => Ok(Data::Matrix(self.windows(pick, *range, &steps).await?)),
            Expr::Subquery(subquery) => Ok(Data::Matrix(self.subquery(subquery, &steps).await?)),
            Expr::Negate(inner) => match self.eval(inner, steps).await? {
                Data::Scalar(values) => Ok(Data::Scalar(values.iter().map(|v| -v).collect())),
                Data::Vector(series) => Ok(Data::Vector(negated(series)?)),
                other => Ok(other),
            },
            Expr::Keep(inner) => self.eval(inner, steps).await,
            Expr::Binary(operation) => self.binary(operation, steps).await,
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, steps).await,
            Expr::Call(call) => self.call(call, steps).await,
        }
    }

    async fn binary(&self, operation: &Binary, steps: Steps) -> Result<Data, Error> {
        let sides =
            try_join(self.eval(&operation.lhs, steps), self.eval(&operation.rhs, steps)).await?;
        binary::apply(operation, sides.0, sides.1, steps.len())
    }

    async fn aggregate(&self, aggregate: &Aggregate, steps: Steps) -> Result<Data, Error> {
        let param = match &aggregate.param {
            Some(param) => Some(self.eval(param, steps).await?),
            None => None,
        };
        match self.eval(&aggregate.expr, steps).await? {
            Data::Vector(series) => {
                let out =
                    aggregate::apply(aggregate, param.as_ref(), series, steps.len(), &self.notes)?;
                Ok(Data::Vector(out))
            }
            _ => Err(Error::Internal("aggregation of something but a vector".to_owned())),
        }
    }

    async fn call(&self, call: &Call, steps: Steps) -> Result<Data, Error> {
        if let (Function::Timestamp, [Expr::Instant(pick)]) = (&call.function, call.args.as_slice())
        {
            let times = self.instant(pick, &steps, Yield::Time).await?;
            return Ok(Data::Vector(vector::map(times, |_, time| Some(time))?));
        }
        if let Function::Info = call.function {
            return info::evaluate(self, call, steps).await;
        }
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            let arg = self.eval(arg, steps).await?;
            if let Data::Matrix(windows) = &arg {
                self.touch(windows.views(&steps) / VIEWED_PER_VALUE)?;
            }
            args.push(arg);
        }
        functions::apply(call, args, &steps, &self.notes, &|values| self.touch(values))
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
                for value in one.values.iter_mut().flatten() {
                    *value /= factor;
                }
            }
            if asked.len() != steps.len() {
                let value = one.values.first().copied().flatten();
                one.values = vec![value; steps.len()];
            }
        }
        vector::drop_empty(&mut series);
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Some(series))
    }

    /// The latest sample of each series within the lookback of each evaluation time.
    async fn instant(
        &self,
        pick: &Pick,
        steps: &Steps,
        what: Yield,
    ) -> Result<Vec<StepSeries>, Error> {
        let frame =
            Frame { range: self.lookback, offset: pick.when.offset, at: self.at(pick.when) };
        let series = self.load(&pick.selector, frame, steps).await?;
        let windows = Windows { series, frame, stop: self.stop.clone() };
        // In Prometheus `timestamp` forgets `offset` beside `@`, but not which samples were read for
        // both: what it sees lies within the lookback of both times.
        let seen = match (what, frame.at) {
            (Yield::Time, Some(at)) => Some((at.saturating_sub(self.lookback), at)),
            _ => None,
        };
        let mut out = Vec::with_capacity(windows.series.len());
        for series in &windows.series {
            let mut values = vec![None; steps.len()];
            windows.each(series, steps, |step, view| {
                let last = match seen {
                    Some((after, until)) => view
                        .samples
                        .iter()
                        .rfind(|(time, _)| *time <= until)
                        .filter(|(time, _)| *time > after),
                    None => view.samples.last(),
                };
                let last = last.filter(|(_, value)| !is_stale(*value));
                if let (Some(place), Some((time, value))) = (values.get_mut(step), last) {
                    *place = Some(if what == Yield::Time { seconds(*time) } else { *value });
                }
            });
            out.push(StepSeries { labels: series.labels.clone(), values });
        }
        self.stop.check()?;
        vector::drop_empty(&mut out);
        Ok(out)
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
                    .zip(one.values)
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
        let mut series = self.source.series(selector, after, until).await?;
        self.touch(series.iter().map(|one| one.samples.len()).sum())?;
        self.check_room(series.len().saturating_mul(steps.len()))?;
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
                self.touch(series.len().saturating_mul(steps))?;
                for one in &mut series {
                    one.values = vec![one.values.first().copied().flatten(); steps];
                }
                Ok(Data::Vector(series))
            }
            other => Ok(other),
        }
    }

    /// Counts samples and values against the limit.
    pub(crate) fn touch(&self, samples: usize) -> Result<(), Error> {
        self.check_room(samples)?;
        self.touched.fetch_add(samples, Ordering::Relaxed);
        Ok(())
    }

    /// Refuses to make room for so many values if they would exceed the limit.
    fn check_room(&self, samples: usize) -> Result<(), Error> {
        let before = self.touched.load(Ordering::Relaxed);
        if before.saturating_add(samples) > self.max_samples {
            return Err(Error::Execution(format!(
                "query processing would load too many samples into memory in query execution \
                 (limit: {})",
                self.max_samples
            )));
        }
        Ok(())
    }
}

/// Negates every value and drops the metric names.
fn negated(mut series: Vec<StepSeries>) -> Result<Vec<StepSeries>, Error> {
    for one in &mut series {
        one.labels = one.labels.nameless();
        one.values.iter_mut().flatten().for_each(|value| *value = -*value);
    }
    vector::unique(series.iter().map(|one| &one.labels))?;
    Ok(series)
}
