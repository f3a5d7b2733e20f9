//! Tables in a bucket.

use futures::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::matcher::{MatchOp, Matcher};
use crate::objects::testing::Fickle;
use crate::objects::watch::sweep;
use crate::objects::{CheckError, ObjectStorage};

fn options_in(dir: &Path, bucket: &Fickle) -> Options {
    let objects = ObjectStorage::new("s3://bucket/prefix", 1 << 20);
    let objects = Some(objects.with_client(Arc::new(bucket.clone())));
    Options { objects, ..options(dir) }
}

async fn open_in(dir: &Path, bucket: &Fickle) -> Arc<Store> {
    open_when_free(options_in(dir, bucket)).await
}

/// How often each `n` is there, in the bucket's files and in memory together.
async fn counts_in(store: &Store, table: &str) -> BTreeMap<i64, usize> {
    let snapshot = store.snapshot(table).unwrap();
    let mut batches = snapshot.memory.batches().unwrap().to_vec();
    for file in snapshot.files.iter() {
        let bytes = snapshot.object_store.get_range(&file.path, 0..file.size).await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        batches.extend(reader.map(Result::unwrap));
    }
    let mut counts = BTreeMap::new();
    for batch in batches {
        for n in batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().values() {
            *counts.entry(*n).or_default() += 1;
        }
    }
    counts
}

async fn objects(bucket: &Fickle, below: &str) -> Vec<ObjectPath> {
    let found = bucket.list(Some(&ObjectPath::from(below))).map_ok(|o| o.location);
    let mut found: Vec<_> = found.try_collect().await.unwrap();
    found.sort();
    found
}

