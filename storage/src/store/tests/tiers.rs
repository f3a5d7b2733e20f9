//! Tiers agree with what they sum up, at every moment and after every crash.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::rollup::tests::{self as tables, Key, Row, Sums, any_row};

const TIERS: [(&str, Window); 2] = [("five", Window::FIVE_MINUTES), ("hour", Window::HOUR)];

fn specs() -> Vec<TableSpec> {
    let [(five, width), (hour, hours)] = TIERS;
    vec![
        tables::source(),
        tables::tier(five, width, Window::DAY),
        tables::tier(hour, hours, Window::THIRTY_DAYS),
    ]
}

fn options(dir: &Path) -> Options {
    Options { tables: specs(), ..super::options(dir) }
}

fn append_of(rows: &[Row]) -> Entry {
    Entry { source: None, parts: vec![part("flows", tables::batch(rows))] }
}

fn random_rows(runner: &mut TestRunner, count: usize) -> Vec<Row> {
    (0..count).map(|_| any_row().new_tree(runner).unwrap().current()).collect()
}

/// All rows of a table.
fn rows_of(store: &Store, table: &str) -> Vec<Row> {
    let snapshot = store.snapshot(table).unwrap();
    let mut batches = snapshot.memory.batches().unwrap().to_vec();
    batches.extend(snapshot.files.iter().flat_map(|f| read_file(store, f.path.as_ref())));
    tables::rows(&batches)
}

/// Sums without the columns that folding loses.
fn totals(rows: &[Row], width: Window) -> BTreeMap<Key, Sums> {
    let folded: Vec<_> =
        rows.iter().map(|r| Row { address: None, asn: None, ..r.clone() }).collect();
    tables::sums(&folded, width)
}

