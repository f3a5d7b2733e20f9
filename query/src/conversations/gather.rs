//! Sums by group, over all parts of a period.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::execution::registry::FunctionRegistry;
use datafusion::functions_aggregate::expr_fn::{max, sum};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, cast as cast_to};
use datafusion::prelude::{SessionContext, ident};
use futures::TryStreamExt;
use weir_wire::histogram::BUCKETS;

use super::ends::{counted, of_the_other_end};
use super::measure::{Histogram, Input, Slots, Sums};
use super::question::Question;
use crate::error::{Error, ErrorKind};
use crate::flows::bucket_sum;
use crate::flows::catalog::Period;
use crate::flows::fetch::ends_within;
use crate::flows::tiers::{Span, Tiers};
use crate::prices::COST;
use crate::promql::Stop;

/// Numbers that one answer may hold, 8 bytes each.
const MAX_NUMBERS: usize = 16_000_000;
/// Nobody knew it.
const UNKNOWN: i64 = i64::MIN;
const COST_OF: [&str; 4] = ["crossing", "peer_cloud_service", "tx_bytes", "rx_bytes"];

/// Numbers for texts; 0 is the empty one, which is also what is absent.
#[derive(Debug)]
struct Texts {
    numbers: HashMap<Arc<str>, u32>,
    all: Vec<Arc<str>>,
}

impl Texts {
    fn new() -> Self {
        let empty: Arc<str> = Arc::from("");
        Self { numbers: HashMap::from([(Arc::clone(&empty), 0)]), all: vec![empty] }
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or_default();
        let text: Arc<str> = Arc::from(text);
        self.all.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    fn column(&mut self, column: &ArrayRef) -> Result<Vec<u32>, Error> {
        let text = cast(column, &DataType::Utf8View)
            .map_err(|e| Error::new(ErrorKind::Internal, format!("label is no text: {e}")))?;
        Ok(text.as_string_view().iter().map(|value| self.number(value.unwrap_or(""))).collect())
    }
}

/// Sums of groups of rows that are alike in some labels.
#[derive(Debug)]
pub(crate) struct Groups {
    texts: Texts,
    /// The texts of each group's labels.
    keys: Vec<Box<[u32]>>,
    index: HashMap<Box<[u32]>, usize>,
    inputs: Vec<Input>,
    /// A number for each input of each group.
    sums: Vec<i64>,
    slots: HashMap<(usize, Histogram), Box<Slots>>,
}

/// One group's numbers, or those of several.
#[derive(Debug, Clone)]
pub(crate) struct Total {
    inputs: Arc<[Input]>,
    sums: Vec<i64>,
    /// Of the groups that both ends have told of.
    paired: Vec<i64>,
    slots: HashMap<Histogram, Box<Slots>>,
}

fn merge(into: &mut i64, value: i64, input: Input) {
    *into = match (*into, value, input) {
        (UNKNOWN, value, _) => value,
        (known, UNKNOWN, _) => known,
        (a, b, Input::Largest(_)) => a.max(b),
        (a, b, _) => a.saturating_add(b),
    };
}

impl Sums for Total {
    fn get(&self, input: Input) -> Option<i64> {
        let at = self.inputs.iter().position(|known| *known == input)?;
        self.sums.get(at).copied().filter(|sum| *sum != UNKNOWN)
    }

    fn paired(&self, input: Input) -> Option<i64> {
        let at = self.inputs.iter().position(|known| *known == input)?;
        self.paired.get(at).copied().filter(|sum| *sum != UNKNOWN)
    }

    fn slots(&self, histogram: Histogram) -> Option<&Slots> {
        self.slots.get(&histogram).map(AsRef::as_ref)
    }
}

/// One group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a> {
    groups: &'a Groups,
    number: usize,
}

