//! A day of history: how fast it is taken in, how small it is stored, how fast it answers.
//!
//! `cargo bench --bench history` (10 million rows). `WEIR_BENCH_HOURS=1` makes it a short one;
//! `WEIR_BENCH_DIR` keeps the history for a look at it.

#![expect(clippy::expect_used, reason = "a benchmark fails by panicking")]

mod generator;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use bytes::Bytes;
use tower::ServiceExt;
use weir_ingest::Receiver;
use weir_storage::Store;
use weir_wire::Header;

use generator::{Cluster, Shape};

const RUNS: usize = 7;

/// As in the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let hours: u64 = match std::env::var("WEIR_BENCH_HOURS") {
        Ok(text) => text.parse().expect("WEIR_BENCH_HOURS is a number of hours"),
        Err(_) => 24,
    };
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let dir =
        std::env::var_os("WEIR_BENCH_DIR").map_or_else(|| temporary.path().to_owned(), Into::into);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(run(&dir, hours));
}

async fn run(dir: &Path, hours: u64) {
    let cluster = Arc::new(Cluster::new(Shape::default()));
    let mut options = weir_ingest::store_options(dir);
    options.memtable_bytes = 256 << 20;
    let store = Store::open(options).await.expect("store opens");
    let rows = ingest(&cluster, &store, hours).await;
    store.flush().await.expect("store flushes");
    sizes(&store, rows);
    queries(&cluster, &store, hours).await;
    store.close().await.expect("store closes");
}

/// Feeds `hours` of batches through the receiver, as many under way at a time as there are nodes.
async fn ingest(cluster: &Arc<Cluster>, store: &Arc<Store>, hours: u64) -> u64 {
    let nodes = cluster.shape().nodes;
    let receiver = Receiver::with_clock(store.clone(), || i64::MAX / 2);
    let mut rows = 0u64;
    let mut wire = 0u64;
    let mut spent = Duration::ZERO;
    let mut latencies = Vec::new();
    for hour in 0..hours {
        // Batches are made before the clock runs: agents encode on their own hosts.
        let mut lanes: Vec<Vec<Bytes>> = vec![Vec::new(); nodes];
        for interval in hour * 360..(hour + 1) * 360 {
            for (node, lane) in lanes.iter_mut().enumerate() {
                let batch = cluster.batch(node, interval);
                rows += batch.num_rows() as u64;
                let header = Header {
                    agent: format!("node-{node}"),
                    boot: "bench".into(),
                    sequence: interval as i64,
                    losses: Default::default(),
                };
                let bytes = weir_wire::encode(&header, &batch).expect("batch encodes");
                wire += bytes.len() as u64;
                lane.push(bytes.into());
            }
        }
        let start = Instant::now();
        let tasks: Vec<_> = lanes
            .into_iter()
            .map(|lane| {
                let receiver = receiver.clone();
                tokio::spawn(async move {
                    let mut latencies = Vec::with_capacity(lane.len());
                    for bytes in lane {
                        let start = Instant::now();
                        while let Err(error) = receiver.receive(bytes.clone()).await {
                            assert!(error.to_string().contains("again in a second"), "{error}");
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        latencies.push(start.elapsed());
                    }
                    latencies
                })
            })
            .collect();
        for task in tasks {
            latencies.extend(task.await.expect("sender"));
        }
        spent += start.elapsed();
    }
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!("rows ingested               {rows}");
    println!("rows per batch              {:.0}", rows as f64 / latencies.len() as f64);
    println!("wire bytes per row          {:.1}", wire as f64 / rows as f64);
    println!("rows ingested per second    {:.0}", rows as f64 / spent.as_secs_f64());
    println!("acknowledgement p50, p99    {:.1?}, {:.1?}", at(0.5), at(0.99));
    rows
}

fn sizes(store: &Store, rows: u64) {
    let stats = store.stats();
    let (_, files, bytes, stored) =
        stats.tables.iter().find(|t| t.0 == "flows").copied().expect("table flows");
    assert_eq!(stored, rows, "rows in files");
    println!("files                       {files}");
    println!("stored bytes per row        {:.2}", bytes as f64 / rows as f64);
}

async fn queries(cluster: &Cluster, store: &Arc<Store>, hours: u64) {
    let router = weir_query::router(store.clone());
    let start = cluster.shape().start / 1_000_000;
    let end = start + hours as i64 * 3600;
    for (name, query, step) in [
        (
            "sum by (workload, peer_workload)(rate(tx[5m])), step 5m",
            "sum by (workload, peer_workload)(rate(flow_tx_bytes_total[5m]))",
            300,
        ),
        (
            "the same, step 1m",
            "sum by (workload, peer_workload)(rate(flow_tx_bytes_total[5m]))",
            60,
        ),
        (
            "one workload's retransmits, step 5m",
            r#"sum by (peer_workload)(increase(flow_retransmits_total{workload="api-1"}[5m]))"#,
            300,
        ),
        (
            "rtt p95 by workload, step 5m",
            "histogram_quantile(0.95, sum by (le, workload)(rate(flow_rtt_seconds_bucket[5m])))",
            300,
        ),
    ] {
        let form = format!(
            "start={}&end={end}&step={step}&query={}",
            start + 300,
            query.bytes().map(|b| format!("%{b:02x}")).collect::<String>()
        );
        let mut times = Vec::new();
        let mut series = 0;
        for _ in 0..RUNS {
            let request = Request::post("/api/v1/query_range")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(form.clone()))
                .expect("request");
            let begin = Instant::now();
            let response = router.clone().oneshot(request).await.expect("response");
            let status = response.status();
            let body = to_bytes(response.into_body(), usize::MAX).await.expect("body");
            times.push(begin.elapsed());
            assert!(status.is_success(), "{query}: {}", String::from_utf8_lossy(&body));
            let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            series = answer["data"]["result"].as_array().map_or(0, Vec::len);
            assert!(series > 0, "{query} answers nothing");
        }
        times.sort();
        println!(
            "{name}: {series} series, median {:.0?} (min {:.0?}, max {:.0?}) of {RUNS}",
            times[RUNS / 2],
            times[0],
            times[RUNS - 1]
        );
    }
}
