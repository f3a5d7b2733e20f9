//! Compaction beside everything else.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::disk::held::HeldDisk;

/// A clock that tests move.
fn clock(at: i64) -> (Arc<AtomicI64>, Clock) {
    let now = Arc::new(AtomicI64::new(at));
    let clock = Clock::new({
        let now = now.clone();
        move || now.load(Ordering::Relaxed)
    });
    (now, clock)
}

fn data_files(store: &Store, table: &str) -> usize {
    let mut folders = vec![store.inner.dir.table(table)];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                if entry.file_name() != "_delta_log" {
                    folders.push(entry.path());
                }
            } else {
                files += 1;
            }
        }
    }
    files
}

async fn flush_each(store: &Store, range: std::ops::Range<i64>) {
    for n in range {
        store.append(entry(source("a", n), n)).await.unwrap();
        store.flush().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_window_becomes_one_file_and_readers_keep_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let (now, clock) = clock(MIDNIGHT);
    let timed = Options { clock, ..options(dir.path()) };
    let store = open_when_free(timed.clone()).await;
    flush_each(&store, 0..30).await;
    let before = store.snapshot("flows").unwrap();
    store.compact().await.unwrap();
    let during = store.snapshot("flows").unwrap();
    assert!((2..8).contains(&during.files.len()), "{}", during.files.len());
    assert_eq!(counts(&store, "flows"), once(0..30));
    now.store(MIDNIGHT + 3 * HOUR, Ordering::Relaxed);
    store.compact().await.unwrap();
    let after = store.snapshot("flows").unwrap();
    assert_eq!(after.files.len(), 1);
    assert_eq!(after.files[0].rows, 30);
    assert_eq!(after.files[0].committed, MIDNIGHT, "as old as its rows, not as its bytes");
    assert_eq!(counts(&store, "flows"), once(0..30));
    assert_eq!(counts(&store, "loss"), once(0..30));

    store.expire().await.unwrap();
    for file in before.files.iter().chain(during.files.iter()) {
        assert!(!read_file(&store, file.path.as_ref()).is_empty(), "held by a snapshot");
    }
    drop((before, during));
    store.expire().await.unwrap();
    assert_eq!(data_files(&store, "flows"), 1, "what was replaced is gone from disk");
    let stats = store.stats().compaction;
    assert!(stats.jobs >= 4 && stats.failures == 0 && stats.last_error.is_none(), "{stats:?}");
    assert!(stats.bytes_read > stats.bytes_written && stats.rows >= 120, "{stats:?}");

    // Who follows the table's changes sees each row come once.
    let log = dir.path().join("tables/flows/_delta_log");
    let (mut appended, mut rewritten) = (0, 0);
    for commit in std::fs::read_dir(log).unwrap().map(|e| e.unwrap().path()) {
        if commit.extension().is_none_or(|e| e != "json") {
            continue;
        }
        for line in std::fs::read_to_string(&commit).unwrap().lines() {
            let action: serde_json::Value = serde_json::from_str(line).unwrap();
            let change = |kind: &str| action.get(kind).map(|a| a["dataChange"].as_bool().unwrap());
            match (change("add"), change("remove")) {
                (Some(true), _) => appended += 1,
                (_, Some(true)) => panic!("no row went: {commit:?}"),
                (Some(false), _) => rewritten += 1,
                _ => {}
            }
        }
    }
    assert_eq!((appended, rewritten > 0), (30, true));

    drop(store);
    let store = open_when_free(timed).await;
    let reopened = store.snapshot("flows").unwrap();
    assert_eq!(reopened.files.len(), 1);
    assert_eq!(reopened.files[0].committed, MIDNIGHT);
    assert_eq!(counts(&store, "flows"), once(0..30));
    assert_eq!(store.append(entry(source("a", 29), 29)).await.unwrap(), Appended::Repeated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_at_once_keeps_every_row_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        compaction: true,
        retention: Retention::age(Some(Duration::from_secs(100 * 24 * 3600))),
        ..options(dir.path())
    };
    let store = open_when_free(options.clone()).await;
    let looped = |work: fn(Arc<Store>) -> futures::future::BoxFuture<'static, ()>| {
        let store = store.clone();
        tokio::spawn(async move {
            while !is_enough(&store) {
                work(store.clone()).await;
            }
        })
    };
    let workers = [
        looped(|s| Box::pin(async move { s.flush().await.unwrap() })),
        looped(|s| Box::pin(async move { s.expire().await.unwrap() })),
        looped(|s| Box::pin(async move { s.compact().await.unwrap() })),
    ];
    let mut n = 0;
    while !workers.iter().all(tokio::task::JoinHandle::is_finished) {
        store.append(entry(None, n)).await.unwrap();
        n += 1;
        let snapshot = store.snapshot("flows").unwrap();
        let memory: usize =
            snapshot.memory.batches().unwrap().iter().map(RecordBatch::num_rows).sum();
        let files: u64 = snapshot.files.iter().map(|f| f.rows).sum();
        assert_eq!(memory as u64 + files, n as u64);
        if n % 50 == 0 {
            assert_eq!(counts_held(&store, &snapshot), once(0..n));
        }
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(counts(&store, "flows"), once(0..n));
    store.close().await.unwrap();
    drop(store);
    let store = open_when_free(options).await;
    assert_eq!(counts(&store, "flows"), once(0..n));
    assert_eq!(counts(&store, "loss"), once(0..n));
    let files = store.snapshot("flows").unwrap().files.len();
    assert!(data_files(&store, "flows") >= files);
}

fn is_enough(store: &Store) -> bool {
    store.stats().compaction.jobs > 2
}

/// As [`counts`], of a snapshot that was taken earlier.
fn counts_held(store: &Store, snapshot: &Snapshot) -> BTreeMap<i64, usize> {
    let mut counts = BTreeMap::new();
    let files = snapshot.files.iter().flat_map(|f| read_file(store, f.path.as_ref()));
    for batch in files.chain(snapshot.memory.batches().unwrap().iter().cloned()) {
        for n in batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().values() {
            *counts.entry(*n).or_default() += 1;
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (now, clock) = clock(MIDNIGHT);
    let store = open_when_free(Options { clock, ..options(dir.path()) }).await;
    flush_each(&store, 0..5).await;
    now.store(MIDNIGHT + 3 * HOUR, Ordering::Relaxed);
    let before = store.snapshot("flows").unwrap().files;
    let bad = store.inner.dir.tables().join(before[2].path.as_ref());
    let bytes = std::fs::read(&bad).unwrap();
    std::fs::write(&bad, vec![7; bytes.len()]).unwrap();
    let error = store.compact().await.unwrap_err();
    assert!(error.to_string().contains(before[2].path.as_ref()), "{error}");
    assert_eq!(store.snapshot("flows").unwrap().files.len(), 5, "the inputs stay");
    assert!(store.stats().compaction.last_error.unwrap().contains(before[2].path.as_ref()));
    store.compact().await.unwrap();
    let after = store.snapshot("flows").unwrap().files;
    assert_eq!(after.len(), 2, "the others go their way");
    assert!(after.iter().any(|f| f.path == before[2].path));
    assert_eq!(std::fs::read_dir(store.inner.dir.tmp()).unwrap().count(), 0);
    std::fs::write(&bad, bytes).unwrap();
    assert_eq!(counts(&store, "flows"), once(0..5));
}

/// The commit of a compaction has its name but was not synced: it counts only once that is made up
/// for, and then the inputs go.
#[tokio::test(flavor = "multi_thread")]
async fn a_doubtful_replacement_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let disk = crate::disk::faulty::FaultyDisk::default();
    let (now, clock) = clock(MIDNIGHT);
    let timed = Options { clock, ..options(dir.path()) };
    let store = Store::open_on(timed, Arc::new(disk.clone())).await.unwrap();
    flush_each(&store, 0..4).await;
    now.store(MIDNIGHT + 3 * HOUR, Ordering::Relaxed);
    let log = store.inner.dir.table("flows").join("_delta_log");
    disk.fail_sync(&log, true);
    store.compact().await.unwrap_err();
    store.compact().await.unwrap_err();
    assert_eq!(store.snapshot("flows").unwrap().files.len(), 4);
    assert_eq!(counts(&store, "flows"), once(0..4));
    disk.fail_sync(&log, false);
    store.compact().await.unwrap();
    assert_eq!(store.snapshot("flows").unwrap().files.len(), 1);
    store.expire().await.unwrap();
    assert_eq!(data_files(&store, "flows"), 1);
    flush_each(&store, 4..5).await;
    assert_eq!(counts(&store, "flows"), once(0..5));
    drop(store);
    assert_eq!(counts(&*open(dir.path()).await, "flows"), once(0..5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_when_the_store_closes_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // At this rate it would take days.
    let (now, clock) = clock(MIDNIGHT);
    let compaction_bytes_per_second = NonZeroU64::new(1);
    let slow = Options { compaction_bytes_per_second, clock, ..options(dir.path()) };
    let store = open_when_free(slow).await;
    flush_each(&store, 0..4).await;
    now.store(MIDNIGHT + 3 * HOUR, Ordering::Relaxed);
    let job = tokio::spawn({
        let store = store.clone();
        async move { store.compact().await }
    });
    while std::fs::read_dir(store.inner.dir.tmp()).unwrap().count() == 0 {
        assert!(!job.is_finished());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.close().await.unwrap();
    job.await.unwrap().unwrap();
    assert_eq!(store.compact().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(std::fs::read_dir(store.inner.dir.tmp()).unwrap().count(), 0);
    assert_eq!(counts(&store, "flows"), once(0..4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_left_to_ingest() {
    let Some(disk) = super::disk::SmallDisk::mount(2048) else { return };
    let dir = disk.0.path().join("data");
    let (now, clock) = clock(MIDNIGHT);
    let store = open_when_free(Options { clock, ..options(&dir) }).await;
    flush_each(&store, 0..9).await;
    let filler = disk.0.path().join("filler");
    let mut fill = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut fill, &[7; 4096]).is_ok() {}
    now.store(MIDNIGHT + 3 * HOUR, Ordering::Relaxed);
    let before = data_files(&store, "flows");
    store.compact().await.unwrap();
    assert_eq!(store.snapshot("flows").unwrap().files.len(), 9, "no job is begun");
    assert_eq!(data_files(&store, "flows"), before);
    assert_eq!(counts(&store, "flows"), once(0..9));
    drop(fill);
    std::fs::remove_file(&filler).unwrap();
    store.compact().await.unwrap();
    assert_eq!(store.snapshot("flows").unwrap().files.len(), 1);
    assert_eq!(counts(&store, "flows"), once(0..9));
}

/// A checkpoint says what is, not all that ever was.
#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_forget_what_was_replaced() {
    let dir = tempfile::tempdir().unwrap();
    // Delta's own clock decides what is old enough to be forgotten: an hour here, a week by default.
    let two_days_ago = jiff::Timestamp::now().as_microsecond() - 48 * HOUR;
    let (now, clock) = clock(two_days_ago);
    let store = open_when_free(Options { clock, ..options(dir.path()) }).await;
    flush_each(&store, 0..45).await;
    now.store(two_days_ago + 3 * HOUR, Ordering::Relaxed);
    store.compact().await.unwrap();
    flush_each(&store, 45..55).await;
    let log = store.inner.dir.table("flows").join("_delta_log");
    let is_checkpoint =
        |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "parquet");
    let mut entries = std::fs::read_dir(log).unwrap().map(|e| e.unwrap().path());
    let checkpoint = entries.find(is_checkpoint).unwrap();
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(checkpoint).unwrap()).unwrap();
    let actions = reader.build().unwrap().map(Result::unwrap);
    let removed: usize = actions
        .map(|b| {
            let removes = b.column_by_name("remove").unwrap();
            removes.len() - removes.logical_null_count()
        })
        .sum();
    assert_eq!(removed, 0, "files that are gone are in the checkpoint");
}

/// A job that is held in the middle of its merge holds nobody else: rows come in, are written to
/// files, expire and are read.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let disk = HeldDisk::default();
    let (now, clock) = clock(MIDNIGHT);
    let timed = Options { clock, ..options(dir.path()) };
    let store = open_on(timed, Arc::new(disk.clone())).await;
    flush_each(&store, 0..3).await;
    now.store(MIDNIGHT + 3 * HOUR, Ordering::Relaxed);
    disk.hold();
    let compaction = tokio::spawn({
        let store = store.clone();
        async move { store.compact().await }
    });
    let waiting = disk.clone();
    tokio::task::spawn_blocking(move || waiting.until_held()).await.unwrap();
    for n in 3..6 {
        assert_eq!(store.append(entry(source("a", n), n)).await.unwrap(), Appended::Stored);
        store.flush().await.unwrap();
        store.expire().await.unwrap();
        assert_eq!(counts(&store, "flows"), once(0..n + 1));
    }
    assert!(!compaction.is_finished());
    assert_eq!(store.stats().compaction.jobs, 0, "it is in the middle of its first job");
    assert_eq!(store.snapshot("flows").unwrap().files.len(), 6);
    disk.release();
    compaction.await.unwrap().unwrap();
    assert_eq!(store.stats().compaction.jobs, 1, "what it had read is one file, the rest is new");
    let files = |table| store.snapshot(table).unwrap().files.len();
    assert_eq!(files("flows") + files("loss"), 6 + 4);
    for table in ["flows", "loss"] {
        assert_eq!(counts(&store, table), once(0..6));
    }
}
