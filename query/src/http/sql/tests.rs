//! Answers that take their time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use tower::ServiceExt;
use weir_storage::{Entry, Options, Part, Store};
use weir_wire::{Header, encode};

use crate::database::Resources;
use crate::http::{Settings, router_with};
use crate::testing::{Row, flow_batch, specs};

/// 2026-11-22 12:00:00 UTC.
const NOON: i64 = 1_795_348_800;
/// Far more files than an answer reads ahead of its client.
const FILES: i64 = 16;

async fn store(dir: &std::path::Path) -> Arc<Store> {
    let mut options = Options::new(dir, specs());
    (options.removal_grace, options.compaction) = (Duration::ZERO, false);
    let store = Store::open(options).await.expect("a store");
    for file in 0..FILES {
        let numbers = vec![("tx_bytes", file)];
        let batch =
            flow_batch(&[Row { end: (NOON + file) * 1_000_000, numbers, ..Row::default() }]);
        let header = Header {
            agent: "a".into(),
            boot: "b".into(),
            sequence: 0,
            losses: std::collections::BTreeMap::default(),
        };
        let ipc = Bytes::from(encode(&header, &batch).expect("IPC"));
        let part = Part { table: "flows", ipc, batches: vec![batch] };
        store.append(Entry { source: None, parts: vec![part] }).await.expect("a row is stored");
        store.flush().await.expect("it is written to a file");
    }
    store
}

fn files(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path());
    entries
        .map(|path| match path.is_dir() {
            true => files(&path),
            false => usize::from(path.extension().is_some_and(|e| e == "parquet")),
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_keeps_its_files_until_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = store(dir.path()).await;
    let flows = dir.path().join("tables").join("flows");
    assert_eq!(files(&flows), FILES as usize);
    let one = Resources { parallelism: 1, ..Resources::default() };
    let settings = Settings { resources: one, ..Settings::default() };
    let request =
        Request::post("/api/v1/sql?format=csv").body(Body::from("SELECT tx_bytes FROM flows"));
    let router = router_with(store.clone(), &settings);
    let response = router.oneshot(request.expect("a request")).await.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let mut text = Vec::new();
    let first = body.frame().await.expect("a piece").expect("no error");
    text.extend_from_slice(first.data_ref().expect("rows"));

    store.compact().await.expect("one file takes the place of all");
    store.expire().await.expect("the others may go");
    while let Some(frame) = body.frame().await {
        text.extend_from_slice(frame.expect("the answer goes on").data_ref().expect("rows"));
    }
    let text = String::from_utf8(text).expect("text");
    let mut rows: Vec<i64> = text.lines().skip(1).map(|n| n.parse().expect("a number")).collect();
    rows.sort_unstable();
    assert_eq!(rows, (0..FILES).collect::<Vec<_>>());

    // Nobody reads them now: nothing else had kept them.
    drop(body);
    // The task that made the answer may be ending still.
    for _ in 0..1000 {
        store.expire().await.expect("the others go");
        if files(&flows) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} files stayed", files(&flows));
}

/// What compresses a body asks for more after its end.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_compressed_if_the_client_asks_for_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let router = router_with(store(dir.path()).await, &Settings::default());
    let request = Request::post("/api/v1/sql?format=csv")
        .header("accept-encoding", "gzip, br")
        .body(Body::from("SELECT tx_bytes FROM flows ORDER BY 1"))
        .expect("a request");
    let response = router.oneshot(request).await.expect("a response");
    let encoding = response.headers().get("content-encoding").map(|v| v.as_bytes());
    assert_eq!(encoding, Some(b"gzip".as_slice()));
    let packed = response.into_body().collect().await.expect("a whole body").to_bytes();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut text)
        .expect("gzip");
    assert_eq!(text.lines().count() as i64, 1 + FILES, "{text}");
}

/// There is one place, and a query gives it back when it ends: the next has to get it.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_without_end_gives_its_place_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = store(dir.path()).await;
    for parallelism in [1, 2] {
        let resources = Resources { parallelism, ..Resources::default() };
        let settings = Settings { resources, concurrency: 1, ..Settings::default() };
        let router = router_with(store.clone(), &settings);
        let ask = |path: &str, sql: &'static str| {
            router.clone().oneshot(Request::post(path).body(Body::from(sql)).expect("a request"))
        };
        let endless = "SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 3000000) b \
                       WHERE a.value + b.value < 0";
        // By its timeout.
        let response = ask("/api/v1/sql?timeout=0.3", endless).await.expect("a response");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("query timed out"), "{body:?}");
        // By a client that goes away.
        let gone =
            tokio::time::timeout(Duration::from_millis(300), ask("/api/v1/sql", endless)).await;
        assert!(gone.is_err(), "it has no end");
        let next = ask("/api/v1/sql?timeout=60", "SELECT count(*) FROM flows").await;
        assert_eq!(next.expect("a response").status(), StatusCode::OK);
    }
}
