use object_store::ObjectStoreExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::objects::testing::Fickle;

const MIB: u64 = 1 << 20;

fn open(bucket: &Fickle, dir: &std::path::Path, limit: u64) -> Cache {
    Cache::open(Arc::new(bucket.clone()), &DataDir::new(dir.to_owned()), limit).unwrap()
}

/// An object of random bytes.
async fn object(bucket: &Fickle, name: &str, size: u64) -> (Path, Vec<u8>) {
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    StdRng::seed_from_u64(size).fill(bytes.as_mut_slice());
    let path = Path::from(name);
    bucket.put(&path, bytes.clone().into()).await.unwrap();
    (path, bytes)
}

fn part(bytes: &[u8], range: &Range<u64>) -> Bytes {
    let end = usize::try_from(range.end).unwrap().min(bytes.len());
    Bytes::copy_from_slice(&bytes[usize::try_from(range.start).unwrap()..end])
}

/// Waits until what was fetched is written.
async fn landed(cache: &Cache) {
    while cache.0.flights.len() > 0 {
        tokio::task::yield_now().await;
    }
}

fn on_disk(dir: &std::path::Path) -> u64 {
    std::fs::read_dir(dir.join("cache"))
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_range_reads_as_from_the_bucket() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let mut random = StdRng::seed_from_u64(1);
    for size in [1, MIB - 1, MIB, MIB + 1, 11 * MIB + 77] {
        let (path, bytes) = object(&bucket, &format!("t/{size}.parquet"), size).await;
        for limit in [0, 3 * MIB, 100 * MIB] {
            let folder = tmp.path().join(format!("{size}-{limit}"));
            let mut cache = open(&bucket, &folder, limit);
            for step in 0..12 {
                if step == 8 {
                    landed(&cache).await;
                    cache = open(&bucket, &folder, limit);
                }
                let ranges: Vec<Range<u64>> = (0..3)
                    .map(|_| {
                        let start = random.random_range(0..size);
                        start..random.random_range(start + 1..=size)
                    })
                    .collect();
                let wanted: Vec<Bytes> = ranges.iter().map(|r| part(&bytes, r)).collect();
                assert_eq!(cache.get_ranges(&path, &ranges).await.unwrap(), wanted, "{ranges:?}");
                let over = ranges[0].start..size + 10;
                let got = cache.get_range(&path, over.clone()).await.unwrap();
                assert_eq!(got, part(&bytes, &over), "a range is cut at the object's end");
            }
            landed(&cache).await;
            assert!(on_disk(&folder) <= limit, "{} bytes of {limit}", on_disk(&folder));
        }
    }
    let cache = open(&bucket, &tmp.path().join("none"), MIB);
    let error = cache.get_range(&Path::from("t/none.parquet"), 0..1).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_not_fetched_again_not_even_after_a_restart() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let (path, bytes) = object(&bucket, "t/a.parquet", 5 * MIB).await;
    let cache = open(&bucket, tmp.path(), 100 * MIB);
    let read = MIB / 2..MIB + MIB / 2;
    // A dashboard: many ask for the same at once.
    let asked = (0..20).map(|_| cache.get_range(&path, read.clone()));
    for got in futures::future::join_all(asked).await {
        assert_eq!(got.unwrap(), part(&bytes, &read));
    }
    assert_eq!(bucket.gets(), 1, "two neighbouring blocks are one request, for everyone");
    landed(&cache).await;
    bucket.set_dead(true);
    for cache in [cache, open(&bucket, tmp.path(), 100 * MIB)] {
        for _ in 0..2 {
            assert_eq!(cache.get_range(&path, read.clone()).await.unwrap(), part(&bytes, &read));
        }
        cache.get_range(&path, 4 * MIB..5 * MIB).await.unwrap_err();
    }
    bucket.set_dead(false);
    let cache = open(&bucket, tmp.path(), 100 * MIB);
    assert_eq!(cache.get_range(&path, 4 * MIB..5 * MIB).await.unwrap().len(), 1 << 20);
    landed(&cache).await;
    cache.forget(&path, 5 * MIB);
    assert_eq!((cache.stats().bytes, on_disk(tmp.path())), (0, 0));
}

/// What a power failure leaves: files cut short, with zeros in them, unfinished, of someone else.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_file_is_never_believed() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let (path, bytes) = object(&bucket, "t/a.parquet", 3 * MIB + 5).await;
    let all = 0..3 * MIB + 5;
    let cache = open(&bucket, tmp.path(), 100 * MIB);
    cache.get_range(&path, all.clone()).await.unwrap();
    landed(&cache).await;
    let folder = tmp.path().join("cache");
    let file = |block: u64| folder.join(block::name(&path, block).unwrap());
    for (block, length) in [(0, 0), (1, 1000), (3, 10)] {
        std::fs::File::options().write(true).open(file(block)).unwrap().set_len(length).unwrap();
    }
    let mut zeroed = std::fs::read(file(2)).unwrap();
    zeroed[4096..8192].fill(0);
    std::fs::write(file(2), zeroed).unwrap();
    std::fs::write(folder.join("tmp-1"), "half").unwrap();
    let cache = open(&bucket, tmp.path(), 100 * MIB);
    assert!(!folder.join("tmp-1").exists());
    assert_eq!(cache.get_range(&path, all.clone()).await.unwrap(), part(&bytes, &all));
    assert_eq!(cache.stats().misses, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_this_process_are_entered_and_the_oldest_go() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let cache = open(&bucket, tmp.path(), 7 * MIB / 2);
    let file = tmp.path().join("new");
    let mut objects = Vec::new();
    for n in 0..4u64 {
        let (path, bytes) = object(&bucket, &format!("t/{n}.parquet"), MIB + n).await;
        std::fs::write(&file, &bytes).unwrap();
        cache.admit(&path, &file);
        objects.push((path, bytes));
        assert!(on_disk(tmp.path()) <= 7 * MIB / 2);
    }
    bucket.set_dead(true);
    let (newest, bytes) = &objects[3];
    assert_eq!(cache.get_range(newest, 0..MIB + 3).await.unwrap(), *bytes);
    assert!(cache.get_range(&objects[0].0, 0..MIB).await.is_err(), "it went for the newer ones");
    assert!(cache.stats().bytes > 3 * MIB);
}

/// A folder that cannot be written makes reads slower, not wrong.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_folder_reads_go_to_the_bucket() {
    let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
    let (path, bytes) = object(&bucket, "t/a.parquet", MIB).await;
    let cache = open(&bucket, tmp.path(), 5 * MIB);
    std::fs::remove_dir(tmp.path().join("cache")).unwrap();
    for _ in 0..2 {
        assert_eq!(cache.get_range(&path, 7..99).await.unwrap(), part(&bytes, &(7..99)));
    }
    assert_eq!(cache.stats().bytes, 0);
}
