//! Rows of an answer: in order, the first of them, what they add up to, and what the others do.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::disjunction;
use datafusion::prelude::{ident, lit};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Cell, Described, describe, text};
use super::counts::Into;
use super::gather::Gather;
use super::groups::{Group, Groups, Total, add};
use super::measure::{Histogram, Measure, Sums};
use super::question::{Column, Question, View};
use super::spark::Lines;
use super::statement;
use crate::error::{Error, ErrorKind};
use crate::flows::tiers::Span;

/// Rows of one answer, at most.
pub(crate) const MAX_ROWS: usize = 10_000;
/// Values of a label up to which a second look at the rows is confined to them.
const MAX_LISTED: usize = 1_000;

/// What rows are ordered by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) by: Column,
    pub(crate) descending: bool,
}

impl Order {
    /// A column of the question's answer, `-` before it for descending.
    ///
    /// # Errors
    /// It has no such column.
    pub(crate) fn parse(text: &str, question: &Question) -> Result<Self, Error> {
        let (name, descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let label = question.by.iter().find(|label| **label == name);
        let measure = question.measures.iter().find(|measure| measure.name == name);
        let by = match (label, measure) {
            (Some(label), _) => Column::Label(label),
            (None, Some(measure)) => Column::Measure(measure),
            (None, None) => {
                return Err(Error::bad(format!(
                    "invalid parameter \"order\": the answer has no column `{name}`; add it to by or measures"
                )));
            }
        };
        Ok(Self { by, descending })
    }

    /// By the first measure, largest first; by the first label if there is none.
    pub(crate) fn usual(question: &Question) -> Self {
        let label = || question.by.first().map(|label| Column::Label(label));
        let first = question.measures.first().map(|measure| Column::Measure(measure));
        Self { by: first.or_else(label).unwrap_or(Column::Label("workload")), descending: true }
    }

    /// Its measure.
    pub(crate) fn measure(&self) -> Option<&'static Measure> {
        match self.by {
            Column::Measure(measure) => Some(measure),
            Column::Label(_) => None,
        }
    }
}

/// The flow table as the API gives it, without what it stands on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FlowTable {
    view: View,
    columns: Vec<Described>,
    /// In order; each has a value for each column.
    rows: Vec<Vec<Cell>>,
    /// Of all groups; labels are null.
    total: Vec<Cell>,
    /// Of the groups that are not among the rows; null if all are.
    other: Option<Vec<Cell>>,
    /// How many groups there are.
    groups: usize,
    /// The same question in PromQL, to be asked at the end of the period; null where there is none.
    promql: Option<String>,
    /// The same question in SQL, without measures that it has no function for; null where there is none.
    sql: Option<String>,
    /// With `points`: a measure over time.
    spark: Option<Lines>,
}

/// See the module's text.
pub(crate) struct Table {
    pub(crate) question: Question,
    pub(crate) order: Order,
    groups: Arc<Groups>,
    /// Numbers of the groups that are shown, in order.
    shown: Vec<usize>,
    /// Rows before them.
    offset: usize,
    pub(crate) spans: Vec<Span>,
    pub(crate) notes: BTreeSet<String>,
}

fn key(group: Group<'_>, by: Column, question: &Question) -> (Option<f64>, String) {
    match by {
        Column::Measure(measure) => (measure.value(&group), String::new()),
        Column::Label(name) => {
            let at = question.by.iter().position(|label| *label == name).unwrap_or(0);
            (None, group.label(at).to_owned())
        }
    }
}

impl Table {
    /// Asks.
    ///
    /// # Errors
    /// The query fails, or the answer is too large.
    pub(crate) async fn ask(
        gather: &Gather<'_>,
        question: Question,
        order: Order,
        limit: usize,
        offset: usize,
    ) -> Result<Self, Error> {
        let histograms = question.histograms();
        let mut table = Self::sums(gather, question, order, &histograms).await?;
        // An order by a quantile needs it of all groups; otherwise only those that are shown.
        let first = order.measure().and_then(|measure| measure.histogram());
        if first.is_some() {
            table.show(gather, (0..table.groups.len()).collect()).await?;
        }
        let shown = ordered(&table.groups, &table.question, order, limit, offset);
        table.offset = offset;
        if first.is_some() {
            table.shown = shown;
        } else {
            table.show(gather, shown).await?;
        }
        Ok(table)
    }

