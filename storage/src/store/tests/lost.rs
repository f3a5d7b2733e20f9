//! Directories that have lost something which was acknowledged: they are refused, and nothing more of
//! them is lost.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::inspect::{Depth, inspect};

/// Two rows in files and trimmed from the log, one in files and the log, one in the log alone; the
/// checkpoint knows of all but the last.
async fn history() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..2 {
        store.append(entry(source("a", n), n)).await.unwrap();
        store.flush().await.unwrap();
    }
    store.append(entry(source("a", 2), 2)).await.unwrap();
    // As a flush does that others append beside.
    let tables = ["flows", "loss"].map(|name| (name.to_owned(), 2)).to_vec();
    flush::trim_log(&store.inner, tables).unwrap();
    store.flush().await.unwrap();
    store.append(entry(source("a", 3), 3)).await.unwrap();
    drop(store);
    drop(open(dir.path()).await);
    dir
}

async fn refused(dir: &Path) -> String {
    loop {
        let error = Store::open(options(dir)).await.unwrap_err();
        if !error.to_string().contains("in use") {
            assert_eq!(error.kind(), ErrorKind::Directory, "{error}");
            return error.to_string();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.join("wal")).unwrap().map(|e| e.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|p| p.extension().is_some_and(|e| e == "wal")).collect();
    segments.sort();
    segments
}

fn data_files(dir: &Path) -> usize {
    fs::read_dir(dir.join("tables/flows/date=2026-11-22/part=00")).unwrap().count()
}

/// What is wrong is found, and put right by a repair: the rows that are left then.
async fn repaired(dir: &Path) -> Vec<i64> {
    let specs = options(dir).tables;
    let clock = Clock::new(|| MIDNIGHT);
    let found = inspect(dir, &specs, Depth::Verify, &clock).await.unwrap();
    assert!(!found.damage.is_empty());
    let repaired = inspect(dir, &specs, Depth::Repair, &clock).await.unwrap();
    assert!(repaired.damage.iter().all(|d| d.repaired.is_some()), "{:?}", repaired.damage);
    let again = inspect(dir, &specs, Depth::Verify, &clock).await.unwrap();
    assert!(again.damage.is_empty(), "{:?}", again.damage);
    let store = open(dir).await;
    store.append(entry(source("b", 0), 9)).await.unwrap();
    drop(store);
    let store = open(dir).await;
    store.append(entry(source("b", 1), 10)).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    counts(&*open(dir).await, "flows").into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_yet() {
    let dir = history().await;
    assert_eq!(segments(dir.path()).len(), 2, "one is trimmed");
    assert_eq!(counts(&*open(dir.path()).await, "flows"), once(0..4));
}

/// The log's last entries were acknowledged, and the checkpoint knows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_last_segments_is_refused() {
    let dir = history().await;
    for segment in segments(dir.path()) {
        fs::remove_file(segment).unwrap();
    }
    let text = refused(dir.path()).await;
    assert!(text.contains("ends with entry 2, and entries up to 3 were acknowledged"), "{text}");
    assert_eq!(repaired(dir.path()).await, [0, 1, 2, 9, 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_first_segment_is_refused() {
    let dir = history().await;
    fs::remove_file(&segments(dir.path())[0]).unwrap();
    let text = refused(dir.path()).await;
    assert!(text.contains("log segments with entries 3 to 3 are missing"), "{text}");
    assert_eq!(repaired(dir.path()).await, [0, 1, 2, 3, 9, 10], "the later segment stays");
}

/// The newest commit of a table is gone: the log has no more what it had brought.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_its_last_commits_is_refused_and_keeps_its_files() {
    let dir = history().await;
    let log = dir.path().join("tables/flows/_delta_log");
    let files = data_files(dir.path());
    assert_eq!(files, 3);
    // Commit 0 makes the table; 1 to 3 bring a file each.
    for version in [2, 3] {
        fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let text = refused(dir.path()).await;
    assert!(text.contains("`flows` has lost commits") && text.contains("up to 1"), "{text}");
    assert_eq!(data_files(dir.path()), files, "the rows are still there");
    // The repair puts the files aside that the lost commits named.
    assert_eq!(repaired(dir.path()).await, [0, 2, 3, 9, 10]);
    assert_eq!(fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 1);
}

/// What the log still has is no loss: it comes in anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_log_makes_up_for_is_no_loss() {
    let dir = history().await;
    let commit = dir.path().join(format!("tables/flows/_delta_log/{:020}.json", 3));
    fs::remove_file(commit).unwrap();
    let store = open(dir.path()).await;
    assert_eq!(counts(&store, "flows"), once(0..4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_gone_is_refused() {
    let dir = history().await;
    fs::remove_dir_all(dir.path().join("tables/flows")).unwrap();
    let text = refused(dir.path()).await;
    assert!(text.contains("`flows` has lost commits"), "{text}");
    assert!(!dir.path().join("tables/flows").exists(), "no empty one takes its place");
    assert_eq!(repaired(dir.path()).await, [2, 3, 9, 10]);
}

/// The last frame is broken, and it was acknowledged: not the tail that a crash leaves.
#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_last_frame_that_is_broken_is_damage() {
    let dir = history().await;
    let segments = segments(dir.path());
    // The last entry is not known to have been acknowledged.
    fs::remove_file(&segments[1]).unwrap();
    let mut bytes = fs::read(&segments[0]).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&segments[0], &bytes).unwrap();
    let text = refused(dir.path()).await;
    assert!(text.contains("is damaged at byte 32"), "{text}");
    assert_eq!(fs::read(&segments[0]).unwrap(), bytes, "it is left alone");
    assert_eq!(repaired(dir.path()).await, [0, 1, 2, 9, 10]);
}

/// A clock that jumps ahead for a while must not make anybody's batches count as new.
#[tokio::test(flavor = "multi_thread")]
async fn senders_are_not_forgotten_by_a_clock_that_jumps() {
    use std::sync::atomic::{AtomicI64, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(MIDNIGHT + HOUR));
    let clock = now.clone();
    let clock = Clock::new(move || clock.load(Ordering::Relaxed));
    let store = open_when_free(Options { clock, ..options(dir.path()) }).await;
    store.append(entry(source("a", 7), 0)).await.unwrap();
    now.fetch_add(90 * 24 * HOUR, Ordering::Relaxed);
    for n in 1..4 {
        store.append(entry(source("b", n), n)).await.unwrap();
        store.expire().await.unwrap();
        store.flush().await.unwrap();
    }
    assert!(!dir.path().join(format!("wal/{:020}.wal", 1)).exists(), "the log was trimmed");
    let again = store.append(entry(source("a", 7), 0)).await.unwrap();
    assert_eq!(again, Appended::Repeated);
}
