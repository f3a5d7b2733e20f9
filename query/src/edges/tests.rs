//! Conversations seen by both ends, by one, and priced.

use serde_json::{Value, json};
use weir_storage::{Entry, Options, Part, Store};
use weir_wire::{Header, encode};

use crate::database::{Database, Resources};
use crate::prices::LivePrices;
use crate::testing::{Row, flow_batch, specs};

/// 2026-11-22 12:00:00 UTC, microseconds.
const NOON: i64 = 1_795_348_800_000_000;

struct Rig {
    database: Database,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn with(rows: &[Row], resources: &Resources) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(Options::new(dir.path(), specs())).await.expect("a store");
        for (sequence, rows) in rows.chunks(3).enumerate() {
            let batch = flow_batch(rows);
            let header = Header {
                agent: "a".into(),
                boot: "b".into(),
                sequence: sequence as i64,
                losses: std::collections::BTreeMap::default(),
            };
            let ipc = encode(&header, &batch).expect("IPC").into();
            let part = Part { table: "flows", ipc, batches: vec![batch] };
            store.append(Entry { source: None, parts: vec![part] }).await.expect("rows are stored");
            store.flush().await.expect("they are written to a file");
        }
        Self { database: Database::new(store, resources), _dir: dir }
    }

    async fn sql(&self, statement: &str) -> Vec<Vec<Value>> {
        let batches =
            self.database.rows(statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
        let mut rows = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let value = |column: &arrow::array::ArrayRef| {
                    let text =
                        arrow::util::display::array_value_to_string(column, row).expect("a value");
                    text.parse::<i64>().map_or_else(|_| json!(text), |n| json!(n))
                };
                rows.push(batch.columns().iter().map(value).collect());
            }
        }
        rows
    }
}

