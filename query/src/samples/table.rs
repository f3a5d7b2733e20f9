//! The table `samples` of SQL: one row for each point.
//!
//! ```text
//! name    text                  the metric
//! labels  text                  all other labels, {a="b",c="d"}; label(labels, 'a') is one of them
//! time    timestamp(us, UTC)
//! value   float64
//! ```
//!
//! Conditions on `name`, `time` and `label(labels, '...')` decide what is read and decoded; they are
//! evaluated on the rows all the same.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, RecordBatch, StringViewBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream::{self, FuturesOrdered, StreamExt, TryStreamExt};
use tokio::task::JoinHandle;

use super::SampleSource;
use super::label::LABEL;
use crate::promql::source::{Block, Blocks, Labels, MatchOp, Matcher, Selector, Source};

/// The table at one moment.
#[derive(Debug)]
pub(crate) struct SampleTable {
    source: SampleSource,
    schema: SchemaRef,
}

impl SampleTable {
    pub(crate) fn new(source: SampleSource) -> Self {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8View, false),
            Field::new("labels", DataType::Utf8View, false),
            Field::new("time", time, false),
            Field::new("value", DataType::Float64, false),
        ]));
        Self { source, schema }
    }
}

#[async_trait]
impl TableProvider for SampleTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let limit = limit.filter(|_| filters.is_empty());
        let mut scan = Scan {
            source: self.source.clone(),
            schema: self.schema.clone(),
            selector: Selector { metric: None, name_matchers: Vec::new(), matchers: Vec::new() },
            after: i64::MIN / 1000,
            until: i64::MAX / 1000,
        };
        filters.iter().for_each(|filter| scan.narrow(filter));
        let partitions: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(scan)];
        let schema = self.schema.clone();
        let plan = StreamingTableExec::try_new(schema, partitions, projection, None, false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// What is read of the table.
#[derive(Debug, Clone)]
struct Scan {
    source: SampleSource,
    schema: SchemaRef,
    selector: Selector,
    /// Points with times in `(after, until]`, milliseconds.
    after: i64,
    until: i64,
}

impl Scan {
    /// Reads less where a filter allows it; what is not understood narrows nothing.
    fn narrow(&mut self, filter: &Expr) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.narrow(left);
                self.narrow(right);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, &**right) {
                (what, Expr::Literal(value, _)) => self.compare(what, *op, value),
                (Expr::Literal(value, _), what) => {
                    if let Some(op) = op.swap() {
                        self.compare(what, op, value);
                    }
                }
                _ => {}
            },
            Expr::Between(between) if !between.negated => {
                if let (Expr::Literal(low, _), Expr::Literal(high, _)) =
                    (&*between.low, &*between.high)
                {
                    self.compare(&between.expr, Operator::GtEq, low);
                    self.compare(&between.expr, Operator::LtEq, high);
                }
            }
            _ => {}
        }
    }

    fn compare(&mut self, what: &Expr, op: Operator, value: &ScalarValue) {
        match what {
            Expr::Column(column) if column.name == "time" => self.time(op, value),
            Expr::Column(column) if column.name == "name" => {
                let Some(Some(text)) = value.try_as_str() else { return };
                match op {
                    Operator::Eq if self.selector.metric.is_none() => {
                        self.selector.metric = Some(text.into());
                    }
                    Operator::Eq => self.selector.name_matchers.push(MatchOp::Equal(text.into())),
                    Operator::NotEq => {
                        self.selector.name_matchers.push(MatchOp::NotEqual(text.into()));
                    }
                    _ => {}
                }
            }
            Expr::ScalarFunction(call) if call.name() == LABEL => {
                let [Expr::Column(column), Expr::Literal(label, _)] = call.args.as_slice() else {
                    return;
                };
                let (Some(Some(label)), Some(Some(text))) =
                    (label.try_as_str(), value.try_as_str())
                else {
                    return;
                };
                // A label that is not there is null in SQL, and equal to nothing.
                let op = match op {
                    _ if column.name != "labels" || text.is_empty() => return,
                    Operator::Eq => MatchOp::Equal(text.into()),
                    Operator::NotEq => MatchOp::NotEqual(text.into()),
                    _ => return,
                };
                self.selector.matchers.push(Matcher { name: label.into(), op });
            }
            _ => {}
        }
    }

    fn time(&mut self, op: Operator, value: &ScalarValue) {
        let Ok(ScalarValue::TimestampMicrosecond(Some(micros), _)) =
            value.cast_to(&DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
        else {
            return;
        };
        // Points lie at whole milliseconds.
        let (before, at) = ((micros.saturating_sub(1)).div_euclid(1000), micros.div_euclid(1000));
        let (mut after, mut until) = (self.after, self.until);
        match op {
            Operator::Gt => after = at,
            Operator::GtEq => after = before,
            Operator::Lt => until = before,
            Operator::LtEq => until = at,
            Operator::Eq => (after, until) = (before, at),
            _ => {}
        }
        (self.after, self.until) = (self.after.max(after), self.until.min(until));
    }
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let scan = self.clone();
        let batches = stream::once(async move {
            let blocks = scan.source.blocks(&scan.selector, scan.after, scan.until).await;
            let blocks = Some(blocks.map_err(external)?);
            let reading = Reading {
                schema: scan.schema,
                blocks,
                running: FuturesOrdered::new(),
                ready: Vec::new(),
            };
            Ok::<_, DataFusionError>(stream::try_unfold(reading, Reading::next))
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches.try_flatten()))
    }
}

