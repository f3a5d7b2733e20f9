//! What continuous flushes cost: compaction's own speed, its price for ingest, and the tables' logs.
//!
//! `cargo bench --bench compaction` runs all three parts; `WEIR_BENCH_PART=merge`, `ingest` or
//! `commits` one of them. `WEIR_BENCH_FLUSHES` makes the parts shorter that count flushes.

#![expect(clippy::expect_used, reason = "a benchmark fails by panicking")]

mod generator;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_ingest::Receiver;
use weir_storage::{Clock, Store};
use weir_wire::Header;

use generator::{Cluster, Shape};

/// Microseconds.
const HOUR: i64 = 3_600_000_000;
/// Rows of a flush: ten seconds of a cluster of about 100 nodes.
const NODES: usize = 100;

/// As in the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let part = std::env::var("WEIR_BENCH_PART").ok();
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    for (name, index) in [("merge", 0), ("ingest", 1), ("commits", 2)] {
        if wanted(name) {
            println!("-- {name}");
            let dir = tempfile::tempdir().expect("a temporary folder");
            match index {
                0 => runtime.block_on(merge(dir.path())),
                1 => runtime.block_on(ingest(dir.path())),
                _ => runtime.block_on(commits(dir.path())),
            }
        }
    }
}

fn flushes(default: u64) -> u64 {
    match std::env::var("WEIR_BENCH_FLUSHES") {
        Ok(text) => text.parse().expect("WEIR_BENCH_FLUSHES is a number of flushes"),
        Err(_) => default,
    }
}

fn shape() -> Shape {
    Shape { nodes: NODES, workloads: 600, namespaces: 30, ..Shape::default() }
}

/// The batches of one interval, as agents send them.
fn interval(cluster: &Cluster, interval: u64) -> (Vec<Bytes>, usize) {
    let mut rows = 0;
    let batches = (0..cluster.shape().nodes)
        .map(|node| {
            let batch = cluster.batch(node, interval);
            rows += batch.num_rows();
            let header = Header {
                agent: format!("node-{node}"),
                boot: "bench".into(),
                sequence: i64::try_from(interval).expect("few intervals"),
                losses: Default::default(),
            };
            weir_wire::encode(&header, &batch).expect("batch encodes").into()
        })
        .collect();
    (batches, rows)
}

fn flows(store: &Store) -> (u64, u64, u64) {
    let stats = store.stats();
    let found = stats.tables.iter().find(|t| t.0 == "flows").copied().expect("table flows");
    (found.1, found.2, found.3)
}

/// Two hours of ten-second flushes, then compaction alone.
async fn merge(dir: &Path) {
    let cluster = Cluster::new(shape());
    let start = shape().start;
    let now = Arc::new(AtomicI64::new(start));
    let mut options = weir_ingest::store_options(dir);
    options.compaction = false;
    options.compaction_bytes_per_second = None;
    options.flush_interval = Duration::from_secs(3600);
    options.clock = Clock::new({
        let now = now.clone();
        move || now.load(Ordering::Relaxed)
    });
    let store = Store::open(options).await.expect("store opens");
    let receiver = Receiver::with_clock(store.clone(), || i64::MAX / 2);
    let mut spent = Duration::ZERO;
    let (mut most, mut bytes_flushed) = (0, 0);
    let flushes = flushes(720);
    for n in 0..flushes {
        now.store(start + 10_000_000 * i64::try_from(n).expect("few"), Ordering::Relaxed);
        for bytes in interval(&cluster, n).0 {
            receiver.receive(bytes).await.expect("batch is taken");
        }
        let before = flows(&store).1;
        store.flush().await.expect("store flushes");
        bytes_flushed += flows(&store).1 - before;
        let start = Instant::now();
        store.compact().await.expect("store compacts");
        spent += start.elapsed();
        most = most.max(flows(&store).0);
    }
    let rows = flows(&store).2;
    println!("rows, flushed files         {rows}, {flushes}");
    println!("flushed bytes per row       {:.2}", bytes_flushed as f64 / rows as f64);
    println!("most files at a time        {most}");
    now.store(start + 5 * HOUR, Ordering::Relaxed);
    let last = Instant::now();
    store.compact().await.expect("store compacts");
    spent += last.elapsed();
    let (files, bytes, stored) = flows(&store);
    assert_eq!(stored, rows, "every row is there");
    println!("files in the end            {files}");
    println!("bytes per row in the end    {:.2}", bytes as f64 / rows as f64);
    let stats = store.stats();
    let all: u64 = stats.tables.iter().map(|t| t.3).sum();
    let compaction = stats.compaction;
    println!("rows of all tables, written {all}, {}", compaction.rows);
    println!("rows written per second     {:.0}", compaction.rows as f64 / spent.as_secs_f64());
    println!("bytes read, written         {}, {}", compaction.bytes_read, compaction.bytes_written);
    store.close().await.expect("store closes");
}

