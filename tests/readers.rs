//! Other engines read the history folder and agree with SQL; a few lines of Python send flows.

mod support;

use std::process::Command;

use serde_json::Value;
use support::{Server, batch, flows, now_us, python, run};

fn script(name: &str) -> String {
    format!("{}/tests/python/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn delta_polars_and_duckdb_agree_with_sql() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--retention", "off", "--flush-interval", "200ms"]);
    // Three days, several workloads, in batches that become several files.
    let day = 86_400_000_000;
    for sequence in 0..30 {
        let end = now_us() - (sequence % 3) * day;
        let rows: Vec<(String, i64, i64)> =
            (0..100).map(|i| (format!("w{}", i % 7), sequence * 1000 + i, i % 3)).collect();
        let rows: Vec<_> = rows.iter().map(|(w, t, r)| (w.as_str(), *t, *r)).collect();
        let (status, text) = server.post(&batch("b", sequence, &flows(end, &rows))).unwrap();
        assert_eq!(status, 200, "{text}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let sql: Vec<i64> = server.sql("SELECT count(*), sum(tx_bytes) FROM flows")[0]
        .iter()
        .map(|v| v.as_i64().unwrap())
        .collect();
    assert_eq!(sql[0], 3000);
    assert!(server.terminate().success());
    let output = run(Command::new(python).arg(script("readers.py")).arg(dir.path()));
    let seen: Value = serde_json::from_str(&output).unwrap();
    for engine in ["deltalake", "polars", "duckdb"] {
        assert_eq!(seen[engine], serde_json::json!(sql), "{engine}");
    }
}

#[test]
fn a_few_lines_of_python_ship_a_batch() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let ship =
        || run(Command::new(&python).args([script("ship.py").as_str(), &server.url, "1", "5"]));
    assert!(ship().contains("stored"));
    assert!(ship().contains("repeated"));
    let rows = server.sql("SELECT count(*), sum(tx_bytes) FROM flows WHERE workload = 'ship.py'");
    assert_eq!(rows, [[Value::from(5), Value::from(5000)]]);
}