fn assert_agreement(store: &Store, acknowledged: &[Row], when: &str) {
    let raw = rows_of(store, "flows");
    assert_eq!(raw.len(), acknowledged.len(), "{when}");
    for (name, width) in TIERS {
        let tier = rows_of(store, name);
        assert_eq!(totals(&tier, width), totals(acknowledged, width), "{name} {when}");
        assert!(tier.iter().all(|r| r.end % width.micros() == 0), "{name} {when}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_agree_with_raw_rows_whatever_happens() {
    for seed in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let mut random = SmallRng::seed_from_u64(seed);
        let mut runner = TestRunner::deterministic();
        let disk = FaultyDisk::default();
        let now = Arc::new(AtomicI64::new(MIDNIGHT));
        let clock = Clock::new({
            let now = now.clone();
            move || now.load(Ordering::Relaxed)
        });
        let timed = Options { clock, ..options(dir.path()) };
        let open = || open_on(timed.clone(), Arc::new(disk.clone()));
        let mut store = open().await;
        let mut acknowledged = Vec::new();
        for step in 0..25 {
            let when = format!("after step {step} of seed {seed}");
            now.fetch_add(HOUR, Ordering::Relaxed);
            match random.random_range(0..12) {
                0..5 => {
                    let rows = random_rows(&mut runner, random.random_range(1..30));
                    store.append(append_of(&rows)).await.unwrap();
                    acknowledged.extend(rows);
                }
                5..7 => store.flush().await.unwrap(),
                // One of the tables does not get its commit through.
                7..9 => {
                    let tables = ["flows", "five", "hour"];
                    let folder = root.join("tables").join(tables[random.random_range(0..3)]);
                    disk.fail_sync(&folder, true);
                    let _ = store.flush().await;
                    let _ = store.compact().await;
                    if random.random_bool(0.5) {
                        drop(store);
                        disk.fail_sync(&folder, false);
                        store = open().await;
                    }
                    disk.fail_sync(&folder, false);
                }
                9..11 => store.compact().await.unwrap(),
                _ => {
                    drop(store);
                    store = open().await;
                }
            }
            assert_agreement(&store, &acknowledged, &when);
        }
        store.flush().await.unwrap();
        now.fetch_add(HOUR, Ordering::Relaxed);
        store.compact().await.unwrap();
        store.close().await.unwrap();
        drop(store);
        let store = open_when_free(options(dir.path())).await;
        assert_eq!(store.stats().memory_rows, 0);
        assert_agreement(&store, &acknowledged, "at the end");
        for (name, width) in TIERS {
            let rows = rows_of(&store, name);
            let sums = tables::sums(&rows, width);
            assert_eq!(sums.len(), rows.len(), "a row for each key once a window has settled");
            let mut kept: BTreeMap<_, usize> = BTreeMap::new();
            for key in sums.keys().filter(|k| k.6.as_ref().is_some_and(|a| a != "other")) {
                *kept.entry((key.0, &key.1, &key.2, key.3, &key.4)).or_default() += 1;
            }
            assert!(kept.values().all(|n| *n <= 2), "{name}: the largest two alone are kept");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_counted_once_for_all_tiers() {
    let dir = tempfile::tempdir().unwrap();
    let alone = Options { tables: vec![tables::source()], ..super::options(dir.path()) };
    let rows = random_rows(&mut TestRunner::deterministic(), 1000);
    let store = open_when_free(alone).await;
    store.append(append_of(&rows)).await.unwrap();
    let bytes = store.stats().memory_bytes;
    drop(store);
    let other = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_on(options(other.path()), Arc::new(disk.clone())).await;
    store.append(append_of(&rows)).await.unwrap();
    let stats = store.stats();
    assert_eq!((stats.memory_bytes, stats.memory_rows), (bytes, 1000));
    // As long as one tier has not committed, the rows stay.
    let folder = other.path().canonicalize().unwrap().join("tables/hour");
    disk.fail_sync(&folder, true);
    assert!(store.flush().await.is_err());
    assert_eq!(store.stats().memory_rows, 1000);
    assert!(store.snapshot("flows").unwrap().memory.is_empty());
    assert!(!store.snapshot("hour").unwrap().memory.is_empty());
    disk.fail_sync(&folder, false);
    store.flush().await.unwrap();
    let stats = store.stats();
    assert_eq!((stats.memory_bytes, stats.memory_rows), (0, 0));
    assert_agreement(&store, &rows, "after all commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_from_before_tiers_says_from_when_they_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let before = || Options { tables: vec![tables::source()], ..super::options(dir.path()) };
    let mut runner = TestRunner::deterministic();
    let in_files = random_rows(&mut runner, 50);
    let newest = in_files.iter().map(|r| r.end).max().unwrap();
    let store = open_when_free(before()).await;
    store.append(append_of(&in_files)).await.unwrap();
    store.flush().await.unwrap();
    let in_log = random_rows(&mut runner, 50);
    store.append(append_of(&in_log)).await.unwrap();
    drop(store);
    for round in 0..3 {
        let store = open_when_free(options(dir.path())).await;
        for (name, width) in TIERS {
            let snapshot = store.snapshot(name).unwrap();
            assert_eq!(snapshot.complete_after, width.end_of(newest), "{name}, round {round}");
            // Rows of the log, which are later than the tier's origin, are in it once.
            let tier = rows_of(&store, name);
            assert_eq!(totals(&tier, width), totals(&in_log, width), "{name}, round {round}");
        }
        assert_eq!(store.snapshot("flows").unwrap().complete_after, i64::MIN);
        if round > 0 {
            store.flush().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_takes_no_rows_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_when_free(options(dir.path())).await;
    let rows = random_rows(&mut TestRunner::deterministic(), 1);
    let entry = Entry { source: None, parts: vec![part("hour", tables::batch(&rows))] };
    let error = store.append(entry).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("sums up `flows`"), "{error}");
    let lonely = Options { tables: specs().split_off(1), ..super::options(dir.path()) };
    drop(store);
    let error = loop {
        match Store::open(lonely.clone()).await {
            Err(e) if e.to_string().contains("in use") => tokio::task::yield_now().await,
            other => break other.unwrap_err(),
        }
    };
    assert!(error.to_string().contains("there is no such table"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_from_a_tier_names_all_finer_tables() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_when_free(options(dir.path())).await;
    let deletion = |tables: &[&str]| crate::delete::Deletion {
        tables: tables.iter().map(|t| (*t).to_owned()).collect(),
        matchers: vec![
            crate::matcher::Matcher::new("workload", crate::matcher::MatchOp::Equal, "x").unwrap(),
        ],
        after: i64::MIN,
        until: i64::MAX,
    };
    for tables in [vec!["hour"], vec!["five"], vec!["hour", "five"], vec!["flows", "hour"]] {
        let error = store.delete(deletion(&tables)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("name both"), "{tables:?}: {error}");
    }
    for (tables, untouched) in [
        (vec!["flows"], vec!["five", "hour"]),
        (vec!["flows", "five"], vec!["hour"]),
        (vec!["flows", "five", "hour"], vec![]),
    ] {
        assert_eq!(store.delete(deletion(&tables)).await.unwrap().untouched, untouched);
    }
}
