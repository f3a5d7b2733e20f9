//! The label index inside of the files that a store writes, and of one that version 1 wrote.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringDictionaryBuilder, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};
use arrow::ipc::writer::StreamWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use weir_storage::{Entry, LabelIndex, Options, Part, Store, TableSpec, Window};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn spec() -> TableSpec {
    let label = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    TableSpec {
        name: "flows",
        schema: Arc::new(Schema::new(vec![
            Field::new("end", time, false),
            Field::new("workload", label.clone(), true),
            Field::new("pod", label.clone(), true),
            Field::new("zone", label, true),
            Field::new("bytes", DataType::Int64, true),
        ])),
        time: "end",
        window: Window::DAY,
        workload: &["workload"],
        sort: &["workload", "end"],
        rollup: None,
        series: false,
    }
}

fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
    let label = |of: &dyn Fn(i64) -> Option<String>| -> ArrayRef {
        let mut labels = StringDictionaryBuilder::<Int32Type>::new();
        labels.extend(rows.clone().map(of));
        Arc::new(labels.finish())
    };
    let columns = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.clone()).with_timezone("UTC")),
        label(&|i| (i % 7 > 0).then(|| format!("w{}", i % 7))),
        label(&|i| Some(format!("pod-{}-ü", i % 7 * 10 + i / 500))),
        label(&|_| None),
        Arc::new(Int64Array::from_iter_values(rows.clone())) as ArrayRef,
    ];
    RecordBatch::try_new(spec().schema, columns).unwrap()
}

/// Checks the index of a file against its rows; returns how many columns it has.
async fn check(store: &LocalFileSystem, folder: &std::path::Path, path: &Path) -> usize {
    let full = folder.join(path.as_ref());
    let size = std::fs::metadata(&full).unwrap().len();
    let file = std::fs::File::open(&full).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let footer = reader.metadata().clone();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    let rows = concat_batches(&batches[0].schema(), &batches).unwrap();
    let index = LabelIndex::open(store, path, size, &footer).await.unwrap().expect("an index");
    assert_eq!(index.rows() as usize, rows.num_rows());
    let names: Vec<&str> = index.columns().map(|(name, _)| name).collect();
    let columns = index.read(store, &names).await.unwrap();
    for (name, column) in &columns {
        let texts = rows.column_by_name(name).unwrap().as_string::<i32>();
        for value in column.values().as_string::<i32>() {
            let found: Vec<u32> = column.rows_where(|v| v == value).unwrap().into_iter().collect();
            let expected = (0u32..).zip(texts).filter(|(_, v)| *v == value).map(|(row, _)| row);
            assert_eq!(found, expected.collect::<Vec<_>>(), "{name} {value:?}");
        }
        let all = column.rows_where(|_| true).unwrap();
        assert_eq!(all.len(), rows.num_rows() as u64, "every row has its place in {name}");
    }
    columns.len()
}

#[tokio::test]
async fn files_are_written_with_an_index_of_every_label() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), vec![spec()])).await.unwrap();
    for rows in [0..1500, 1500..3000] {
        let batch = batch(rows);
        let mut ipc = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        ipc.write(&batch).unwrap();
        let ipc = ipc.into_inner().unwrap().into();
        let parts = vec![Part { table: "flows", ipc, batches: vec![batch] }];
        store.append(Entry { source: None, parts }).await.unwrap();
    }
    store.flush().await.unwrap();
    let files = store.snapshot("flows").unwrap().files;
    let [file] = &*files else { panic!("{files:?}") };
    assert_eq!(file.rows, 3000);
    let folder = dir.path().join("tables");
    let tables = LocalFileSystem::new_with_prefix(&folder).unwrap();
    assert_eq!(check(&tables, &folder, &file.path).await, 3);
    store.close().await.unwrap();
}

#[tokio::test]
async fn version_1_is_read_forever() {
    let store = LocalFileSystem::new_with_prefix(FIXTURES).unwrap();
    let path = Path::from("index-v1.parquet");
    assert_eq!(check(&store, std::path::Path::new(FIXTURES), &path).await, 3);
}
