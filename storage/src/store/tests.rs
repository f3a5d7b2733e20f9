//! The store as its callers see it, over real directories.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use arrow::array::{
    Array, AsArray, DictionaryArray, Int64Array, ListArray, RecordBatch, TimestampMicrosecondArray,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimeUnit};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::clock::Clock;
use crate::disk::faulty::FaultyDisk;
use crate::entry::{Part, Source};
use crate::hidden::{Hidden, visible};
use crate::retention::Retention;

mod compaction;
mod crash;
mod delete;
mod disk;
mod history;
mod inspect;
mod lost;
mod objects;
mod power;
mod readers;
mod retention;
mod revise;
mod series;
mod tiers;

/// 2026-11-22T00:00:00Z, in microseconds.
const MIDNIGHT: i64 = 1_795_305_600_000_000;
const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;

fn label() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn spec(name: &'static str) -> TableSpec {
    let buckets = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    TableSpec {
        name,
        schema: Arc::new(Schema::new(vec![
            Field::new("end", time(), false),
            Field::new("namespace", label(), true),
            Field::new("workload", label(), false),
            Field::new("n", DataType::Int64, false),
            Field::new("buckets", buckets, true),
        ])),
        time: "end",
        window: Window::TWO_HOURS,
        workload: &["namespace", "workload"],
        sort: &["namespace", "workload", "end"],
        rollup: None,
        series: false,
    }
}

/// Rows of (time, workload, n); the namespace is null for every third, the buckets are [n, n + 1].
fn batch(rows: &[(i64, &str, i64)]) -> RecordBatch {
    let namespace: DictionaryArray<Int32Type> =
        rows.iter().map(|(_, _, n)| (n % 3 != 0).then_some("ns")).collect();
    let workload: DictionaryArray<Int32Type> = rows.iter().map(|(_, w, _)| Some(*w)).collect();
    let buckets = ListArray::from_iter_primitive::<Int64Type, _, _>(
        rows.iter().map(|(_, _, n)| Some([Some(*n), Some(n + 1)])),
    );
    RecordBatch::try_new(
        spec("flows").schema,
        vec![
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.0))
                    .with_timezone("UTC"),
            ),
            Arc::new(namespace),
            Arc::new(workload),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))),
            Arc::new(buckets),
        ],
    )
    .unwrap()
}

fn part(table: &'static str, batch: RecordBatch) -> Part {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    Part { table, ipc: Bytes::from(writer.into_inner().unwrap()), batches: vec![batch] }
}

fn source(agent: &str, sequence: i64) -> Option<Source> {
    Some(Source { agent: agent.into(), boot: "boot".into(), sequence })
}

/// One row in `flows` and one in `loss`, both with `n` = `n`.
fn entry(source: Option<Source>, n: i64) -> Entry {
    let rows = [(MIDNIGHT + n * SECOND, "web", n)];
    Entry { source, parts: vec![part("flows", batch(&rows)), part("loss", batch(&rows))] }
}

fn options(dir: &Path) -> Options {
    Options {
        flush_interval: Duration::from_secs(3600),
        removal_grace: Duration::ZERO,
        compaction: false,
        clock: Clock::new(|| MIDNIGHT + 24 * HOUR),
        ..Options::new(dir, vec![spec("flows"), spec("loss")])
    }
}

async fn open(dir: &Path) -> Arc<Store> {
    open_when_free(options(dir)).await
}

/// A store that was dropped lets the directory go when its last write is done.
async fn open_when_free(options: Options) -> Arc<Store> {
    open_on(options, Arc::new(RealDisk)).await
}

async fn open_on(options: Options, disk: Arc<dyn Disk>) -> Arc<Store> {
    loop {
        match Store::open_on(options.clone(), disk.clone()).await {
            Err(e) if e.kind() == ErrorKind::Directory && e.to_string().contains("in use") => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            other => return other.unwrap(),
        }
    }
}

