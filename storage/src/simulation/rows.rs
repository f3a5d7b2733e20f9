//! Tables and rows of the simulation.
//!
//! Every row has a number of its own in `n`, so that a row that is there twice can be told.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, DictionaryArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Int32Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::entry::Part;
use crate::rollup::{Merge, Rollup};
use crate::series::{self, PointsBuilder};
use crate::spec::TableSpec;
use crate::window::Window;

/// Tables that entries have rows of.
pub(super) const TABLES: [&str; 3] = ["flows", "loss", SERIES];
/// The one of series.
const SERIES: &str = "samples";
/// The table that sums up the first of them, and the width of its windows.
pub(super) const TIER: &str = "flows_5m";
pub(super) const WIDTH: Window = Window::FIVE_MINUTES;

/// End of a window and workload: what a tier has a sum for.
pub(super) type Cell = (i64, String);

/// One row: its time and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) n: i64,
    pub(super) time: i64,
}

pub(super) fn specs() -> Vec<TableSpec> {
    let label = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("end", time, false),
        Field::new("workload", label, false),
        Field::new("n", DataType::Int64, false),
    ]));
    let table = |name| TableSpec {
        name,
        schema: schema.clone(),
        time: "end",
        window: Window::TWO_HOURS,
        workload: &["workload"],
        sort: &["workload", "end"],
        rollup: None,
        series: false,
    };
    let rollup = Rollup {
        source: TABLES[0],
        width: WIDTH,
        start: None,
        merge: vec![("n", Merge::Sum)],
        detail: Vec::new(),
        fold: None,
    };
    let tier = TableSpec { window: Window::DAY, rollup: Some(rollup), ..table(TIER) };
    let tables = TABLES.into_iter().map(|name| match name {
        SERIES => series::table(name, Window::TWO_HOURS),
        name => table(name),
    });
    tables.chain([tier]).collect()
}

/// The workload of a row.
fn workload(n: i64) -> &'static str {
    ["web", "api", "db"][usize::try_from(n % 3).unwrap()]
}

/// The window and workload of the tier that a row is summed up in.
pub(super) fn cell(row: &Row) -> Cell {
    (WIDTH.end_of(row.time), workload(row.n).to_owned())
}

/// Adds up the rows of a tier.
pub(super) fn add_cells(batch: &RecordBatch, cells: &mut BTreeMap<Cell, i64>) {
    let ends = batch.column_by_name("end").unwrap().as_primitive::<TimestampMicrosecondType>();
    let workloads = batch.column_by_name("workload").unwrap();
    let workloads = cast(workloads, &DataType::Utf8).unwrap();
    for ((end, workload), n) in
        ends.values().iter().zip(workloads.as_string::<i32>()).zip(numbers(batch))
    {
        *cells.entry((*end, workload.unwrap().to_owned())).or_default() += n;
    }
}

pub(super) fn part(table: &'static str, rows: &[Row]) -> Part {
    if table == SERIES {
        return written(table, points(rows));
    }
    let workload: DictionaryArray<Int32Type> = rows.iter().map(|r| Some(workload(r.n))).collect();
    let time = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.time));
    let batch = RecordBatch::try_new(
        specs()[0].schema.clone(),
        vec![
            Arc::new(time.with_timezone("UTC")),
            Arc::new(workload),
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
        let pairs = [("__name__", workload(row.n)), ("lane", lane.as_str())];
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

/// The rows of a Parquet file.
pub(super) fn rows_of_file(bytes: Vec<u8>) -> Result<Vec<RecordBatch>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes))
        .and_then(|builder| builder.build())
        .map_err(|e| e.to_string())?;
    reader.map(|batch| batch.map_err(|e| e.to_string())).collect()
}
