//! How fast the flow table answers over a day of a large cluster.
//!
//! `cargo bench --bench flow_table`; `WEIR_BENCH_EDGES=100000` is how many pairs of workloads talk to each other in each of
//! the 24 hours, both ends measured; `WEIR_BENCH_DIR` keeps the history.
//!
//! Medians of several requests over HTTP's own router, caches warm: the tables as the console asks for them, the service
//! map, and a comparison of two half days.

#![expect(clippy::expect_used, reason = "a benchmark fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, Int64Array, Int64Builder, ListBuilder, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Schema};
use arrow::ipc::writer::StreamWriter;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt;
use weir_storage::{Entry, Part, Store, conform};
use weir_wire::histogram::index_of;

const RUNS: usize = 9;
const HOURS: i64 = 24;
const HOUR: i64 = 3_600_000_000;
/// A whole hour, so that the day is made of whole ones.
const BEGIN: i64 = 1_790_000_000_000_000 / HOUR * HOUR;
const WORKLOADS: u64 = 2_000;
const NAMESPACES: u64 = 40;

/// As in the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let edges: u64 = match std::env::var("WEIR_BENCH_EDGES") {
        Ok(text) => text.parse().expect("WEIR_BENCH_EDGES is a number"),
        Err(_) => 100_000,
    };
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let dir =
        std::env::var_os("WEIR_BENCH_DIR").map_or_else(|| temporary.path().to_owned(), Into::into);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(run(&dir, edges));
}

/// SplitMix64 of a number.
fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The rows of one end of all edges in an hour.
fn hour(edges: u64, hour: i64, role: &str) -> RecordBatch {
    let n = usize::try_from(edges).expect("a number of rows");
    // Each edge is another pair.
    let from = |edge: u64| edge % WORKLOADS;
    let to = |edge: u64| (edge % WORKLOADS + 1 + edge / WORKLOADS * 7) % WORKLOADS;
    let is_client = role == "client";
    let own = |edge: u64| if is_client { from(edge) } else { to(edge) };
    let peer = |edge: u64| if is_client { to(edge) } else { from(edge) };
    let label = |of: &dyn Fn(u64) -> String| -> ArrayRef {
        let texts: Vec<String> = (0..edges).map(of).collect();
        Arc::new(
            texts.iter().map(|text| Some(text.as_str())).collect::<DictionaryArray<Int32Type>>(),
        )
    };
    let all = |text: &str| -> ArrayRef {
        let keys = Int32Array::from(vec![0; n]);
        let values = Arc::new(StringArray::from(vec![text]));
        Arc::new(DictionaryArray::try_new(keys, values).expect("one text"))
    };
    let time = |at: i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_value(at, n).with_timezone("UTC"))
    };
    // Volumes of five orders of magnitude, different every hour.
    let seed = |edge: u64| mixed(edge ^ mixed(hour as u64));
    let sent = |edge: u64| 10i64.pow((mixed(edge) % 6) as u32 + 2) + (seed(edge) % 100) as i64;
    let number = |of: &dyn Fn(u64) -> i64| -> ArrayRef {
        Arc::new((0..edges).map(|edge| Some(of(edge))).collect::<Int64Array>())
    };
    let namespace = |workload: u64| format!("team-{}", workload % NAMESPACES);
    let mut columns = vec![
        ("start", time(BEGIN + hour * HOUR)),
        ("end", time(BEGIN + (hour + 1) * HOUR)),
        ("node", all("node")),
        ("namespace", label(&|edge| namespace(own(edge)))),
        ("workload", label(&|edge| format!("service-{}", own(edge)))),
        ("workload_kind", all("Deployment")),
        ("peer_namespace", label(&|edge| namespace(peer(edge)))),
        ("peer_workload", label(&|edge| format!("service-{}", peer(edge)))),
        ("peer_workload_kind", all("Deployment")),
        ("peer_scope", all("cluster")),
        (
            "crossing",
            label(&|edge| {
                if mixed(edge).is_multiple_of(3) { "cross-zone" } else { "same-zone" }.into()
            }),
        ),
        ("protocol", all("tcp")),
        ("role", all(role)),
        ("tx_bytes", number(&sent)),
        ("rx_bytes", number(&|edge| sent(edge) / 7)),
        ("tx_packets", number(&|edge| sent(edge) / 1000 + 1)),
        ("rx_packets", number(&|edge| sent(edge) / 3000 + 1)),
        (
            "retransmits",
            number(&|edge| if seed(edge).is_multiple_of(50) { sent(edge) / 100_000 } else { 0 }),
        ),
        ("timeouts", number(&|edge| i64::from(seed(edge).is_multiple_of(1000)))),
        ("connects", number(&|edge| (seed(edge) % 20) as i64)),
        ("connect_failures", number(&|edge| i64::from(seed(edge).is_multiple_of(500)))),
    ];
    columns.extend(round_trips(edges, &|edge| seed(edge)));
    let spec = weir_ingest::flows_table();
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, _)| spec.schema.field_with_name(name).expect("a column").clone())
        .collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("rows");
    conform(&spec, &batch).expect("rows of the table")
}

