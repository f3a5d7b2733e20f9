//! Labels of pods as columns: with the option, without it again, and refused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::json;
use support::{Server, batch, flows, now_us};

/// Rows of a sender that knows the label itself.
fn with_team(rows: &RecordBatch, team: &str) -> RecordBatch {
    let mut fields: Vec<Field> =
        rows.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new("team", DataType::Utf8, true));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec![team; rows.num_rows()])) as ArrayRef);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn a_chosen_label_comes_and_goes_with_the_option() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let label = ["--label", "team=example.com/team"];
    let end = now_us() / 1_000_000 * 1_000_000 - 2_000_000;
    // A history from before the label.
    let server = Server::start(&data, &[]);
    let (status, text) = server.post(&batch("a", 0, &flows(end, &[("old", 5, 0)]))).unwrap();
    assert_eq!(status, 200, "{text}");
    assert!(server.terminate().success());

    let server = Server::start(&data, &label);
    let rows = with_team(&flows(end, &[("cart", 7, 0), ("pay", 2, 0)]), "shop");
    server.post(&batch("b", 0, &rows)).unwrap();
    let by_team = "SELECT team, sum(tx_bytes) FROM flows GROUP BY 1 ORDER BY 1 NULLS FIRST";
    let expected = [vec![json!(null), json!(5)], vec![json!("shop"), json!(9)]];
    assert_eq!(server.sql(by_team), expected);
    let sum = r#"sum(increase(flow_tx_bytes_total{team="shop"}[5m]))"#;
    assert_eq!(server.promql(sum, None), Some(9.0));
    let (_, labels) = server.get("/api/v1/label/team/values");
    assert!(labels.contains(r#"["shop"]"#), "{labels}");
    assert!(server.terminate().success());

    // Without it, the rows are there and the column is not.
    let server = Server::start(&data, &[]);
    assert_eq!(server.sql("SELECT sum(tx_bytes) FROM flows"), [vec![json!(14)]]);
    let (status, _) = server.form("/api/v1/sql", &[("query", "SELECT team FROM flows")]);
    assert_eq!(status, 400);
    assert!(server.terminate().success());

    let server = Server::start(&data, &label);
    for table in ["flows", "flows_5m", "flows_1h"] {
        assert_eq!(server.sql(&by_team.replace("flows", table)), expected, "{table}");
    }
}

#[test]
fn a_label_that_cannot_be_a_column_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (label, part) in [
        ("pod=app", "column `pod` is there already"),
        ("my team", "`my team` is no key of a label"),
        ("9=app", "`9` is no name of a column"),
    ] {
        let refused = Server::try_start(&dir.path().join("data"), &["--label", label]);
        let error = refused.map(|_| ()).unwrap_err();
        assert!(error.contains("--label") && error.contains(part), "{error}");
    }
}