/// A scan under way.
struct Reading {
    schema: SchemaRef,
    blocks: Option<Blocks>,
    /// Blocks that are being read.
    running: FuturesOrdered<JoinHandle<Result<Vec<RecordBatch>>>>,
    /// Batches, the next one last.
    ready: Vec<RecordBatch>,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        loop {
            if let Some(batch) = self.ready.pop() {
                return Ok(Some((batch, self)));
            }
            while let Some(blocks) = &mut self.blocks
                && self.running.len() < cores
            {
                match blocks.next().await {
                    None => self.blocks = None,
                    Some(block) => {
                        let (block, schema) = (block.map_err(external)?, self.schema.clone());
                        let read = tokio::task::spawn_blocking(move || expand(&schema, block));
                        self.running.push_back(read);
                    }
                }
            }
            let Some(read) = self.running.next().await else { return Ok(None) };
            self.ready = read.map_err(|e| DataFusionError::External(Box::new(e)))??;
            self.ready.reverse();
        }
    }
}

fn external(error: crate::promql::error::Error) -> DataFusionError {
    match error {
        crate::promql::error::Error::Execution(m) => DataFusionError::Execution(m),
        error => DataFusionError::External(Box::new(error)),
    }
}

/// Rows that a batch has before the next one is begun.
const BATCH_ROWS: usize = 8192;

/// One row for each point of a block.
fn expand(schema: &SchemaRef, block: Box<dyn Block>) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    let mut rows = Rows::new(schema);
    let mut failed = None;
    block
        .read(&mut |labels, points| {
            let (name, text) = texts(&labels);
            let values = points.values.chunks(BATCH_ROWS);
            for (times, values) in points.times.chunks(BATCH_ROWS).zip(values) {
                let added =
                    rows.add(&name, &text, times, values).and_then(|()| match rows.times.len() {
                        BATCH_ROWS.. => rows.finish().map(|batch| batches.push(batch)),
                        _ => Ok(()),
                    });
                if let Err(error) = added {
                    failed.get_or_insert(error);
                }
            }
            Ok(())
        })
        .map_err(external)?;
    if let Some(error) = failed {
        return Err(error);
    }
    if !rows.times.is_empty() {
        batches.push(rows.finish()?);
    }
    Ok(batches)
}

/// The metric's name, and the other labels as the column has them.
fn texts(Labels(labels): &Labels) -> (String, String) {
    let mut canonical = Vec::new();
    let pairs = labels.iter().map(|(name, value)| (&**name, &**value));
    let mut text = String::new();
    // They come from a series, so they are labels of one.
    if weir_storage::series::labels::write_canonical(pairs, &mut canonical).is_ok() {
        weir_storage::series::labels::write_text(&canonical, &mut text);
    }
    (labels_name(labels), text)
}

fn labels_name(labels: &[(Arc<str>, Arc<str>)]) -> String {
    labels.iter().find(|(n, _)| &**n == "__name__").map_or(String::new(), |(_, v)| v.to_string())
}

/// A batch that is being made.
struct Rows {
    schema: SchemaRef,
    names: StringViewBuilder,
    labels: StringViewBuilder,
    times: Vec<i64>,
    values: Vec<f64>,
}

impl Rows {
    fn new(schema: &SchemaRef) -> Self {
        Self {
            schema: schema.clone(),
            names: StringViewBuilder::new(),
            labels: StringViewBuilder::new(),
            times: Vec::new(),
            values: Vec::new(),
        }
    }

    fn add(&mut self, name: &str, labels: &str, times: &[i64], values: &[f64]) -> Result<()> {
        // The text is in the batch once, and a view of it in each row.
        for (builder, text) in [(&mut self.names, name), (&mut self.labels, labels)] {
            let length = u32::try_from(text.len())
                .map_err(|_| DataFusionError::Execution("labels are too long".to_owned()))?;
            if text.len() > 12 {
                let block = builder.append_block(text.as_bytes().to_vec().into());
                for _ in times {
                    builder.try_append_view(block, 0, length)?;
                }
            } else {
                times.iter().for_each(|_| builder.append_value(text));
            }
        }
        self.times.extend(times.iter().map(|time| time.saturating_mul(1000)));
        self.values.extend_from_slice(values);
        Ok(())
    }

    fn finish(&mut self) -> Result<RecordBatch> {
        let times = TimestampMicrosecondArray::from(std::mem::take(&mut self.times));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.names.finish()),
            Arc::new(self.labels.finish()),
            Arc::new(times.with_timezone("UTC")),
            Arc::new(Float64Array::from(std::mem::take(&mut self.values))),
        ];
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}
