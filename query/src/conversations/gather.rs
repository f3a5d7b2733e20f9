//! Sums by group, over all parts of a period.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, cast as cast_to};
use datafusion::physical_plan::execute_stream_partitioned;
use datafusion::prelude::{DataFrame, SessionContext, ident};
use futures::TryStreamExt;
use tokio::task::JoinSet;

use super::counts::{Counter, Into};
use super::ends::{counted, of_the_other_end};
use super::groups::Groups;
use super::measure::{Histogram, Input};
use super::question::Question;
use crate::error::{Error, ErrorKind};
use crate::flows::catalog::Period;
use crate::flows::fetch::ends_within;
use crate::flows::tiers::{Span, Tiers};
use crate::prices::COST;
use crate::promql::Stop;

const COST_OF: [&str; 4] = ["crossing", "peer_cloud_service", "tx_bytes", "rx_bytes"];

/// What one aggregate over each part of a period gives.
pub(super) struct Aggregate<'a> {
    pub(super) by: Vec<Expr>,
    pub(super) filters: &'a [Expr],
    pub(super) values: Vec<Expr>,
}

impl Aggregate<'_> {
    /// Runs it over each part; `take` gets the batches.
    pub(super) async fn run(
        &self,
        session: &SessionContext,
        spans: &[Span],
        stop: &Stop,
        mut take: impl FnMut(&RecordBatch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for span in spans {
            let filters = std::iter::once(ends_within(span.after, span.until));
            let filters = filters.chain(self.filters.iter().cloned());
            let mut frame = session.table(span.table).await?;
            if let Some(filter) = conjunction(filters) {
                frame = frame.filter(filter)?;
            }
            let frame = frame.aggregate(self.by.clone(), self.values.clone())?;
            let mut stream = frame.execute_stream().await?;
            while let Some(batch) = stream.try_next().await? {
                stop.check()?;
                take(&batch)?;
            }
        }
        Ok(())
    }
}

/// What one aggregate, made here, adds up: see [`super::keys`] for why it is.
struct Rows<'a> {
    by: Vec<&'static str>,
    filters: &'a [Expr],
    inputs: &'a [Input],
    /// Which of the inputs.
    places: Vec<usize>,
    /// Those that are added up over all rows.
    histograms: &'a [Histogram],
}

