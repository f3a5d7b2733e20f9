//! Files as a store writes them, with a label index.

use std::path::Path;
use std::sync::Arc;

use arrow::ipc::writer::StreamWriter;
use datafusion::datasource::memory::DataSourceExec;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use weir_storage::{DataFile, Entry, Hidden, MatchOp, Matcher, Options, Part, Snapshot, Store};

use super::number;
use crate::database::{Resources, Runtime};
use crate::testing::{Row, flow_batch, specs};

const ROWS: i64 = 12_000;
const NAMESPACES: [&str; 3] = ["a", "m", "z"];
const WORKLOADS: [&str; 5] = ["api", "cart", "db", "queue", "web"];
const PEERS: [&str; 4] = ["one", "two", "three", "four"];

/// What row `i` says: namespace, workload, peer.
fn labels(i: i64) -> (&'static str, &'static str, Option<&'static str>) {
    let pick = |n: i64, len: usize| usize::try_from(n).unwrap_or_default() % len;
    let absent = (5_000..6_000).contains(&i) || i >= 11_000;
    let peer = (!absent).then(|| PEERS[pick(i / 1_000, 4)]);
    (NAMESPACES[pick(i, 3)], WORKLOADS[pick(i / 3, 5)], peer)
}

/// The rows, flushed to one file, and what the store says of it.
async fn stored(dir: &Path) -> Snapshot {
    let rows: Vec<Row> = (0..ROWS)
        .map(|i| {
            let (namespace, workload, peer) = labels(i);
            let mut labels = vec![("namespace", namespace), ("workload", workload)];
            labels.extend(peer.map(|p| ("peer_workload", p)));
            Row { end: i * 1000, labels, numbers: vec![("tx_bytes", i)], rtts: None }
        })
        .collect();
    let batch = flow_batch(&rows);
    let store = Store::open(Options::new(dir, specs())).await.expect("store opens");
    let mut ipc = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("writer");
    ipc.write(&batch).expect("rows are written");
    let ipc = ipc.into_inner().expect("stream ends").into();
    let parts = vec![Part { table: "flows", ipc, batches: vec![batch] }];
    store.append(Entry { source: None, parts }).await.expect("rows are taken");
    store.flush().await.expect("store flushes");
    let snapshot = store.snapshot("flows").expect("the table");
    store.close().await.expect("store closes");
    assert_eq!((snapshot.files.len(), snapshot.memory.is_empty()), (1, true));
    snapshot
}

fn runtime() -> Runtime {
    Runtime::new(&Resources { parallelism: 2, ..Resources::default() })
}

fn session(runtime: &Runtime, snapshot: &Snapshot) -> SessionContext {
    runtime.session(vec![snapshot.clone()]).expect("a session")
}

/// Rows that a plan selects in files by index; nothing for a plan that reads whole files.
async fn selected(session: &SessionContext, condition: &str) -> Option<usize> {
    fn find(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
        let here = plan.downcast_ref::<DataSourceExec>().and_then(|source| {
            let config = source.data_source().downcast_ref::<FileScanConfig>()?;
            let files = config.file_groups.iter().flat_map(|group| group.files());
            files
                .filter_map(|f| f.extensions.get::<ParquetRowSelection>())
                .map(|s| s.selection().row_count())
                .next()
        });
        here.or_else(|| plan.children().into_iter().find_map(find))
    }
    let sql = format!("SELECT sum(tx_bytes) FROM flows WHERE {condition}");
    let plan = session.sql(&sql).await.expect("a plan").create_physical_plan().await;
    find(&plan.expect("a physical plan"))
}

type Accepts = fn(&str, &str, Option<&str>) -> bool;

#[tokio::test]
async fn answers_are_those_of_a_scan_and_only_matching_rows_are_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let snapshot = stored(dir.path()).await;
    let session = session(&runtime(), &snapshot);
    let cases: [(&str, Accepts, bool); 15] = [
        ("workload = 'api'", |_, w, _| w == "api", true),
        ("namespace = 'm' AND workload = 'db'", |n, w, _| n == "m" && w == "db", true),
        ("namespace = 'm' AND tx_bytes >= 0", |n, _, _| n == "m", true),
        ("workload IN ('api', 'web')", |_, w, _| w == "api" || w == "web", true),
        ("workload NOT IN ('api', 'web', 'db')", |_, w, _| w == "cart" || w == "queue", true),
        ("workload ~ '^(?s:.*e.*)$'", |_, w, _| w.contains('e'), true),
        ("workload !~ '^[a-q]' AND namespace <> 'a'", |n, w, _| w == "web" && n != "a", true),
        ("workload LIKE 'c%' OR namespace = 'z'", |n, w, _| w == "cart" || n == "z", true),
        ("peer_workload IS NULL AND workload = 'web'", |_, w, p| p.is_none() && w == "web", true),
        (
            "coalesce(peer_workload, '') = '' AND namespace = 'a'",
            |n, _, p| p.is_none() && n == "a",
            true,
        ),
        ("peer_workload IS NULL", |_, _, p| p.is_none(), true),
        (
            "(peer_workload IS NULL OR peer_workload <> 'two') AND workload = 'db'",
            |_, w, p| p != Some("two") && w == "db",
            true,
        ),
        ("CASE WHEN workload = 'api' THEN false ELSE true END", |_, w, _| w != "api", true),
        ("workload = 'api' OR tx_bytes < 0", |_, w, _| w == "api", false),
        ("workload = namespace OR workload = 'api'", |_, w, _| w == "api", false),
    ];
    for (condition, accepts, by_index) in cases {
        let expected = (0..ROWS).filter(|i| {
            let (n, w, p) = labels(*i);
            accepts(n, w, p)
        });
        let expected: Vec<i64> = expected.collect();
        let sql = format!("SELECT sum(tx_bytes) FROM flows WHERE {condition}");
        assert_eq!(number(&session, &sql).await, expected.iter().sum::<i64>(), "{condition}");
        let sql = format!("SELECT count(*) FROM flows WHERE {condition}");
        assert_eq!(number(&session, &sql).await, expected.len() as i64, "{condition}");
        match selected(&session, condition).await {
            Some(rows) => {
                assert!(by_index, "{condition}");
                // Small gaps are read along.
                assert!(rows >= expected.len() && rows <= 9_600, "{condition}: {rows}");
            }
            None => assert!(!by_index, "{condition} reads the whole file"),
        }
    }
}

