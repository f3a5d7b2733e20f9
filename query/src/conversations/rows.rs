//! Rows of a period, read once, and what is made of them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, cast as cast_to};
use datafusion::physical_plan::execute_stream_partitioned;
use datafusion::prelude::{DataFrame, SessionContext, ident, lit};
use futures::TryStreamExt;
use tokio::task::JoinSet;

use super::counts::{Counter, Into};
use super::gather::{COST_OF, Gather, histogram_columns};
use super::groups::{Groups, Side};
use super::measure::{Histogram, Input};
use crate::error::{Error, ErrorKind};
use crate::flows::fetch::ends_within;
use crate::flows::tiers::Span;
use crate::prices::COST;

/// The rows of one end of conversations.
pub(super) struct End {
    /// What they are grouped by.
    pub(super) by: Vec<&'static str>,
    /// Places among the inputs of the numbers that this end tells.
    pub(super) places: Vec<usize>,
    /// Which rows are of it.
    pub(super) filters: Vec<Expr>,
    /// Those that are added up over all rows.
    pub(super) histograms: Vec<Histogram>,
}

/// See the module's text.
pub(super) struct Rows {
    /// Labels, then numbers, what says which rows are of which end, and two columns for each histogram.
    columns: Vec<Expr>,
    labels: usize,
    filters: Vec<Expr>,
    sides: Vec<Side>,
    histograms: Vec<Histogram>,
}

impl Rows {
    /// Those of one end, or of both at once.
    ///
    /// # Errors
    /// A function is missing: a defect.
    pub(super) fn of(
        session: &SessionContext,
        ends: &[End],
        inputs: &[Input],
    ) -> Result<Self, Error> {
        let mut labels: Vec<&'static str> = Vec::new();
        for name in ends.iter().flat_map(|end| &end.by) {
            if !labels.contains(name) {
                labels.push(name);
            }
        }
        let place = |name: &&str| labels.iter().position(|label| label == name);
        let mut columns: Vec<Expr> = labels.iter().map(|name| ident(*name)).collect();
        let mut sides = Vec::with_capacity(ends.len());
        for end in ends {
            let mut numbers = Vec::with_capacity(end.places.len());
            for at in &end.places {
                let Some(input) = inputs.get(*at) else { continue };
                numbers.push((*at, columns.len()));
                columns.push(value(*input, session)?);
            }
            let labels = end.by.iter().filter_map(place).collect();
            sides.push(Side { labels, numbers, histograms: Vec::new(), counts: None });
        }
        let mut filters = Vec::new();
        match ends {
            [end] => filters.clone_from(&end.filters),
            _ => {
                for (end, side) in ends.iter().zip(&mut sides) {
                    side.counts = Some(columns.len());
                    let all = conjunction(end.filters.iter().cloned());
                    columns.push(all.unwrap_or_else(|| lit(true)));
                }
            }
        }
        let mut histograms = Vec::new();
        for (end, side) in ends.iter().zip(&mut sides) {
            for histogram in &end.histograms {
                side.histograms.push((*histogram, [columns.len(), columns.len() + 1]));
                columns.extend(histogram_columns(&[*histogram]).map(ident));
                histograms.push(*histogram);
            }
        }
        let named = |(at, column): (usize, Expr)| column.alias(format!("column_{at}"));
        let columns = columns.into_iter().enumerate().map(named).collect();
        Ok(Self { columns, labels: labels.len(), filters, sides, histograms })
    }

    async fn plan(&self, session: &SessionContext, span: &Span) -> Result<DataFrame, Error> {
        let filters = std::iter::once(ends_within(span.after, span.until));
        let filters = filters.chain(self.filters.iter().cloned());
        let mut frame = session.table(span.table).await?;
        if let Some(filter) = conjunction(filters) {
            frame = frame.filter(filter)?;
        }
        Ok(frame.select(self.columns.clone())?)
    }

    /// Adds them to groups; those of one part of the plan are put together beside those of the others.
    ///
    /// # Errors
    /// The query fails, or there are more groups than there is memory.
    pub(super) async fn add(
        &self,
        gather: &Gather<'_>,
        spans: &[Span],
        groups: &mut Groups,
    ) -> Result<(), Error> {
        for span in spans {
            let each = || {
                let (labels, sides, mut walks) = (self.labels, self.sides.clone(), Vec::new());
                let add = move |part: &mut Groups, batch: &RecordBatch| {
                    part.add(batch, labels, &sides, &mut walks)
                };
                (groups.none_alike(), add)
            };
            for part in in_parts(gather, self.plan(gather.session, span).await?, each).await? {
                groups.absorb(part)?;
            }
        }
        Ok(())
    }

    /// Counts the histograms of groups that are known.
    ///
    /// # Errors
    /// The query fails, or there are more histograms than there is memory.
    pub(super) async fn count(
        &self,
        gather: &Gather<'_>,
        spans: &[Span],
        groups: &mut Arc<Groups>,
        into: &Arc<Into>,
    ) -> Result<(), Error> {
        for span in spans {
            let each = || {
                let histograms = self.histograms.clone();
                let add = move |counter: &mut Counter, batch: &RecordBatch| {
                    counter.add(batch, &histograms)
                };
                (Counter::new(groups, into), add)
            };
            let counters = in_parts(gather, self.plan(gather.session, span).await?, each).await?;
            let counted: Vec<_> = counters.into_iter().map(Counter::finish).collect();
            let own = Arc::get_mut(groups);
            let own = own.ok_or_else(|| Error::new(ErrorKind::Internal, "groups are in use"))?;
            counted.into_iter().try_for_each(|counted| own.take(counted))?;
        }
        Ok(())
    }
}

/// Reads all parts of a plan at the same time, each with a state of its own, and returns those.
async fn in_parts<S, A>(
    gather: &Gather<'_>,
    rows: DataFrame,
    mut each: impl FnMut() -> (S, A),
) -> Result<Vec<S>, Error>
where
    S: Send + 'static,
    A: FnMut(&mut S, &RecordBatch) -> Result<(), Error> + Send + 'static,
{
    let plan = rows.create_physical_plan().await?;
    let mut parts = JoinSet::new();
    for mut rows in execute_stream_partitioned(plan, gather.session.task_ctx())? {
        let ((mut state, mut add), stop) = (each(), gather.stop.clone());
        parts.spawn(async move {
            while let Some(batch) = rows.try_next().await? {
                stop.check()?;
                add(&mut state, &batch)?;
            }
            Ok::<_, Error>(state)
        });
    }
    let mut states = Vec::with_capacity(parts.len());
    while let Some(part) = parts.join_next().await {
        let failed = |e| Error::new(ErrorKind::Internal, format!("query failed: {e}"));
        states.push(part.map_err(failed)??);
    }
    Ok(states)
}

/// An input's number of one row.
fn value(input: Input, session: &SessionContext) -> Result<Expr, Error> {
    let number = match input {
        Input::Sum(column) | Input::Server(column) | Input::Largest(column) => ident(column),
        Input::Cost => {
            let [crossing, service, sent, received] = COST_OF;
            let text = |name| cast_to(ident(name), DataType::Utf8View);
            let arguments = vec![text(crossing), text(service), ident(sent), ident(received)];
            session.udf(COST)?.call(arguments)
        }
    };
    Ok(cast_to(number, DataType::Int64))
}
