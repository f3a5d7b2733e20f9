//! A day of ordinary series: what it costs to take samples in, how small they are stored, how fast they
//! are queried and how much memory that takes.
//!
//! `cargo bench --bench samples`. `WEIR_BENCH_SERIES` (5000) and `WEIR_BENCH_HOURS` (24) make it smaller
//! or larger, `WEIR_BENCH_DIR` keeps the history and asks it again, `WEIR_BENCH_ONLY=rate` runs only the queries
//! with that in their name, `WEIR_BENCH_RUNS` (7) times each.
//!
//! Series are like those of node exporters: hosts of fifty series, scraped every 15 s a few milliseconds
//! early or late. Half are counters of CPU seconds, a quarter counters of bytes, a quarter levels of memory. They
//! come by remote write: all but the last hour in long requests, the last hour as Prometheus sends it, a
//! sample for each series and at most 2,000 in a request.

#![expect(clippy::expect_used, reason = "a benchmark fails by panicking")]

mod protobuf;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use protobuf::{field, varint};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::time::{ClockId, clock_gettime};
use tower::ServiceExt;
use weir_ingest::{Receiver, SampleSettings, SamplesReceiver};
use weir_storage::Store;

/// 2026-11-22 00:00:00 UTC, milliseconds: the first scrape.
const START: i64 = 1_795_305_600_000;
/// Milliseconds between scrapes.
const INTERVAL: i64 = 15_000;
/// Scrapes of an hour.
const SCRAPES: usize = 240;
/// Series of a host.
const PER_HOST: usize = 50;
/// Samples of one request.
const PER_REQUEST: usize = 2000;

fn number(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => default,
    }
}

/// As in the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let (series, hours) = (number("WEIR_BENCH_SERIES", 5000), number("WEIR_BENCH_HOURS", 24));
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let dir =
        std::env::var_os("WEIR_BENCH_DIR").map_or_else(|| temporary.path().to_owned(), Into::into);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(run(&dir, series, hours));
}

async fn run(dir: &Path, series: usize, hours: usize) {
    let kept = dir.join("wal").exists();
    let store = Store::open(weir_ingest::store_options(dir)).await.expect("store opens");
    if !kept {
        let receiver = Receiver::with_clock(store.clone(), || i64::MAX / 2);
        let samples = SamplesReceiver::beside(&receiver, &SampleSettings::default());
        let router = weir_ingest::samples_router(samples);
        fill(&router, &store, series, hours).await;
    }
    queries(&store, hours).await;
    store.close().await.expect("store closes");
}

/// A series as it goes on.
struct Series {
    /// The labels as fields of a message.
    labels: Vec<u8>,
    host: usize,
    kind: usize,
    rate: f64,
    value: f64,
    random: SmallRng,
}

impl Series {
    fn new(number: usize) -> Self {
        let (host, at) = (number / PER_HOST, number % PER_HOST);
        let (name, label, value) = match at {
            0..25 => {
                let mode = ["idle", "user", "system", "iowait", "irq"][at % 5];
                ("node_cpu_seconds_total", format!("{}", at / 5), ("mode", mode.to_owned()))
            }
            25..37 => ("node_network_bytes_total", format!("eth{at}"), ("direction", "in".into())),
            _ => ("node_memory_bytes", format!("{at}"), ("zone", "normal".into())),
        };
        let instance = format!("host-{host:04}.example.com:9100");
        let mut labels = Vec::new();
        for (name, value) in [
            ("__name__", name),
            ("device", &label),
            (value.0, &value.1),
            ("instance", &instance),
            ("job", "node-exporter"),
        ] {
            let mut pair = Vec::new();
            field(&mut pair, 1, name.as_bytes());
            field(&mut pair, 2, value.as_bytes());
            field(&mut labels, 1, &pair);
        }
        let mut random = SmallRng::seed_from_u64(number as u64);
        let rate = match at {
            0..25 => random.random_range(0.01..1.0),
            25..37 => 10_f64.powf(random.random_range(2.0..6.0)),
            _ => 8.0,
        };
        let kind = if at < 25 { 0 } else { 1 + usize::from(at >= 37) };
        Self { labels, host, kind, rate, value: 1e6, random }
    }