fn row(end: i64, labels: &[(&'static str, &'static str)], numbers: &[(&'static str, i64)]) -> Row {
    let mut labels = labels.to_vec();
    labels.push(("protocol", "tcp"));
    Row { end: NOON + end * 1_000_000, labels, numbers: numbers.to_vec(), ..Row::default() }
}

fn conversation() -> Vec<Row> {
    let client = [
        ("role", "client"),
        ("workload", "web"),
        ("address", "10.0.0.1"),
        ("peer_address", "10.0.0.2"),
        ("peer_workload", "db1"),
        ("peer_service", "shop/db"),
        ("crossing", "cross-zone"),
    ];
    let server = [
        ("role", "server"),
        ("workload", "db"),
        ("address", "10.0.0.2"),
        ("peer_address", "10.0.0.1"),
        ("peer_workload", "node"),
        ("crossing", "cross-zone"),
    ];
    let alone = [
        ("role", "client"),
        ("workload", "web"),
        ("address", "10.0.0.1"),
        ("peer_address", "203.0.113.9"),
        ("crossing", "internet"),
    ];
    let told = |port: &'static str, tx: i64, rx: i64, sent: i64, received: i64| {
        [
            (port, 5432),
            ("tx_bytes", tx),
            ("rx_bytes", rx),
            ("tx_packets", sent),
            ("rx_packets", received),
        ]
    };
    vec![
        row(10, &client, &told("peer_port", 100, 1000, 5, 9)),
        row(60, &client, &told("peer_port", 200, 2000, 6, 9)),
        row(20, &server, &told("port", 1000, 100, 11, 4)),
        row(60, &server, &told("port", 2000, 200, 10, 6)),
        row(70, &client, &told("peer_port", 1, 2, 1, 1)),
        row(70, &server, &told("port", 2, 1, 1, 1)),
        row(30, &alone, &told("peer_port", 7, 70, 1, 2)),
    ]
}

#[tokio::test]
async fn both_ends_are_one_row_and_each_byte_counts_once() {
    let rig = Rig::with(&conversation(), &Resources::default()).await;
    let rows = rig
        .sql(
            "SELECT client_workload, server_workload, server_address, server_port, service, seen_by, bytes_to_server, \
             bytes_to_client, lost_to_server, lost_to_client FROM edges \
             WHERE time = TIMESTAMP '2026-11-22T12:00:00Z' ORDER BY server_address",
        )
        .await;
    assert_eq!(
        rows,
        [
            vec![
                json!("web"),
                json!("db"),
                json!("10.0.0.2"),
                json!(5432),
                json!("shop/db"),
                json!("both"),
                json!(300),
                json!(3000),
                json!(1),
                json!(3)
            ],
            vec![
                json!("web"),
                json!(""),
                json!("203.0.113.9"),
                json!(5432),
                json!(""),
                json!("client"),
                json!(7),
                json!(70),
                json!(""),
                json!("")
            ],
        ]
    );
    assert_eq!(rig.sql("SELECT count(*) FROM edges").await, [[json!(3)]]);
    let total = rig.sql("SELECT sum(bytes_to_server + bytes_to_client) FROM edges").await;
    assert_eq!(total, [[json!(3300 + 77 + 3)]]);
    let later = rig
        .sql("SELECT bytes_to_server FROM edges WHERE time > TIMESTAMP '2026-11-22T12:00:00Z'")
        .await;
    assert_eq!(later, [[json!(1)]]);
    let before = rig
        .sql("SELECT bytes_to_server FROM edges WHERE time < TIMESTAMP '2026-11-22T12:00:00Z'")
        .await;
    assert!(before.is_empty(), "{before:?}");
    let all =
        rig.sql("SELECT * FROM edges WHERE client_workload = 'web' AND seen_by = 'both'").await;
    assert_eq!(all.len(), 2);
}

/// A condition on the minute reaches the scan: files of other times are not opened.
#[tokio::test]
async fn time_reaches_the_files() {
    let rig = Rig::with(&conversation(), &Resources::default()).await;
    let plan = |statement: &str| {
        let statement = format!("EXPLAIN {statement}");
        let rig = &rig;
        async move { rig.sql(&statement).await.iter().map(|row| row[1].to_string()).collect::<String>() }
    };
    let all = plan("SELECT bytes_to_server FROM edges").await;
    let one =
        plan("SELECT bytes_to_server FROM edges WHERE time >= TIMESTAMP '2026-11-22T12:01:00Z'")
            .await;
    let files = |plan: &str| plan.matches(".parquet").count();
    assert!(files(&all) > files(&one) && files(&one) > 0, "{all}\n{one}");
    assert!(!one.contains("rtt"), "what nobody asks for is not read: {one}");
}

#[tokio::test]
async fn prices_apply_to_each_end() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "[[price]]\ncrossing = \"cross-zone\"\nsent = 10\nreceived = 20\n";
    std::fs::write(file.path(), text).expect("it is written");
    let prices = LivePrices::read(file.path()).expect("prices");
    let resources = Resources { prices: prices.clone(), ..Resources::default() };
    let rig = Rig::with(&conversation(), &resources).await;
    let cost = "SELECT role, CAST(round(sum(flow_cost(crossing, peer_cloud_service, tx_bytes, rx_bytes)) * 1e9) AS BIGINT), \
         count(flow_cost(crossing, peer_cloud_service, tx_bytes, rx_bytes)), count(*) FROM flows GROUP BY role ORDER BY role";
    let client = 301 * 10 + 3002 * 20;
    let server = 3002 * 10 + 301 * 20;
    assert_eq!(
        rig.sql(cost).await,
        [
            vec![json!("client"), json!(client), json!(3), json!(4)],
            vec![json!("server"), json!(server), json!(3), json!(3)],
        ]
    );
    // What cannot be used leaves the prices as they are; others hold from the next query on.
    std::fs::write(file.path(), "[[price]]\nsent = -1\n").expect("it is written");
    assert!(prices.reread(file.path()).is_err());
    assert_eq!(rig.sql(cost).await[0][1], json!(client));
    std::fs::write(file.path(), text.replace("10", "20")).expect("it is written");
    prices.reread(file.path()).expect("prices");
    assert_eq!(rig.sql(cost).await[0][1], json!(client + 301 * 10));
    let free = Rig::with(&conversation(), &Resources::default()).await;
    let none =
        "SELECT count(flow_cost(crossing, peer_cloud_service, tx_bytes, rx_bytes)) FROM flows";
    assert_eq!(free.sql(none).await, [[json!(0)]]);
}
