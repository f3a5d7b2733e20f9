//! Tables and rows of the simulation.
//!
//! Every row has a number of its own in `n`, so that a row that is there twice can be told.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, DictionaryArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{
    DataType, Field, Int32Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::entry::Part;
use crate::hidden::{Hidden, visible};
use crate::rollup::{Detail, Fold, Merge, Rollup};
use crate::series::{self, PointsBuilder};
use crate::spec::TableSpec;
use crate::window::Window;

/// Tables that entries have rows of.
pub(super) const TABLES: [&str; 3] = ["flows", "loss", SERIES];
/// The one of series. It comes last.
pub(super) const SERIES: &str = "samples";
/// The tables that sum up the first of them, and the widths of their windows.
pub(super) const TIERS: [(&str, Window); 2] =
    [("flows_5m", Window::FIVE_MINUTES), ("flows_1h", Window::HOUR)];
/// Windows of the files of [`TABLES`].
pub(super) const WINDOW: Window = Window::TWO_HOURS;
/// The workloads that rows are of.
pub(super) const WORKLOADS: [&str; 3] = ["web", "api", "db"];
/// Stands for peers that are folded.
pub(super) const OTHER: &str = "other";

/// End of a window and workload: what a tier has a sum for.
pub(super) type Cell = (i64, String);

/// One row: its time and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) n: i64,
    pub(super) time: i64,
}

pub(super) fn specs() -> Vec<TableSpec> {
    let label = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("end", time, false),
        Field::new("workload", label(), false),
        Field::new("peer", label(), true),
        Field::new("n", DataType::Int64, false),
    ]));
    let table = |name| TableSpec {
        name,
        schema: schema.clone(),
        time: "end",
        window: WINDOW,
        workload: &["workload"],
        sort: &["workload", "peer", "end"],
        rollup: None,
        series: false,
    };
    let tier = |(name, width)| {
        let rollup = Rollup {
            source: TABLES[0],
            width,
            start: None,
            merge: vec![("n", Merge::Sum)],
            detail: vec![Detail { column: "peer", when: &[("workload", &["web", "db"])] }],
            fold: Some(Fold { column: "peer", other: OTHER, about: &[], largest: &["n"], keep: 1 }),
        };
        let window = if width == Window::HOUR { Window::THIRTY_DAYS } else { Window::DAY };
        TableSpec { window, rollup: Some(rollup), ..table(name) }
    };
    let tables = TABLES.into_iter().map(|name| match name {
        SERIES => series::table(name, WINDOW),
        name => table(name),
    });
    tables.chain(TIERS.map(tier)).collect()
}

/// The workload of a row.
pub(super) fn workload(n: i64) -> usize {
    usize::try_from(n % 3).unwrap()
}

/// The window and workload of a tier that a row is summed up in.
pub(super) fn cell(width: Window, row: &Row) -> Cell {
    (width.end_of(row.time), WORKLOADS[workload(row.n)].to_owned())
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let texts = cast(batch.column_by_name(column).unwrap(), &DataType::Utf8).unwrap();
    texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

/// Adds up the rows of a tier.
pub(super) fn add_cells(batch: &RecordBatch, cells: &mut BTreeMap<Cell, i64>) {
    let ends = batch.column_by_name("end").unwrap().as_primitive::<TimestampMicrosecondType>();
    for ((end, workload), n) in
        ends.values().iter().zip(texts(batch, "workload")).zip(numbers(batch))
    {
        *cells.entry((*end, workload.unwrap())).or_default() += n;
    }
}

/// Whether rows of a tier are folded.
pub(super) fn is_folded(batch: &RecordBatch) -> bool {
    texts(batch, "peer").iter().any(|peer| peer.as_deref() == Some(OTHER))
}

pub(super) fn part(table: &'static str, rows: &[Row]) -> Part {
    if table == SERIES {
        return written(table, points(rows));
    }
    let workload: DictionaryArray<Int32Type> =
        rows.iter().map(|r| Some(WORKLOADS[workload(r.n)])).collect();
    let peers = rows.iter().map(|r| (r.n % 5 > 0).then(|| format!("peer{}", r.n % 5)));
    let peers: Vec<Option<String>> = peers.collect();
    let peer: DictionaryArray<Int32Type> = peers.iter().map(Option::as_deref).collect();
    let time = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.time));
    let batch = RecordBatch::try_new(
        specs()[0].schema.clone(),
        vec![
            Arc::new(time.with_timezone("UTC")),
            Arc::new(workload),
            Arc::new(peer),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.n))),
        ],
    )
    .unwrap();
    written(table, batch)
}

/// Points whose values are the numbers. No two are of one series and time: a point is up to two seconds
/// younger than its row, by its number.
fn points(rows: &[Row]) -> RecordBatch {
    let mut points = PointsBuilder::new();
    for row in rows {
        let lane = (row.n / 1000).to_string();
        let mut labels = Vec::new();
        let pairs = [("__name__", WORKLOADS[workload(row.n)]), ("lane", lane.as_str())];
        series::labels::write_canonical(pairs, &mut labels).unwrap();
        points.series(&labels);
        points.point((row.time / 1_000_000 + 1) * 1000 + row.n % 1000, row.n as f64);
    }
    points.finish().unwrap()
}

fn written(table: &'static str, batch: RecordBatch) -> Part {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    Part { table, ipc: Bytes::from(writer.into_inner().unwrap()), batches: vec![batch] }
}

pub(super) fn numbers(batch: &RecordBatch) -> Vec<i64> {
    if let Some(values) = batch.column_by_name("values") {
        let counts = batch.column_by_name("count").unwrap().as_primitive::<Int32Type>();
        let mut found = Vec::new();
        for (values, count) in values.as_binary::<i32>().iter().zip(counts.values()) {
            series::chunk::decode_values(values.unwrap(), *count, &mut found).unwrap();
        }
        return found.into_iter().map(|value| value as i64).collect();
    }
    batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// The rows of a batch that nothing hides.
pub(super) fn seen(batch: &RecordBatch, hidden: &[Arc<Hidden>]) -> Result<RecordBatch, String> {
    match visible(hidden, "end", batch).map_err(|e| e.to_string())? {
        None => Ok(batch.clone()),
        Some(rows) => filter_record_batch(batch, &rows).map_err(|e| e.to_string()),
    }
}

/// The rows of a Parquet file.
pub(super) fn rows_of_file(bytes: Vec<u8>) -> Result<Vec<RecordBatch>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes))
        .and_then(|builder| builder.build())
        .map_err(|e| e.to_string())?;
    reader.map(|batch| batch.map_err(|e| e.to_string())).collect()
}