    fn next(&mut self) -> f64 {
        let noise: f64 = self.random.random_range(-0.3..0.3);
        match self.kind {
            0 => {
                self.value += 15.0 * self.rate * (1.0 + noise);
                (self.value * 100.0).round() / 100.0
            }
            1 => {
                self.value += (15.0 * self.rate * (1.0 + noise)).round();
                self.value
            }
            _ => {
                self.value += (self.rate * noise * 10.0).round();
                4096.0 * self.value
            }
        }
    }

    /// When a scrape of its host was.
    fn time(&self, scrape: usize) -> i64 {
        let jitter = (scrape * 7 + self.host * 13) % 3 * (self.host % 3);
        START + INTERVAL * scrape as i64 + jitter as i64
    }

    /// Adds `scrapes` of it to a request.
    fn write(&mut self, scrapes: std::ops::Range<usize>, request: &mut Vec<u8>) {
        let mut message = self.labels.clone();
        for scrape in scrapes {
            let mut sample = vec![1 << 3 | 1];
            sample.extend(self.next().to_le_bytes());
            sample.push(2 << 3);
            varint(&mut sample, self.time(scrape).cast_unsigned());
            field(&mut message, 2, &sample);
        }
        field(request, 1, &message);
    }
}

/// CPU time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

async fn fill(router: &Router, store: &Arc<Store>, count: usize, hours: usize) {
    let mut series: Vec<Series> = (0..count).map(Series::new).collect();
    let scrapes = hours * SCRAPES;
    for from in (0..scrapes - SCRAPES).step_by(SCRAPES / 4) {
        for some in series.chunks_mut(400) {
            let mut request = Vec::new();
            some.iter_mut().for_each(|one| one.write(from..from + SCRAPES / 4, &mut request));
            write(router, &request).await;
        }
    }
    let (mut spent, mut used) = (Duration::ZERO, Duration::ZERO);
    for from in (scrapes - SCRAPES..scrapes).step_by(40) {
        // Requests are made before the clock runs: senders are elsewhere.
        let mut requests = Vec::new();
        for scrape in from..from + 40 {
            for some in series.chunks_mut(PER_REQUEST) {
                let mut request = Vec::new();
                some.iter_mut().for_each(|one| one.write(scrape..scrape + 1, &mut request));
                requests.push(request);
            }
        }
        let compressed: Vec<_> = requests.iter().map(|request| compress(request)).collect();
        let (begin, before) = (Instant::now(), cpu());
        for body in compressed {
            post(router, body).await;
        }
        spent += begin.elapsed();
        used += cpu() - before;
    }
    let live = (count * SCRAPES) as f64;
    println!(
        "samples taken in one by one       {live:.0} in requests of {}",
        PER_REQUEST.min(count)
    );
    println!("samples per second, one sender    {:.0}", live / spent.as_secs_f64());
    println!("CPU per sample                    {:.0} ns", used.as_nanos() as f64 / live);
    store.flush().await.expect("store flushes");
    store.compact().await.expect("store compacts");
    let stats = store.stats();
    let (_, files, bytes, rows) =
        stats.tables.iter().find(|t| t.0 == "samples").copied().expect("table samples");
    println!("files, chunks                     {files}, {rows}");
    println!("bytes per sample                  {:.3}", bytes as f64 / (count * scrapes) as f64);
}

fn compress(request: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(request).expect("snappy")
}

async fn write(router: &Router, request: &[u8]) {
    post(router, compress(request)).await;
}

/// Posts a request until there is room for it.
async fn post(router: &Router, body: Vec<u8>) {
    let body = bytes::Bytes::from(body);
    loop {
        let request = Request::post("/api/v1/write")
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "snappy")
            .body(Body::from(body.clone()))
            .expect("request");
        let response = router.clone().oneshot(request).await.expect("response");
        match response.status().as_u16() {
            204 => return,
            503 => tokio::time::sleep(Duration::from_millis(20)).await,
            status => panic!("{status}"),
        }
    }
}

