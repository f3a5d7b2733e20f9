//! Sums by group, over all parts of a period.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::functions_aggregate::expr_fn::{max, sum};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, cast as cast_to};
use datafusion::prelude::{SessionContext, ident};
use futures::TryStreamExt;

use super::ends::{counted, of_the_other_end};
use super::groups::{Groups, Which};
use super::measure::{Histogram, Input, Slots};
use super::question::Question;
use crate::error::Error;
use crate::flows::bucket_sum;
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

/// The sum, or what else, of an input's column.
fn value(input: Input, session: &SessionContext) -> Result<Expr, Error> {
    Ok(match input {
        Input::Sum(column) | Input::Server(column) => sum(ident(column)),
        Input::Largest(column) => max(ident(column)),
        Input::Cost => {
            let [crossing, service, sent, received] = COST_OF;
            let text = |name| cast_to(ident(name), DataType::Utf8View);
            let arguments = vec![text(crossing), text(service), ident(sent), ident(received)];
            sum(session.udf(COST)?.call(arguments))
        }
    })
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

    fn no_groups(&self, inputs: Vec<Input>) -> Groups {
        Groups::new(inputs, &self.session.runtime_env().memory_pool)
    }

    /// The parts of a period for what reads these columns.
    pub(super) fn spans(&self, columns: &BTreeSet<&str>, period: Period) -> Vec<Span> {
        self.tiers.split(columns, period, None)
    }

    /// Sums of a question's groups, the parts that they are of, and what is to be said of them.
    pub(crate) async fn groups(
        &self,
        question: &Question,
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
        let values = |places: &[usize]| -> Result<Vec<Expr>, Error> {
            let inputs = places.iter().filter_map(|at| inputs.get(*at));
            inputs.map(|input| value(*input, self.session)).collect()
        };
        let mut columns = Self::labels(question);
        for column in columns_of(&inputs) {
            columns.insert(column);
        }
        let spans = self.spans(&columns, question.period);
        notes.extend(self.tiers.lost_in(&spans, &columns));
        let mut groups = self.no_groups(inputs.clone());
        let labels = question.by.len();
        let by = |names: &[&'static str]| names.iter().map(|name| ident(*name)).collect();
        let filters = counted(question);
        let aggregate =
            Aggregate { by: by(&question.by), filters: &filters, values: values(&own)? };
        let add = |groups: &mut Groups, batch: &RecordBatch, places: &[usize]| {
            groups.add(batch, labels, places, &[], Which::Any)
        };
        // Without labels there is one group, also of no rows.
        let run =
            aggregate.run(self.session, &spans, self.stop, |batch| add(&mut groups, batch, &own));
        run.await?;
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
        let aggregate = Aggregate { by: by(&names), filters: &filters, values: values(&server)? };
        let run = aggregate
            .run(self.session, &other, self.stop, |batch| add(&mut groups, batch, &server));
        run.await?;
        Ok((groups, spans))
    }

    /// Counts of histograms, added to the groups that are wanted. All others count in the total alone, which is returned.
    /// `shown` may leave out what is none of them.
    pub(super) async fn histograms(
        &self,
        question: &Question,
        histograms: &[Histogram],
        groups: &mut Groups,
        wanted: &HashSet<usize>,
        shown: &[Expr],
    ) -> Result<HashMap<Histogram, Box<Slots>>, Error> {
        let mut columns = Self::labels(question);
        columns.extend(histograms.iter().flat_map(|h| {
            let (offset, buckets) = h.columns();
            [offset, buckets]
        }));
        let spans = self.spans(&columns, question.period);
        let values: Vec<Expr> = histograms
            .iter()
            .map(|h| {
                let (offset, buckets) = h.columns();
                bucket_sum().call(vec![ident(offset), ident(buckets)])
            })
            .collect();
        let mut filters = counted(question);
        let mut all = self.no_groups(Vec::new());
        let total = Aggregate { by: Vec::new(), filters: &filters, values: values.clone() };
        let run = total.run(self.session, &spans, self.stop, |batch| {
            all.add(batch, 0, &[], histograms, Which::Any)
        });
        run.await?;
        filters.extend(shown.iter().cloned());
        let by: Vec<Expr> = question.by.iter().map(|name| ident(*name)).collect();
        let labels = by.len();
        let each = Aggregate { by, filters: &filters, values };
        let run = each.run(self.session, &spans, self.stop, |batch| {
            groups.add(batch, labels, &[], histograms, Which::Of(wanted))
        });
        run.await?;
        Ok(all.total(|_| true).into_slots())
    }
}