    /// Asks for all groups, and shows none. Of histograms only the sums of all rows, of those that are named.
    ///
    /// # Errors
    /// The query fails, or the answer is too large.
    pub(crate) async fn sums(
        gather: &Gather<'_>,
        question: Question,
        order: Order,
        histograms: &[Histogram],
    ) -> Result<Self, Error> {
        let mut notes = BTreeSet::new();
        let (groups, spans) = gather.groups(&question, histograms, &mut notes).await?;
        let groups = Arc::new(groups);
        Ok(Self { question, order, groups, shown: Vec::new(), offset: 0, spans, notes })
    }

    /// Shows these groups, in this order, and asks for their histograms. Once only.
    ///
    /// # Errors
    /// The query fails, or the answer is too large.
    pub(crate) async fn show(
        &mut self,
        gather: &Gather<'_>,
        shown: Vec<usize>,
    ) -> Result<(), Error> {
        let each = shown.iter().map(|group| (*group, *group)).collect();
        self.count(gather, &shown, each).await?;
        self.shown = shown;
        Ok(())
    }

    /// Asks for the histograms of some groups, and adds them to the groups that `into` names for them. Once only.
    ///
    /// # Errors
    /// The query fails, or the answer is too large.
    pub(super) async fn count(
        &mut self,
        gather: &Gather<'_>,
        groups: &[usize],
        into: Into,
    ) -> Result<(), Error> {
        if self.question.histograms().is_empty() || groups.is_empty() {
            return Ok(());
        }
        let only = only(&self.groups, groups, &self.question);
        gather.histograms(&self.question, &mut self.groups, into, &only).await
    }

    fn total(&self) -> Total {
        self.groups.total(|_| true).with_slots(self.groups.of_all().clone())
    }

    /// The sum of what is not shown, where there is such.
    fn other(&self) -> Option<Total> {
        let set: HashSet<usize> = self.shown.iter().copied().collect();
        if set.len() >= self.groups.len() {
            return None;
        }
        let shown_counts = self.groups.total_of(self.shown.iter().copied());
        let rest = self.groups.of_all().iter().map(|(histogram, all)| {
            let mut rest = all.clone();
            if let Some(shown) = shown_counts.slots(*histogram) {
                let negative = shown.map(|count| -count);
                add(&mut rest, &negative);
            }
            (*histogram, rest)
        });
        Some(self.groups.total(|number| !set.contains(&number)).with_slots(rest.collect()))
    }

