//! The rows of `agent_loss` that a batch gives.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringDictionaryBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use weir_wire::{Header, schema};

/// Where and when a batch was measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observer {
    pub(crate) cluster: Option<String>,
    pub(crate) node: Option<String>,
    /// Time of the rows, microseconds since the Unix epoch.
    pub(crate) end: i64,
    /// Flow rows in the batch.
    pub(crate) rows: i64,
}

/// One row per reason, or one row without reason when nothing was lost.
pub(crate) fn loss_rows(header: &Header, observer: &Observer) -> Result<RecordBatch, ArrowError> {
    let mut losses: Vec<(Option<&str>, i64)> =
        header.losses.iter().map(|(reason, count)| (Some(reason.as_str()), *count)).collect();
    if losses.is_empty() {
        losses.push((None, 0));
    }
    let n = losses.len();
    let same = |value: Option<&str>| label(std::iter::repeat_n(value, n));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_value(observer.end, n).with_timezone("UTC")),
        same(observer.cluster.as_deref()),
        same(observer.node.as_deref()),
        same(Some(&header.agent)),
        same(Some(&header.boot)),
        Arc::new(Int64Array::from_value(header.sequence, n)),
        Arc::new(Int64Array::from_value(observer.rows, n)),
        label(losses.iter().map(|(reason, _)| *reason)),
        Arc::new(losses.iter().map(|(_, count)| Some(*count)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(schema::AGENT_LOSS.clone(), columns)
}

fn label<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    builder.extend(values);
    Arc::new(builder.finish())
}