impl Sums for Group<'_> {
    fn get(&self, input: Input) -> Option<i64> {
        let at = self.groups.inputs.iter().position(|known| *known == input)?;
        let sum = self.groups.sums.get(self.number * self.groups.inputs.len() + at);
        sum.copied().filter(|sum| *sum != UNKNOWN)
    }

    fn slots(&self, histogram: Histogram) -> Option<&Slots> {
        self.groups.slots.get(&(self.number, histogram)).map(AsRef::as_ref)
    }
}

impl<'a> Group<'a> {
    /// Text of a label by its place; empty where it is absent.
    pub(crate) fn label(&self, at: usize) -> &'a str {
        let key = self.groups.keys.get(self.number).and_then(|key| key.get(at));
        key.and_then(|text| self.groups.texts.all.get(*text as usize)).map_or("", AsRef::as_ref)
    }

    /// Texts of all labels.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let own = *self;
        let count = self.groups.keys.get(self.number).map_or(0, |key| key.len());
        (0..count).map(move |at| own.label(at))
    }

    /// Number among the groups.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl Groups {
    fn new(inputs: Vec<Input>) -> Self {
        Self {
            texts: Texts::new(),
            keys: Vec::new(),
            index: HashMap::new(),
            inputs,
            sums: Vec::new(),
            slots: HashMap::new(),
        }
    }

    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// All groups.
    pub(crate) fn all(&self) -> impl Iterator<Item = Group<'_>> {
        (0..self.len()).map(|number| Group { groups: self, number })
    }

    /// One by its number.
    pub(crate) fn get(&self, number: usize) -> Group<'_> {
        Group { groups: self, number }
    }

    /// The group with these labels.
    pub(crate) fn find<'t>(&self, labels: impl Iterator<Item = &'t str>) -> Option<usize> {
        let key: Option<Box<[u32]>> =
            labels.map(|text| self.texts.numbers.get(text).copied()).collect();
        self.index.get(&key?).copied()
    }

    /// The sum of some groups.
    pub(crate) fn total(&self, which: impl Fn(usize) -> bool) -> Total {
        self.total_of((0..self.len()).filter(|number| which(*number)))
    }

    /// The sum of groups by their numbers.
    pub(crate) fn total_of(&self, numbers: impl Iterator<Item = usize>) -> Total {
        let width = self.inputs.len();
        let mut sums = vec![UNKNOWN; width];
        let mut paired = sums.clone();
        let mut slots: HashMap<Histogram, Box<Slots>> = HashMap::new();
        let knows = |group: &[i64], server: bool| {
            let is = |input: &Input| matches!(input, Input::Server(_)) == server;
            group.iter().zip(&self.inputs).any(|(sum, input)| is(input) && *sum != UNKNOWN)
        };
        for number in numbers {
            let group = self.sums.get(number * width..(number + 1) * width).unwrap_or(&[]);
            let merge_into = |sums: &mut [i64]| {
                let each = sums.iter_mut().zip(group).zip(&self.inputs);
                each.for_each(|((sum, value), input)| merge(sum, *value, *input));
            };
            merge_into(&mut sums);
            if knows(group, false) && knows(group, true) {
                merge_into(&mut paired);
            }
            for histogram in [Histogram::Rtt, Histogram::Connect] {
                if let Some(counts) = self.slots.get(&(number, histogram)) {
                    add(slots.entry(histogram).or_insert_with(|| Box::new([0; BUCKETS])), counts);
                }
            }
        }
        Total { inputs: self.inputs.clone().into(), sums, paired, slots }
    }

    /// Adds rows of an aggregate: labels, then numbers for the inputs at `places`, then counts of histograms. A row that is
    /// not among the groups is left out unless `new` is set.
    fn add(
        &mut self,
        batch: &RecordBatch,
        labels: usize,
        places: &[usize],
        histograms: &[Histogram],
        new: bool,
    ) -> Result<(), Error> {
        let (keys, rest) = batch.columns().split_at_checked(labels).ok_or_else(misshapen)?;
        let (numbers, counts) = rest.split_at_checked(places.len()).ok_or_else(misshapen)?;
        let keys: Vec<Vec<u32>> =
            keys.iter().map(|column| self.texts.column(column)).collect::<Result<_, _>>()?;
        let width = self.inputs.len();
        for row in 0..batch.num_rows() {
            let key: Box<[u32]> =
                keys.iter().map(|column| column.get(row).copied().unwrap_or(0)).collect();
            let number = match self.index.get(&key) {
                Some(number) => *number,
                None if !new => continue,
                None => {
                    let number = self.keys.len();
                    self.keys.push(key.clone());
                    self.index.insert(key, number);
                    self.sums.resize(self.sums.len() + width, UNKNOWN);
                    if self.sums.len() + self.slots.len() * BUCKETS > MAX_NUMBERS {
                        return Err(too_many(self.keys.len()));
                    }
                    number
                }
            };
            for (place, column) in places.iter().zip(numbers) {
                let column = column.as_primitive::<Int64Type>();
                if column.is_null(row) {
                    continue;
                }
                let at = number * width + place;
                if let Some((sum, input)) = self.sums.get_mut(at).zip(self.inputs.get(*place)) {
                    merge(sum, column.value(row), *input);
                }
            }
            for (histogram, column) in histograms.iter().zip(counts) {
                let dense = column.as_fixed_size_list();
                if dense.is_null(row) {
                    continue;
                }
                let counts = dense.value(row);
                let entry = self.slots.entry((number, *histogram));
                let into = entry.or_insert_with(|| Box::new([0; BUCKETS]));
                for (slot, count) in
                    into.iter_mut().zip(counts.as_primitive::<Int64Type>().values())
                {
                    *slot = slot.saturating_add(*count);
                }
            }
            if self.slots.len() * BUCKETS > MAX_NUMBERS {
                return Err(too_many(self.keys.len()));
            }
        }
        Ok(())
    }
}