/// The file of a snapshot on disk.
fn path_of(dir: &Path, file: &DataFile) -> std::path::PathBuf {
    dir.join("tables").join(file.path.as_ref())
}

#[tokio::test]
async fn a_file_without_a_matching_row_is_not_opened() {
    let dir = tempfile::tempdir().expect("a directory");
    let snapshot = stored(dir.path()).await;
    let runtime = runtime();
    // Brings the index into memory; then the file is gone.
    let one = "SELECT count(*) FROM flows WHERE workload = 'api' AND peer_workload = 'one'";
    assert!(number(&session(&runtime, &snapshot), one).await > 0);
    std::fs::remove_file(path_of(dir.path(), &snapshot.files[0])).expect("the file was there");
    let session = session(&runtime, &snapshot);
    for nothing in [
        // Between the bounds that the log keeps, so only the index can know.
        "workload = 'couch'",
        "workload ~ '^(?s:x.*)$'",
        "peer_workload = 'none'",
        "workload = 'api' AND workload = 'web'",
    ] {
        let sql = format!("SELECT count(*) FROM flows WHERE {nothing}");
        assert_eq!(number(&session, &sql).await, 0, "{nothing}");
    }
    let sql = "SELECT count(*) FROM flows WHERE workload = 'api'";
    assert!(session.sql(sql).await.expect("a plan").collect().await.is_err());
}

#[tokio::test]
async fn files_are_ruled_out_by_bounds_without_a_look_inside() {
    let dir = tempfile::tempdir().expect("a directory");
    let snapshot = stored(dir.path()).await;
    std::fs::remove_file(path_of(dir.path(), &snapshot.files[0])).expect("the file was there");
    let session = session(&runtime(), &snapshot);
    for nothing in ["workload = 'zebra'", "namespace > 'zz'", "workload LIKE 'zz%'"] {
        let sql = format!("SELECT count(*) FROM flows WHERE {nothing}");
        assert_eq!(number(&session, &sql).await, 0, "{nothing}");
    }
}

#[tokio::test]
async fn a_damaged_index_costs_speed_and_no_rows() {
    let dir = tempfile::tempdir().expect("a directory");
    let snapshot = stored(dir.path()).await;
    let path = path_of(dir.path(), &snapshot.files[0]);
    let mut bytes = std::fs::read(&path).expect("the file is there");
    let index = bytes.windows(8).position(|w| w == b"WEIRLIDX").expect("an index");
    bytes[index + 30] ^= 0x10;
    std::fs::write(&path, bytes).expect("the file is written");
    let runtime = runtime();
    for _ in 0..2 {
        let session = session(&runtime, &snapshot);
        let sql = "SELECT count(*) FROM flows WHERE workload = 'api'";
        assert_eq!(number(&session, sql).await, ROWS / 5);
        assert_eq!(selected(&session, "workload = 'api'").await, None);
        assert_eq!(runtime.index_failures(), 1, "reported once, not by each query");
    }
}

#[tokio::test]
async fn hidden_rows_are_not_seen() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut snapshot = stored(dir.path()).await;
    let matcher = |label: &str, value: &str| {
        Matcher::new(label, MatchOp::Equal, value).expect("a plain value")
    };
    let hidden = Hidden {
        matchers: Arc::new([matcher("workload", "db"), matcher("peer_workload", "")]),
        unless: Arc::new([Arc::new([matcher("namespace", "m")])]),
        after: 999_000,
        until: 7_000_000,
    };
    let file = DataFile { hidden: Arc::new([Arc::new(hidden)]), ..(*snapshot.files[0]).clone() };
    snapshot.files = Arc::new([Arc::new(file)]);
    let session = session(&runtime(), &snapshot);
    let seen: Vec<i64> = (0..ROWS)
        .filter(|i| {
            let (n, w, p) = labels(*i);
            !(w == "db" && p.is_none() && n != "m" && (1000..=7000).contains(i))
        })
        .collect();
    assert!((ROWS - 200..ROWS - 20).contains(&(seen.len() as i64)));
    assert_eq!(number(&session, "SELECT count(*) FROM flows").await, seen.len() as i64);
    let sum = "SELECT sum(tx_bytes) FROM flows";
    assert_eq!(number(&session, sum).await, seen.iter().sum::<i64>());
    let sql = "SELECT count(*) FROM (SELECT * FROM flows LIMIT 11999)";
    assert_eq!(number(&session, sql).await, seen.len() as i64);
    let of_db = seen.iter().filter(|i| labels(**i).1 == "db");
    let sql = "SELECT sum(tx_bytes) FROM flows WHERE workload = 'db'";
    assert_eq!(number(&session, sql).await, of_db.sum::<i64>());
    let least = "SELECT min(tx_bytes) FROM flows WHERE tx_bytes > 1000 AND workload = 'db' AND \
                 peer_workload IS NULL AND namespace = 'a'";
    let expected = (7001..ROWS).find(|i| matches!(labels(*i), ("a", "db", None)));
    assert_eq!(Some(number(&session, least).await), expected);
}