impl Rows<'_> {
    /// Labels and numbers of the rows of one part of a period.
    async fn plan(&self, session: &SessionContext, span: &Span) -> Result<DataFrame, Error> {
        let filters = std::iter::once(ends_within(span.after, span.until));
        let filters = filters.chain(self.filters.iter().cloned());
        let mut frame = session.table(span.table).await?;
        if let Some(filter) = conjunction(filters) {
            frame = frame.filter(filter)?;
        }
        let labels = self.by.iter().enumerate();
        let mut columns: Vec<Expr> =
            labels.map(|(at, name)| ident(*name).alias(format!("label_{at}"))).collect();
        for place in &self.places {
            let Some(input) = self.inputs.get(*place) else { continue };
            columns.push(value(*input, session)?.alias(format!("number_{place}")));
        }
        columns.extend(histogram_columns(self.histograms).map(ident));
        Ok(frame.select(columns)?)
    }

    /// Adds them to groups; those of one part of the plan are put together beside those of the others.
    async fn add(
        &self,
        gather: &Gather<'_>,
        spans: &[Span],
        groups: &mut Groups,
    ) -> Result<(), Error> {
        let numbers = self.by.len() + self.places.len();
        for span in spans {
            let each = || {
                let (part, places) = (groups.none_alike(), self.places.clone());
                let histograms = self.histograms.to_vec();
                (part, move |part: &mut Groups, batch: &RecordBatch| {
                    part.add(batch, &places)?;
                    part.add_to_all(batch.columns().get(numbers..).unwrap_or(&[]), &histograms)
                })
            };
            for part in in_parts(gather, self.plan(gather.session, span).await?, each).await? {
                groups.absorb(part)?;
            }
        }
        Ok(())
    }

    /// Counts the histograms of groups that are known.
    async fn count(
        &self,
        gather: &Gather<'_>,
        spans: &[Span],
        groups: &mut Arc<Groups>,
        into: &Arc<Into>,
    ) -> Result<(), Error> {
        for span in spans {
            let each = || {
                let histograms = self.histograms.to_vec();
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

/// The columns that inputs are made of.
pub(super) fn columns_of(inputs: &[Input]) -> impl Iterator<Item = &'static str> {
    inputs.iter().flat_map(|input| match input {
        Input::Sum(column) | Input::Server(column) | Input::Largest(column) => vec![*column],
        Input::Cost => COST_OF.to_vec(),
    })
}

/// One moment of the store, asked about conversations.
pub(crate) struct Gather<'a> {
    pub(crate) session: &'a SessionContext,
    pub(crate) tiers: Arc<Tiers>,
    pub(crate) stop: &'a Stop,
}

impl<'a> Gather<'a> {
    pub(crate) fn new(session: &'a SessionContext, stop: &'a Stop) -> Self {
        Self { session, tiers: Tiers::of(session), stop }
    }

    /// The labels of a question's filters and groups, in the columns of rows.
    pub(super) fn labels(question: &Question) -> BTreeSet<&str> {
        let mut labels: BTreeSet<&str> = question.by.iter().copied().collect();
        labels.extend(["role", "peer_scope", "port", "peer_port"]);
        for matcher in question.selectors.iter().flat_map(|selector| &selector.matchers) {
            match super::ends::either(matcher) {
                // Both of them are columns, or the question would have been refused.
                Some((own, peer, _)) => {
                    let known = super::question::all_labels();
                    labels
                        .extend(known.into_iter().filter(|label| *label == own || *label == peer));
                }
                None => {
                    labels.insert(&matcher.name);
                }
            }
        }
        labels
    }

    fn no_groups(&self, labels: usize, inputs: Vec<Input>) -> Groups {
        Groups::new(labels, inputs, &self.session.runtime_env().memory_pool)
    }

    /// The parts of a period for what reads these columns.
    pub(super) fn spans(&self, columns: &BTreeSet<&str>, period: Period) -> Vec<Span> {
        self.tiers.split(columns, period, None)
    }

    /// Sums of a question's groups, the parts that they are of, and what is to be said of them. Of histograms only the sums of
    /// all rows.
    pub(crate) async fn groups(
        &self,
        question: &Question,
        histograms: &[Histogram],
        notes: &mut BTreeSet<String>,
    ) -> Result<(Groups, Vec<Span>), Error> {
        let mut inputs: Vec<Input> = Vec::new();
        for input in question.measures.iter().flat_map(|measure| measure.inputs()) {
            if !inputs.contains(&input) {
                inputs.push(input);
            }
        }
        if !inputs.iter().any(|input| !matches!(input, Input::Server(_))) {
            // Something has to tell which groups there are.
            inputs.push(Input::Sum("tx_bytes"));
        }
        let places = |server: bool| -> Vec<usize> {
            let is = |input: &Input| matches!(input, Input::Server(_)) == server;
            inputs.iter().enumerate().filter(|(_, input)| is(input)).map(|(at, _)| at).collect()
        };
        let (own, server) = (places(false), places(true));
        let mut columns = Self::labels(question);
        for column in columns_of(&inputs) {
            columns.insert(column);
        }
        for column in histogram_columns(histograms) {
            columns.insert(column);
        }
        let mut spans = self.spans(&columns, question.period);
        notes.extend(self.tiers.lost_in(&spans, &columns));
        let mut groups = self.no_groups(question.by.len(), inputs.clone());
        let (by, filters) = (question.by.clone(), counted(question));
        let rows = Rows { by, filters: &filters, inputs: &inputs, places: own, histograms };
        rows.add(self, &spans, &mut groups).await?;
        groups.one_without_labels();
        if server.is_empty() {
            return Ok((groups, spans));
        }
        let Some((filters, names)) = of_the_other_end(question) else {
            notes.insert(
                "the server's end does not know all of these labels: its numbers are left out"
                    .into(),
            );
            return Ok((groups, spans));
        };
        let mut columns: BTreeSet<&str> = columns;
        columns.extend(names.iter().copied());
        for matcher in question.selectors.iter().flat_map(|selector| &selector.matchers) {
            columns.extend(super::ends::turned(&matcher.name));
        }
        let other = self.spans(&columns, question.period);
        let rows =
            Rows { by: names, filters: &filters, inputs: &inputs, places: server, histograms: &[] };
        rows.add(self, &other, &mut groups).await?;
        spans.extend(other.into_iter().filter(|span| !spans.contains(span)).collect::<Vec<_>>());
        Ok((groups, spans))
    }

    /// Histograms of groups, added to those that `into` names for them. `shown` may leave out rows of others.
    pub(super) async fn histograms(
        &self,
        question: &Question,
        groups: &mut Arc<Groups>,
        into: Into,
        shown: &[Expr],
    ) -> Result<(), Error> {
        let histograms = question.histograms();
        let mut columns = Self::labels(question);
        for column in histogram_columns(&histograms) {
            columns.insert(column);
        }
        let spans = self.spans(&columns, question.period);
        let mut filters = counted(question);
        filters.extend(shown.iter().cloned());
        let (by, places) = (question.by.clone(), Vec::new());
        let rows = Rows { by, filters: &filters, inputs: &[], places, histograms: &histograms };
        rows.count(self, &spans, groups, &Arc::new(into)).await
    }
}

fn histogram_columns(histograms: &[Histogram]) -> impl Iterator<Item = &'static str> {
    histograms.iter().flat_map(|h| <[_; 2]>::from(h.columns()))
}