/// Ingest at full speed with flushes every ten seconds, without and with compaction.
async fn ingest(dir: &Path) {
    let cluster = Cluster::new(shape());
    for compaction in [false, true] {
        let mut options = weir_ingest::store_options(dir.join(compaction.to_string()));
        options.compaction = compaction;
        options.flush_interval = Duration::from_secs(10);
        let store = Store::open(options).await.expect("store opens");
        let receiver = Receiver::with_clock(store.clone(), || i64::MAX / 2);
        let (mut rows, mut spent) = (0, Duration::ZERO);
        let mut next = 0;
        while spent < Duration::from_secs(90) {
            let (batches, count): (Vec<_>, Vec<_>) =
                (next..next + 10).map(|n| interval(&cluster, n)).unzip();
            next += 10;
            rows += count.iter().sum::<usize>();
            let start = Instant::now();
            let tasks: Vec<_> = (0..8)
                .map(|lane| {
                    let receiver = receiver.clone();
                    // A node's batches go in their order.
                    let lane: Vec<Bytes> = batches
                        .iter()
                        .flat_map(|b| b.iter().skip(lane).step_by(8).cloned())
                        .collect();
                    tokio::spawn(async move {
                        for bytes in lane {
                            while receiver.receive(bytes.clone()).await.is_err() {
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("sender");
            }
            spent += start.elapsed();
        }
        let stats = store.stats();
        println!(
            "compaction {compaction:5}            {:.0} rows/s, {} files, {} jobs, {} rows rewritten of {rows}",
            rows as f64 / spent.as_secs_f64(),
            stats.tables.iter().map(|t| t.1).sum::<u64>(),
            stats.compaction.jobs,
            stats.compaction.rows,
        );
        store.close().await.expect("store closes");
    }
}

/// Many small commits: does the next one, or opening, become dearer?
async fn commits(dir: &Path) {
    let cluster = Cluster::new(Shape { nodes: 1, keys_per_node: 8, ..Shape::default() });
    let mut options = weir_ingest::store_options(dir);
    options.compaction = false;
    let store = Store::open(options.clone()).await.expect("store opens");
    let receiver = Receiver::with_clock(store.clone(), || i64::MAX / 2);
    let log = dir.join("tables/flows/_delta_log");
    let mut last = Instant::now();
    for n in 0..flushes(20_000) {
        for bytes in interval(&cluster, n).0 {
            receiver.receive(bytes).await.expect("batch is taken");
        }
        store.flush().await.expect("store flushes");
        if n % 10 == 9 {
            store.compact().await.expect("store compacts");
        }
        if (n + 1) % 500 == 0 {
            let entries: Vec<_> =
                std::fs::read_dir(&log).expect("log").map(|e| e.expect("entry")).collect();
            let bytes: u64 = entries.iter().map(|e| e.metadata().map_or(0, |m| m.len())).sum();
            println!(
                "{:6} flushes: {:.2} ms each, {} files of flows, log of {} files, {} bytes",
                n + 1,
                last.elapsed().as_secs_f64() * 2.0,
                flows(&store).0,
                entries.len(),
                bytes
            );
            last = Instant::now();
        }
    }
    store.close().await.expect("store closes");
    drop(store);
    let start = Instant::now();
    let store = Store::open(options).await.expect("store opens");
    println!("open                        {:?}", start.elapsed());
    store.close().await.expect("store closes");
}
