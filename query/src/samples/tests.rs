//! Samples out of files and memory, through a store.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_storage::series::labels::write_canonical;
use weir_storage::series::{self, PointsBuilder};
use weir_storage::{Entry, Options, Part, Store, Window};

use crate::testing::specs;

/// 2026-11-22 12:00:00 UTC, seconds.
const NOON: i64 = 1_795_348_800;
/// Seconds between two samples.
const INTERVAL: i64 = 15;

async fn empty() -> (Arc<Store>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tables = specs();
    tables.push(series::table("samples", Window::DAY));
    let store = Store::open(Options::new(dir.path().join("data"), tables)).await.expect("a store");
    (store, dir)
}

/// Labels of a series, and its points.
type Points<'a> = (&'a [(&'a str, &'a str)], Vec<(i64, f64)>);

/// Appends points of some series.
async fn append(store: &Store, all: &[Points<'_>]) {
    let mut points = PointsBuilder::new();
    for (labels, samples) in all {
        let mut canonical = Vec::new();
        write_canonical(labels.iter().copied(), &mut canonical).expect("labels");
        points.series(&canonical);
        samples.iter().for_each(|(time, value)| points.point(*time, *value));
    }
    let batch = points.finish().expect("a batch");
    let mut ipc = Vec::new();
    let mut writer =
        arrow::ipc::writer::StreamWriter::try_new(&mut ipc, &batch.schema()).expect("a writer");
    writer.write(&batch).and_then(|()| writer.finish()).expect("IPC");
    drop(writer);
    let part = Part { table: "samples", ipc: Bytes::from(ipc), batches: vec![batch] };
    store.append(Entry { source: None, parts: vec![part] }).await.expect("points are stored");
}

/// Counters of three instances of two jobs, from `from` on: `n` samples, instance `i` grows by `i` each.
async fn counters(store: &Store, from: i64, n: i64) {
    let instances = ["1", "2", "3"];
    for (i, instance) in (1i32..).zip(instances) {
        let job = if i == 3 { "b" } else { "a" };
        let labels = [("__name__", "requests_total"), ("instance", instance), ("job", job)];
        let samples = (0..n).map(|k| {
            let at = from + k * INTERVAL;
            (at * 1000, f64::from(i) * ((at - NOON) / INTERVAL) as f64)
        });
        append(store, &[(&labels, samples.collect())]).await;
    }
}

/// Six minutes in a file, six in another one, three in memory; the files overlap.
async fn filled() -> (Arc<Store>, tempfile::TempDir) {
    let (store, dir) = empty().await;
    counters(&store, NOON, 24).await;
    store.flush().await.expect("files");
    counters(&store, NOON + 20 * INTERVAL, 28).await;
    let gauge = [("__name__", "temperature"), ("room", "attic \"\\\n")];
    append(&store, &[(&gauge, vec![(NOON * 1000, 20.5), ((NOON + 60) * 1000, f64::NAN)])]).await;
    store.flush().await.expect("files");
    counters(&store, NOON + 48 * INTERVAL, 12).await;
    (store, dir)
}

async fn ask(router: &Router, path: &str, params: &[(&str, &str)]) -> (StatusCode, Value) {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let request = Request::get(format!("{path}?{query}")).body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("a response");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_see_files_and_memory_as_one() {
    let (store, _dir) = filled().await;
    let router = crate::router(store.clone());
    let end = (NOON + 59 * INTERVAL).to_string();
    let query = |text: &'static str| {
        let (router, end) = (router.clone(), end.clone());
        async move { ask(&router, "/api/v1/query", &[("query", text), ("time", &end)]).await.1 }
    };
    let all = query("round(sum by (job) (increase(requests_total[10m])), 0.001)").await;
    // 40 samples of 15 s: each grows by its number every 15 s.
    assert_eq!(
        all["data"]["result"],
        json!([
            {"metric": {"job": "a"}, "value": [NOON + 59 * INTERVAL, "120"]},
            {"metric": {"job": "b"}, "value": [NOON + 59 * INTERVAL, "120"]},
        ])
    );
    for (text, value) in [
        ("count_over_time(requests_total{instance=\"1\"}[15m])", "60"),
        ("requests_total{instance=\"2\"}", "118"),
        ("count({__name__=~\"requests_.*|flow_.*\", job=~\"a|b\"})", "3"),
        ("count(requests_total{job!=\"a\"})", "1"),
        ("sum(requests_total offset 5m)", "234"),
        ("max_over_time(temperature[20m])", "20.5"),
        ("count(absent_over_time(requests_total{job=\"c\"}[5m]))", "1"),
        ("timestamp(requests_total{instance=\"1\"})", "1795349685"),
        ("quantile_over_time(0.5, requests_total{instance=\"1\"}[1m])", "57.5"),
    ] {
        let answer = query(text).await;
        assert_eq!(answer["data"]["result"][0]["value"][1], json!(value), "{text}: {answer}");
        assert_eq!(answer["data"]["result"].as_array().map(Vec::len), Some(1), "{text}");
    }
    let window = json!(query("requests_total{instance=\"3\"}[1m]").await["data"]["result"]);
    assert_eq!(window[0]["values"].as_array().map(Vec::len), Some(4), "{window}");
    // Compaction changes nothing.
    store.compact().await.expect("compaction");
    assert_eq!(query("round(sum by (job) (increase(requests_total[10m])), 0.001)").await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn range_queries_and_statistics() {
    let (store, _dir) = filled().await;
    let router = crate::router(store);
    let (start, end) = (NOON.to_string(), (NOON + 59 * INTERVAL).to_string());
    let params = |query: &'static str| {
        [("query", query), ("start", &*start), ("end", &*end), ("step", "60"), ("stats", "1")]
            .map(|(name, value)| (name, value.to_owned()))
    };
    let run = |query: &'static str| {
        let (router, params) = (router.clone(), params(query));
        async move {
            let params: Vec<_> = params.iter().map(|(n, v)| (*n, v.as_str())).collect();
            ask(&router, "/api/v1/query_range", &params).await.1["data"].clone()
        }
    };
    let data = run("avg(rate(requests_total[1m]))").await;
    let values = data["result"][0]["values"].as_array().expect("values").clone();
    assert_eq!(values.len(), 14, "none at the first time: one sample is no rate");
    let rates: Vec<f64> = values.iter().filter_map(|v| v[1].as_str()?.parse().ok()).collect();
    assert!(rates.iter().all(|r| (r - 2.0 / 15.0).abs() < 1e-12), "{rates:?}");
    // All three series were read, and little was held.
    assert_eq!(data["stats"]["samples"]["totalQueryableSamples"], json!(3 * 57));
    assert!(data["stats"]["samples"]["peakSamples"].as_u64().is_some_and(|n| n <= 15));
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_series_of_both_kinds() {
    let (store, _dir) = filled().await;
    let router = crate::router(store);
    for (path, params, data) in [
        ("labels", vec![], json!(["__name__", "instance", "job", "room"])),
        ("label/__name__/values", vec![], json!(["requests_total", "temperature"])),
        ("label/job/values", vec![("match[]", "requests_total{instance!=\"3\"}")], json!(["a"])),
        ("label/instance/values", vec![("limit", "2")], json!(["1", "2"])),
        ("label/job/values", vec![("start", "1"), ("end", "2")], json!([])),
        (
            "series",
            vec![("match[]", "temperature")],
            json!([{"__name__": "temperature", "room": "attic \"\\\n"}]),
        ),
    ] {
        let (status, answer) = ask(&router, &format!("/api/v1/{path}"), &params).await;
        assert_eq!((status, &answer["data"]), (StatusCode::OK, &data), "{path} {params:?}");
        let truncated = answer["warnings"] == json!(["results truncated due to limit"]);
        assert_eq!(truncated, params.iter().any(|(name, _)| *name == "limit"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_has_a_row_for_each_sample() {
    let (store, _dir) = filled().await;
    let router = crate::router(store);
    let run = |text: &'static str| {
        let router = router.clone();
        async move {
            let request = Request::post("/api/v1/sql").body(Body::from(text)).expect("a request");
            let response = router.oneshot(request).await.expect("a response");
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            serde_json::from_slice::<Value>(&body).expect("JSON")
        }
    };
    for (text, rows) in [
        ("SELECT count(*) FROM samples", json!([[182]])),
        (
            "SELECT label(labels, 'job') AS job, count(*), max(value) FROM samples \
             WHERE name = 'requests_total' GROUP BY 1 ORDER BY 1",
            json!([["a", 120, 118.0], ["b", 60, 177.0]]),
        ),
        (
            "SELECT labels, value FROM samples WHERE label(labels, 'instance') = '2' \
             AND time > '2026-11-22T12:14:30Z' ORDER BY time",
            json!([["{instance=\"2\",job=\"a\"}", 118.0]]),
        ),
        (
            "SELECT count(*) FROM samples WHERE name <> 'temperature' AND \
             time BETWEEN '2026-11-22T12:00:00Z' AND '2026-11-22T12:00:30Z'",
            json!([[9]]),
        ),
    ] {
        let answer = run(text).await;
        assert_eq!(answer["rows"], rows, "{text}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_counts_series_of_the_last_hours() {
    let (store, _dir) = empty().await;
    let now = jiff::Timestamp::now().as_second() / INTERVAL * INTERVAL;
    counters(&store, now - 10 * INTERVAL, 10).await;
    store.flush().await.expect("files");
    let router = crate::router(store);
    let (_, answer) = ask(&router, "/api/v1/status/tsdb", &[("limit", "1")]).await;
    let data = &answer["data"];
    assert_eq!(data["headStats"]["numSeries"], 3, "{answer}");
    assert_eq!(data["headStats"]["numLabelPairs"], 6);
    assert_eq!(data["seriesCountByMetricName"], json!([{"name": "requests_total", "value": 3}]));
    assert_eq!(data["labelValueCountByLabelName"], json!([{"name": "instance", "value": 3}]));
    let request = Request::get("/federate?match[]=requests_total%7Binstance%3D%222%22%7D");
    let request = request.body(Body::empty()).expect("a request");
    let response = router.oneshot(request).await.expect("a response");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    let start = "# TYPE requests_total untyped\nrequests_total{instance=\"2\",job=\"a\"} ";
    assert!(text.starts_with(start), "{text}");
    assert!(text.ends_with(&format!(" {}\n", (now - INTERVAL) * 1000)), "{text}");
}
