//! Real senders write to a real server: what they had is in the history, bit by bit.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use support::peers::peer;
use support::ports::free_port;
use support::{Background, Server, eventually, run};
use weir_storage::series::STALE;
use weir_storage::series::chunk::{decode_times, decode_values};

/// What the target says.
const METRICS: &str = "\
# HELP test_requests_total Requests.
# TYPE test_requests_total counter
test_requests_total{path=\"/é\\\"x\",code=\"200\"} 1234567
# TYPE test_level gauge
test_level -0.1
test_level{kind=\"nan\"} NaN
test_level{kind=\"inf\"} +Inf
# TYPE test_seconds histogram
test_seconds_bucket{le=\"0.5\"} 3
test_seconds_bucket{le=\"+Inf\"} 4
test_seconds_sum 2.5
test_seconds_count 4
";

/// A target of scrapes, until it is told to fail.
struct Target {
    address: String,
    fails: Arc<AtomicBool>,
}

impl Target {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let fails = Arc::new(AtomicBool::new(false));
        let failing = fails.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), failing.load(Ordering::Relaxed));
            }
        });
        Self { address, fails }
    }
}

fn answer(mut stream: TcpStream, fails: bool) {
    let mut request = [0; 4096];
    let mut length = 0;
    while !request[..length].ends_with(b"\r\n\r\n") {
        match stream.read(&mut request[length..]) {
            Ok(0) | Err(_) => return,
            Ok(n) => length += n,
        }
    }
    let status = if fails { "500 Out of order" } else { "200 OK" };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{METRICS}",
        METRICS.len()
    );
}

/// Points by series: labels as text, then times in milliseconds and values as bits.
type Points = BTreeMap<String, BTreeMap<i64, u64>>;

/// What is in the files of a history that no server holds.
fn stored(data: &Path) -> Points {
    let mut points = Points::new();
    let files =
        run(Command::new("find").arg(data.join("tables/samples")).args(["-name", "*.parquet"]));
    for file in files.lines() {
        let file = std::fs::File::open(file).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        for batch in reader {
            let batch = batch.unwrap();
            let text = |name| {
                let column = batch.column_by_name(name).unwrap();
                arrow::compute::cast(column, &DataType::Utf8).unwrap()
            };
            let (names, labels) = (text("name"), text("labels"));
            let counts = batch.column_by_name("count").unwrap().as_primitive::<Int32Type>();
            let chunk = |name| batch.column_by_name(name).unwrap().as_binary::<i32>();
            let (times_of, values_of) = (chunk("times"), chunk("values"));
            for row in 0..batch.num_rows() {
                let series = format!(
                    "{}{}",
                    names.as_string::<i32>().value(row),
                    labels.as_string::<i32>().value(row)
                );
                let (mut times, mut values) = (vec![], vec![]);
                let count = counts.value(row);
                decode_times(times_of.value(row), count, &mut times).unwrap();
                decode_values(values_of.value(row), count, &mut values).unwrap();
                let values = values.iter().map(|value: &f64| value.to_bits());
                points.entry(series).or_default().extend(times.into_iter().zip(values));
            }
        }
    }
    points
}

/// Every sample that Prometheus has of a job.
fn known_to(prometheus: &str, job: &str) -> Vec<(BTreeMap<String, String>, i64, f64)> {
    let url = format!("{prometheus}/api/v1/query");
    let query = format!("{{job=\"{job}\"}}[10m]");
    let text = ureq::post(&url)
        .send_form([("query", query.as_str())])
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    let mut samples = Vec::new();
    for series in answer["data"]["result"].as_array().unwrap() {
        let labels: BTreeMap<String, String> =
            serde_json::from_value(series["metric"].clone()).unwrap();
        for point in series["values"].as_array().unwrap() {
            let time = (point[0].as_f64().unwrap() * 1000.0).round() as i64;
            let value = match point[1].as_str().unwrap() {
                "+Inf" => f64::INFINITY,
                text => text.parse().unwrap(),
            };
            samples.push((labels.clone(), time, value));
        }
    }
    samples
}

fn text_of(labels: &BTreeMap<String, String>) -> String {
    let others: Vec<_> = labels
        .iter()
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| {
            format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
        })
        .collect();
    format!("{}{{{}}}", labels["__name__"], others.join(","))
}