/// Round trips of each edge: some hundred samples around a time of its own, in up to five buckets.
fn round_trips(edges: u64, seed: &dyn Fn(u64) -> u64) -> Vec<(&'static str, ArrayRef)> {
    let mut buckets = ListBuilder::new(Int64Builder::new());
    let (mut counts, mut sums, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    let typical = |edge: u64| 200 << (mixed(edge) % 8);
    for edge in 0..edges {
        let width = 1 + seed(edge) % 5;
        let mut count = 0;
        for bucket in 0..width {
            let samples = 10 + (seed(edge) >> bucket) % 90;
            buckets.values().append_value(samples as i64);
            count += samples;
        }
        buckets.append(true);
        counts.push(count as i64);
        sums.push((count * typical(edge)) as i64);
        offsets.push(index_of(typical(edge)));
    }
    let times = |factor: u64| -> ArrayRef {
        let times = (0..edges).map(|edge| Some((typical(edge) * factor / 2) as i64));
        Arc::new(times.collect::<Int64Array>())
    };
    vec![
        ("rtt_count", Arc::new(Int64Array::from(counts))),
        ("rtt_sum_us", Arc::new(Int64Array::from(sums))),
        ("rtt_min_us", times(1)),
        ("rtt_max_us", times(8)),
        ("rtt_offset", Arc::new(Int32Array::from(offsets))),
        ("rtt_buckets", Arc::new(buckets.finish())),
    ]
}

async fn fill(store: &Store, edges: u64) {
    let begin = Instant::now();
    for at in 0..HOURS {
        for role in ["client", "server"] {
            let batch = hour(edges, at, role);
            let mut ipc = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("IPC");
            ipc.write(&batch).expect("IPC");
            let ipc = ipc.into_inner().expect("IPC").into();
            let part = Part { table: "flows", ipc, batches: vec![batch] };
            store.append(Entry { source: None, parts: vec![part] }).await.expect("rows are stored");
        }
        store.flush().await.expect("store flushes");
    }
    println!("{} rows are stored after {:.1?}", edges * 2 * HOURS as u64, begin.elapsed());
}

async fn run(dir: &Path, edges: u64) {
    let fresh = !dir.join("wal").exists();
    let mut options = weir_ingest::store_options(dir);
    options.memtable_bytes = 512 << 20;
    let store = Store::open(options).await.expect("store opens");
    if fresh {
        fill(&store, edges).await;
    }
    let router = weir_query::router(Arc::clone(&store));
    let (start, end) = (BEGIN / 1_000_000, (BEGIN + HOURS * HOUR) / 1_000_000);
    let middle = (start + end) / 2;
    let day = format!("start={start}&end={end}");
    let usual = "measures=bytes,tx_bytes,rx_bytes,retransmits,retransmit_ratio,timeouts,connects,connect_failures";
    println!("medians of {RUNS} requests over {HOURS} h of {edges} edges, caches warm:");
    for (what, path) in [
        ("flow table, one end", format!("flows?{day}&view=cluster&{usual}")),
        ("flow table, both ends", format!("flows?{day}&view=cluster")),
        ("flow table with quantiles", format!("flows?{day}&view=cluster&{usual},rtt_p50,rtt_p95")),
        (
            "flow table by namespace",
            format!("flows?{day}&view=cluster&by=namespace,peer_namespace&{usual}"),
        ),
        (
            "flow table of one workload",
            format!(
                "flows?{day}&view=cluster&{usual}&match[]=%7Beither_workload%3D%22service-7%22%7D"
            ),
        ),
        ("flow table with lines", format!("flows?{day}&view=cluster&{usual}&points=24")),
        ("service map by namespace", format!("service-map?{day}&level=namespace")),
        (
            "two half days compared",
            format!("compare?start={middle}&end={end}&view=cluster&measures=bytes,retransmits"),
        ),
    ] {
        let mut times: Vec<f64> = Vec::new();
        let mut bytes = 0;
        for _ in 0..=RUNS {
            let begin = Instant::now();
            bytes = ask(&router, &path).await;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        // The first fills the caches.
        let mut times = times.split_off(1);
        times.sort_by(f64::total_cmp);
        println!("{what:<28} {:>7.0} ms  ({bytes} bytes)", times[times.len() / 2]);
    }
    store.close().await.expect("store closes");
}

async fn ask(router: &Router, path: &str) -> usize {
    let request = Request::get(format!("/api/v1/{path}")).body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    assert!(status.is_success(), "{path}: {}", String::from_utf8_lossy(&body));
    body.len()
}
