//! The receiver over HTTP, on a real store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use weir_ingest::{Receiver, router, tables};
use weir_storage::{Options, Store};
use weir_wire::Header;

const NOW: i64 = 1_700_000_000_000_000;

struct Server {
    router: axum::Router,
    store: Arc<Store>,
    _dir: tempfile::TempDir,
}

async fn server() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), tables())).await.unwrap();
    let receiver = Receiver::with_clock(store.clone(), || NOW);
    Server { router: router(receiver), store, _dir: dir }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_rows_says_that_the_agent_lives() {
    let server = server().await;
    let (status, _) = server.post(batch(1, &flows(NOW, 0))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((server.rows("flows"), server.rows("agent_loss")), (0, 2));
}
