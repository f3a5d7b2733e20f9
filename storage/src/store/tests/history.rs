//! Snapshots, retention, and the tables' logs in the long run.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_is_never_in_two_places_or_in_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let flusher = tokio::spawn({
        let store = store.clone();
        async move {
            for _ in 0..20 {
                store.flush().await.unwrap();
            }
        }
    });
    let mut n = 0;
    while !flusher.is_finished() {
        store.append(entry(None, n)).await.unwrap();
        n += 1;
        let snapshot = store.snapshot("flows").unwrap();
        let memory: usize =
            snapshot.memory.batches().unwrap().iter().map(RecordBatch::num_rows).sum();
        let files: u64 = snapshot.files.iter().map(|f| f.rows).sum();
        assert_eq!(memory as u64 + files, n as u64);
    }
    flusher.await.unwrap();
    assert_eq!(counts(&store, "flows"), once(0..n));
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_removes_whole_files_and_spares_readers() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(MIDNIGHT + HOUR));
    let clock = Clock::new({
        let now = now.clone();
        move || now.load(Ordering::Relaxed)
    });
    let keep = Some(Duration::from_secs(24 * 3600));
    let timed = Options { retention: Retention::age(keep), clock, ..options(dir.path()) };
    let store = open_when_free(timed.clone()).await;
    store.append(entry(None, 0)).await.unwrap();
    store.append(entry(None, 2 * 3600)).await.unwrap();
    store.flush().await.unwrap();
    let before = store.snapshot("flows").unwrap();
    assert_eq!(before.files.len(), 2);
    store.expire().await.unwrap();
    assert_eq!(store.snapshot("flows").unwrap().files.len(), 2, "nothing is old enough");

    now.store(MIDNIGHT + 24 * HOUR + SECOND, Ordering::Relaxed);
    store.expire().await.unwrap();
    let after = store.snapshot("flows").unwrap();
    assert_eq!(after.files.len(), 1);
    assert_eq!(counts(&store, "flows").keys().copied().collect::<Vec<_>>(), [2 * 3600]);
    for file in before.files.iter() {
        assert_eq!(read_file(&store, file.path.as_ref())[0].num_rows(), 1, "a reader holds it");
    }
    let gone = before.files[0].clone();
    drop(before);
    store.expire().await.unwrap();
    let path = dir.path().join("tables").join(gone.path.as_ref());
    assert!(path.exists(), "held by its last reader");
    drop(gone);
    store.expire().await.unwrap();
    assert!(!path.exists());
    drop(store);
    let store = open_when_free(timed).await;
    assert_eq!(counts(&store, "loss").keys().copied().collect::<Vec<_>>(), [2 * 3600]);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_keep_opening_short() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..60 {
        store.append(entry(source("a", n), n)).await.unwrap();
        store.flush().await.unwrap();
    }
    drop(store);
    let log = dir.path().join("tables/flows/_delta_log");
    let checkpoints = std::fs::read_dir(&log)
        .unwrap()
        .filter(|f| {
            f.as_ref().unwrap().file_name().to_string_lossy().contains("checkpoint.parquet")
        })
        .count();
    assert_eq!(checkpoints, 1);
    // What the checkpoint covers is not needed to open the table.
    for version in 0..=49 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let store = open(dir.path()).await;
    assert_eq!(counts(&store, "flows"), once(0..60));
    let files = store.snapshot("flows").unwrap().files;
    assert!(
        files.iter().all(|f| f.rows == 1 && f.min_time == f.max_time && f.min_time >= MIDNIGHT)
    );
    assert_eq!(store.append(entry(source("a", 59), 59)).await.unwrap(), Appended::Repeated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_reads_as_null_from_old_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.append(entry(None, 0)).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let wider = |mut spec: TableSpec, data_type: DataType| {
        let mut fields: Vec<Field> =
            spec.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new("extra", data_type, true));
        spec.schema = Arc::new(Schema::new(fields));
        spec
    };
    let tables = |data_type: DataType| vec![wider(spec("flows"), data_type), spec("loss")];
    let wide = Options { tables: tables(DataType::Int64), ..options(dir.path()) };
    let store = open_when_free(wide.clone()).await;
    store.append(entry(None, 1)).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let store = open_when_free(wide).await;
    assert_eq!(counts(&store, "flows"), once(0..2));
    drop(store);
    let changed = Options { tables: tables(DataType::Utf8), ..options(dir.path()) };
    let error = loop {
        let error = Store::open(changed.clone()).await.unwrap_err();
        if !error.to_string().contains("in use") {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Directory);
    assert!(error.to_string().contains("`extra` is long"), "{error}");
}

/// Opening, committing and checkpointing must not depend on the runtime having several threads.
#[tokio::test]
async fn one_thread_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..51 {
        store.append(entry(None, n)).await.unwrap();
        store.flush().await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    assert_eq!(counts(&*open(dir.path()).await, "flows"), once(0..51));
}