    /// Groups that are shown.
    pub(crate) fn shown(&self) -> impl Iterator<Item = Group<'_>> {
        self.shown.iter().map(|number| self.groups.get(*number))
    }

    /// All groups.
    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Place of a group among those that are shown.
    pub(super) fn places(&self) -> HashMap<usize, usize> {
        self.shown.iter().enumerate().map(|(place, number)| (*number, place)).collect()
    }

    /// A filter that keeps at least the rows of what is shown.
    pub(super) fn only(&self) -> Vec<Expr> {
        only(&self.groups, &self.shown, &self.question)
    }

    /// As the API gives it, without what it stands on.
    pub(crate) fn answer(&self, spark: Option<Lines>) -> FlowTable {
        let measures = &self.question.measures;
        let row = |group: Group<'_>| -> Vec<Cell> {
            let labels = group.labels().map(|label| Cell::Label(text(label)));
            let measures = measures.iter().map(|measure| Cell::Measure(measure.number(&group)));
            labels.chain(measures).collect()
        };
        let sums = |total: &Total| -> Vec<Cell> {
            let labels = self.question.by.iter().map(|_| Cell::Label(None));
            let measures = measures.iter().map(|measure| Cell::Measure(measure.number(total)));
            labels.chain(measures).collect()
        };
        let limit = self.shown.len();
        // PromQL knows the first ones only.
        let promql = || statement::promql(&self.question, self.order, limit);
        FlowTable {
            view: self.question.view,
            columns: describe(&self.question.columns()),
            rows: self.shown().map(row).collect(),
            total: sums(&self.total()),
            other: self.other().as_ref().map(sums),
            groups: self.groups.len(),
            promql: (self.offset == 0).then(promql).flatten(),
            sql: statement::sql(&self.question, self.order, limit, self.offset),
            spark,
        }
    }

    /// The rows that are shown, as columns.
    ///
    /// # Errors
    /// A defect.
    pub(crate) fn batch(&self) -> Result<RecordBatch, Error> {
        let mut fields = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (at, name) in self.question.by.iter().enumerate() {
            let texts = self.shown().map(|group| Some(group.label(at)).filter(|t| !t.is_empty()));
            fields.push(Field::new(*name, DataType::Utf8, true));
            columns.push(Arc::new(texts.collect::<StringArray>()));
        }
        for measure in &self.question.measures {
            let column: ArrayRef = if measure.is_whole() {
                let whole = |group: Group<'_>| measure.whole(&group);
                Arc::new(self.shown().map(whole).collect::<Int64Array>())
            } else {
                Arc::new(self.shown().map(|group| measure.value(&group)).collect::<Float64Array>())
            };
            fields.push(Field::new(measure.name, column.data_type().clone(), true));
            columns.push(column);
        }
        let options =
            arrow::array::RecordBatchOptions::new().with_row_count(Some(self.shown.len()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .map_err(|e| Error::new(ErrorKind::Internal, format!("rows make no columns: {e}")))
    }
}

fn ordered(
    groups: &Groups,
    question: &Question,
    order: Order,
    limit: usize,
    offset: usize,
) -> Vec<usize> {
    let mut all: Vec<_> =
        groups.all().map(|group| (key(group, order.by, question), group.number())).collect();
    let by_number = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) if order.descending => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        // What is not known comes last, whatever the order.
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    };
    let by_text = |a: &str, b: &str| if order.descending { b.cmp(a) } else { a.cmp(b) };
    let compare = |a: &((Option<f64>, String), usize), b: &((Option<f64>, String), usize)| {
        let by_key = by_number(a.0.0, b.0.0).then_with(|| by_text(&a.0.1, &b.0.1));
        // Equal ones in an order that is the same each time.
        by_key.then_with(|| groups.get(a.1).labels().cmp(groups.get(b.1).labels()))
    };
    let wanted = offset.saturating_add(limit);
    if let Some(last) = wanted.checked_sub(1).filter(|last| *last < all.len()) {
        all.select_nth_unstable_by(last, compare);
        all.truncate(wanted);
    }
    all.sort_unstable_by(compare);
    all.into_iter().map(|(_, number)| number).skip(offset).collect()
}

/// Filters that keep at least the rows of these groups: of each label the values that they have.
fn only(groups: &Groups, shown: &[usize], question: &Question) -> Vec<Expr> {
    let mut filters = Vec::new();
    for (at, name) in question.by.iter().enumerate() {
        let values: BTreeSet<&str> =
            shown.iter().map(|number| groups.get(*number).label(at)).collect();
        if values.len() > MAX_LISTED {
            continue;
        }
        let is_number = ["port", "peer_port", "peer_service_port", "peer_asn"].contains(name);
        let listed: Vec<Expr> = values
            .iter()
            .filter(|value| !value.is_empty())
            .filter_map(|value| {
                if is_number { value.parse::<i64>().ok().map(lit) } else { Some(lit(*value)) }
            })
            .collect();
        let mut alternatives = Vec::new();
        if values.contains("") {
            alternatives.push(ident(*name).is_null());
            if !is_number {
                alternatives.push(ident(*name).eq(lit("")));
            }
        }
        if !listed.is_empty() {
            alternatives.push(ident(*name).in_list(listed, false));
        }
        filters.extend(disjunction(alternatives));
    }
    filters
}
