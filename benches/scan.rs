//! How fast stored history answers, and on what that depends.
//!
//! `cargo bench --bench scan`; `WEIR_BENCH_ROWS=10000000` limits how many rows are stored (100 million
//! take a while), `WEIR_BENCH_DIR` keeps the histories.
//!
//! 1. What the label index of each column costs.
//! 2. One workload's retransmits over 30 days, in steps of 1 h, from cold files.
//! 3. The service map of the last hour over 1,000 workloads, in PromQL and SQL.
//! 4. One workload's retransmits over one hour out of 1, 10 and 100 million stored rows.
//!
//! Cold: a server's caches are new and the kernel has let go of the files' pages.

#![expect(clippy::expect_used, reason = "a benchmark fails by panicking")]

mod generator;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::compute::concat_batches;
use arrow::ipc::writer::StreamWriter;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use parquet::file::metadata::ParquetMetaDataReader;
use rustix::fs::{Advice, fadvise};
use tower::ServiceExt;
use weir_storage::{Entry, LabelIndex, Part, Store};

use generator::{Cluster, Shape};

const RUNS: usize = 9;
const DAY: i64 = 86_400_000_000;

/// As in the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let rows: u64 = match std::env::var("WEIR_BENCH_ROWS") {
        Ok(text) => text.parse().expect("WEIR_BENCH_ROWS is a number of rows"),
        Err(_) => 100_000_000,
    };
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let dir =
        std::env::var_os("WEIR_BENCH_DIR").map_or_else(|| temporary.path().to_owned(), Into::into);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        month(&dir.join("month"), rows.min(10_000_000)).await;
        service_map(&dir.join("map")).await;
        curve(&dir, rows).await;
    });
}

/// A store that is filled with `intervals` of a cluster, unless the folder has one already.
async fn history(dir: &Path, cluster: &Cluster, intervals: u64) -> Arc<Store> {
    let fresh = !dir.exists();
    std::fs::create_dir_all(dir).expect("a folder");
    let store = Store::open(weir_ingest::store_options(dir)).await.expect("store opens");
    if !fresh {
        return store;
    }
    let shape = cluster.shape();
    let begin = Instant::now();
    let day = u64::try_from(DAY / shape.interval).expect("an interval").max(1);
    let at_once = 64u64;
    let mut done = 0;
    while done < intervals {
        // Flushed twelve times a day, as the windows of raw files end.
        let until = intervals.min(done + (day / 12).max(1));
        let mut next = done;
        while next < until {
            let end = until.min(next + at_once);
            let batches: Vec<_> = (next..end)
                .flat_map(|i| (0..shape.nodes).map(move |node| (node, i)))
                .map(|(node, i)| cluster.batch(node, i))
                .collect();
            let batch = concat_batches(&batches[0].schema(), &batches).expect("one schema");
            let mut ipc = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("writer");
            ipc.write(&batch).expect("rows are written");
            let ipc = ipc.into_inner().expect("stream ends").into();
            let part = Part { table: "flows", ipc, batches: vec![batch] };
            let entry = Entry { source: None, parts: vec![part] };
            while let Err(error) = store.append(entry.clone()).await {
                assert!(error.to_string().contains("again in a second"), "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            next = end;
        }
        store.flush().await.expect("store flushes");
        done = until;
    }
    let rows = rows_of(&store);
    println!("# {rows} rows stored in {:.0?}", begin.elapsed());
    store
}

fn rows_of(store: &Store) -> u64 {
    store.stats().tables.iter().find(|t| t.0 == "flows").map_or(0, |t| t.3)
}

/// Lets the kernel forget what it knows of the files below a folder.
fn forget(dir: &Path) {
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            forget(&path);
        } else if let Ok(file) = std::fs::File::open(&path) {
            fadvise(&file, 0, None, Advice::DontNeed).expect("pages are let go of");
        }
    }
}

/// A query and the times that it took.
struct Query {
    path: &'static str,
    body: String,
    kind: &'static str,
}

impl Query {
    fn range(query: &str, start: i64, end: i64, step: i64) -> Self {
        let body = format!("start={start}&end={end}&step={step}&query={}", escape(query));
        let kind = "application/x-www-form-urlencoded";
        Self { path: "/api/v1/query_range", body, kind }
    }

    fn instant(query: &str, time: i64) -> Self {
        let body = format!("time={time}&query={}", escape(query));
        Self { path: "/api/v1/query", body, kind: "application/x-www-form-urlencoded" }
    }

    fn sql(statement: &str) -> Self {
        Self { path: "/api/v1/sql", body: statement.to_owned(), kind: "application/sql" }
    }

    async fn ask(&self, router: &Router) -> (Duration, Vec<u8>) {
        let request = Request::post(self.path)
            .header("content-type", self.kind)
            .body(Body::from(self.body.clone()))
            .expect("request");
        let begin = Instant::now();
        let response = router.clone().oneshot(request).await.expect("response");
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("body");
        let took = begin.elapsed();
        assert!(status.is_success(), "{}: {}", self.body, String::from_utf8_lossy(&body));
        (took, body.to_vec())
    }

    /// Median, least and most of several runs, and how long the answer is.
    async fn time(&self, store: &Arc<Store>, cold: Option<&Path>) -> (Times, usize) {
        let mut router = weir_query::router(store.clone());
        let mut times = Vec::new();
        let mut length = 0;
        if cold.is_none() {
            self.ask(&router).await;
        }
        for _ in 0..RUNS {
            if let Some(dir) = cold {
                router = weir_query::router(store.clone());
                forget(dir);
            }
            let (took, body) = self.ask(&router).await;
            times.push(took);
            length = body.len();
        }
        times.sort();
        (Times { median: times[RUNS / 2], least: times[0], most: times[RUNS - 1] }, length)
    }
}

