//! The receiver over HTTP, on a real store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use weir_ingest::{Receiver, router, store_options};
use weir_storage::Store;
use weir_wire::Header;

const NOW: i64 = 1_700_000_000_000_000;

struct Server {
    router: axum::Router,
    store: Arc<Store>,
    dir: tempfile::TempDir,
}

async fn server() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(store_options(dir.path())).await.unwrap();
    let receiver = Receiver::with_clock(store.clone(), || NOW);
    Server { router: router(receiver), store, dir }
}

impl Server {
    async fn post(&self, body: impl Into<Body>) -> (StatusCode, serde_json::Value) {
        let request = Request::post("/v1/flows").body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn rows(&self, table: &str) -> usize {
        let snapshot = self.store.snapshot(table).unwrap();
        snapshot.memory.batches().unwrap().iter().map(RecordBatch::num_rows).sum::<usize>()
            + snapshot.files.iter().map(|f| f.rows as usize).sum::<usize>()
    }
}

fn flows(end: i64, rows: usize) -> RecordBatch {
    let time = |t| {
        Arc::new(TimestampMicrosecondArray::from_value(t, rows).with_timezone("UTC")) as ArrayRef
    };
    let text = |s: &str| Arc::new(StringArray::from(vec![s; rows])) as ArrayRef;
    RecordBatch::try_from_iter([
        ("start", time(end - 10_000_000)),
        ("end", time(end)),
        ("node", text("n1")),
        ("workload", text("w")),
        ("protocol", text("tcp")),
        ("role", text("client")),
        ("tx_bytes", Arc::new(Int64Array::from_value(7, rows))),
        ("column_of_a_newer_agent", text("x")),
    ])
    .unwrap()
}

fn batch(sequence: i64, rows: &RecordBatch) -> Vec<u8> {
    let header = Header {
        agent: "a".into(),
        boot: "b".into(),
        sequence,
        losses: BTreeMap::from([("ring_drops".into(), 3), ("spool_rows".into(), 1)]),
    };
    weir_wire::encode(&header, rows).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_stored_once_and_its_losses_with_it() {
    let server = server().await;
    let body = batch(1, &flows(NOW, 5));
    let (status, reply) = server.post(body.clone()).await;
    assert_eq!((status, reply["status"].as_str()), (StatusCode::OK, Some("stored")), "{reply}");
    assert_eq!((server.rows("flows"), server.rows("agent_loss")), (5, 2));
    let (status, reply) = server.post(body).await;
    assert_eq!((status, reply["status"].as_str()), (StatusCode::OK, Some("repeated")));
    assert_eq!((server.rows("flows"), server.rows("agent_loss")), (5, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_batches_are_refused_whole_and_by_name() {
    let server = server().await;
    let good = batch(1, &flows(NOW, 5));
    let without_end = flows(NOW, 1).project(&[0, 2, 3, 4, 5]).unwrap();
    let cases: [(Vec<u8>, StatusCode, &str); 6] = [
        (Vec::new(), StatusCode::BAD_REQUEST, "cut short at byte 0"),
        (b"hello, this is no Arrow stream".to_vec(), StatusCode::BAD_REQUEST, "not an Arrow IPC"),
        (good[..good.len() / 2].to_vec(), StatusCode::BAD_REQUEST, "cut short"),
        (batch(2, &without_end), StatusCode::BAD_REQUEST, "column `end` is missing"),
        (
            batch(3, &flows(4_070_908_800_000_000, 1)),
            StatusCode::BAD_REQUEST,
            "ahead of this server's clock",
        ),
        (vec![0; (32 << 20) + 1], StatusCode::PAYLOAD_TOO_LARGE, "larger than 33554432 bytes"),
    ];
    for (body, expected, text) in cases {
        let (status, reply) = server.post(body).await;
        assert_eq!(status, expected, "{reply}");
        assert!(reply["error"].as_str().is_some_and(|e| e.contains(text)), "{text}: {reply}");
    }
    assert_eq!((server.rows("flows"), server.rows("agent_loss")), (0, 0));
    // The server still takes what is good, under a sequence below the refused ones.
    assert_eq!(server.post(good).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_from_a_clock_that_is_ahead_is_to_come_again() {
    let server = server().await;
    for (ahead, expected, wait) in [
        (300, StatusCode::OK, None),
        (360, StatusCode::TOO_EARLY, Some("61")),
        (3600, StatusCode::BAD_REQUEST, None),
    ] {
        let body = batch(ahead, &flows(NOW + ahead * 1_000_000, 1));
        let request = Request::post("/v1/flows").body(Body::from(body)).unwrap();
        let response = server.router.clone().oneshot(request).await.unwrap();
        let retry_after = response.headers().get("retry-after").map(|v| v.to_str().unwrap());
        assert_eq!((response.status(), retry_after), (expected, wait), "{ahead} s ahead");
    }
    assert_eq!(server.rows("flows"), 1);
}

/// Every row of a table, as text.
fn text(store: &Store, table: &str) -> Vec<String> {
    let snapshot = store.snapshot(table).unwrap();
    assert!(snapshot.files.is_empty());
    let rows = snapshot.memory.batches().unwrap();
    let all = arrow::compute::concat_batches(&snapshot.spec.schema, rows).unwrap();
    let text = |c: &ArrayRef| {
        let c = arrow::compute::cast(c, &arrow::datatypes::DataType::Utf8);
        c.map(|c| format!("{c:?}")).unwrap_or_default()
    };
    all.columns().iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_gives_back_what_it_was_given() {
    let server = server().await;
    assert_eq!(server.post(batch(1, &flows(NOW, 5))).await.0, StatusCode::OK);
    assert_eq!(server.post(batch(2, &flows(NOW, 0))).await.0, StatusCode::OK);
    let bare = weir_wire::frame::inflate(&batch(3, &flows(NOW + 1, 2)), 1 << 20).unwrap();
    assert_eq!(server.post(bare).await.0, StatusCode::OK);
    let before = ["flows", "agent_loss"].map(|table| text(&server.store, table));
    // As a crash leaves it: nothing is flushed, the log alone has the rows.
    let copy = tempfile::tempdir().unwrap();
    for folder in ["wal", "tables"] {
        copy_folder(&server.dir.path().join(folder), &copy.path().join(folder));
    }
    for file in std::fs::read_dir(server.dir.path()).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    let store = Store::open(store_options(copy.path())).await.unwrap();
    assert_eq!(["flows", "agent_loss"].map(|table| text(&store, table)), before);
    store.close().await.unwrap();
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_rows_says_that_the_agent_lives() {
    let server = server().await;
    let (status, _) = server.post(batch(1, &flows(NOW, 0))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((server.rows("flows"), server.rows("agent_loss")), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn reasons_of_losses_are_limited_in_number() {
    let server = server().await;
    let with = |reasons: usize| {
        let losses = (0..reasons).map(|n| (format!("reason_{n}"), 1)).collect();
        let header = Header { agent: "a".into(), boot: "b".into(), sequence: 1, losses };
        weir_wire::encode(&header, &flows(NOW, 1)).unwrap()
    };
    let (status, reply) = server.post(with(65)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{reply}");
    assert!(reply["error"].as_str().is_some_and(|e| e.contains("names 65 reasons")), "{reply}");
    assert_eq!(server.rows("agent_loss"), 0);
    assert_eq!(server.post(with(64)).await.0, StatusCode::OK);
    assert_eq!(server.rows("agent_loss"), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_in_a_key_column_is_refused_with_its_row() {
    let server = server().await;
    for name in ["start", "end", "node", "workload", "protocol", "role"] {
        let rows = flows(NOW, 3);
        let fields = rows.schema();
        let holed = fields.fields().iter().zip(rows.columns()).map(|(field, column)| {
            let third = vec![false, false, field.name() == name];
            let holed = arrow::compute::nullif(column, &third.into()).unwrap();
            (field.name().clone(), holed)
        });
        let rows = RecordBatch::try_from_iter(holed.collect::<Vec<_>>()).unwrap();
        let (status, reply) = server.post(batch(1, &rows)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{name}: {reply}");
        let text = format!("column `{name}` is null in row 2");
        assert!(reply["error"].as_str().is_some_and(|e| e.contains(&text)), "{text}: {reply}");
    }
    assert_eq!((server.rows("flows"), server.rows("agent_loss")), (0, 0));
    assert_eq!(server.post(batch(1, &flows(NOW, 3))).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coding_is_told_by_the_body_and_refused_by_name() {
    let server = server().await;
    let compressed = batch(1, &flows(NOW, 5));
    let bare = weir_wire::frame::inflate(&compressed, 1 << 20).unwrap();
    for (body, coding, expected) in [
        (compressed.clone(), "gzip", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (b"\xff\xff".to_vec(), "zstd", StatusCode::BAD_REQUEST),
        (compressed, "zstd", StatusCode::OK),
        (bare, "identity", StatusCode::OK),
    ] {
        let request =
            Request::post("/v1/flows").header("content-encoding", coding).body(Body::from(body));
        let response = server.router.clone().oneshot(request.unwrap()).await.unwrap();
        let accepted = response.headers().get("accept-encoding").map(|v| v.to_str().unwrap());
        assert_eq!(response.status(), expected, "{coding}");
        assert_eq!(accepted, (expected != StatusCode::OK).then_some("zstd"), "{coding}");
    }
    assert_eq!(server.rows("flows"), 5);
}