async fn queries(store: &Arc<Store>, hours: usize) {
    let router = weir_query::router(store.clone());
    let end = (START + INTERVAL * (hours * SCRAPES) as i64) / 1000;
    let (hour, day) = (3600, 3600 * hours as i64 - 300);
    let only = std::env::var("WEIR_BENCH_ONLY").unwrap_or_default();
    println!(
        "query: series, points, MB of JSON; median (min, max) ms; CPU ms; peak memory beside, MB"
    );
    for (name, query, range, step) in [
        ("instant raw", "node_cpu_seconds_total", 0, 1),
        ("raw 1 h, step 15 s", "node_cpu_seconds_total", hour, 15),
        ("rate 1 h, step 15 s", "rate(node_cpu_seconds_total[5m])", hour, 15),
        ("sum by rate 1 h", "sum by (mode)(rate(node_cpu_seconds_total[5m]))", hour, 15),
        ("one host 24 h", "rate(node_cpu_seconds_total{instance=~\"host-0007.*\"}[5m])", day, 60),
        ("raw 24 h, step 60 s", "node_cpu_seconds_total", day, 60),
        ("rate 24 h, step 60 s", "rate(node_cpu_seconds_total[5m])", day, 60),
        ("sum by rate 24 h, step 60 s", "sum by (mode)(rate(node_cpu_seconds_total[5m]))", day, 60),
        (
            "sum by rate 24 h, step 300 s",
            "sum by (mode)(rate(node_cpu_seconds_total[5m]))",
            day,
            300,
        ),
        ("max over time 24 h", "max(max_over_time(node_memory_bytes[10m]))", day, 300),
        ("quantile 24 h", "quantile by (job)(0.9, node_memory_bytes)", day, 300),
    ] {
        if !name.contains(&only) {
            continue;
        }
        let mut form = format!("step={step}&query=");
        query.bytes().for_each(|b| write!(form, "%{b:02x}").expect("text"));
        let path = if range == 0 {
            write!(form, "&time={end}").expect("text");
            "/api/v1/query"
        } else {
            write!(form, "&start={}&end={end}", end - range).expect("text");
            "/api/v1/query_range"
        };
        let runs = number("WEIR_BENCH_RUNS", 7);
        let (mut times, mut cpus) = (Vec::new(), Vec::new());
        let mut size = (0, 0, 0);
        forget_peak();
        let before = memory("VmRSS:");
        for _ in 0..runs {
            let request = Request::post(path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(form.clone()))
                .expect("request");
            let (begin, used) = (Instant::now(), cpu());
            let response = router.clone().oneshot(request).await.expect("response");
            assert!(response.status().is_success(), "{query}: {}", response.status());
            size = read(response.into_body()).await;
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
            cpus.push((cpu() - used).as_secs_f64() * 1000.0);
        }
        let peak = memory("VmHWM:").saturating_sub(before) as f64 / 1024.0;
        assert!(size.0 > 0, "{query} answers nothing");
        times.sort_by(f64::total_cmp);
        cpus.sort_by(f64::total_cmp);
        println!(
            "{name}: {}, {}, {:.1}; {:.1} ({:.1}, {:.1}); {:.0}; {peak:.0}",
            size.0,
            size.1,
            size.2 as f64 / 1e6,
            times[runs / 2],
            times[0],
            times[runs - 1],
            cpus[runs / 2],
        );
    }
}

/// Reads an answer and keeps nothing of it: series, points and bytes.
async fn read(mut body: Body) -> (usize, usize, usize) {
    let (mut series, mut points, mut bytes) = (0, 0, 0);
    while let Some(part) = next(&mut body).await {
        bytes += part.len();
        points += part.iter().filter(|b| **b == b'[').count();
        series += part.iter().filter(|b| **b == b'{').count();
    }
    // An object of each series and one of its labels, and two around all.
    (series.saturating_sub(2) / 2, points, bytes)
}

async fn next(body: &mut Body) -> Option<bytes::Bytes> {
    use std::future::poll_fn;
    use std::pin::Pin;
    let frame =
        poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut *body), context)).await?;
    Some(frame.expect("body").into_data().unwrap_or_default())
}

/// The most memory so far begins anew.
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process do so");
}

/// Kilobytes of this process.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
