//! Sums by group, over all parts of a period.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use super::counts::Into;
use super::ends::{counted, of_the_other_end};
use super::groups::Groups;
use super::measure::{Histogram, Input};
use super::question::Question;
use super::rows::{End, Rows};
use crate::error::Error;
use crate::flows::catalog::Period;
use crate::flows::fetch::ends_within;
use crate::flows::tiers::{Span, Tiers};
use crate::promql::Stop;

pub(super) const COST_OF: [&str; 4] = ["crossing", "peer_cloud_service", "tx_bytes", "rx_bytes"];

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
        let mut ends = vec![End {
            by: question.by.clone(),
            places: own,
            filters: counted(question),
            histograms: histograms.to_vec(),
        }];
        let other = if server.is_empty() { None } else { of_the_other_end(question) };
        if !server.is_empty() && other.is_none() {
            let note =
                "the server's end does not know all of these labels: its numbers are left out";
            notes.insert(note.into());
        }
        let mut apart = None;
        if let Some((filters, by)) = other {
            columns.extend(by.iter().copied());
            for matcher in question.selectors.iter().flat_map(|selector| &selector.matchers) {
                columns.extend(super::ends::turned(&matcher.name));
            }
            let of_other = self.spans(&columns, question.period);
            let end = End { by, places: server, filters, histograms: Vec::new() };
            // Without filters most rows are of one end or the other: they are read once.
            if question.selectors.is_empty() && of_other == spans {
                ends.push(end);
            } else {
                apart = Some((end, of_other));
            }
        }
        Rows::of(self.session, &ends, &inputs)?.add(self, &spans, &mut groups).await?;
        if let Some((end, of_other)) = apart {
            Rows::of(self.session, &[end], &inputs)?.add(self, &of_other, &mut groups).await?;
            spans.extend(
                of_other.into_iter().filter(|span| !spans.contains(span)).collect::<Vec<_>>(),
            );
        }
        groups.one_without_labels();
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
        let end = End { by: question.by.clone(), places: Vec::new(), filters, histograms };
        let rows = Rows::of(self.session, &[end], &[])?;
        rows.count(self, &spans, groups, &Arc::new(into)).await
    }
}

pub(super) fn histogram_columns(histograms: &[Histogram]) -> impl Iterator<Item = &'static str> {
    histograms.iter().flat_map(|h| <[_; 2]>::from(h.columns()))
}
