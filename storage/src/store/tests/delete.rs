//! Deleting by matcher and time.

use super::*;
use crate::delete::{Deleted, Deletion};
use crate::matcher::{MatchOp, Matcher};
use crate::tombstone::Tombstones;

fn quiet(dir: &Path) -> Options {
    Options { compaction: false, ..options(dir) }
}

fn ns(tables: &[&str], after: i64, until: i64) -> Deletion {
    Deletion {
        tables: tables.iter().map(|t| (*t).to_owned()).collect(),
        matchers: vec![Matcher::new("namespace", MatchOp::Equal, "ns").unwrap()],
        after,
        until,
    }
}

async fn rows(store: &Store, n: std::ops::Range<i64>) {
    for n in n {
        store.append(entry(None, n)).await.unwrap();
    }
}

fn seen(store: &Store, table: &str) -> Vec<i64> {
    counts(store, table).into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_are_gone_at_once_for_good_and_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_when_free(quiet(dir.path())).await;
    rows(&store, 0..6).await;
    let held = store.snapshot("flows").unwrap();
    let deleted = store.delete(ns(&["flows"], MIDNIGHT, MIDNIGHT + 4 * SECOND)).await.unwrap();
    assert_eq!(deleted, Deleted { files: 1, untouched: vec![] });
    assert_eq!(seen(&store, "flows"), [0, 3, 5], "of 1, 2, 4 and 5 with a namespace, 5 is later");
    assert_eq!(seen(&store, "loss"), [0, 1, 2, 3, 4, 5], "another table");
    assert_eq!(held.memory.batches().unwrap().len(), 6, "readers keep what they had");

    // Rows that come after the deletion are rows like any other.
    store.append(entry(None, 1)).await.unwrap();
    assert_eq!(seen(&store, "flows"), [0, 1, 3, 5]);

    // Killed: the log has the later row, the list of tombstones the deletion.
    drop((held, store));
    let store = open_when_free(quiet(dir.path())).await;
    assert_eq!(seen(&store, "flows"), [0, 1, 3, 5]);

    store.clean().await.unwrap();
    assert_eq!(seen(&store, "flows"), [0, 1, 3, 5]);
    let snapshot = store.snapshot("flows").unwrap();
    assert_eq!(snapshot.files.iter().map(|f| f.rows).sum::<u64>(), 3, "1 is in memory");
    assert!(snapshot.files.iter().all(|f| f.hidden.is_empty()));
    assert_eq!(Tombstones::load(&store.inner.dir).unwrap(), Tombstones::default());
    drop((snapshot, store));
    let store = open_when_free(quiet(dir.path())).await;
    assert_eq!(seen(&store, "flows"), [0, 1, 3, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_only_might_have_held_such_rows_is_let_be() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_when_free(quiet(dir.path())).await;
    let both = [(MIDNIGHT, "api", 0), (MIDNIGHT, "web", 1)];
    let parts = vec![part("flows", batch(&both))];
    store.append(Entry { source: None, parts }).await.unwrap();
    let workload = |name| Deletion {
        matchers: vec![Matcher::new("workload", MatchOp::Equal, name).unwrap()],
        ..ns(&["flows"], i64::MIN, i64::MAX)
    };
    assert_eq!(store.delete(workload("zzz")).await.unwrap().files, 0, "beyond the file's bounds");
    assert_eq!(store.delete(workload("db")).await.unwrap().files, 1, "within them");
    let before = store.snapshot("flows").unwrap().files[0].path.clone();
    store.clean().await.unwrap();
    let after = store.snapshot("flows").unwrap();
    assert_eq!((&after.files[0].path, after.files[0].hidden.len()), (&before, 0));
    assert_eq!(Tombstones::load(&store.inner.dir).unwrap(), Tombstones::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_when_free(quiet(dir.path())).await;
    rows(&store, 0..3).await;
    let mut everything = ns(&["flows"], i64::MIN, i64::MAX);
    everything.matchers.clear();
    let mut unknown = ns(&["flows"], i64::MIN, i64::MAX);
    unknown.matchers = vec![Matcher::new("zone", MatchOp::NotEqual, "a").unwrap()];
    for (deletion, why) in [
        (everything, "it would delete everything"),
        (unknown, "table `flows` has no label `zone`"),
        (ns(&["flows_9d"], 0, 1), "there is no table `flows_9d`"),
    ] {
        let error = store.delete(deletion).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(seen(&store, "flows"), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_cannot_be_written_down_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_on(quiet(dir.path()), Arc::new(disk.clone())).await;
    rows(&store, 0..3).await;
    store.flush().await.unwrap();
    disk.fail_sync(store.inner.dir.root(), true);
    let error = store.delete(ns(&["flows"], i64::MIN, i64::MAX)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(seen(&store, "flows"), [0, 1, 2]);
    disk.fail_sync(store.inner.dir.root(), false);
    store.delete(ns(&["flows"], i64::MIN, i64::MAX)).await.unwrap();
    assert_eq!(seen(&store, "flows"), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_under_way_does_not_bring_rows_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_when_free(quiet(dir.path())).await;
    for n in 0..20 {
        rows(&store, n..n + 1).await;
        store.flush().await.unwrap();
    }
    let compaction = tokio::spawn({
        let store = store.clone();
        async move { store.compact().await }
    });
    store.delete(ns(&["flows"], i64::MIN, i64::MAX)).await.unwrap();
    compaction.await.unwrap().unwrap();
    assert_eq!(seen(&store, "flows"), [0, 3, 6, 9, 12, 15, 18]);
    store.clean().await.unwrap();
    assert_eq!(seen(&store, "flows"), [0, 3, 6, 9, 12, 15, 18]);
}