/// Adds counts up.
pub(super) fn add(into: &mut Slots, counts: &Slots) {
    for (slot, count) in into.iter_mut().zip(counts) {
        *slot = slot.saturating_add(*count);
    }
}

fn misshapen() -> Error {
    Error::new(ErrorKind::Internal, "aggregate has not the columns that it was asked for")
}

fn too_many(groups: usize) -> Error {
    Error::new(
        ErrorKind::Execution,
        format!(
            "answer has more than {groups} groups, beyond the memory that one may take; group by fewer labels, \
             narrow the time range or filter"
        ),
    )
}

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
        let mut groups = Groups::new(inputs.clone());
        let labels = question.by.len();
        let by = |names: &[&'static str]| names.iter().map(|name| ident(*name)).collect();
        let filters = counted(question);
        let aggregate =
            Aggregate { by: by(&question.by), filters: &filters, values: values(&own)? };
        let add = |groups: &mut Groups, batch: &RecordBatch, places: &[usize]| {
            groups.add(batch, labels, places, &[], true)
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

    /// Counts of histograms, added to groups; those that are not among them count in the total alone, which is returned.
    /// `filters` may leave out what is none of them.
    pub(super) async fn histograms(
        &self,
        question: &Question,
        histograms: &[Histogram],
        groups: &mut Groups,
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
        let mut all = Groups::new(Vec::new());
        let total = Aggregate { by: Vec::new(), filters: &filters, values: values.clone() };
        let run = total
            .run(self.session, &spans, self.stop, |batch| all.add(batch, 0, &[], histograms, true));
        run.await?;
        filters.extend(shown.iter().cloned());
        let by: Vec<Expr> = question.by.iter().map(|name| ident(*name)).collect();
        let labels = by.len();
        let each = Aggregate { by, filters: &filters, values };
        let run = each.run(self.session, &spans, self.stop, |batch| {
            groups.add(batch, labels, &[], histograms, false)
        });
        run.await?;
        Ok(all.total(|_| true).slots)
    }
}

impl Total {
    /// The same with other counts of a histogram.
    pub(super) fn with_slots(mut self, slots: HashMap<Histogram, Box<Slots>>) -> Self {
        self.slots = slots;
        self
    }
}
