//! One aggregate over the flow table: the scan that every flow query shares.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, cast as cast_to};
use datafusion::prelude::{DataFrame, SessionContext, ident, lit};
use futures::TryStreamExt;
use weir_wire::schema::Column;

use super::buckets::bucket_sum;
use super::metrics::{Columns, Metric};
use super::shape::{widen, width};
use crate::error::{Error, ErrorKind};
use crate::prices::COST;

/// Numbers that one aggregate may bring into memory (8 bytes each, and those of their
/// entry): 5 million.
const MAX_NUMBERS: usize = 5_000_000;
/// Alias of the time key among the results.
const KEY: &str = "weir_key";

/// An aggregate of one metric.
pub(crate) struct Aggregate<'a> {
    /// The table of flows that is read.
    pub(crate) table: &'static str,
    /// The metric.
    pub(crate) metric: &'a Metric,
    /// Key columns that rows are grouped by.
    pub(crate) labels: &'a [&'static Column],
    /// Filters besides the time range.
    pub(crate) filters: Vec<Expr>,
    /// Rows whose `end` lies in `(after, until]`, microseconds.
    pub(crate) after: i64,
    /// See `after`.
    pub(crate) until: i64,
    /// What else rows are grouped by: an `Int64` made of their `end`. Nothing gives the key 0.
    pub(crate) key: Option<Expr>,
}

/// Results of one label set.
pub(crate) struct Group {
    /// Values of the label columns, empty where absent, in the order they were asked for.
    pub(crate) labels: Vec<Arc<str>>,
    /// (key, integers) in order of the key, each key once.
    pub(crate) entries: Vec<(i64, Vec<i64>)>,
}

/// Results of all label sets.
pub(crate) struct Groups {
    /// In order of their labels.
    pub(crate) groups: Vec<Group>,
    /// Which buckets of a histogram are filled anywhere in the results.
    pub(crate) filled: Range<usize>,
}

/// `end` lies in `(after, until]`, microseconds.
pub(crate) fn ends_within(after: i64, until: i64) -> Expr {
    let at = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
    ident("end").gt(at(after)).and(ident("end").lt_eq(at(until)))
}

impl Aggregate<'_> {
    /// The aggregate as a DataFusion plan.
    pub(crate) async fn plan(&self, session: &SessionContext) -> Result<DataFrame, Error> {
        let filters =
            [ends_within(self.after, self.until)].into_iter().chain(self.filters.iter().cloned());
        let values = match self.metric.columns {
            Columns::Counter(column) | Columns::Level(column) => vec![sum(ident(column))],
            Columns::Parted(parted) => parted.columns().map(|column| sum(ident(column))).collect(),
            Columns::Sum(h) => vec![sum(ident(h.sum_us))],
            Columns::Count(h) => vec![sum(ident(h.count))],
            Columns::Bucket(h) => {
                vec![bucket_sum().call(vec![ident(h.offset), ident(h.buckets)])]
            }
            Columns::Cost(columns) => {
                let text = |name| cast_to(ident(name), DataType::Utf8View);
                let [crossing, service, sent, received] = columns;
                let arguments = vec![text(crossing), text(service), ident(sent), ident(received)];
                vec![sum(session.udf(COST)?.call(arguments))]
            }
        };
        let mut by: Vec<Expr> = self.labels.iter().map(|c| ident(c.name)).collect();
        by.extend(self.key.clone().map(|key| key.alias(KEY)));
        let mut frame = session.table(self.table).await?;
        if let Some(filter) = conjunction(filters) {
            frame = frame.filter(filter)?;
        }
        Ok(frame.aggregate(by, values)?)
    }

    /// Runs the aggregate.
    ///
    /// # Errors
    /// [`ErrorKind::Execution`] when the result has more than 5 million numbers or the memory bound is
    /// reached.
    pub(crate) async fn run(&self, session: &SessionContext) -> Result<Groups, Error> {
        let mut stream = self.plan(session).await?.execute_stream().await?;
        let mut table = Table::new(self.labels.len(), width(&self.metric.columns));
        while let Some(batch) = stream.try_next().await? {
            table.add(&batch, self.key.is_some())?;
        }
        Ok(table.finish())
    }
}

/// Gathers result batches by label set.
struct Table {
    labels: usize,
    width: usize,
    names: Interner,
    index: HashMap<Vec<u32>, usize>,
    entries: Vec<Vec<(i64, Vec<i64>)>>,
    numbers: usize,
    filled: Range<usize>,
}

