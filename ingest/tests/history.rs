//! Frozen data directories: every later version opens them, whole.
//!
//! `tests/fixtures/history-N` at the root of the repository is what a server of the time left behind
//! when it was killed: tables with tiers, a deletion that is not over, the list of senders, and batches
//! in the log as they came, bare and in one zstd frame. Version 1 is of before the list of senders
//! knew positions. To add one: run a server of the version, send it batches, delete, and kill it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use weir_ingest::{store_options, tables};
use weir_storage::inspect::{Depth, Inspection, inspect};
use weir_storage::{Appended, Clock, Entry, Options, Source, Store};

/// 2026-11-22T13:00:00Z, in microseconds.
const NOW: i64 = 1_795_352_400_000_000;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn open(dir: &Path) -> Arc<Store> {
    let clock = Clock::new(|| NOW);
    let options = Options { clock, compaction: false, ..store_options(dir) };
    Store::open(options).await.unwrap()
}

fn sum(batches: &[RecordBatch], column: &str) -> i64 {
    let sum = |batch: &RecordBatch| {
        let column = batch.column_by_name(column).unwrap().as_primitive::<Int64Type>();
        column.iter().flatten().sum::<i64>()
    };
    batches.iter().map(sum).sum()
}

/// Rows in files, whether some of them are deleted, and rows in memory.
fn rows(store: &Store, table: &str) -> (u64, bool, Vec<RecordBatch>) {
    let snapshot = store.snapshot(table).unwrap();
    let files = snapshot.files.iter().map(|f| f.rows).sum();
    let hidden = snapshot.files.iter().any(|f| !f.hidden.is_empty());
    (files, hidden, snapshot.memory.batches().unwrap().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_version_1_is_opened() {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/history-1");
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("data");
    copy(Path::new(fixture), &dir);
    let verified = async || {
        let found = inspect(&dir, &tables(), Depth::Verify, &Clock::new(|| NOW)).await.unwrap();
        assert!(found.damage.is_empty(), "{:?}", found.damage);
        found
    };
    let found = verified().await;
    let in_files = |found: &Inspection| {
        let of = |name| found.tables.iter().find(|t| t.name == name).unwrap().rows;
        ["flows", "flows_5m", "flows_1h", "agent_loss"].map(of)
    };
    assert_eq!(in_files(&found), [4, 4, 4, 2]);
    assert_eq!(found.tombstones.len(), 1);
    // The batch that is in files already, and the two that are not.
    assert_eq!(found.segments.iter().filter_map(|s| s.entries).sum::<u64>(), 3);

    let store = open(&dir).await;
    for table in ["flows", "flows_5m", "flows_1h"] {
        let (files, hidden, memory) = rows(&store, table);
        assert_eq!((files, hidden), (4, true), "{table}");
        assert_eq!(sum(&memory, "tx_bytes"), 500 + 600, "{table}");
        assert_eq!(sum(&memory, "retransmits"), 5 + 6, "{table}");
    }
    let (files, _, memory) = rows(&store, "agent_loss");
    assert_eq!((files, sum(&memory, "count")), (2, 7));
    for sequence in 1..=4 {
        let source = Source { agent: "test".into(), boot: "frozen".into(), sequence };
        let again = Entry { source: Some(source), parts: Vec::new() };
        assert_eq!(store.append(again).await.unwrap(), Appended::Repeated, "{sequence}");
    }
    store.close().await.unwrap();
    drop(store);
    let found = verified().await;
    assert_eq!(in_files(&found), [6, 6, 6, 4]);
    assert_eq!(rows(&*open(&dir).await, "flows").0, 6);
}