struct Times {
    median: Duration,
    least: Duration,
    most: Duration,
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1?} ({:.1?} to {:.1?})", self.median, self.least, self.most)
    }
}

fn escape(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02x}")).collect()
}

const RETRANSMITS: &str =
    r#"sum by (peer_workload)(increase(flow_retransmits_total{workload="api-1"}[1h]))"#;

async fn month(dir: &Path, rows: u64) {
    let default = Shape::default();
    // As many rows as are wanted, over 30 days.
    let interval = i64::try_from(30 * 24 * 3600 * 116 / rows.max(1)).expect("seconds");
    let interval = 10.max(interval / 10 * 10) * 1_000_000;
    let start = default.start;
    let cluster = Cluster::new(Shape { interval, ..default });
    let intervals = u64::try_from(30 * DAY / interval).expect("intervals");
    let store = history(dir, &cluster, intervals).await;
    index_sizes(&store, dir).await;
    let start = start / 1_000_000;
    let query = Query::range(RETRANSMITS, start + 3600, start + 30 * 86_400, 3600);
    let stored = rows_of(&store);
    let (cold, length) = query.time(&store, Some(dir)).await;
    println!("one workload, 30 days of {stored} rows, cold   {cold}, {length} bytes");
    let (warm, _) = query.time(&store, None).await;
    println!("the same, warm                                 {warm}");
    store.close().await.expect("store closes");
}

/// Prints what the index of each column costs, over all files of the raw table.
async fn index_sizes(store: &Store, dir: &Path) {
    let snapshot = store.snapshot("flows").expect("the table");
    let (mut sizes, mut rows, mut whole) = (std::collections::BTreeMap::new(), 0, 0);
    for file in snapshot.files.iter() {
        let path = dir.join("tables").join(file.path.as_ref());
        let open = std::fs::File::open(&path).expect("the file is there");
        let footer = ParquetMetaDataReader::new().parse_and_finish(&open).expect("a footer");
        let store = snapshot.object_store.as_ref();
        let index = LabelIndex::open(store, &file.path, file.size, &footer).await;
        let index = index.expect("an index that is right").expect("an index");
        rows += file.rows;
        whole += file.size;
        for (column, size) in index.columns() {
            let known: &mut (u64, u64) = sizes.entry(column.to_owned()).or_default();
            match size {
                Some(size) => known.0 += u64::from(size),
                None => known.1 += 1,
            }
        }
    }
    let per_row = |bytes: u64| bytes as f64 / rows as f64;
    println!(
        "index bytes per row, {} files of {:.2} bytes per row",
        snapshot.files.len(),
        per_row(whole)
    );
    let mut all = 0;
    for (column, (bytes, left_out)) in sizes {
        all += bytes;
        println!("  {column:28} {:.4}, left out in {left_out} files", per_row(bytes));
    }
    println!("  {:28} {:.4}", "all", per_row(all));
}

async fn service_map(dir: &Path) {
    let shape = Shape {
        nodes: 20,
        namespaces: 40,
        workloads: 1000,
        pods: 3,
        keys_per_node: 400,
        ..Shape::default()
    };
    let start = shape.start / 1_000_000;
    let cluster = Cluster::new(shape);
    let store = history(dir, &cluster, 2 * 360).await;
    let end = start + 7200;
    let stored = rows_of(&store);
    println!("service map of 1,000 workloads, last of 2 hours, {stored} rows");
    let query = Query::instant(
        "sum by (namespace, workload, peer_namespace, peer_workload)(increase(flow_tx_bytes_total[1h]))",
        end,
    );
    let (warm, length) = query.time(&store, None).await;
    println!("  PromQL, warm   {warm}, {length} bytes");
    let (cold, _) = query.time(&store, Some(dir)).await;
    println!("  PromQL, cold   {cold}");
    let query = Query::sql(&format!(
        "SELECT namespace, workload, peer_namespace, peer_workload, sum(tx_bytes) FROM flows WHERE \
         \"end\" > to_timestamp({}) AND \"end\" <= to_timestamp({end}) GROUP BY 1, 2, 3, 4",
        end - 3600
    ));
    let (warm, length) = query.time(&store, None).await;
    println!("  SQL, warm      {warm}, {length} bytes");
    store.close().await.expect("store closes");
}

async fn curve(dir: &Path, limit: u64) {
    println!("one workload's retransmits of one hour, at different sizes of the history");
    println!("  {:>12} {:>7} {:>34} {:>34}", "rows", "files", "cold", "warm");
    for rows in [1_000_000u64, 10_000_000, 100_000_000].into_iter().filter(|n| *n <= limit) {
        let dir: PathBuf = dir.join(format!("curve-{rows}"));
        let cluster = Cluster::new(Shape::default());
        let start = cluster.shape().start / 1_000_000;
        let intervals = rows / 1160;
        let store = history(&dir, &cluster, intervals).await;
        let middle = start + i64::try_from(intervals).expect("intervals") * 10 / 2 / 3600 * 3600;
        let query = Query::range(RETRANSMITS, middle, middle + 3600, 300);
        let (cold, _) = query.time(&store, Some(&dir)).await;
        let (warm, _) = query.time(&store, None).await;
        let files = store.snapshot("flows").expect("the table").files.len();
        println!("  {:>12} {files:>7} {cold:>34} {warm:>34}", rows_of(&store));
        store.close().await.expect("store closes");
    }
}