async fn append(store: &Store, numbers: std::ops::Range<i64>) {
    for n in numbers {
        assert_eq!(store.append(entry(source("a", n), n)).await.unwrap(), Appended::Stored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_in_the_bucket_and_the_log_on_local_disk() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let dir = tmp.path().join("d");
    let store = open_in(&dir, &bucket).await;
    append(&store, 0..5).await;
    store.flush().await.unwrap();
    append(&store, 5..8).await;
    assert_eq!(counts_in(&store, "flows").await, once(0..8));
    assert_eq!(objects(&bucket, "prefix/tables/flows/date=2026-11-22").await.len(), 1);
    let gets = bucket.gets();
    counts_in(&store, "loss").await;
    assert_eq!(bucket.gets(), gets, "what was just written is in the cache");
    drop(store);

    let local = |below: &str| {
        let mut files = Vec::new();
        let mut folders = vec![dir.join(below)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let list =
                    if entry.file_type().unwrap().is_dir() { &mut folders } else { &mut files };
                list.push(entry.path());
            }
        }
        files
    };
    assert!(local("tables").is_empty(), "{:?}", local("tables"));
    std::fs::write(dir.join("tables/flows/left"), "half").unwrap();
    std::fs::remove_dir_all(dir.join("cache")).unwrap();
    let store = open_in(&dir, &bucket).await;
    let snapshot = store.snapshot("flows").unwrap();
    let rows: usize = snapshot.memory.batches().unwrap().iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(rows, 3, "the log has what was not flushed");
    assert_eq!(counts_in(&store, "flows").await, once(0..8));
    assert!(local("tables").is_empty());
    assert_eq!(store.append(entry(source("a", 7), 7)).await.unwrap(), Appended::Repeated);
    store.close().await.unwrap();
    drop(store);
    let store = open_in(&dir, &bucket).await;
    assert!(store.snapshot("flows").unwrap().memory.is_empty());
    for table in ["flows", "loss"] {
        assert_eq!(counts_in(&store, table).await, once(0..8), "{table}");
    }
}

/// The bucket does not answer: rows stay in memory and in the log until it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_bucket_loses_nothing() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let store = open_in(tmp.path(), &bucket).await;
    append(&store, 0..3).await;
    store.flush().await.unwrap();
    bucket.set_dead(true);
    append(&store, 3..6).await;
    for _ in 0..2 {
        let error = store.flush().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        assert!(text.contains("s3://bucket/prefix") && text.contains("AWS_ENDPOINT_URL"), "{text}");
    }
    append(&store, 6..7).await;
    assert_eq!(counts_in(&store, "flows").await, once(0..7), "from the cache and from memory");
    store.close().await.unwrap_err();
    drop(store);
    let error = Store::open(options_in(tmp.path(), &bucket)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    bucket.set_dead(false);
    let store = open_in(tmp.path(), &bucket).await;
    assert_eq!(counts_in(&store, "flows").await, once(0..7));
    store.flush().await.unwrap();
    assert_eq!(counts_in(&store, "loss").await, once(0..7));
}

/// Commits and files that got there although the answer says otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_neither_loses_nor_doubles() {
    for what in ["_delta_log", ".parquet"] {
        let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
        let store = open_in(tmp.path(), &bucket).await;
        append(&store, 0..3).await;
        bucket.set_unanswered(Some(what));
        store.flush().await.unwrap_err();
        append(&store, 3..4).await;
        assert_eq!(counts_in(&store, "flows").await, once(0..4));
        bucket.set_unanswered(None);
        store.flush().await.unwrap();
        assert!(store.snapshot("flows").unwrap().memory.is_empty());
        for table in ["flows", "loss"] {
            assert_eq!(counts_in(&store, table).await, once(0..4), "{table}, {what}");
            let files = objects(&bucket, &format!("prefix/tables/{table}/date=2026-11-22")).await;
            assert_eq!(files.len(), store.snapshot(table).unwrap().files.len(), "{what}");
        }
        drop(store);
        let store = open_in(tmp.path(), &bucket).await;
        assert_eq!(counts_in(&store, "flows").await, once(0..4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_fences_the_first_and_every_row_is_there_once() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let (a, b) = (tmp.path().join("a"), tmp.path().join("b"));
    let first = open_in(&a, &bucket).await;
    append(&first, 0..5).await;
    first.flush().await.unwrap();
    append(&first, 5..8).await;

    let second = open_in(&b, &bucket).await;
    assert_eq!(counts_in(&second, "flows").await, once(0..5), "what was committed");
    // The first does not know yet: what it acknowledges is in its log.
    append(&first, 8..9).await;
    let error = first.flush().await.unwrap_err();
    let pid = format!("pid {}", std::process::id());
    assert!(error.to_string().contains(&pid), "{error}");
    let refused = first.append(entry(source("a", 9), 9)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("took the object store over"), "{refused}");
    assert_eq!(counts_in(&first, "flows").await, once(0..9), "what it had is readable");

    for n in 20..25 {
        second.append(entry(source("b", n), n)).await.unwrap();
    }
    second.flush().await.unwrap();
    first.flush().await.unwrap_err();
    first.close().await.unwrap_err();
    drop(first);
    second.append(entry(source("b", 25), 25)).await.unwrap();

    // Its directory comes back, and with it what it had acknowledged.
    let third = open_in(&a, &bucket).await;
    let mut wanted = once(0..9);
    wanted.extend(once(20..25));
    assert_eq!(counts_in(&third, "flows").await, wanted);
    third.flush().await.unwrap();
    second.flush().await.unwrap_err();
    drop(second);
    third.close().await.unwrap();
    drop(third);
    let fourth = open_in(&b, &bucket).await;
    wanted.extend(once(25..26));
    for table in ["flows", "loss"] {
        assert_eq!(counts_in(&fourth, table).await, wanted, "{table}");
    }
}

/// The claim object is not all: also a commit that is already on its way comes too late.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_after_another_claim_is_refused_by_the_table_itself() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let first = open_in(&tmp.path().join("a"), &bucket).await;
    append(&first, 0..3).await;
    let writer = ObjectPath::from("prefix/_weir/writer");
    let claim = bucket.get(&writer).await.unwrap().bytes().await.unwrap();
    let second = open_in(&tmp.path().join("b"), &bucket).await;
    // As if the first had asked just before the second claimed.
    let later = bucket.get(&writer).await.unwrap().bytes().await.unwrap();
    bucket.put(&writer, claim.into()).await.unwrap();
    for _ in 0..2 {
        first.flush().await.unwrap_err();
        assert_eq!(first.snapshot("flows").unwrap().memory.batches().unwrap().len(), 3);
    }
    assert!(first.inner.place.fenced().is_some(), "the table says so");
    bucket.put(&writer, later.into()).await.unwrap();
    second.append(entry(None, 7)).await.unwrap();
    second.flush().await.unwrap();
    assert_eq!(counts_in(&second, "flows").await, once(7..8));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_goes_and_nothing_else() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let store = open_in(&tmp.path().join("a"), &bucket).await;
    append(&store, 0..3).await;
    store.flush().await.unwrap();
    let folder = "prefix/tables/flows/date=2026-11-22/part=00";
    let orphan = ObjectPath::from(format!("{folder}/1200-{:032x}.parquet", 1));
    let foreign = ObjectPath::from(format!("{folder}/part-00000-x.zstd.parquet"));
    for object in [&orphan, &foreign] {
        bucket.put(object, "rows".into()).await.unwrap();
    }
    let before = objects(&bucket, "prefix/tables").await;
    let look = |store: Arc<Store>, grace| async move {
        let mine = store.inner.place.bucket().unwrap().clone();
        sweep(&store.inner, &mine, grace).await
    };
    look(store.clone(), Duration::from_secs(3600)).await.unwrap();
    assert_eq!(objects(&bucket, "prefix/tables").await, before, "not before its time");
    let second = open_in(&tmp.path().join("b"), &bucket).await;
    let error = look(store.clone(), Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("took the object store over"), "{error}");
    assert!(objects(&bucket, "prefix/tables").await.contains(&orphan), "not by a fenced writer");
    look(second.clone(), Duration::ZERO).await.unwrap();
    let left = objects(&bucket, "prefix/tables").await;
    assert!(!left.contains(&orphan) && left.contains(&foreign));
    assert_eq!(counts_in(&second, "flows").await, once(0..3));
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_files_leave_the_bucket_and_the_cache() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let retention = Some(Duration::from_secs(12 * 3600));
    let store = open_when_free(Options {
        retention: Retention::age(retention),
        ..options_in(tmp.path(), &bucket)
    })
    .await;
    append(&store, 0..3).await;
    store.flush().await.unwrap();
    assert!(store.stats().cache.unwrap().bytes > 0);
    store.expire().await.unwrap();
    assert!(counts_in(&store, "flows").await.is_empty());
    assert!(objects(&bucket, "prefix/tables/flows/date=2026-11-22").await.is_empty());
    assert_eq!(store.stats().cache.unwrap().bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_and_store_belong_together() {
    let tmp = tempfile::tempdir().unwrap();
    let (bucket, other) = (Fickle::default(), Fickle::default());
    let refused = |options| async {
        let error = Store::open(options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Directory, "{error}");
        error.to_string()
    };
    let (bound, local) = (tmp.path().join("bound"), tmp.path().join("local"));
    open_in(&bound, &bucket).await.close().await.unwrap();
    let text = refused(options(&bound)).await;
    assert!(text.contains("--store"), "{text}");
    let text = refused(options_in(&bound, &other)).await;
    assert!(text.contains("is not there any more"), "{text}");
    open(&local).await.close().await.unwrap();
    let text = refused(options_in(&local, &bucket)).await;
    assert!(text.contains("tables on local disk"), "{text}");
    let text = refused(options_in(&tmp.path().join("c"), &Fickle::unconditional())).await;
    assert!(text.contains("If-None-Match"), "{text}");
    let error = CheckError::Slow { limit: Duration::from_secs(45) };
    assert!(error.to_string().contains("within 45 s"));
}

/// Whoever takes the store over knows what was deleted, and a writer that was overtaken deletes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn deletions_outlive_a_takeover() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let (a, b) = (tmp.path().join("a"), tmp.path().join("b"));
    let first = open_in(&a, &bucket).await;
    append(&first, 0..6).await;
    let deletion = |until: i64| Deletion {
        tables: vec!["flows".into()],
        matchers: vec![Matcher::new("workload", MatchOp::Equal, "web").unwrap()],
        after: i64::MIN,
        until: MIDNIGHT + until * SECOND,
    };
    assert_eq!(first.delete(deletion(1)).await.unwrap().files, 1);
    assert!(!a.join("tombstones").exists());
    let second = open_in(&b, &bucket).await;
    let refused = first.delete(deletion(3)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("took the object store over"), "{refused}");
    let hidden = |store: &Store| {
        let snapshot = store.snapshot("flows").unwrap();
        snapshot.files.iter().map(|f| f.hidden.len()).collect::<Vec<_>>()
    };
    assert_eq!(hidden(&second), [1]);
    second.clean().await.unwrap();
    assert_eq!(counts_in(&second, "flows").await, (2..6).map(|n| (n, 1)).collect());
    assert_eq!(counts_in(&second, "loss").await, once(0..6));
    drop((first, second));
    // Nothing is left to hide, and the list is there for the next one.
    let third = open_in(&a, &bucket).await;
    assert_eq!(hidden(&third), [0]);
    assert_eq!(objects(&bucket, "prefix/_weir/tombstones").await.len(), 0, "it is an object");
    assert!(bucket.head(&"prefix/_weir/tombstones".into()).await.is_ok());
}

/// An older version kept the list in the directory.
#[tokio::test(flavor = "multi_thread")]
async fn deletions_of_an_older_version_move_to_the_bucket() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let (a, b) = (tmp.path().join("a"), tmp.path().join("b"));
    let store = open_in(&a, &bucket).await;
    append(&store, 0..3).await;
    store.flush().await.unwrap();
    let files = store.snapshot("flows").unwrap().files.iter().map(|f| f.path.clone()).collect();
    let matchers = [Matcher::new("workload", MatchOp::Equal, "web").unwrap()].into();
    let (after, until) = (i64::MIN, MIDNIGHT);
    let hidden = Arc::new(Hidden { matchers, unless: Arc::default(), after, until });
    let list = Tombstones(vec![crate::tombstone::Tombstone { created: 1, hidden, files }]);
    list.save(&store.inner.dir).unwrap();
    drop(store);
    drop(open_in(&a, &bucket).await);
    assert!(!a.join("tombstones").exists());
    let other = open_in(&b, &bucket).await;
    assert_eq!(other.snapshot("flows").unwrap().files[0].hidden.len(), 1);
}
