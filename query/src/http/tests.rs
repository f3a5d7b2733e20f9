//! The API end to end, over a store filled through its own front door.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_storage::{Entry, Options, Part, Store};
use weir_wire::{Header, encode};

use super::{Settings, router, router_with};

mod conversations;
mod prometheus;

use crate::testing::{Row, flow_batch, specs};

/// 2026-11-22 12:00:00 UTC.
const NOON: i64 = 1_795_348_800;

fn row(seconds: i64, workload: &'static str, peer: &'static str, tx: i64) -> Row {
    Row {
        end: (NOON + seconds) * 1_000_000,
        labels: vec![
            ("namespace", "shop"),
            ("workload", workload),
            ("peer_workload", peer),
            ("protocol", "tcp"),
            ("role", "client"),
        ],
        numbers: vec![
            ("tx_bytes", tx),
            ("retransmits", 3),
            ("retransmits_syn", 1),
            ("active", 2),
            ("port", 443),
        ],
        rtts: Some(vec![900, 1000, 2000, 4000]),
    }
}

async fn store(rows: &[Row]) -> (Arc<Store>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options::new(dir.path().join("data"), specs());
    let store = Store::open(options).await.expect("a store");
    // Some rows in files, some in memory.
    let (older, newer) = rows.split_at(rows.len() / 2);
    append(&store, &flow_batch(older)).await;
    store.flush().await.expect("rows are written to files");
    append(&store, &flow_batch(newer)).await;
    (store, dir)
}

async fn append(store: &Store, batch: &RecordBatch) {
    append_to(store, "flows", batch).await;
}

async fn append_to(store: &Store, table: &'static str, batch: &RecordBatch) {
    let header = Header {
        agent: "a".into(),
        boot: "b".into(),
        sequence: 0,
        losses: std::collections::BTreeMap::default(),
    };
    let ipc = Bytes::from(encode(&header, batch).expect("IPC"));
    let part = Part { table, ipc, batches: vec![batch.clone()] };
    store.append(Entry { source: None, parts: vec![part] }).await.expect("rows are stored");
}

async fn small() -> (Router, tempfile::TempDir) {
    let mut rows = Vec::new();
    for i in 1..=30 {
        rows.push(row(i * 10, "web", "api", 1000));
        rows.push(row(i * 10, "api", "db", 10));
    }
    let (store, dir) = store(&rows).await;
    (router(store), dir)
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, String, Vec<u8>) {
    let response = router.clone().oneshot(request).await.expect("a response");
    let status = response.status();
    let media =
        response.headers().get("content-type").map(|v| v.to_str().expect("text").to_owned());
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    (status, media.unwrap_or_default(), body.to_vec())
}

async fn get(router: &Router, path: &str, params: &[(&str, &str)]) -> (StatusCode, Value) {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let request = Request::get(format!("{path}?{query}")).body(Body::empty()).expect("a request");
    let (status, _, body) = send(router, request).await;
    (status, serde_json::from_slice(&body).expect("JSON"))
}

async fn form(router: &Router, path: &str, params: &[(&str, &str)]) -> (StatusCode, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let request = Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .expect("a request");
    let (status, _, body) = send(router, request).await;
    (status, serde_json::from_slice(&body).expect("JSON"))
}

async fn sql(router: &Router, text: &str, format: &str) -> (StatusCode, String, Vec<u8>) {
    let request = Request::post(format!("/api/v1/sql?format={format}"))
        .body(Body::from(text.to_owned()))
        .expect("a request");
    send(router, request).await
}

