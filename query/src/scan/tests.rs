//! Scans over files and memory.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;

use crate::database::{Resources, Runtime};
use crate::testing::{Row, flow_batch, snapshot};

mod indexed;

fn rows() -> Vec<Row> {
    let names = ["api", "web", "db"];
    (0..90)
        .map(|i| Row {
            end: i * 1_000_000,
            labels: vec![("workload", names[i as usize % 3])],
            numbers: vec![("tx_bytes", i)],
            rtts: None,
        })
        .collect()
}

fn session(dir: &std::path::Path, memory: usize, files: usize) -> SessionContext {
    Runtime::new(&Resources { parallelism: 2, ..Resources::default() })
        .session(vec![snapshot(dir, &flow_batch(&rows()), memory, files)])
        .expect("a session")
}

async fn number(session: &SessionContext, sql: &str) -> i64 {
    let batches = session.sql(sql).await.expect("a plan").collect().await.expect("rows");
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test]
async fn rows_are_in_files_or_memory_and_each_counts_once() {
    for (memory, files) in [(0, 1), (0, 3), (90, 1), (40, 2), (89, 1)] {
        let dir = tempfile::tempdir().expect("a directory");
        let session = session(dir.path(), memory, files);
        assert_eq!(number(&session, "SELECT count(*) FROM flows").await, 90);
        assert_eq!(number(&session, "SELECT sum(tx_bytes) FROM flows").await, 89 * 45);
        let one = "SELECT sum(tx_bytes) FROM flows WHERE workload = 'api' AND \
                   \"end\" > TIMESTAMP '1970-01-01T00:00:30Z'";
        let expected: i64 = (31..90).filter(|i| i % 3 == 0).sum();
        assert_eq!(number(&session, one).await, expected, "{memory} {files}");
        assert_eq!(number(&session, "SELECT count(*) FROM (SELECT * FROM flows LIMIT 7)").await, 7);
        assert_eq!(number(&session, "SELECT count(*) FROM flows WHERE pod IS NULL").await, 90);
        // What the snapshot knows of a file's rows must not stand for the rows that pass a filter.
        assert_eq!(number(&session, "SELECT count(*) FROM flows WHERE workload = 'api'").await, 30);
        assert_eq!(number(&session, "SELECT count(*) FROM flows WHERE tx_bytes > 79").await, 10);
        assert_eq!(
            number(&session, "SELECT count(*) FROM flows a JOIN flows b ON a.\"end\" = b.\"end\"")
                .await,
            90
        );
    }
}

#[tokio::test]
async fn files_out_of_range_are_not_opened() {
    let dir = tempfile::tempdir().expect("a directory");
    let session = session(dir.path(), 30, 3);
    // Rows 30 to 49, 50 to 69 and 70 to 89.
    std::fs::remove_file(dir.path().join("0.parquet")).expect("the file was there");
    std::fs::remove_file(dir.path().join("2.parquet")).expect("the file was there");
    let between = "SELECT count(*) FROM flows WHERE \"end\" >= TIMESTAMP '1970-01-01T00:00:50Z' \
                   AND \"end\" < TIMESTAMP '1970-01-01T00:01:10Z'";
    assert_eq!(number(&session, between).await, 20);
    let all = session.sql("SELECT sum(tx_bytes) FROM flows").await.expect("a plan").collect().await;
    assert!(all.is_err(), "the files that are gone were needed here");
}

#[tokio::test]
async fn an_empty_table_has_columns_and_no_rows() {
    let dir = tempfile::tempdir().expect("a directory");
    let snapshot = snapshot(dir.path(), &flow_batch(&[]), 0, 0);
    let session = Runtime::new(&Resources::default()).session(vec![snapshot]).expect("a session");
    assert_eq!(number(&session, "SELECT count(*) FROM flows WHERE workload = 'x'").await, 0);
}