impl Table {
    fn new(labels: usize, width: usize) -> Self {
        Self {
            labels,
            width,
            names: Interner::new(),
            index: HashMap::new(),
            entries: Vec::new(),
            numbers: 0,
            filled: 0..0,
        }
    }

    fn add(&mut self, batch: &RecordBatch, keyed: bool) -> Result<(), Error> {
        let columns = batch.columns();
        let (label_columns, rest) = columns.split_at_checked(self.labels).ok_or_else(misshapen)?;
        let ids = label_columns
            .iter()
            .map(|column| self.names.column(column))
            .collect::<Result<Vec<_>, _>>()?;
        let (key, values) = if keyed {
            let (key, values) = rest.split_first().ok_or_else(misshapen)?;
            (Some(key.as_primitive::<Int64Type>()), values)
        } else {
            (None, rest)
        };
        for row in 0..batch.num_rows() {
            let Some(integers) = integers(values, row) else { continue };
            self.numbers += self.width;
            if self.numbers > MAX_NUMBERS {
                return Err(Error::new(
                    ErrorKind::Execution,
                    format!(
                        "query gives more than {MAX_NUMBERS} numbers; narrow its time range, match \
                         fewer series or aggregate with sum by (...)"
                    ),
                ));
            }
            if self.width > 2 {
                widen(&mut self.filled, &integers);
            }
            let id: Vec<u32> =
                ids.iter().map(|ids| ids.get(row).copied().unwrap_or_default()).collect();
            let next = self.entries.len();
            let group = *self.index.entry(id).or_insert(next);
            if group == next {
                self.entries.push(Vec::new());
            }
            if let Some(entries) = self.entries.get_mut(group) {
                entries.push((key.map_or(0, |k| k.value(row)), integers));
            }
        }
        Ok(())
    }

    fn finish(self) -> Groups {
        let Self { names, index, mut entries, filled, .. } = self;
        let mut groups: Vec<Group> = index
            .into_iter()
            .map(|(ids, group)| {
                let labels = ids.iter().map(|id| names.get(*id)).collect();
                let mut entries = entries.get_mut(group).map(std::mem::take).unwrap_or_default();
                entries.sort_unstable_by_key(|(key, _)| *key);
                // The same key twice: one label set had a null, the other an empty string.
                entries.dedup_by(|later, kept| {
                    let same = later.0 == kept.0;
                    if same {
                        for (sum, value) in kept.1.iter_mut().zip(&later.1) {
                            *sum = sum.wrapping_add(*value);
                        }
                    }
                    same
                });
                Group { labels, entries }
            })
            .collect();
        groups.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        Groups { groups, filled }
    }
}

fn misshapen() -> Error {
    Error::new(ErrorKind::Internal, "aggregate has not the columns that it was asked for")
}

/// The integers of a row; nothing if the metric is null in all rows behind it.
fn integers(values: &[ArrayRef], row: usize) -> Option<Vec<i64>> {
    let first = values.first()?;
    if first.is_null(row) {
        return None;
    }
    if let Some(dense) = first.as_fixed_size_list_opt() {
        return Some(dense.value(row).as_primitive::<Int64Type>().values().to_vec());
    }
    let integer = |column: &ArrayRef| {
        let column = column.as_primitive::<Int64Type>();
        if column.is_null(row) { 0 } else { column.value(row) }
    };
    Some(values.iter().map(integer).collect())
}

/// Numbers for label values; 0 is the empty string.
struct Interner {
    ids: HashMap<Arc<str>, u32>,
    values: Vec<Arc<str>>,
}

impl Interner {
    fn new() -> Self {
        let empty: Arc<str> = Arc::from("");
        Self { ids: HashMap::from([(empty.clone(), 0)]), values: vec![empty] }
    }

    fn get(&self, id: u32) -> Arc<str> {
        usize::try_from(id)
            .ok()
            .and_then(|i| self.values.get(i))
            .cloned()
            .unwrap_or_else(|| Arc::from(""))
    }

    fn column(&mut self, column: &ArrayRef) -> Result<Vec<u32>, Error> {
        let text = cast(column, &DataType::Utf8View)
            .map_err(|e| Error::new(ErrorKind::Internal, format!("label is no text: {e}")))?;
        let text = text.as_string_view();
        Ok(text.iter().map(|value| self.id(value.unwrap_or_default())).collect())
    }

    fn id(&mut self, value: &str) -> u32 {
        if let Some(id) = self.ids.get(value) {
            return *id;
        }
        let id = u32::try_from(self.values.len()).unwrap_or_default();
        let value: Arc<str> = Arc::from(value);
        self.values.push(value.clone());
        self.ids.insert(value, id);
        id
    }
}
