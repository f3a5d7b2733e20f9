//! The engine's face: a query in, an answer out.

use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;

use super::error::Error;
use super::eval::Evaluator;
use super::expr::{Expr, Kind};
use super::notes::Notes;
use super::parse;
use super::source::{Series, Source, StepSeries, Steps};
use super::stop::Stop;
use super::vector::Data;

/// Most evaluation times of one query; as in Prometheus.
const MAX_STEPS: i64 = 11_000;
/// Times further from the epoch than this are refused, milliseconds.
const MAX_TIME: i64 = i64::MAX / 4;

/// Evaluates PromQL over a [`Source`].
#[derive(Debug, Clone)]
pub struct Engine {
    /// How far back an instant selector looks for a sample, milliseconds; positive.
    pub lookback_ms: i64,
    /// Resolution of subqueries that give none, milliseconds; positive.
    pub subquery_step_ms: i64,
    /// Most samples and values that one query holds at a time, 16 and 8 bytes each. What is read and not kept
    /// does not count.
    pub max_samples: usize,
}

/// Prometheus' 5 minutes, 1 minute and 50 million samples.
impl Default for Engine {
    fn default() -> Self {
        Self { lookback_ms: 300_000, subquery_step_ms: 60_000, max_samples: 50_000_000 }
    }
}

/// A query.
#[derive(Debug, Clone)]
pub struct Query {
    /// The expression.
    pub expr: String,
    /// When it is evaluated.
    pub steps: Steps,
    /// Whether it is an instant query: one time, any kind of value, order kept.
    pub instant: bool,
    /// Replaces the engine's lookback, milliseconds; positive.
    pub lookback_ms: Option<i64>,
}

/// What a query evaluates to.
#[derive(Debug, Clone)]
pub enum Value {
    /// One number for each evaluation time.
    Scalar(Vec<f64>),
    /// A string.
    Str(String),
    /// An instant vector: of an instant query in the expression's own order (`sort`, `topk`), of a
    /// range query sorted by labels.
    Vector(Vec<StepSeries>),
    /// A range vector; of instant queries only.
    Matrix(Vec<Series>),
}

/// The answer to a query.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// The answer is probably not what was meant, and why.
    pub warnings: Vec<String>,
    /// Worth knowing about the answer.
    pub infos: Vec<String>,
    /// Samples read for it.
    pub samples: usize,
    /// Most samples and values that were held at a time.
    pub peak: usize,
}

/// An expression that has been read and checked.
#[derive(Debug, Clone)]
pub struct Parsed {
    expr: Expr,
}

impl Engine {
    /// Reads and checks an expression without evaluating it.
    ///
    /// # Errors
    /// [`Error::BadData`] if it is not well formed.
    pub fn parse(expr: &str) -> Result<Parsed, Error> {
        Ok(Parsed { expr: parse::parse(expr)? })
    }

    /// Reads and checks a query without evaluating it.
    ///
    /// # Errors
    /// [`Error::BadData`] for a malformed expression or times, [`Error::Execution`] if it calls a
    /// function that is not supported.
    pub fn check(&self, query: &Query) -> Result<Parsed, Error> {
        check_steps(query)?;
        let parsed = Self::parse(&query.expr)?;
        let kind = parsed.expr.kind();
        if !query.instant && matches!(kind, Kind::Matrix | Kind::Text) {
            let kind = if kind == Kind::Text { "string" } else { "range vector" };
            return Err(Error::BadData(format!(
                "invalid parameter \"query\": invalid expression type \"{kind}\" for range query, must \
                 be Scalar or instant Vector"
            )));
        }
        Ok(parsed)
    }

    /// Evaluates a query. Dropping the future gives it up.
    ///
    /// # Errors
    /// [`Error::BadData`] for a malformed expression or times, [`Error::Execution`] when the
    /// expression has no answer over these series or exceeds a limit, and what the source returns.
    pub async fn evaluate(&self, source: &dyn Source, query: &Query) -> Result<Answer, Error> {
        self.evaluate_until(source, query, &Stop::default()).await
    }

    /// Evaluates a query until it is told to stop, also while it computes.
    ///
    /// # Errors
    /// Those of [`Engine::evaluate`], and [`Error::Timeout`] when it was stopped.
    pub async fn evaluate_until(
        &self,
        source: &dyn Source,
        query: &Query,
        stop: &Stop,
    ) -> Result<Answer, Error> {
        let Parsed { expr } = self.check(query)?;
        let lookback = query.lookback_ms.filter(|ms| *ms > 0).unwrap_or(self.lookback_ms);
        let evaluator = Evaluator {
            source,
            steps: query.steps,
            lookback,
            subquery_step: self.subquery_step_ms,
            max_samples: self.max_samples,
            held: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            stop: stop.clone(),
            notes: Mutex::new(Notes::on(&query.expr)),
        };
        let data = evaluator.eval(&expr, query.steps).await?;
        let (samples, peak) = (evaluator.read.into_inner(), evaluator.peak.into_inner());
        let (warnings, infos) = evaluator.notes.into_inner().into_lists();
        let value = value(data, query);
        // Windows that were given up half way are no answer.
        stop.check()?;
        Ok(Answer { value, warnings, infos, samples, peak })
    }
}

fn check_steps(query: &Query) -> Result<(), Error> {
    let Steps { start, end, step } = query.steps;
    let bad = |message: &str| Err(Error::BadData(message.to_owned()));
    if step <= 0 {
        return bad(
            "invalid parameter \"step\": zero or negative query resolution step widths are not \
             accepted. Try a positive integer",
        );
    }
    if end < start {
        return bad("invalid parameter \"end\": end timestamp must not be before start time");
    }
    if start.checked_abs().is_none_or(|t| t > MAX_TIME)
        || end.checked_abs().is_none_or(|t| t > MAX_TIME)
    {
        return bad("evaluation time out of range");
    }
    if (end - start) / step > MAX_STEPS {
        return bad(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query \
             resolution (?step=XX)",
        );
    }
    Ok(())
}

fn value(data: Data, query: &Query) -> Value {
    match data {
        Data::Scalar(values) => Value::Scalar(values),
        Data::Text(text) => Value::Str(text),
        Data::Vector(mut series) => {
            if !query.instant {
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
            Value::Vector(series)
        }
        Data::Matrix(windows) => Value::Matrix(
            windows
                .series
                .iter()
                .filter_map(|series| {
                    let mut samples = Vec::new();
                    windows.each(series, &query.steps, |_, view| samples.extend(view.samples));
                    let labels = series.labels.clone();
                    (!samples.is_empty()).then_some(Series { labels, samples })
                })
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests;
