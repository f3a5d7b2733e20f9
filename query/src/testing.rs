//! Small flow tables for tests: rows by column, split between Parquet files and memory.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use object_store::local::LocalFileSystem;
use parquet::arrow::ArrowWriter;
use url::Url;
use weir_storage::{DataFile, Snapshot, TableSpec, Window};
use weir_storage::{Detail, Fold, Merge, Rollup};
use weir_wire::histogram::{BUCKETS, FIRST_INDEX, index_of, trim};
use weir_wire::schema::{AGENT_LOSS, Column, FLOW_COLUMNS, FLOWS, Kind};

/// One flow row: what a test says of it; every other column is null.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) end: i64,
    pub(crate) labels: Vec<(&'static str, &'static str)>,
    pub(crate) numbers: Vec<(&'static str, i64)>,
    /// Round-trip times in microseconds.
    pub(crate) rtts: Option<Vec<u64>>,
}

pub(crate) fn specs() -> Vec<TableSpec> {
    vec![
        TableSpec {
            name: "flows",
            schema: FLOWS.clone(),
            time: "end",
            window: Window::TWO_HOURS,
            workload: &["namespace", "workload"],
            sort: &["namespace", "workload", "end"],
            rollup: None,
            series: false,
        },
        TableSpec {
            name: "agent_loss",
            schema: AGENT_LOSS.clone(),
            time: "end",
            window: Window::TWO_HOURS,
            workload: &[],
            sort: &["end"],
            rollup: None,
            series: false,
        },
    ]
}

/// `flows` and two tiers of it: without node, pod and addresses but those of external peers, which are
/// folded.
pub(crate) fn specs_with_tiers() -> Vec<TableSpec> {
    let tier = |name, width, window| {
        let dropped = ["node", "pod", "address", "active", "peer_node", "peer_pod"];
        let columns: Vec<_> = FLOW_COLUMNS.iter().filter(|c| !dropped.contains(&c.name)).collect();
        let fields = columns.iter().map(|c| Field::new(c.name, c.data_type.clone(), !c.required));
        let last = ["peer_domain", "peer_asn", "peer_address", "end"];
        let key = |c: &&&Column| matches!(c.kind, Kind::Label | Kind::NumericLabel);
        let mut sort: Vec<_> = columns.iter().filter(key).map(|c| c.name).collect();
        sort.retain(|name| !last.contains(name));
        sort.extend(last);
        let merge = |c: &&Column| {
            let merge = match c.kind {
                Kind::Counter => Merge::Sum,
                Kind::Sampling => Merge::Max,
                Kind::Histogram if c.name.ends_with("min_us") => Merge::Min,
                Kind::Histogram if c.name.ends_with("max_us") => Merge::Max,
                Kind::Histogram if c.name.ends_with("offset") => Merge::Offset,
                Kind::Histogram if c.name == "rtt_buckets" => {
                    Merge::Counts { offset: "rtt_offset" }
                }
                Kind::Histogram if c.name.ends_with("buckets") => {
                    Merge::Counts { offset: "connect_time_offset" }
                }
                Kind::Histogram => Merge::Sum,
                _ => return None,
            };
            Some((c.name, merge))
        };
        TableSpec {
            name,
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            time: "end",
            window,
            workload: &["namespace", "workload"],
            sort: sort.leak(),
            rollup: Some(Rollup {
                source: "flows",
                width,
                start: Some("start"),
                merge: columns.iter().filter_map(merge).collect(),
                detail: vec![Detail {
                    column: "peer_address",
                    when: &[("peer_scope", &["external", "cloud"]), ("peer_workload", &[""])],
                }],
                fold: Some(Fold {
                    column: "peer_address",
                    other: "other",
                    about: &["peer_domain", "peer_asn"],
                    largest: &["tx_bytes", "rx_bytes"],
                    keep: 2,
                }),
            }),
            series: false,
        }
    };
    let mut specs = specs();
    specs.insert(1, tier("flows_5m", Window::FIVE_MINUTES, Window::DAY));
    specs.insert(2, tier("flows_1h", Window::HOUR, Window::THIRTY_DAYS));
    specs
}

pub(crate) fn flow_batch(rows: &[Row]) -> RecordBatch {
    let columns = FLOWS.fields().iter().map(|field| column(field, rows)).collect();
    RecordBatch::try_new(FLOWS.clone(), columns).expect("rows fit the schema")
}

