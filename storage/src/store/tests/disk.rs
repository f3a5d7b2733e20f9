//! A disk that is full or fails.

use std::io::Write as _;
use std::process::Command;

use super::*;
use crate::paths::DataDir;

/// A file system of the given size, gone when dropped. `None` without the right to mount.
pub(super) struct SmallDisk(pub(super) tempfile::TempDir);

impl SmallDisk {
    pub(super) fn mount(kilobytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={kilobytes}k");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(dir)),
            other => {
                assert!(std::env::var_os("CI").is_none(), "cannot mount a tmpfs: {other:?}");
                // Past the test harness, which would hide it.
                let _ = writeln!(std::io::stderr(), "skipped: needs the right to mount a tmpfs");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_appends_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount(2048) else { return };
    let dir = disk.0.path().join("data");
    let store = open(&dir).await;
    for n in 0..10 {
        store.append(entry(source("a", n), n)).await.unwrap();
    }
    let filler = disk.0.path().join("filler");
    let mut fill = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut fill, &[7; 4096]).is_ok() {}
    // The current segment's last page has some room left.
    let mut stored = 10;
    let error = loop {
        match store.append(entry(source("a", stored), stored)).await {
            Ok(_) => stored += 1,
            Err(e) => break e,
        }
    };
    for _ in 0..3 {
        let again = store.append(entry(source("a", stored), stored)).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Unavailable);
    }
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains(&dir.join("wal").display().to_string()), "{text}");
    assert!(text.contains("No space left"), "{text}");
    assert_eq!(counts(&store, "flows"), once(0..stored), "nothing of the refused entry is visible");
    let error = store.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
    assert_eq!(counts(&store, "flows"), once(0..stored));

    drop(fill);
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(
        store.append(entry(source("a", stored), stored)).await.unwrap(),
        Appended::Stored,
        "the first attempt failed, so its repetition is stored"
    );
    drop(store);
    let store = open(&dir).await;
    assert_eq!(counts(&store, "flows"), once(0..stored + 1));
    store.flush().await.unwrap();
    assert_eq!(counts(&store, "loss"), once(0..stored + 1));
    store.close().await.unwrap();
    drop(store);
    assert_eq!(counts(&*open(&dir).await, "flows"), once(0..stored + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_never_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_on(options(dir.path()), Arc::new(disk.clone())).await;
    let wal = store.inner.dir.wal();
    let mut refused = 0;
    for n in 0..30 {
        disk.fail_sync(&wal, n % 3 == 1);
        let got = store.append(entry(source("a", n), n)).await;
        if n % 3 == 1 {
            assert_eq!(got.unwrap_err().kind(), ErrorKind::Unavailable);
            refused += 1;
        } else {
            assert_eq!(got.unwrap(), Appended::Stored);
        }
    }
    assert_eq!(refused, 10);
    let wanted: BTreeMap<_, _> = (0..30).filter(|n| n % 3 != 1).map(|n| (n, 1)).collect();
    assert_eq!(counts(&store, "flows"), wanted);
    disk.fail_sync(&wal, false);
    drop(store);
    let store = open(dir.path()).await;
    assert_eq!(counts(&store, "flows"), wanted, "the abandoned ends of segments are ignored");
    store.close().await.unwrap();
    drop(store);
    assert_eq!(counts(&*open(dir.path()).await, "loss"), wanted);
}

/// The commit's file cannot be created: rows stay in memory, and come exactly once later.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_is_made_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..5 {
        store.append(entry(source("a", n), n)).await.unwrap();
    }
    let log = dir.path().join("tables/flows/_delta_log");
    let aside = dir.path().join("tables/flows/aside");
    std::fs::rename(&log, &aside).unwrap();
    std::fs::write(&log, "in the way").unwrap();
    store.flush().await.unwrap_err();
    assert_eq!(counts(&store, "flows"), once(0..5));
    assert_eq!(counts(&store, "loss"), once(0..5), "the other table goes its way");
    store.append(entry(source("a", 5), 5)).await.unwrap();
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    store.flush().await.unwrap();
    let snapshot = store.snapshot("flows").unwrap();
    assert!(snapshot.memory.is_empty());
    assert_eq!(counts(&store, "flows"), once(0..6));
    let on_disk =
        std::fs::read_dir(dir.path().join("tables/flows/date=2026-11-22/part=00")).unwrap();
    assert_eq!(on_disk.count(), snapshot.files.len(), "the files of the first attempt are gone");
    drop(store);
    assert_eq!(counts(&*open(dir.path()).await, "flows"), once(0..6));
}

/// The commit's file has its name, but the folder's sync failed: it counts only once that is made up
/// for. The same with files that retention removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_not_synced_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let keep = Some(Duration::from_secs(12 * 3600));
    let disk = FaultyDisk::default();
    let options = Options { retention: Retention::age(keep), ..options(dir.path()) };
    let store = open_on(options, Arc::new(disk.clone())).await;
    let log = store.inner.dir.table("flows").join("_delta_log");
    store.append(entry(None, 0)).await.unwrap();
    disk.fail_sync(&log, true);
    for _ in 0..2 {
        assert_eq!(store.flush().await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(store.snapshot("flows").unwrap().memory.batches().unwrap().len(), 1);
    }
    assert_eq!(store.stats().wal_segments, 1, "the log keeps the rows");
    disk.fail_sync(&log, false);
    store.flush().await.unwrap();
    assert_eq!(counts(&store, "flows"), once(0..1));
    let file = store.snapshot("flows").unwrap().files[0].path.to_string();
    let file = store.inner.dir.tables().join(file);
    assert!(file.exists());

    disk.fail_sync(&log, true);
    store.expire().await.unwrap_err();
    assert!(file.exists());
    disk.fail_sync(&log, false);
    store.expire().await.unwrap();
    assert!(counts(&store, "flows").is_empty());
    assert!(!file.exists(), "what a doubtful commit removed goes from disk");
}

#[test]
fn a_folder_that_was_not_synced_is_not_taken_for_durable() {
    let tmp = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let dir = DataDir::on(Arc::new(disk.clone()), tmp.path().to_owned());
    let folder = dir.root().join("date=2026-11-22/part=00");
    disk.fail_sync(&dir.root().join("date=2026-11-22"), true);
    for _ in 0..2 {
        crate::durable::create_dir(&dir, &folder).unwrap_err();
        assert!(folder.exists());
    }
    disk.fail_sync(&dir.root().join("date=2026-11-22"), false);
    crate::durable::create_dir(&dir, &folder).unwrap();
    disk.fail_sync(dir.root(), true);
    crate::durable::create_dir(&dir, &folder).unwrap();
    let next = DataDir::on(Arc::new(disk), tmp.path().to_owned());
    crate::durable::create_dir(&next, &folder).unwrap_err();
}

/// The folder's sync fails after the file got its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_flush_that_fails_leaves_no_file_behind() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_on(options(dir.path()), Arc::new(disk.clone())).await;
    store.append(entry(None, 0)).await.unwrap();
    store.flush().await.unwrap();
    store.append(entry(None, 1)).await.unwrap();
    let folder = store.inner.dir.table("flows").join("date=2026-11-22/part=00");
    disk.fail_sync(&folder, true);
    for _ in 0..2 {
        // The data file itself is synced under its temporary name, elsewhere.
        store.flush().await.unwrap_err();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }
    disk.fail_sync(&folder, false);
    store.flush().await.unwrap();
    assert_eq!(counts(&store, "flows"), once(0..2));
}