fn read_file(store: &Store, path: &str) -> Vec<RecordBatch> {
    let file = std::fs::File::open(store.inner.dir.tables().join(path)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

/// How often each `n` is there, in files and in memory together.
fn counts(store: &Store, table: &str) -> BTreeMap<i64, usize> {
    let snapshot = store.snapshot(table).unwrap();
    let mut counts = BTreeMap::new();
    let seen = |batch: RecordBatch, hidden: &[Arc<Hidden>]| match visible(hidden, "end", &batch) {
        Ok(None) => batch,
        Ok(Some(rows)) => filter_record_batch(&batch, &rows).unwrap(),
        Err(e) => panic!("{e}"),
    };
    let files = snapshot.files.iter().flat_map(|f| {
        read_file(store, f.path.as_ref()).into_iter().map(|batch| seen(batch, &f.hidden))
    });
    let memory = snapshot.memory.batches().unwrap().iter().cloned();
    for batch in files.chain(memory.map(|batch| seen(batch, &snapshot.hidden_in_memory))) {
        let n = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
        for n in n.values() {
            *counts.entry(*n).or_default() += 1;
        }
    }
    counts
}

fn once(range: std::ops::Range<i64>) -> BTreeMap<i64, usize> {
    range.map(|n| (n, 1)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_visible_at_once_and_survive() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..10 {
        let entry = entry(source("a", n), n);
        assert_eq!(store.append(entry).await.unwrap(), Appended::Stored);
        assert_eq!(counts(&store, "flows"), once(0..n + 1));
    }
    assert!(store.stats().wal_bytes > 0);
    drop(store);
    let store = open(dir.path()).await;
    assert_eq!(counts(&store, "flows"), once(0..10));
    assert_eq!(store.stats().memory_rows, 20);
    store.close().await.unwrap();
    let error = store.append(entry(None, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(counts(&store, "flows"), once(0..10), "snapshots outlive close");
    let again = open(dir.path()).await;
    assert_eq!(counts(&again, "loss"), once(0..10));
    let stats = again.stats();
    assert_eq!((stats.memory_rows, stats.wal_bytes, stats.wal_segments), (0, 0, 0));
    assert_eq!(
        stats.tables.iter().map(|t| (t.0, t.3)).collect::<Vec<_>>(),
        [("flows", 10), ("loss", 10)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn repetitions_are_stored_once_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..3 {
        store.append(entry(source("a", n), n)).await.unwrap();
    }
    let repeat = |store: Arc<Store>| async move {
        for n in 0..3 {
            let got = store.append(entry(source("a", n), n)).await.unwrap();
            assert_eq!(got, Appended::Repeated, "{n}");
        }
        assert_eq!(counts(&store, "flows"), once(0..3));
    };
    repeat(store.clone()).await;
    drop(store);
    let store = open(dir.path()).await;
    repeat(store.clone()).await;
    store.flush().await.unwrap();
    repeat(store.clone()).await;
    store.close().await.unwrap();
    drop(store);
    let store = open(dir.path()).await;
    repeat(store.clone()).await;
    assert_eq!(store.append(entry(source("a", 3), 3)).await.unwrap(), Appended::Stored);
    assert_eq!(store.append(entry(source("b", 0), 4)).await.unwrap(), Appended::Stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_share_syncs_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let store = store.clone();
            // Every entry is sent twice at the same time.
            tokio::spawn(async move {
                let (a, b) = tokio::join!(
                    store.append(entry(source(&format!("a{n}"), 7), n)),
                    store.append(entry(source(&format!("a{n}"), 7), n)),
                );
                let mut got = [a.unwrap(), b.unwrap()];
                got.sort_by_key(|g| *g == Appended::Repeated);
                assert_eq!(got, [Appended::Stored, Appended::Repeated]);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(counts(&store, "flows"), once(0..200));
    drop(store);
    assert_eq!(counts(&*open(dir.path()).await, "loss"), once(0..200));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut wrong = entry(source("a", 0), 1);
    wrong.parts[1].batches = vec![batch(&[(-1, "web", 1)])];
    assert_eq!(store.append(wrong).await.unwrap_err().kind(), ErrorKind::Invalid);
    let mut wrong = entry(source("a", 0), 1);
    wrong.parts[1].batches = vec![wrong.parts[1].batches[0].project(&[0, 1, 2]).unwrap()];
    assert_eq!(store.append(wrong).await.unwrap_err().kind(), ErrorKind::Invalid);
    let mut wrong = entry(source("a", 0), 1);
    wrong.parts[1].table = "nowhere";
    assert_eq!(store.append(wrong).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(counts(&store, "flows").is_empty());
    assert_eq!(store.stats().memory_bytes, 0, "nothing stays reserved");
    assert_eq!(store.append(entry(source("a", 0), 1)).await.unwrap(), Appended::Stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    // Hold the tables' logs so that no flush can make room.
    let store = open_when_free(Options { memtable_bytes: 20_000, ..options(dir.path()) }).await;
    let held = store.inner.tables.lock().await;
    let mut stored = 0;
    let error = loop {
        match store.append(entry(None, stored)).await {
            Ok(_) => stored += 1,
            Err(e) => break e,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(store.stats().memory_bytes <= 40_000);
    assert_eq!(counts(&store, "flows"), once(0..stored));
    drop(held);
    // The background flush is due by size.
    while store.append(entry(None, stored)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(counts(&store, "flows"), once(0..stored + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_cannot_be_written_out_is_no_reason_to_send_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let small = Options { memtable_bytes: 20_000, ..options(dir.path()) };
    let store = open_on(small, Arc::new(disk.clone())).await;
    let folder = dir.path().canonicalize().unwrap().join("tables/flows");
    disk.fail_sync(&folder, true);
    let mut stored = 0;
    let error = loop {
        match store.append(entry(None, stored)).await {
            Ok(_) => stored += 1,
            // Until the flush that is due by size has failed.
            Err(e) if e.kind() == ErrorKind::Busy => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(e) => break e,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("injected sync failure"), "{error}");
    disk.fail_sync(&folder, false);
    store.flush().await.unwrap();
    assert_eq!(store.append(entry(None, stored)).await.unwrap(), Appended::Stored);
    assert_eq!(counts(&store, "flows"), once(0..stored + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_cannot_make_a_file_for_every_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let spread = |windows: i64| {
        let rows: Vec<_> = (0..windows).map(|n| (n * 2 * HOUR, "web", n)).collect();
        Entry { source: None, parts: vec![part("flows", batch(&rows))] }
    };
    store.append(spread(256)).await.unwrap();
    let error = store.append(spread(257)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("more than 256 windows"), "{error}");
    let far: Vec<_> = [(0, "web", 0), (MIDNIGHT, "web", 1)].to_vec();
    let far = Entry { source: None, parts: vec![part("loss", batch(&far))] };
    store.append(far).await.unwrap();
}

/// One entry is admitted or refused as a whole, and a large one gets its turn.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_entry_is_admitted_beside_small_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_when_free(Options { memtable_bytes: 20_000, ..options(dir.path()) }).await;
    let _held = store.inner.tables.lock().await;
    store.append(entry(None, 0)).await.unwrap();
    let rows: Vec<_> = (1..2001).map(|n| (MIDNIGHT + n * SECOND, "web", n)).collect();
    let large = || Entry {
        source: None,
        parts: vec![part("flows", batch(&rows)), part("loss", batch(&rows))],
    };
    store.append(large()).await.unwrap();
    assert!(store.stats().memory_bytes > 100_000);
    let before = store.stats().memory_bytes;
    assert_eq!(store.append(large()).await.unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(store.stats().memory_bytes, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path()).await;
    let error = Store::open(options(dir.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Directory);
    let text = error.to_string();
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    assert!(text.contains(&std::process::id().to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_sorted_cut_by_window_and_read_as_text() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let rows: Vec<(i64, &str, i64)> = (0..1000)
        .map(|n| {
            let workload = ["web", "api", "db"][n as usize % 3];
            (MIDNIGHT - HOUR + (n * 7919 % 1000) * 8 * SECOND, workload, n)
        })
        .collect();
    for chunk in rows.chunks(100) {
        let part = part("flows", batch(chunk));
        store.append(Entry { source: None, parts: vec![part] }).await.unwrap();
    }
    store.flush().await.unwrap();
    let snapshot = store.snapshot("flows").unwrap();
    assert!(snapshot.memory.is_empty());
    assert_eq!(snapshot.files.iter().map(|f| f.rows).sum::<u64>(), 1000);
    let folders: Vec<_> = snapshot
        .files
        .iter()
        .map(|f| f.path.prefix_matches(&"flows/date=2026-11-21/part=00".into()))
        .collect();
    assert_eq!(folders, [true, false], "{:?}", snapshot.files);
    for file in snapshot.files.iter() {
        let batches = read_file(&store, file.path.as_ref());
        let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
        assert_eq!(batch.num_rows() as u64, file.rows);
        assert_eq!(
            batch.schema().field_with_name("workload").unwrap().data_type(),
            &DataType::Utf8
        );
        let end = cast(batch.column_by_name("end").unwrap(), &DataType::Int64).unwrap();
        let end = end.as_primitive::<Int64Type>();
        assert_eq!(end.values().iter().min(), Some(&file.min_time));
        assert_eq!(end.values().iter().max(), Some(&file.max_time));
        let namespace = batch.column_by_name("namespace").unwrap().as_string::<i32>();
        let workload = batch.column_by_name("workload").unwrap().as_string::<i32>();
        let keys: Vec<_> = (0..batch.num_rows())
            .map(|i| {
                (namespace.is_valid(i).then(|| namespace.value(i)), workload.value(i), end.value(i))
            })
            .collect();
        assert!(keys.is_sorted());
        let n = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
        let buckets = batch.column_by_name("buckets").unwrap().as_list::<i32>();
        for (i, n) in n.values().iter().enumerate() {
            assert_eq!(rows[*n as usize], (end.value(i), workload.value(i), *n));
            let list = buckets.value(i);
            assert_eq!(list.as_primitive::<Int64Type>().values(), &[*n, n + 1]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_say_what_labels_they_may_hold_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let rows: Vec<_> = (1..30).map(|n| (MIDNIGHT, ["api", "web"][n as usize % 2], n)).collect();
    let part = part("flows", batch(&rows));
    store.append(Entry { source: None, parts: vec![part] }).await.unwrap();
    store.flush().await.unwrap();
    let check = |store: &Store| {
        let snapshot = store.snapshot("flows").unwrap();
        let [file] = snapshot.files.as_ref() else { panic!("{:?}", snapshot.files) };
        assert_eq!(file.part.map(crate::PartId::number), Some(0));
        assert_eq!(file.text_bounds("workload"), Some(("api", "web")));
        assert_eq!(file.text_bounds("namespace"), Some(("ns", "ns")));
        assert_eq!(file.null_count("namespace"), Some(9));
        assert_eq!(file.text_bounds("buckets"), None);
        let spec = &snapshot.spec;
        for held in [["ns", "api"], ["", "web"], ["ns", "m"]] {
            assert!(file.may_hold_workload(spec, &held), "{held:?}");
        }
        for ruled_out in [["ns", "x"], ["n", "api"], ["ns", ""]] {
            assert!(!file.may_hold_workload(spec, &ruled_out), "{ruled_out:?}");
        }
    };
    check(&store);
    store.close().await.unwrap();
    drop(store);
    check(&*open(dir.path()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_grow_with_volume_and_files_of_every_count_stay_right() {
    let dir = tempfile::tempdir().unwrap();
    // Any file is too large for its part; a flush of 40 rows has enough for four parts.
    let options = || Options {
        part_bytes: 1,
        part_rows: 10,
        target_file_bytes: 1 << 30,
        compaction: false,
        ..options(dir.path())
    };
    let mut store = open_when_free(options()).await;
    let names: Vec<String> = (0..20).map(|n| format!("w{n}")).collect();
    let mut next = 0;
    for round in 0..8i64 {
        // Four windows, each filled twice.
        let rows: Vec<_> = (0..40)
            .map(|i| {
                next += 1;
                (MIDNIGHT + round % 4 * 2 * HOUR, names[i % 20].as_str(), next)
            })
            .collect();
        let part = part("flows", batch(&rows));
        store.append(Entry { source: None, parts: vec![part] }).await.unwrap();
        store.flush().await.unwrap();
        if round == 5 {
            store.close().await.unwrap();
            store = open_when_free(options()).await;
        }
    }
    let numbers = |store: &Store| -> Vec<u32> {
        let files = store.snapshot("flows").unwrap().files;
        let mut numbers: Vec<u32> =
            files.iter().map(|f| f.part.map(crate::PartId::number).unwrap()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    assert_eq!(numbers(&store), [0, 3, 4, 5, 6], "one part at first, four later");
    assert_eq!(counts(&store, "flows"), once(1..next + 1));
    for step in ["flushed", "compacted"] {
        let snapshot = store.snapshot("flows").unwrap();
        for file in snapshot.files.iter() {
            for batch in read_file(&store, file.path.as_ref()) {
                let namespace = cast(batch.column_by_name("namespace").unwrap(), &DataType::Utf8);
                let (namespace, workload) =
                    (namespace.unwrap(), batch.column_by_name("workload").unwrap().clone());
                let (namespace, workload) =
                    (namespace.as_string::<i32>(), workload.as_string::<i32>());
                for row in 0..batch.num_rows() {
                    let namespace = if namespace.is_null(row) { "" } else { namespace.value(row) };
                    let values = [namespace, workload.value(row)];
                    assert!(file.may_hold_workload(&snapshot.spec, &values), "{step} {values:?}");
                }
            }
        }
        let held =
            snapshot.files.iter().filter(|f| f.may_hold_workload(&snapshot.spec, &["ns", "w1"]));
        assert!(held.count() < snapshot.files.len() / 2, "{step}: other parts are ruled out");
        store.compact().await.unwrap();
    }
    assert_eq!(counts(&store, "flows"), once(1..next + 1));
    assert_eq!(numbers(&store), [0, 3, 4, 5, 6], "compaction mixes no counts");
}