fn column(field: &Field, rows: &[Row]) -> ArrayRef {
    let name = field.name().as_str();
    let numbers =
        || rows.iter().map(|r| r.numbers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v));
    let rtt = |of: fn(&[u64]) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.rtts.as_deref().map(of))))
    };
    match name {
        "end" | "start" => {
            let back = if name == "start" { 1_000_000 } else { 0 };
            let times = rows.iter().map(|r| r.end - back);
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        }
        "rtt_count" => rtt(|r| r.len() as i64),
        "rtt_sum_us" => rtt(|r| r.iter().sum::<u64>() as i64),
        "rtt_min_us" => rtt(|r| r.iter().min().map_or(0, |n| *n as i64)),
        "rtt_max_us" => rtt(|r| r.iter().max().map_or(0, |n| *n as i64)),
        "rtt_offset" => Arc::new(Int32Array::from_iter(
            rows.iter().map(|r| r.rtts.as_deref().map(|r| trim(&dense(r)).0)),
        )),
        "rtt_buckets" => {
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows.iter().map(|r| {
                r.rtts
                    .as_deref()
                    .map(|r| trim(&dense(r)).1.iter().map(|n| Some(*n)).collect::<Vec<_>>())
            })))
        }
        _ => match field.data_type() {
            DataType::Dictionary(..) => {
                let required = if field.is_nullable() { None } else { Some("x") };
                let text = StringArray::from_iter(rows.iter().map(|r| {
                    r.labels.iter().find(|(n, _)| *n == name).map(|(_, v)| *v).or(required)
                }));
                cast(&text, field.data_type()).expect("text becomes a dictionary")
            }
            DataType::Int64 => Arc::new(Int64Array::from_iter(numbers())),
            DataType::Int32 => {
                Arc::new(Int32Array::from_iter(numbers().map(|n| n.map(|n| n as i32))))
            }
            other => new_null_array(other, rows.len()),
        },
    }
}

/// Counts of all 64 buckets.
pub(crate) fn dense(rtts: &[u64]) -> [i64; BUCKETS] {
    let mut slots = [0; BUCKETS];
    for rtt in rtts {
        slots[(index_of(*rtt) - FIRST_INDEX) as usize] += 1;
    }
    slots
}

/// A snapshot of `batch`: its first rows in memory, then `files` Parquet files of like size in `dir`.
pub(crate) fn snapshot(dir: &Path, batch: &RecordBatch, memory: usize, files: usize) -> Snapshot {
    let memory = memory.min(batch.num_rows());
    let mut data_files = Vec::new();
    let rest = batch.num_rows() - memory;
    for i in 0..files {
        let from = memory + rest * i / files;
        let part = batch.slice(from, memory + rest * (i + 1) / files - from);
        if part.num_rows() > 0 {
            data_files.push(Arc::new(write_file(dir, &format!("{i}.parquet"), &part)));
        }
    }
    let spec = specs().into_iter().find(|s| s.schema == batch.schema()).expect("a known table");
    Snapshot {
        spec: Arc::new(spec),
        files: data_files.into(),
        memory: if memory > 0 { vec![batch.slice(0, memory)] } else { vec![] }.into(),
        complete_after: i64::MIN,
        hidden_in_memory: Arc::default(),
        object_store: Arc::new(LocalFileSystem::new_with_prefix(dir).expect("directory is there")),
        object_store_url: Url::parse("file:///").expect("a constant"),
        local: None,
    }
}

fn write_file(dir: &Path, name: &str, batch: &RecordBatch) -> DataFile {
    let plain = |t: &DataType| match t {
        DataType::Dictionary(..) => DataType::Utf8,
        other => other.clone(),
    };
    let fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .map(|f| Field::new(f.name(), plain(f.data_type()), f.is_nullable()))
        .collect();
    let columns =
        batch.columns().iter().map(|c| cast(c, &plain(c.data_type())).expect("a cast")).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns).expect("same columns");
    let path = dir.join(name);
    let file = std::fs::File::create(&path).expect("file is made");
    let mut writer = ArrowWriter::try_new(file, schema, None).expect("writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("file is closed");
    let times = batch.column_by_name("end").expect("time column");
    let times = times.as_primitive::<TimestampMicrosecondType>().values();
    let size = std::fs::metadata(&path).expect("file is there").len();
    DataFile {
        rows: batch.num_rows() as u64,
        min_time: times.iter().copied().min().expect("a row"),
        max_time: times.iter().copied().max().expect("a row"),
        ..DataFile::unknown(object_store::path::Path::from(name), size)
    }
}
