//! Looking into directories with real damage, and putting it aside.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::inspect::{Depth, Distinct, Inspection, inspect};

/// Rows 0..6 in one file of each table, 7200..7203 in another, 10..13 in the log alone.
async fn history() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in (0..6).chain(7200..7203) {
        store.append(entry(source("a", n), n)).await.unwrap();
    }
    store.flush().await.unwrap();
    for n in 10..13 {
        store.append(entry(source("b", n), n)).await.unwrap();
    }
    drop(store);
    dir
}

async fn look(dir: &Path, depth: Depth) -> Inspection {
    let specs = options(dir).tables;
    loop {
        match inspect(dir, &specs, depth, &Clock::new(|| MIDNIGHT)).await {
            Err(e) if e.to_string().contains("in use") => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            other => return other.unwrap(),
        }
    }
}

/// The older data file of `flows`.
fn data_file(dir: &Path) -> PathBuf {
    let folder = dir.join("tables/flows/date=2026-11-22/part=00");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.remove(0)
}

fn segment(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("wal")).unwrap().map(|e| e.unwrap().path());
    files.filter(|p| p.extension().is_some_and(|e| e == "wal")).max().unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// Repairs, and returns the rows of `flows` that are left.
async fn left(dir: &Path) -> Vec<i64> {
    let repaired = look(dir, Depth::Repair).await;
    assert!(repaired.damage.iter().all(|d| d.repaired.is_some()), "{:?}", repaired.damage);
    let quarantine = repaired.quarantine.unwrap();
    assert!(quarantine.starts_with(dir.join("quarantine")) && quarantine.join("NOTE").exists());
    let again = look(dir, Depth::Verify).await;
    assert!(again.damage.is_empty(), "{:?}", again.damage);
    let store = open(dir).await;
    counts(&store, "flows").into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_directory_has_no_damage_and_is_told_about() {
    let dir = history().await;
    let found = look(dir.path(), Depth::Verify).await;
    assert!(found.damage.is_empty(), "{:?}", found.damage);
    let flows = found.tables.iter().find(|t| t.name == "flows").unwrap();
    assert_eq!((flows.files, flows.rows, flows.partitions), (2, 9, 1));
    assert_eq!(flows.times, Some((MIDNIGHT, MIDNIGHT + 7202 * SECOND)));
    assert_eq!(flows.labels["workload"], Distinct { values: 1, at_least: false });
    let list: Vec<_> = flows.list.iter().map(|f| (f.rows, f.times)).collect();
    let span = |from, to| Some((MIDNIGHT + from * SECOND, MIDNIGHT + to * SECOND));
    assert_eq!(list, [(6, span(0, 5)), (3, span(7200, 7202))]);
    assert_eq!(flows.list.iter().map(|f| f.bytes).sum::<u64>(), flows.bytes);
    assert!(flows.list[0].path.starts_with(dir.path()) && flows.list[0].path.exists());
    assert_eq!(found.segments.iter().filter_map(|s| s.entries).sum::<u64>(), 12);
    let store = open(dir.path()).await;
    let refused = inspect(dir.path(), &[], Depth::List, &Clock::system()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Directory, "a server holds it");
    drop(store);
    let nothing = tempfile::tempdir().unwrap();
    inspect(nothing.path(), &[], Depth::Repair, &Clock::system()).await.unwrap_err();
    assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0, "and stays what it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bit_anywhere_in_a_data_file_is_found() {
    let dir = history().await;
    let path = data_file(dir.path());
    let sound = fs::read(&path).unwrap();
    for at in (0..sound.len()).step_by(sound.len() / 12) {
        flip(&path, at);
        let found = look(dir.path(), Depth::Verify).await;
        assert_eq!(found.damage.len(), 1, "byte {at}");
        assert_eq!((&found.damage[0].path, found.damage[0].rows), (&path, Some(6)));
        fs::write(&path, &sound).unwrap();
    }
    flip(&path, sound.len() / 2);
    assert!(look(dir.path(), Depth::List).await.damage.is_empty(), "its size is right");
    assert_eq!(left(dir.path()).await, [10, 11, 12, 7200, 7201, 7202]);
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_cut_gone_or_too_many_are_found() {
    let dir = history().await;
    let path = data_file(dir.path());
    let sound = fs::read(&path).unwrap();
    fs::write(&path, &sound[..sound.len() - 9]).unwrap();
    let found = look(dir.path(), Depth::List).await;
    assert_eq!(found.damage[0].offset, Some(sound.len() as u64 - 9));

    let stranger = path.with_file_name("0000-stranger.parquet");
    fs::write(&stranger, b"PAR1").unwrap();
    fs::remove_file(&path).unwrap();
    let found = look(dir.path(), Depth::List).await;
    let paths: Vec<_> = found.damage.iter().map(|d| d.path.clone()).collect();
    assert_eq!(paths, [path, stranger.clone()]);
    assert_eq!(left(dir.path()).await, [10, 11, 12, 7200, 7201, 7202]);
    assert!(!stranger.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_kept_up_to_its_damage() {
    let dir = history().await;
    let path = segment(dir.path());
    let bytes = fs::read(&path).unwrap();
    let frames: Vec<usize> =
        (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == b"WFRM").collect();
    assert_eq!(frames.len(), 3);
    flip(&path, frames[1] + 60);
    let found = look(dir.path(), Depth::Verify).await;
    assert_eq!(found.damage.len(), 1);
    assert_eq!(found.damage[0].offset, Some(frames[1] as u64));
    assert_eq!(left(dir.path()).await, [0, 1, 2, 3, 4, 5, 10, 7200, 7201, 7202]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_checked_too() {
    let dir = history().await;
    // The list of senders is written when the log is trimmed.
    let store = open(dir.path()).await;
    store.flush().await.unwrap();
    store.close().await.unwrap();
    drop(store);
    fs::write(dir.path().join("tombstones"), b"WEIRTMB\nrubbish").unwrap();
    flip(&dir.path().join("wal/sources"), 20);
    let found = look(dir.path(), Depth::Verify).await;
    let names: Vec<_> = found.damage.iter().filter_map(|d| d.path.file_name()).collect();
    assert_eq!(names, ["sources", "tombstones"]);
    assert_eq!(left(dir.path()).await.len(), 12);
}

/// All files below a folder, with what is in them and when they were changed.
fn contents(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let changed = fs::metadata(&path).unwrap().modified().unwrap();
            found.insert(path.clone(), (fs::read(&path).unwrap(), changed));
        }
    }
    found
}

/// A directory of an older version stays one: its layout and the columns of its tables.
#[tokio::test(flavor = "multi_thread")]
async fn looking_changes_nothing() {
    let dir = history().await;
    while look(dir.path(), Depth::List).await.tables.is_empty() {}
    fs::write(dir.path().join("FORMAT"), "weir data directory 1\n").unwrap();
    fs::write(dir.path().join("tmp/half"), "half").unwrap();
    let before = contents(dir.path());
    let mut specs = options(dir.path()).tables;
    for spec in &mut specs {
        let mut fields = spec.schema.fields().to_vec();
        fields.push(Arc::new(Field::new("new", DataType::Int64, true)));
        spec.schema = Arc::new(Schema::new(fields));
    }
    for depth in [Depth::List, Depth::Verify] {
        let found = inspect(dir.path(), &specs, depth, &Clock::system()).await.unwrap();
        assert!(found.damage.is_empty(), "{:?}", found.damage);
        assert_eq!(found.tables.len(), 2);
        assert!(contents(dir.path()) == before, "{depth:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_counted_without_reading_rows() {
    let dir = history().await;
    let found = look(dir.path(), Depth::List).await;
    let flows = found.tables.iter().find(|t| t.name == "flows").unwrap();
    let one = Distinct { values: 1, at_least: false };
    assert_eq!((flows.labels["workload"], flows.labels["namespace"]), (one, one));
    assert_eq!(flows.labels.len(), 2);
    // Rows do not matter for it, the index does.
    let path = data_file(dir.path());
    flip(&path, 10);
    let found = look(dir.path(), Depth::List).await;
    assert_eq!(found.tables[0].labels["workload"], one);
    assert!(found.damage.is_empty());
    let bytes = fs::read(&path).unwrap();
    let index = bytes.windows(8).position(|w| w == b"WEIRLIDX").unwrap();
    flip(&path, index + 20);
    let found = look(dir.path(), Depth::List).await;
    let flows = found.tables.iter().find(|t| t.name == "flows").unwrap();
    assert_eq!(flows.labels["workload"], Distinct { values: 1, at_least: true });
}

/// Compaction replaces files and leaves them for readers; a program that is killed leaves them too.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_over_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let slow = || Options { removal_grace: Duration::from_secs(60), ..options(dir.path()) };
    let fill = async |store: &Store| {
        for n in 0..8 {
            store.append(entry(None, n)).await.unwrap();
            store.flush().await.unwrap();
        }
        store.compact().await.unwrap();
    };
    let store = open_when_free(slow()).await;
    fill(&store).await;
    drop(store);
    let found = look(dir.path(), Depth::Verify).await;
    assert!(found.damage.is_empty(), "{:?}", found.damage);
    assert_eq!(found.left_over.len(), 16, "eight files of each table");
    assert!(
        found.left_over.iter().all(|(path, bytes)| fs::metadata(path).unwrap().len() == *bytes)
    );
    let repaired = look(dir.path(), Depth::Repair).await;
    assert_eq!((repaired.left_over.len(), repaired.quarantine), (16, None), "nor is it put aside");
    let store = open_when_free(slow()).await;
    assert_eq!(look_later(&store, dir.path()).await, 0, "the start removed them");
    let store = open_when_free(slow()).await;
    fill(&store).await;
    assert_eq!(look_later(&store, dir.path()).await, 0, "a stop takes them along");
}

/// Closes a store, and counts what is left over.
async fn look_later(store: &Store, dir: &Path) -> usize {
    store.close().await.unwrap();
    look(dir, Depth::List).await.left_over.len()
}

/// While files are missing, those that no commit names may hold their rows.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_hold_lost_rows_is_kept() {
    let dir = history().await;
    let path = data_file(dir.path());
    let stranger = path.with_file_name("0000-stranger.parquet");
    fs::rename(&path, &stranger).unwrap();
    let store = open(dir.path()).await;
    assert!(stranger.exists());
    store.close().await.unwrap();
    drop(store);
    let found = look(dir.path(), Depth::List).await;
    let paths: Vec<_> = found.damage.iter().map(|d| d.path.clone()).collect();
    assert_eq!((paths, found.left_over.len()), (vec![path.clone(), stranger.clone()], 0));
    fs::rename(&stranger, &path).unwrap();
    assert_eq!(counts(&*open(dir.path()).await, "flows").len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_an_object_store_is_not_judged() {
    let dir = history().await;
    let note = "weir data directory of store 1\nstore 00112233445566778899aabbccddeeff\nlog ffeeddccbbaa99887766554433221100\ncrc 3ff8ea2d\n";
    fs::write(dir.path().join("store"), note).unwrap();
    let before = contents(dir.path());
    let specs = options(dir.path()).tables;
    for depth in [Depth::List, Depth::Verify, Depth::Repair] {
        let refused = loop {
            match inspect(dir.path(), &specs, depth, &Clock::system()).await {
                Err(e) if e.to_string().contains("in use") => tokio::task::yield_now().await,
                other => break other.unwrap_err(),
            }
        };
        assert_eq!(refused.kind(), ErrorKind::Directory);
        assert!(refused.to_string().contains("object store"), "{refused}");
    }
    assert!(contents(dir.path()) == before);
}
