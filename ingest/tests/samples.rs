//! The receiver of samples over HTTP, on a real store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use prost::Message;
use tower::ServiceExt;
use weir_ingest::{Receiver, SampleSettings, SamplesReceiver, samples_router, store_options};
use weir_storage::Store;
use weir_storage::series::labels::iter;

/// Milliseconds.
const NOW: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;
const STALE: u64 = 0x7ff0_0000_0000_0002;

#[derive(Clone, PartialEq, prost::Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Sample>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    family: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Request2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TimeSeries2>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TimeSeries2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

fn series(labels: &[(&str, &str)], points: &[(i64, f64)]) -> TimeSeries {
    let label =
        |(name, value): &(&str, &str)| Label { name: (*name).into(), value: (*value).into() };
    TimeSeries {
        labels: labels.iter().map(label).collect(),
        samples: points.iter().map(|&(timestamp, value)| Sample { value, timestamp }).collect(),
        histograms: vec![],
    }
}

fn snappy(message: &impl Message) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap()
}

fn write1(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    snappy(&WriteRequest { timeseries, metadata: vec![] })
}

struct Server {
    router: axum::Router,
    receiver: SamplesReceiver,
    store: Arc<Store>,
    dir: tempfile::TempDir,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn written(&self) -> &str {
        self.headers["x-prometheus-remote-write-samples-written"].to_str().unwrap()
    }
}

async fn server() -> Server {
    server_in(tempfile::tempdir().unwrap(), SampleSettings::default()).await
}

async fn server_in(dir: tempfile::TempDir, settings: SampleSettings) -> Server {
    let store = Store::open(store_options(dir.path())).await.unwrap();
    let flows = Receiver::with_clock(store.clone(), || NOW * 1000);
    let receiver = SamplesReceiver::beside(&flows, &settings);
    Server { router: samples_router(receiver.clone()), receiver, store, dir }
}