fn counter(server: &Server, name: &str) -> u64 {
    let (_, text) = server.get("/metrics");
    let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Checks what every sender of the target's metrics must have left behind.
fn check_target(points: &Points, labels: &str) {
    let series = |name: &str, own: &str| {
        let comma = if own.is_empty() { "" } else { "," };
        // Names of labels of the target sort around those that a scrape adds.
        let mut all: Vec<_> =
            format!("{labels}{comma}{own}").split(',').map(str::to_owned).collect();
        all.sort();
        let key = format!("{name}{{{}}}", all.join(","));
        points.get(&key).unwrap_or_else(|| panic!("{key} is not among {:?}", points.keys()))
    };
    for (name, own, value) in [
        ("test_requests_total", r#"code="200",path="/é\"x""#, 1_234_567.0),
        ("test_level", "", -0.1),
        ("test_level", r#"kind="inf""#, f64::INFINITY),
        ("test_seconds_bucket", r#"le="0.5""#, 3.0),
        ("test_seconds_bucket", r#"le="+Inf""#, 4.0),
        ("test_seconds_sum", "", 2.5),
    ] {
        let values: Vec<u64> = series(name, own).values().copied().collect();
        assert!(values.len() >= 2, "{name}: {values:?}");
        let (last, before) = values.split_last().unwrap();
        assert_eq!(*last, STALE, "{name}{own}: its target has failed");
        assert!(before.iter().all(|bits| *bits == f64::to_bits(value)), "{name}{own}: {before:?}");
    }
    let nan = series("test_level", r#"kind="nan""#);
    assert!(f64::from_bits(*nan.values().next().unwrap()).is_nan());
}

fn prometheus_writes(message: &str) {
    let Some(prometheus) = peer("prometheus") else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), &["--retention", "off"]);
    let target = Target::start();
    let config = dir.path().join("prometheus.yml");
    std::fs::write(
        &config,
        format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\n\
             scrape_configs:\n\
             - job_name: target\n  static_configs: [ {{ targets: [ {:?} ] }} ]\n\
             - job_name: weir\n  static_configs: [ {{ targets: [ {:?} ] }} ]\n\
             remote_write:\n\
             - url: {}/api/v1/write\n  protobuf_message: {message}\n  \
               queue_config: {{ batch_send_deadline: 100ms }}\n  \
               metadata_config: {{ send_interval: 200ms }}\n",
            target.address,
            server.url.trim_start_matches("http://"),
            server.url,
        ),
    )
    .unwrap();
    let port = free_port();
    let mut process = Background(
        Command::new(prometheus)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn")
            // Without, it has no metadata to send in version 2.
            .arg("--enable-feature=metadata-wal-records")
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap(),
    );
    let url = format!("http://127.0.0.1:{port}");
    let scrapes = |up: &str| {
        let query = format!("count_over_time((up{{job=\"target\"}} == {up})[10m:100ms])");
        let reply = ureq::post(format!("{url}/api/v1/query")).send_form([("query", &query)]);
        reply.is_ok_and(|mut reply| {
            let text = reply.body_mut().read_to_string().unwrap();
            let answer: Value = serde_json::from_str(&text).unwrap();
            let count = answer["data"]["result"][0]["value"][1].as_str();
            count.is_some_and(|n| n.parse::<u64>().unwrap() >= 5)
        })
    };
    let patience = Duration::from_secs(60);
    eventually("some scrapes", patience, || scrapes("1"));
    for (metric, kind, help) in [
        ("test_requests_total", "counter", "Requests."),
        ("test_level", "gauge", ""),
        ("test_seconds", "histogram", ""),
    ] {
        let path = format!("/api/v1/metadata?metric={metric}");
        let wanted = serde_json::json!({metric: [{"type": kind, "help": help, "unit": ""}]});
        eventually(metric, patience, || {
            let answer: Value = serde_json::from_str(&server.get(&path).1).unwrap();
            answer["data"] == wanted
        });
    }
    target.fails.store(true, Ordering::Relaxed);
    eventually("failed scrapes", patience, || scrapes("0"));
    let known = [known_to(&url, "target"), known_to(&url, "weir")].concat();
    // It sends what it has before it ends.
    let pid = process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    process.0.wait().unwrap();
    assert!(counter(&server, "weir_ingest_samples_total") > 0);
    assert_eq!(counter(&server, "weir_ingest_sample_request_failures_total"), 0);
    assert!(server.terminate().success());
    let points = stored(&dir.path().join("data"));
    assert!(known.len() > 100, "{}", known.len());
    for (labels, time, value) in &known {
        let series = text_of(labels);
        let found = points.get(&series).and_then(|points| points.get(time));
        let found = found.map(|bits| f64::from_bits(*bits));
        assert!(
            found.is_some_and(|f| f == *value || (f.is_nan() && value.is_nan())),
            "{series} at {time}: {found:?}, not {value}"
        );
    }
    check_target(&points, &format!("instance={:?},job=\"target\"", target.address));
}

#[test]
fn prometheus_writes_version_1() {
    prometheus_writes("prometheus.WriteRequest");
}

#[test]
fn prometheus_writes_version_2() {
    prometheus_writes("io.prometheus.write.v2.Request");
}

#[test]
fn vmagent_writes_zstd() {
    let Some(vmagent) = peer("vmagent") else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), &["--retention", "off"]);
    let target = Target::start();
    let config = dir.path().join("scrape.yml");
    let text = format!(
        "scrape_configs:\n- job_name: target\n  scrape_interval: 1s\n  \
         static_configs: [ {{ targets: [ {:?} ] }} ]\n",
        target.address
    );
    std::fs::write(&config, text).unwrap();
    let mut process = Background(
        Command::new(vmagent)
            .arg(format!("-promscrape.config={}", config.display()))
            .arg(format!("-remoteWrite.url={}/api/v1/write", server.url))
            .arg(format!("-remoteWrite.tmpDataPath={}", dir.path().join("queue").display()))
            .arg("-remoteWrite.forceVMProto")
            .arg("-remoteWrite.flushInterval=200ms")
            .arg(format!("-httpListenAddr=127.0.0.1:{}", free_port()))
            .arg("-loggerLevel=WARN")
            .spawn()
            .unwrap(),
    );
    let samples = || counter(&server, "weir_ingest_samples_total");
    let patience = Duration::from_secs(60);
    // Some ten series a scrape, and as many of vmagent's own about it.
    eventually("some scrapes", patience, || samples() > 60);
    target.fails.store(true, Ordering::Relaxed);
    let before = samples();
    eventually("failed scrapes", patience, || samples() > before + 40);
    let pid = process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    process.0.wait().unwrap();
    assert!(server.terminate().success());
    let points = stored(&dir.path().join("data"));
    check_target(&points, &format!("instance={:?},job=\"target\"", target.address));
}