#[tokio::test]
async fn instant_queries_are_exact() {
    let (router, _dir) = small().await;
    let time = (NOON + 300).to_string();
    for (query, result) in [
        (
            "sum by (workload) (increase(flow_tx_bytes_total[5m]))",
            json!([
                {"metric": {"workload": "api"}, "value": [NOON + 300, "300"]},
                {"metric": {"workload": "web"}, "value": [NOON + 300, "30000"]},
            ]),
        ),
        (
            r#"sum by (phase) (increase(flow_retransmits_total{workload="web"}[100s]))"#,
            json!([
                {"metric": {"phase": "closing"}, "value": [NOON + 300, "0"]},
                {"metric": {"phase": "established"}, "value": [NOON + 300, "20"]},
                {"metric": {"phase": "syn"}, "value": [NOON + 300, "10"]},
            ]),
        ),
        (
            r#"sum(increase(flow_retransmits_total{phase="syn", peer_workload=~"d.*"}[100s]))"#,
            json!([{"metric": {}, "value": [NOON + 300, "10"]}]),
        ),
        (
            "sum(increase(flow_rtt_seconds_sum[5m]))",
            json!([{"metric": {}, "value": [NOON + 300, "0.474"]}]),
        ),
        ("sum(flow_active_connections)", json!([{"metric": {}, "value": [NOON + 300, "4"]}])),
        ("no_such_metric", json!([])),
    ] {
        let (status, answer) =
            get(&router, "/api/v1/query", &[("query", query), ("time", &time)]).await;
        assert_eq!(status, 200, "{query}: {answer}");
        assert_eq!(answer["data"]["resultType"], "vector");
        let mut found = answer["data"]["result"].as_array().expect("a list").clone();
        found.sort_by_key(|s| s["metric"].to_string());
        assert_eq!(json!(found), result, "{query}");
    }
    let (_, answer) = get(&router, "/api/v1/query", &[("query", "1 + 1"), ("time", "1.5")]).await;
    assert_eq!(answer["data"], json!({"resultType": "scalar", "result": [1.5, "2"]}));
}

#[tokio::test]
async fn quantiles_interpolate_within_their_bucket() {
    let (router, _dir) = small().await;
    let time = (NOON + 300).to_string();
    let query = "histogram_quantile(0.5, sum by (le) (rate(flow_rtt_seconds_bucket[5m])))";
    let (status, answer) =
        get(&router, "/api/v1/query", &[("query", query), ("time", &time)]).await;
    assert_eq!(status, 200, "{answer}");
    let value: f64 =
        answer["data"]["result"][0]["value"][1].as_str().expect("text").parse().expect("a number");
    // 900 and 1000 us lie in (724, 1024]: half of all, so the median is that bucket's upper bound.
    assert!((value - 0.001_024).abs() < 1e-9, "{value}");
}

