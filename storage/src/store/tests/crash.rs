//! Stores that are dropped in the middle of their work, or opened on what a crash leaves.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

/// What files hold, by path: files never change.
type Cache = BTreeMap<String, Vec<i64>>;

/// As [`counts`], reading each file once over all rounds.
fn counts_with(store: &Store, table: &str, cache: &mut Cache) -> BTreeMap<i64, usize> {
    let snapshot = store.snapshot(table).unwrap();
    let values = |batches: Vec<RecordBatch>| -> Vec<i64> {
        let n =
            |b: &RecordBatch| b.column_by_name("n").unwrap().as_primitive::<Int64Type>().clone();
        batches.iter().flat_map(|b| n(b).values().to_vec()).collect()
    };
    let mut counts = BTreeMap::new();
    let mut add = |n: &i64| *counts.entry(*n).or_default() += 1;
    for file in snapshot.files.iter() {
        let path = file.path.to_string();
        let read = || values(read_file(store, &path));
        cache.entry(path.clone()).or_insert_with(read).iter().for_each(&mut add);
    }
    values(snapshot.memory.batches().unwrap().to_vec()).iter().for_each(&mut add);
    counts
}

/// Appends from several senders while flushes run; the store is dropped at a random moment. What
/// was acknowledged is there once after the next open, what was not is there once or not at all.
async fn round(
    dir: &Path,
    seed: u64,
    next: &mut i64,
    acknowledged: &mut BTreeMap<i64, bool>,
    cache: &mut Cache,
) {
    let mut random = SmallRng::seed_from_u64(seed);
    let small = Options {
        memtable_bytes: random.random_range(10_000..60_000),
        flush_interval: Duration::from_millis(random.random_range(1..40)),
        ..options(dir)
    };
    let store = open_when_free(small).await;
    for table in ["flows", "loss"] {
        let counts = counts_with(&store, table, cache);
        for (n, sure) in acknowledged.iter() {
            match counts.get(n) {
                Some(1) => {}
                None if !sure => {}
                other => panic!("seed {seed}, {table}: entry {n} is there {other:?} times"),
            }
        }
        assert!(counts.keys().all(|n| acknowledged.contains_key(n)), "seed {seed}");
    }
    // The senders repeat what was not acknowledged: from here on it counts.
    let open_ends: Vec<i64> =
        acknowledged.iter().filter(|(_, sure)| !**sure).map(|(n, _)| *n).collect();
    for n in open_ends {
        if store.append(entry(source(&format!("agent{n}"), 0), n)).await.is_ok() {
            acknowledged.insert(n, true);
        }
    }
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (first, store) = (*next, store.clone());
            *next += 1000;
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in first..first + 1000 {
                    acknowledged.push((n, false));
                    let entry = entry(source(&format!("agent{n}"), 0), n);
                    match store.append(entry).await {
                        Ok(_) => acknowledged.last_mut().unwrap().1 = true,
                        Err(e) if e.kind() == ErrorKind::Busy => {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        Err(e) => {
                            assert_eq!(e.kind(), ErrorKind::Closed);
                            break;
                        }
                    }
                }
                acknowledged
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(random.random_range(1..60))).await;
    // The senders hold the store too: cut its strings as `drop` does.
    drop(store.running.lock().take());
    for sender in senders {
        acknowledged.extend(sender.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_acknowledged_row_is_there_once_after_any_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (mut next, mut acknowledged, mut cache) = (0, BTreeMap::new(), Cache::new());
    for seed in 0..52 {
        round(dir.path(), seed, &mut next, &mut acknowledged, &mut cache).await;
    }
    let store = open(dir.path()).await;
    let sure = acknowledged.values().filter(|sure| **sure).count();
    assert!(sure > 200, "{sure}");
    let flushed = store.stats().tables[0].1;
    assert!(flushed > 20, "the rounds did flush: {flushed}");
    for table in ["flows", "loss"] {
        let counts = counts(&store, table);
        for (n, sure) in &acknowledged {
            let wanted: &[usize] = if *sure { &[1] } else { &[0, 1] };
            assert!(wanted.contains(counts.get(n).unwrap_or(&0)), "{table} {n}");
        }
    }
    eprintln!("{sure} acknowledged entries, {flushed} files of flows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_writing_and_committing_leaves_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.append(entry(None, 0)).await.unwrap();
    store.flush().await.unwrap();
    let committed = store.snapshot("flows").unwrap().files[0].path.to_string();
    drop(store);
    let committed = dir.path().join("tables").join(committed);
    let orphan = committed.with_file_name("0000-orphan.parquet");
    std::fs::copy(&committed, &orphan).unwrap();
    let store = open(dir.path()).await;
    assert!(!orphan.exists());
    assert!(committed.exists());
    assert_eq!(counts(&store, "flows"), once(0..1));
}

/// A crash right after the commits, with the log still whole: positions keep it from coming twice.
#[tokio::test(flavor = "multi_thread")]
async fn entries_that_files_hold_are_not_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..5 {
        store.append(entry(source("a", n), n)).await.unwrap();
    }
    let log = dir.path().join("wal");
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(&log).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    assert!(std::fs::read_dir(&log).unwrap().all(|f| f.unwrap().file_name() == "sources"));
    std::fs::remove_file(log.join("sources")).unwrap();
    for file in std::fs::read_dir(copy.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), log.join(file.file_name())).unwrap();
    }
    let store = open(dir.path()).await;
    assert_eq!(store.stats().memory_rows, 0);
    assert_eq!(counts(&store, "flows"), once(0..5));
    assert_eq!(store.append(entry(source("a", 4), 4)).await.unwrap(), Appended::Repeated);
    store.append(entry(source("a", 5), 5)).await.unwrap();
    drop(store);
    assert_eq!(counts(&*open(dir.path()).await, "flows"), once(0..6), "new entries get new LSNs");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_log_stops_the_open_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..5 {
        store.append(entry(None, n)).await.unwrap();
    }
    drop(store);
    // Wait for the directory, and replay once more while whole.
    drop(open(dir.path()).await);
    let segment = dir.path().join("wal/00000000000000000001.wal");
    let whole = std::fs::read(&segment).unwrap();
    let mut damaged = whole.clone();
    damaged[200] ^= 1;
    std::fs::write(&segment, &damaged).unwrap();
    let error = loop {
        let error = Store::open(options(dir.path())).await.unwrap_err();
        if !error.to_string().contains("in use") {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Directory);
    let text = error.to_string();
    assert!(text.contains("00000000000000000001.wal is damaged at byte 32"), "{text}");
    assert_eq!(std::fs::read(&segment).unwrap(), damaged, "nothing is touched");

    // A torn tail is what a crash leaves; nobody was told that it is stored.
    std::fs::write(&segment, &whole[..whole.len() - 3]).unwrap();
    let store = open(dir.path()).await;
    assert_eq!(counts(&store, "flows"), once(0..4));
    store.append(entry(None, 9)).await.unwrap();
    drop(store);
    let store = open(dir.path()).await;
    assert_eq!(counts(&store, "flows").keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 9]);
}

/// What the message about a damaged list of senders advises.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_list_of_senders_no_row_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..5 {
        store.append(entry(source("a", n), n)).await.unwrap();
    }
    // Entries without rows have positions too.
    let idle = Entry { source: source("a", 5), parts: Vec::new() };
    store.append(idle).await.unwrap();
    store.flush().await.unwrap();
    store.append(entry(source("a", 6), 5)).await.unwrap();
    // The log goes on in a new segment from here; only now can the old one be removed.
    store.flush().await.unwrap();
    store.append(entry(source("a", 7), 6)).await.unwrap();
    drop(store);
    drop(open(dir.path()).await);
    assert!(!dir.path().join("wal/00000000000000000001.wal").exists(), "the log is trimmed");
    loop {
        // The lock is held for a moment longer.
        std::fs::write(dir.path().join("wal/sources"), "damaged").unwrap();
        let error = Store::open(options(dir.path())).await.unwrap_err();
        if error.to_string().contains("remove it") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    std::fs::remove_file(dir.path().join("wal/sources")).unwrap();
    let store = open(dir.path()).await;
    assert_eq!(counts(&store, "flows"), once(0..7));
    assert_eq!(store.stats().memory_rows, 2);
}
