//! How small and how fast data files are: bytes of each column, and the same with other encodings.
//!
//! `cargo bench --bench layout` (two hours of 60 workloads, 830,000 rows). `WEIR_BENCH_WORKLOADS=600`
//! takes one eighth of a cluster with ten times the workloads, which is what one of eight parts holds.

#![expect(clippy::expect_used, reason = "a benchmark fails by panicking")]

mod generator;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, SortField};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterPropertiesBuilder};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnPath;
use weir_storage::{Effort, RowGroups, TableSpec, index_length, writer_properties};

use generator::{Cluster, Shape};

/// Bytes of a file by column, and how long it took.
struct Measured {
    total: u64,
    columns: BTreeMap<String, u64>,
    other: u64,
    write: Duration,
    read: Duration,
}

fn main() {
    let workloads: usize = match std::env::var("WEIR_BENCH_WORKLOADS") {
        Ok(text) => text.parse().expect("WEIR_BENCH_WORKLOADS is a number"),
        Err(_) => 60,
    };
    let scale = workloads.div_ceil(60);
    let shape = Shape { workloads, nodes: 8 * scale, namespaces: 6 * scale, ..Shape::default() };
    let cluster = Cluster::new(shape);
    let spec = weir_ingest::flows_table();
    let begin = Instant::now();
    let rows = window(&cluster, scale);
    println!("{} rows of {workloads} workloads, made in {:.1?}", rows.num_rows(), begin.elapsed());
    let begin = Instant::now();
    let sorted = sort(&rows, spec.sort);
    println!("sorted in {:.1?} (RowConverter)", begin.elapsed());
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let dir =
        std::env::var_os("WEIR_BENCH_DIR").map_or_else(|| temporary.path().to_owned(), Into::into);
    let path = dir.join("layout.parquet");
    let same = |b: WriterPropertiesBuilder| b;
    let base = measure(&spec, &path, &sorted, same);
    print_columns(&base, sorted.num_rows());
    let index = index_length(&spec, &sorted).expect("an index");
    let count = sorted.num_rows() as f64;
    println!("  {:26} {:.3}", "label index", index as f64 / count);
    println!("bytes per row, with it     {:.3}\n", (base.total + index as u64) as f64 / count);
    let only = std::env::var("WEIR_BENCH_ONLY").unwrap_or_default();
    for (name, variant) in variants(&spec) {
        if !name.contains(&only) {
            continue;
        }
        let other = measure(&spec, &path, &sorted, variant);
        compare(&name, &base, &other, sorted.num_rows());
    }
    for (name, order) in orders() {
        if !name.contains(&only) {
            continue;
        }
        let other = measure(&spec, &path, &sort(&rows, &order), same);
        compare(name, &base, &other, sorted.num_rows());
    }
}

/// Two hours of rows in the order of their arrival; one of `scale` nodes.
fn window(cluster: &Cluster, scale: usize) -> RecordBatch {
    let mut batches = Vec::new();
    for interval in 0..720 {
        for node in (0..cluster.shape().nodes).step_by(scale) {
            batches.push(cluster.batch(node, interval));
        }
    }
    let schema = batches.first().expect("a batch").schema();
    concat_batches(&schema, &batches).expect("batches of one schema")
}

fn sort(rows: &RecordBatch, order: &[&str]) -> RecordBatch {
    let keys: Vec<ArrayRef> =
        order.iter().map(|name| rows.column_by_name(name).expect("a column").clone()).collect();
    let fields = keys.iter().map(|k| SortField::new(k.data_type().clone())).collect();
    let converter = RowConverter::new(fields).expect("sortable columns");
    let encoded = converter.convert_columns(&keys).expect("rows");
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    order.sort_by(|a, b| encoded.row(*a as usize).cmp(&encoded.row(*b as usize)));
    take_record_batch(rows, &UInt32Array::from(order)).expect("rows in order")
}