impl Server {
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Reply { status, headers, body }
    }

    async fn write(&self, body: Vec<u8>) -> Reply {
        let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "snappy")];
        self.post("/api/v1/write", &headers, body).await
    }

    /// What is in memory: `name{label=value} time value`, times in milliseconds from now.
    fn stored(&self) -> Vec<String> {
        let snapshot = self.store.snapshot("samples").unwrap();
        let mut lines = Vec::new();
        for series in snapshot.series_in_memory(i64::MIN..=i64::MAX, &mut |_| true) {
            let labels: Vec<_> = iter(&series.labels).map(|(n, v)| format!("{n}={v}")).collect();
            for (time, value) in series.times.iter().zip(&series.values) {
                let value = match value.to_bits() {
                    STALE => "stale".to_owned(),
                    _ => value.to_string(),
                };
                lines.push(format!("{} {} {value}", labels.join(","), time - NOW));
            }
        }
        lines
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_durable_and_the_same_again_changes_nothing() {
    let server = server().await;
    let body = write1(vec![
        series(&[("__name__", "up"), ("job", "a")], &[(NOW, 1.0), (NOW - HOUR, 0.0)]),
        series(&[("__name__", "up"), ("job", "b")], &[(NOW, f64::from_bits(STALE))]),
    ]);
    for _ in 0..2 {
        let reply = server.write(body.clone()).await;
        assert_eq!((reply.status, reply.written()), (StatusCode::NO_CONTENT, "3"));
        assert_eq!(reply.headers["x-prometheus-remote-write-histograms-written"], "0");
        assert_eq!(reply.headers["x-prometheus-remote-write-exemplars-written"], "0");
    }
    let request = Request2 {
        symbols: ["", "__name__", "up", "job", "a"].map(str::to_owned).to_vec(),
        timeseries: vec![TimeSeries2 {
            labels_refs: vec![1, 2, 3, 4],
            samples: vec![Sample { value: 5.0, timestamp: NOW + 1 }],
        }],
    };
    let headers = [
        ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
        ("content-encoding", "snappy"),
    ];
    let reply = server.post("/api/v1/write", &headers, snappy(&request)).await;
    assert_eq!((reply.status, reply.written()), (StatusCode::NO_CONTENT, "1"));
    let expected = [
        "__name__=up,job=a -3600000 0",
        "__name__=up,job=a 0 1",
        "__name__=up,job=a 1 5",
        "__name__=up,job=b 0 stale",
    ];
    assert_eq!(server.stored(), expected);
    // Nothing was closed in order: what comes back, comes from the log.
    assert_eq!(reopened(server).await.stored(), expected);
}

/// The same directory again, whose store was not closed.
async fn reopened(server: Server) -> Server {
    let Server { router, receiver, store, dir } = server;
    drop((router, receiver, store));
    // The log's thread lets go of the directory in its own time.
    let mut last = None;
    for _ in 0..250 {
        match Store::open(store_options(dir.path())).await {
            Ok(store) => {
                let flows = Receiver::with_clock(store.clone(), || NOW * 1000);
                let receiver = SamplesReceiver::beside(&flows, &SampleSettings::default());
                return Server { router: samples_router(receiver.clone()), receiver, store, dir };
            }
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_named_and_the_rest_is_durable() {
    let window = Some(std::time::Duration::from_secs(3600));
    let server = server_in(tempfile::tempdir().unwrap(), SampleSettings { window }).await;
    let mut native = series(&[("__name__", "native")], &[]);
    native.histograms.push(Sample { value: 1.0, timestamp: NOW });
    let body = write1(vec![
        series(&[("__name__", "good")], &[(NOW - HOUR, 1.0), (NOW + 600_000, 2.0)]),
        series(&[("__name__", "old"), ("a", "b")], &[(NOW - HOUR - 1, 1.0)]),
        series(&[("__name__", "ahead")], &[(NOW + 600_001, 1.0)]),
        series(&[("job", "nameless")], &[(NOW, 1.0)]),
        native,
    ]);
    let reply = server.write(body).await;
    assert_eq!((reply.status, reply.written()), (StatusCode::BAD_REQUEST, "2"));
    assert!(!reply.headers.contains_key("retry-after"));
    for part in ["old{a=\"b\"}", "ahead{}", "{job=\"nameless\"}", "native{}", "is stored"] {
        assert!(reply.text().contains(part), "{part}: {}", reply.text());
    }
    let expected = ["__name__=good -3600000 1", "__name__=good 600000 2"];
    assert_eq!(server.stored(), expected);
    let refused = server.receiver.metrics().read().into_iter().last().unwrap();
    let counts: Vec<_> = refused.values.iter().map(|(_, n)| *n).collect();
    assert_eq!(counts, [1, 1, 1, 1, 0]);
    // The log has what was accepted, and does not ask the clock again.
    assert_eq!(reopened(server).await.stored(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_body_is_must_be_known() {
    let server = server().await;
    let body = || write1(vec![series(&[("__name__", "m")], &[(NOW, 1.0)])]);
    let plain = WriteRequest {
        timeseries: vec![series(&[("__name__", "m")], &[(NOW, 1.0)])],
        metadata: vec![],
    };
    let zstd = zstd::bulk::compress(&plain.encode_to_vec(), 1).unwrap();
    let protobuf = ("content-type", "application/x-protobuf");
    for (headers, body, status) in [
        (vec![], body(), 204),
        (
            vec![("content-type", "application/x-protobuf; proto=prometheus.WriteRequest")],
            body(),
            204,
        ),
        (vec![protobuf, ("content-encoding", "zstd")], zstd, 204),
        (vec![("content-type", "application/json")], body(), 415),
        (
            vec![("content-type", "application/x-protobuf;proto=io.prometheus.write.v3.Request")],
            body(),
            415,
        ),
        (vec![protobuf, ("content-encoding", "gzip")], body(), 415),
        (vec![protobuf], b"not snappy".to_vec(), 400),
        (vec![protobuf], snap::raw::Encoder::new().compress_vec(b"\x0a\x7f").unwrap(), 400),
        (vec![protobuf], vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0], 413),
    ] {
        let reply = server.post("/api/v1/write", &headers, body).await;
        assert_eq!(reply.status.as_u16(), status, "{headers:?}: {}", reply.text());
        assert_eq!(reply.text().lines().count(), usize::from(status != 204));
    }
    assert_eq!(server.stored(), ["__name__=m 0 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_kept_and_stores_nothing() {
    let server = server().await;
    let request = WriteRequest {
        timeseries: vec![],
        metadata: vec![Metadata { kind: 2, family: "temperature".into() }],
    };
    let reply = server.write(snappy(&request)).await;
    assert_eq!((reply.status, reply.written()), (StatusCode::NO_CONTENT, "0"));
    let mut found = Vec::new();
    server.receiver.metadata().each(None, |name, m| {
        found.push((name.to_owned(), m.metric_type.as_str()));
    });
    assert_eq!(found, [("temperature".to_owned(), "gauge")]);
    assert!(server.stored().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_wants_to_be_asked_again() {
    let server = server().await;
    server.store.close().await.unwrap();
    let reply = server.write(write1(vec![series(&[("__name__", "m")], &[(NOW, 1.0)])])).await;
    assert_eq!((reply.status, reply.written()), (StatusCode::SERVICE_UNAVAILABLE, "0"));
    assert_eq!(reply.headers["retry-after"], "5");
}

/// A gauge and a sum of deltas with one point each, by hand: `resource_metrics.scope_metrics.metrics`.
fn otlp(delta: u8, milliseconds: u64) -> Vec<u8> {
    fn message(field: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 0x80);
        [&[field << 3 | 2, length], content].concat()
    }
    let time = [&[0x19_u8][..], &((NOW as u64 + milliseconds) * 1_000_000).to_le_bytes()].concat();
    let value = [&[0x21_u8][..], &f64::from(delta).to_le_bytes()].concat();
    let point = message(1, &[time.as_slice(), &value].concat());
    let gauge = [message(1, b"g"), message(5, &point)].concat();
    // Temporality delta, monotonic.
    let sum = [message(1, b"n"), message(7, &[point.as_slice(), &[0x10, 1, 0x18, 1]].concat())];
    let metrics = [message(2, &gauge), message(2, &sum.concat())].concat();
    message(1, &message(2, &metrics))
}

#[tokio::test(flavor = "multi_thread")]
async fn otlp_is_stored_and_deltas_add_up() {
    let server = server().await;
    let path = "/api/v1/otlp/v1/metrics";
    let protobuf = ("content-type", "application/x-protobuf");
    let reply = server.post(path, &[protobuf], otlp(2, 0)).await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0), "{}", reply.text());
    let gzip = {
        use std::io::Write as _;
        let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        out.write_all(&otlp(3, 1)).unwrap();
        out.finish().unwrap()
    };
    let reply = server.post(path, &[protobuf, ("content-encoding", "gzip")], gzip).await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0), "{}", reply.text());
    // Sent again: its delta is known.
    let reply = server.post(path, &[protobuf], otlp(3, 1)).await;
    assert_eq!(reply.status, StatusCode::OK);
    // Field 1 with a length of two bytes; in it, field 1 again.
    assert_eq!(reply.body.get(3..5), Some(&[0x08, 1][..]), "one rejected data point");
    assert!(reply.text().contains("`n_total{}`: its delta is not newer"), "{}", reply.text());
    let expected =
        ["__name__=g 0 2", "__name__=g 1 3", "__name__=n_total 0 2", "__name__=n_total 1 5"];
    assert_eq!(server.stored(), expected);
    let reply = server.post(path, &[("content-type", "application/json")], b"{}".to_vec()).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(reply.text().contains("http/protobuf"), "{}", reply.text());
    let reply = server.post(path, &[protobuf], b"\x0a\x7f".to_vec()).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reopened(server).await.stored(), expected);
}
