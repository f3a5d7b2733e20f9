//! The log of version 1, as it was written: every later version must read it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, DictionaryArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimeUnit};
use arrow::ipc::writer::StreamWriter;
use weir_storage::{Appended, Clock, Entry, Options, Part, Source, Store, TableSpec, Window};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wal-v1");
const MIDNIGHT: i64 = 1_795_305_600_000_000;

fn spec() -> TableSpec {
    let label = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    TableSpec {
        name: "flows",
        schema: Arc::new(Schema::new(vec![
            Field::new("end", time, false),
            Field::new("workload", label, true),
            Field::new("n", DataType::Int64, false),
        ])),
        time: "end",
        window: Window::TWO_HOURS,
        workload: &["workload"],
        sort: &["workload", "end"],
        rollup: None,
        series: false,
    }
}

fn entry(n: i64) -> Entry {
    let workload: DictionaryArray<Int32Type> = [Some("web"), None].into_iter().collect();
    let times = TimestampMicrosecondArray::from_iter_values([MIDNIGHT + n, MIDNIGHT + n + 1]);
    let batch = RecordBatch::try_new(
        spec().schema,
        vec![
            Arc::new(times.with_timezone("UTC")),
            Arc::new(workload),
            Arc::new(Int64Array::from(vec![2 * n, 2 * n + 1])),
        ],
    )
    .unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    let ipc = writer.into_inner().unwrap().into();
    Entry {
        source: Some(Source { agent: "host-1".into(), boot: "b".into(), sequence: n }),
        parts: vec![Part { table: "flows", ipc, batches: vec![batch] }],
    }
}

async fn open(dir: &Path) -> Arc<Store> {
    let clock = Clock::new(|| MIDNIGHT);
    Store::open(Options { clock, ..Options::new(dir, vec![spec()]) }).await.unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &to);
        } else {
            std::fs::copy(file.path(), to).unwrap();
        }
    }
}

/// The fixture: entries 0 and 1 are gone from the log (the table that has them is left out), 2 to 4
/// are in it.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_version_1_is_read() {
    let dir = tempfile::tempdir().unwrap();
    copy(Path::new(FIXTURE), dir.path());
    let store = open(dir.path()).await;
    let snapshot = store.snapshot("flows").unwrap();
    let mut rows = Vec::new();
    for batch in snapshot.memory.batches().unwrap() {
        let n = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
        rows.extend(n.values().iter().copied());
        let workload = batch.column_by_name("workload").unwrap();
        let workload = workload.as_dictionary::<Int32Type>();
        assert_eq!(workload.values().as_string::<i32>().value(0), "web");
    }
    assert_eq!(rows, [4, 5, 6, 7, 8, 9]);
    for n in 0..5 {
        assert_eq!(store.append(entry(n)).await.unwrap(), Appended::Repeated, "{n}");
    }
    assert_eq!(store.append(entry(5)).await.unwrap(), Appended::Stored);
    store.close().await.unwrap();
}

/// Writes the fixture of the current version: `WEIR_WRITE_FIXTURE=DIR cargo test -p weir-storage`.
#[tokio::test(flavor = "multi_thread")]
async fn write_fixture() {
    let Some(to) = std::env::var_os("WEIR_WRITE_FIXTURE") else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..2 {
        store.append(entry(n)).await.unwrap();
    }
    store.flush().await.unwrap();
    // The next entry closes the segment, and the flush after it removes it.
    store.append(entry(2)).await.unwrap();
    store.flush().await.unwrap();
    for n in 3..5 {
        store.append(entry(n)).await.unwrap();
    }
    copy(&dir.path().join("wal"), &Path::new(&to).join("wal"));
    std::fs::copy(dir.path().join("FORMAT"), Path::new(&to).join("FORMAT")).unwrap();
}
