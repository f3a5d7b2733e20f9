//! Rows in memory that are made anew.

use super::*;

/// The same rows, each `n` as far beyond a million.
fn later(batch: &RecordBatch) -> RecordBatch {
    let n = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
    let n: Int64Array = n.iter().map(|n| n.map(|n| n % 1_000_000 + 1_000_000)).collect();
    let mut columns = batch.columns().to_vec();
    columns[batch.schema().index_of("n").unwrap()] = Arc::new(n);
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

fn values(store: &Store) -> Vec<i64> {
    let snapshot = store.snapshot("flows").unwrap();
    let mut values: Vec<i64> = Vec::new();
    for batch in snapshot.memory.batches().unwrap() {
        values.extend(batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().values());
    }
    for file in snapshot.files.iter() {
        for batch in read_file(store, file.path.as_ref()) {
            values.extend(batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().values());
        }
    }
    values.sort_unstable();
    values
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_are_revised_while_others_come_in_and_reach_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let sender = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 0..300 {
                store.append(entry(None, n)).await.unwrap();
            }
        }
    });
    while !sender.is_finished() {
        store.revise("flows", |batch| Some(later(batch))).await.unwrap();
        let values = values(&store);
        let numbers: Vec<i64> = values.iter().map(|n| n % 1_000_000).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..sorted.len() as i64), "each row once: {sorted:?}");
    }
    sender.await.unwrap();
    assert!(store.revise("flows", |batch| Some(later(batch))).await.unwrap() > 0);
    assert!(values(&store).into_iter().eq(1_000_000..1_000_300));
    store.flush().await.unwrap();
    assert_eq!(store.snapshot("flows").unwrap().memory.batches().unwrap().len(), 0);
    assert!(values(&store).into_iter().eq(1_000_000..1_000_300), "files have them as they are now");
    assert_eq!(store.stats().memory_bytes, 0, "what was reserved is given back");
    // What is in files stays.
    assert_eq!(store.revise("flows", |batch| Some(later(batch))).await.unwrap(), 0);
}

#[tokio::test]
async fn rows_may_not_be_added_or_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.append(entry(None, 1)).await.unwrap();
    let error = store.revise("flows", |batch| Some(batch.slice(0, 0))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = store.revise("nothing", |_| None).await.unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");
    assert_eq!(values(&store), [1]);
}