fn orders() -> Vec<(&'static str, Vec<&'static str>)> {
    let end = |columns: &[&'static str]| [columns, &["end"]].concat();
    let workloads = ["namespace", "workload", "peer_namespace", "peer_workload"];
    vec![
        ("order: end only", vec!["end"]),
        ("order: workloads, end", end(&workloads)),
        (
            "order: workloads, pod, address, peer_pod, peer_address, ports",
            end(&[
                &workloads[..],
                &[
                    "pod",
                    "address",
                    "peer_pod",
                    "peer_address",
                    "role",
                    "protocol",
                    "port",
                    "peer_port",
                ],
            ]
            .concat()),
        ),
        (
            "order: workloads, role, protocol, ports, pods, no addresses",
            end(&[&workloads[..], &["role", "protocol", "port", "peer_port", "pod", "peer_pod"]]
                .concat()),
        ),
    ]
}

type Variant = Box<dyn Fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder>;

fn variants(spec: &TableSpec) -> Vec<(String, Variant)> {
    let mut variants: Vec<(String, Variant)> = Vec::new();
    let mut add = |name: &str, variant: Variant| variants.push((name.to_owned(), variant));
    for level in [1, 6, 9, 15] {
        let level = ZstdLevel::try_new(level).expect("a level");
        add(
            &format!("zstd {}", level.compression_level()),
            Box::new(move |b| b.set_compression(Compression::ZSTD(level))),
        );
    }
    for (rows, page) in [
        (1 << 17, 1 << 12),
        (1 << 17, 1 << 15),
        (1 << 18, 1 << 13),
        (1 << 20, 1 << 13),
        (1 << 20, 1 << 14),
        (1 << 20, 1 << 20),
    ] {
        add(
            &format!("row group {rows}, page {page}"),
            Box::new(move |b| {
                b.set_max_row_group_row_count(Some(rows)).set_data_page_row_count_limit(page)
            }),
        );
    }
    add("no page statistics", Box::new(|b| b.set_statistics_enabled(EnabledStatistics::Chunk)));
    add("no statistics", Box::new(|b| b.set_statistics_enabled(EnabledStatistics::None)));
    add("no path in schema", Box::new(|b| b.set_write_path_in_schema(false)));
    let numbers: Vec<ColumnPath> =
        spec.schema.fields().iter().filter(|f| is_number(f)).map(|f| column(f)).collect();
    for level in [1, 3, 9, 12, 19] {
        let numbers = numbers.clone();
        let level = ZstdLevel::try_new(level).expect("a level");
        add(
            &format!("numbers zstd {}", level.compression_level()),
            Box::new(move |mut b| {
                for column in &numbers {
                    b = b.set_column_compression(column.clone(), Compression::ZSTD(level));
                }
                b
            }),
        );
    }
    variants
}

fn is_number(field: &Field) -> bool {
    use DataType::{Int32, Int64, List, Timestamp};
    matches!(field.data_type(), Int32 | Int64 | List(_) | Timestamp(..))
}

fn column(field: &Field) -> ColumnPath {
    match field.data_type() {
        DataType::List(_) => {
            ColumnPath::from(vec![field.name().clone(), "list".to_owned(), "element".to_owned()])
        }
        _ => ColumnPath::from(field.name().as_str()),
    }
}

fn measure(
    spec: &TableSpec,
    path: &Path,
    rows: &RecordBatch,
    variant: impl Fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
) -> Measured {
    let properties = variant(writer_properties(spec, Effort::Settled).into_builder()).build();
    let begin = Instant::now();
    let file = File::create(path).expect("a file");
    let mut writer = RowGroups::new(file, &rows.schema(), properties).expect("a writer");
    let mut at = 0;
    while at < rows.num_rows() {
        let length = (32 * 1024).min(rows.num_rows() - at);
        writer.write(&rows.slice(at, length)).expect("rows are written");
        at += length;
    }
    writer.into_inner().expect("the file is closed");
    let write = begin.elapsed();
    let reader = SerializedFileReader::new(File::open(path).expect("the file")).expect("a footer");
    let mut columns = BTreeMap::new();
    for group in reader.metadata().row_groups() {
        for chunk in group.columns() {
            *columns.entry(chunk.column_path().parts()[0].clone()).or_default() +=
                chunk.compressed_size() as u64;
        }
    }
    let total = std::fs::metadata(path).expect("the file").len();
    let other = total - columns.values().sum::<u64>();
    let begin = Instant::now();
    let options = ArrowReaderOptions::new();
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(
        File::open(path).expect("the file"),
        options,
    )
    .expect("a footer");
    let read: usize = reader.build().expect("a reader").map(|b| b.expect("rows").num_rows()).sum();
    assert_eq!(read, rows.num_rows());
    Measured { total, columns, other, write, read: begin.elapsed() }
}

fn print_columns(measured: &Measured, rows: usize) {
    let per_row = |bytes: u64| bytes as f64 / rows as f64;
    println!("\nbytes per row              {:.3}", per_row(measured.total));
    println!("rows written per second    {:.0}", rows as f64 / measured.write.as_secs_f64());
    println!("rows read per second       {:.0}", rows as f64 / measured.read.as_secs_f64());
    let mut columns: Vec<_> = measured.columns.iter().collect();
    columns.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
    for (name, bytes) in columns {
        println!("  {name:26} {:.3}", per_row(*bytes));
    }
    println!("  {:26} {:.3}", "footer and page index", per_row(measured.other));
}

fn compare(name: &str, base: &Measured, other: &Measured, rows: usize) {
    let per_row = |bytes: u64| bytes as f64 / rows as f64;
    println!(
        "{name}: {:.3} bytes per row ({:+.3}), write {:.2}x, read {:.2}x of the time",
        per_row(other.total),
        per_row(other.total) - per_row(base.total),
        other.write.as_secs_f64() / base.write.as_secs_f64(),
        other.read.as_secs_f64() / base.read.as_secs_f64(),
    );
    let mut line = String::new();
    for (name, bytes) in &base.columns {
        let difference = per_row(other.columns[name]) - per_row(*bytes);
        if difference.abs() >= 0.02 {
            line += &format!(" {name} {difference:+.2}");
        }
    }
    let difference = per_row(other.other) - per_row(base.other);
    println!("    {line} (footer {difference:+.3})");
}