#[tokio::test]
async fn range_queries_have_a_value_at_each_step() {
    let (router, _dir) = small().await;
    let params = [
        ("query", r#"sum(rate(flow_tx_bytes_total{workload="web"}[30s]))"#),
        ("start", &(NOON + 60).to_string()),
        ("end", &(NOON + 120).to_string()),
        ("step", "20s"),
    ];
    for (status, answer) in [
        get(&router, "/api/v1/query_range", &params).await,
        form(&router, "/api/v1/query_range", &params).await,
    ] {
        assert_eq!(status, 200, "{answer}");
        assert_eq!(
            answer["data"],
            json!({"resultType": "matrix", "result": [{"metric": {}, "values": [
                [NOON + 60, "100"], [NOON + 80, "100"], [NOON + 100, "100"], [NOON + 120, "100"],
            ]}]})
        );
    }
}

#[tokio::test]
async fn bad_questions_get_prometheus_errors() {
    let (router, _dir) = small().await;
    for (path, params) in [
        ("/api/v1/query", vec![("query", "sum(")]),
        ("/api/v1/query", vec![]),
        ("/api/v1/query", vec![("query", "up"), ("time", "yesterday")]),
        ("/api/v1/query_range", vec![("query", "up"), ("start", "1"), ("end", "2")]),
        ("/api/v1/query_range", vec![("query", "up"), ("start", "2"), ("end", "1"), ("step", "1")]),
        ("/api/v1/query_range", vec![("query", "up"), ("start", "1"), ("end", "2"), ("step", "0")]),
        ("/api/v1/series", vec![]),
        ("/api/v1/series", vec![("match[]", "{")]),
        ("/api/v1/query_exemplars", vec![]),
    ] {
        let (status, answer) = get(&router, path, &params).await;
        assert_eq!(status, 400, "{path} {params:?}: {answer}");
        assert_eq!(
            (&answer["status"], &answer["errorType"]),
            (&json!("error"), &json!("bad_data"))
        );
        assert!(answer["error"].as_str().is_some_and(|e| !e.is_empty()), "{answer}");
    }
    let (_, answer) =
        get(&router, "/api/v1/query", &[("query", "rate(flow_tx_byte_total[5m])")]).await;
    assert!(
        answer["infos"][0].as_str().is_some_and(|i| i.contains("flow_tx_byte_total")),
        "{answer}"
    );
}

#[tokio::test]
async fn labels_values_and_series_are_those_of_the_rows() {
    let (router, _dir) = small().await;
    let (_, names) = get(&router, "/api/v1/labels", &[]).await;
    assert_eq!(
        names["data"],
        json!([
            "__name__",
            "le",
            "namespace",
            "node",
            "peer_workload",
            "phase",
            "port",
            "protocol",
            "reason",
            "role",
            "side",
            "workload"
        ])
    );
    for (name, params, values) in [
        ("workload", vec![], json!(["api", "web"])),
        ("workload", vec![("match[]", r#"{peer_workload="db"}"#)], json!(["api"])),
        ("workload", vec![("match[]", "flow_drops_total")], json!([])),
        ("port", vec![], json!(["443"])),
        ("phase", vec![], json!(["closing", "established", "syn"])),
        ("nothing", vec![], json!([])),
        (
            "__name__",
            vec![("match[]", r#"{__name__=~"flow_t.*"}"#)],
            json!(["flow_tx_bytes_total"]),
        ),
        ("workload", vec![("start", "1"), ("end", "2")], json!([])),
    ] {
        let (status, answer) = get(&router, &format!("/api/v1/label/{name}/values"), &params).await;
        assert_eq!((status, &answer["data"]), (StatusCode::OK, &values), "{name} {params:?}");
    }
    let selector = r#"flow_retransmits_total{workload="web", phase="syn"}"#;
    let (_, series) = form(&router, "/api/v1/series", &[("match[]", selector)]).await;
    assert_eq!(
        series["data"],
        json!([{
            "__name__": "flow_retransmits_total", "namespace": "shop", "node": "x",
            "peer_workload": "api", "phase": "syn", "port": "443", "protocol": "tcp",
            "role": "client", "workload": "web",
        }])
    );
}

#[tokio::test]
async fn fixed_endpoints_answer() {
    let (router, _dir) = small().await;
    let (_, metadata) = get(&router, "/api/v1/metadata", &[("metric", "flow_rtt_seconds")]).await;
    assert_eq!(metadata["data"]["flow_rtt_seconds"][0]["type"], "histogram");
    for path in ["status/buildinfo", "rules", "alerts", "targets"] {
        let (status, answer) = get(&router, &format!("/api/v1/{path}"), &[]).await;
        assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("success")), "{path}");
    }
}

#[tokio::test]
async fn sql_answers_in_every_format() {
    let (router, _dir) = small().await;
    let text = "SELECT workload, sum(tx_bytes) AS tx, min(\"end\") AS first, null AS nothing \
                FROM flows GROUP BY workload ORDER BY workload";
    let (status, media, body) = sql(&router, text, "json").await;
    assert_eq!((status, media.as_str()), (StatusCode::OK, "application/json"));
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        answer["rows"],
        json!([
            ["api", 300, "2026-11-22T12:00:10Z", null],
            ["web", 30000, "2026-11-22T12:00:10Z", null],
        ])
    );
    assert_eq!(answer["columns"][1], json!({"name": "tx", "type": "Int64"}));
    let (_, _, body) = sql(&router, text, "ndjson").await;
    assert_eq!(
        String::from_utf8_lossy(&body).lines().next(),
        Some(r#"{"workload":"api","tx":300,"first":"2026-11-22T12:00:10Z","nothing":null}"#)
    );
    let (_, _, body) = sql(&router, "SELECT 'a,\"b' AS x, '' AS y, null AS z, 1 AS n", "csv").await;
    assert_eq!(String::from_utf8_lossy(&body), "x,y,z,n\r\n\"a,\"\"b\",\"\",,1\r\n");
    let (_, _, body) = sql(&router, text, "arrow").await;
    let batches: Vec<_> = StreamReader::try_new(body.as_slice(), None)
        .expect("an Arrow stream")
        .collect::<Result<_, _>>()
        .expect("batches");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    let (_, _, body) = sql(&router, text, "parquet").await;
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(Bytes::from(body), 10)
            .expect("a Parquet file");
    assert_eq!(reader.map(|b| b.expect("a batch").num_rows()).sum::<usize>(), 2);
    for format in ["json", "ndjson", "csv", "arrow"] {
        let (status, ..) = sql(&router, "SELECT 1 WHERE false", format).await;
        assert_eq!(status, 200, "{format}");
    }
}

#[tokio::test]
async fn sql_comes_as_text_form_or_json() {
    let (router, _dir) = small().await;
    let (_, answer) =
        form(&router, "/api/v1/sql", &[("query", "SELECT count(*) FROM flows")]).await;
    assert_eq!(answer["rows"], json!([[60]]));
    let request = Request::post("/api/v1/sql")
        .header("content-type", "application/json; charset=utf-8")
        .header("accept", "text/csv")
        .body(Body::from(r#"{"query": "SELECT 1 AS one"}"#))
        .expect("a request");
    let (_, media, body) = send(&router, request).await;
    assert_eq!((media.as_str(), body.as_slice()), ("text/csv", b"one\r\n1\r\n".as_slice()));
}

#[tokio::test]
async fn sql_cannot_change_or_read_anything_else() {
    let (router, _dir) = small().await;
    for text in [
        "DELETE FROM flows",
        "DROP TABLE flows",
        "INSERT INTO flows SELECT * FROM flows",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "COPY flows TO '/tmp/x.parquet'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/x.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "PREPARE p AS SELECT 1",
        "SELECT * FROM '/etc/passwd'",
        "SELECT no_such_column FROM flows",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "",
    ] {
        let (status, _, body) = sql(&router, text, "json").await;
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            (status, &answer["errorType"]),
            (StatusCode::BAD_REQUEST, &json!("bad_data")),
            "{text}: {answer}"
        );
    }
    for text in ["SHOW TABLES", "DESCRIBE flows", "EXPLAIN SELECT count(*) FROM flows"] {
        assert_eq!(sql(&router, text, "json").await.0, 200, "{text}");
    }
    assert_eq!(sql(&router, "SELECT 1", "xml").await.0, 400);
}

#[tokio::test]
async fn limits_end_queries() {
    let (store, _dir) = store(&[row(1, "web", "api", 1)]).await;
    let mut settings = Settings::default();
    settings.resources.memory_bytes = 1 << 20;
    settings.timeout = Duration::from_millis(200);
    let router = router_with(store, &settings);
    let endless = "SELECT count(*) FROM generate_series(1, 100000000000)";
    let (status, _, body) = sql(&router, endless, "json").await;
    assert_eq!(status, 503, "{}", String::from_utf8_lossy(&body));
    let large = "SELECT array_agg(value) FROM generate_series(1, 3000000)";
    settings.timeout = Duration::from_secs(60);
    let (status, _, body) =
        sql(&router_with(self::store(&[row(1, "w", "p", 1)]).await.0, &settings), large, "json")
            .await;
    let text = String::from_utf8_lossy(&body).into_owned();
    assert_eq!(status, 422, "{text}");
    assert!(text.contains("more memory than it may have"), "{text}");
}

#[tokio::test]
async fn bodies_that_are_too_long_say_so() {
    let (router, _dir) = small().await;
    let long = "a".repeat(super::MAX_BODY + 1);
    let (status, answer) = form(&router, "/api/v1/query", &[("query", &long)]).await;
    assert_eq!((status, &answer["errorType"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("bad_data")));
    assert_eq!(sql(&router, &long, "json").await.0, 413);
}

/// Each would make far more than the memory bound if it ran.
#[tokio::test]
async fn functions_without_bound_are_not_there() {
    let (router, _dir) = small().await;
    for call in [
        "repeat('a', 2000000000)",
        "lpad('a', 2000000000)",
        "rpad('a', 2000000000)",
        "replace('aaaa', 'a', 'bbbb')",
        "regexp_replace('aaaa', 'a', 'bbbb', 'g')",
        "range(1, 100000000000)",
        "generate_series(1, 100000000000)",
        "array_repeat(1, 2000000000)",
        "list_repeat(1, 2000000000)",
        "array_resize([1], 2000000000)",
        "list_resize([1], 2000000000)",
        "array_to_string([1, 2], 'aaaa')",
        "array_join([1, 2], 'aaaa')",
        "list_to_string([1, 2], 'aaaa')",
        "arrow_cast(NULL, 'FixedSizeList(2000000000, Int64)')",
        "arrow_try_cast(NULL, 'FixedSizeList(2000000000, Int64)')",
    ] {
        let (status, _, body) = sql(&router, &format!("SELECT {call} FROM flows"), "json").await;
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        let name = call.split('(').next().unwrap_or_default();
        assert_eq!(status, 400, "{call}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|e| e.contains(name)), "{answer}");
    }
}

/// A client that asks for much and reads nothing.
#[tokio::test]
async fn stalled_readers_keep_no_place() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (store, _dir) = store(&[row(1, "web", "api", 1)]).await;
    let settings =
        Settings { concurrency: 1, timeout: Duration::from_millis(500), ..Settings::default() };
    let router = router_with(store, &settings);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(axum::serve(listener, router.clone()).into_future());
    let mut client = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let text = "SELECT value FROM generate_series(1, 100000000000)";
    let length = text.len();
    let request = format!(
        "POST /api/v1/sql?format=csv HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{text}"
    );
    client.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut start = [0; 15];
    client.read_exact(&mut start).await.expect("an answer begins");
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    let mut answered = false;
    for _ in 0..20 {
        answered = answered || sql(&router, "SELECT 1", "csv").await.0 == 200;
    }
    assert!(answered, "the place never came back");
    // What the client reads at last is broken off, not ended (by a chunk of no bytes, on a line of
    // its own: a row may end in 0).
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    let tail = String::from_utf8_lossy(&rest[rest.len().saturating_sub(60)..]).into_owned();
    assert!(!rest.ends_with(b"\r\n0\r\n\r\n"), "ended as if whole: {tail:?}");
    server.abort();
}

/// A query that computes until it is told to stop, on the only thread that the server has.
#[tokio::test]
async fn computing_delays_nobody_and_ends() {
    let (store, _dir) = store(&[row(1, "web", "api", 1)]).await;
    let api = super::Api {
        database: crate::Database::new(store, &super::Resources::default()),
        threads: super::Threads::new(1),
        places: Arc::new(tokio::sync::Semaphore::new(1)),
        concurrency: 1,
        timeout: Duration::from_secs(60),
        engine: super::Engine::default(),
        about: Arc::default(),
        descriptions: super::Descriptions::default(),
        started: jiff::Timestamp::UNIX_EPOCH,
    };
    let endless = |stop: super::Stop| async move {
        while !stop.is_stopped() {
            std::thread::yield_now();
        }
        Ok(stop.check()?)
    };
    // By its timeout.
    let answer = api.within(Some(Duration::from_millis(50)), endless).await;
    assert_eq!(answer.expect_err("a timeout").kind(), crate::ErrorKind::Timeout);
    api.within(None, |_| async { Ok(()) }).await.expect("its place is free again");
    // By a client that goes away.
    let gone = tokio::time::timeout(Duration::from_millis(50), api.within(None, endless)).await;
    assert!(gone.is_err());
    api.within(None, |_| async { Ok(()) }).await.expect("its place is free again");
    // While it waits for something that never comes.
    let waits = |_| std::future::pending::<Result<(), crate::Error>>();
    assert!(api.within(Some(Duration::from_millis(50)), waits).await.is_err());
    api.within(None, |_| async { Ok(()) }).await.expect("its place is free again");
}

#[tokio::test]
async fn series_are_looked_for_up_to_the_limit() {
    use crate::flows::catalog::{Period, everything, series};

    let (store, _dir) = store(&[row(1, "web", "api", 1), row(2, "api", "db", 1)]).await;
    let database = crate::Database::new(store, &super::Resources::default());
    let period = Period { after: i64::MIN, until: i64::MAX };
    for most in [1, 2] {
        let session = database.session(&super::Stop::default()).expect("a session");
        let found = series(&session, &[everything()], period, most).await.expect("series");
        assert_eq!(found.len(), most);
    }
}

#[tokio::test]
async fn answers_say_which_tier_they_come_from() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options::new(dir.path().join("data"), crate::testing::specs_with_tiers());
    let store = Store::open(options).await.expect("a store");
    let rows: Vec<Row> = (0..240).map(|n| row(n * 60 - 7200, "web", "db", 10)).collect();
    append(&store, &flow_batch(&rows)).await;
    let router = router(store);
    let ask = |params: &'static str| {
        let router = router.clone();
        async move {
            let request = Request::get(format!("/api/v1/query_range?{params}"));
            let request = request.body(Body::empty()).expect("a request");
            let response = router.oneshot(request).await.expect("an answer");
            let tier =
                response.headers().get("weir-tier").map(|v| v.to_str().expect("text").to_owned());
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            (tier, serde_json::from_slice::<Value>(&body).expect("JSON"))
        }
    };
    let hourly = "start=1795345200&end=1795352400&step=3600";
    let values = json!([[1795345200, "600"], [1795348800, "600"], [1795352400, "600"]]);
    for (query, tier) in [
        (
            "query=sum(increase(flow_tx_bytes_total[1h]))&start=1795345200&end=1795352400&step=3600",
            "1h",
        ),
        (
            "query=sum(increase(flow_tx_bytes_total{pod=\"\"}[1h]))&start=1795345200&end=1795352400&step=3600",
            "raw",
        ),
        (
            "query=sum(increase(flow_tx_bytes_total[1h]))&start=1795345200&end=1795352400&step=3600&stats=true",
            "1h",
        ),
    ] {
        let query: &'static str = Box::leak(
            query.replace('"', "%22").replace('{', "%7B").replace('}', "%7D").into_boxed_str(),
        );
        let (found, answer) = ask(query).await;
        assert_eq!(found.as_deref(), Some(tier), "{query}: {answer}");
        assert_eq!(answer["data"]["result"][0]["values"], values, "{query}: {answer}");
        let stats = &answer["data"]["stats"];
        if query.contains("stats") {
            assert_eq!(stats["tiers"], json!(["1h"]));
            assert!(stats["samples"]["totalQueryableSamples"].as_u64().is_some_and(|n| n > 0));
            assert!(stats["timings"]["evalTotalTime"].as_f64().is_some_and(|s| s > 0.0));
        } else {
            assert!(stats.is_null());
        }
    }
    let both: &'static str = Box::leak(format!(
        "query=sum(increase(flow_tx_bytes_total[1h]))/sum(increase(flow_tx_bytes_total[7m]))&{hourly}"
    ).into_boxed_str());
    assert_eq!(ask(both).await.0.as_deref(), Some("1h,raw"));
    let none = "query=vector(1)&start=1795345200&end=1795352400&step=3600";
    assert_eq!(ask(none).await.0, None);
}
