use std::time::{Duration, Instant};

use crate::database::{Resources, Runtime};
use crate::error::ErrorKind;
use crate::promql::Stop;

/// Each would take hours.
const ENDLESS: [&str; 7] = [
    "SELECT count(*) FROM a, b WHERE a.n + b.n < 0",
    "SELECT count(*) FROM a LEFT JOIN b ON a.n + b.n < 0",
    "SELECT count(*) FROM a FULL JOIN b ON a.n + b.n < 0",
    "SELECT count(*) FROM a WHERE EXISTS (SELECT 1 FROM b WHERE a.n + b.n < 0)",
    "SELECT count(*) FROM a WHERE a.n NOT IN (SELECT b.n FROM b WHERE a.n + b.n < 0)",
    "SELECT count(*) FROM a JOIN b ON a.n % 1 = b.n % 1 AND a.n + b.n < 0",
    "SELECT sum(a.n * b.n) FROM a CROSS JOIN b",
];

async fn run(stop: &Stop, parallelism: usize, sql: &str) -> Result<i64, crate::Error> {
    use arrow::array::AsArray;
    use futures::TryStreamExt;

    let resources = Resources { parallelism, ..Resources::default() };
    let session = Runtime::new(&resources).session_until(Vec::new(), stop)?;
    let sql = format!(
        "WITH a AS (SELECT value AS n FROM generate_series(1, 3000000)),
              b AS (SELECT value AS n FROM generate_series(1, 3000000)) {sql}"
    );
    let batches: Vec<_> = crate::sql::run(&session, &sql).await?.try_collect().await?;
    Ok(batches
        .iter()
        .map(|b| b.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0))
        .sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_end_with_their_query() {
    for parallelism in [1, 2] {
        for sql in ENDLESS {
            let begun = Instant::now();
            let stop = Stop::at(begun + Duration::from_millis(300));
            let work = async { run(&stop, parallelism, sql).await };
            let made = tokio::time::timeout(Duration::from_millis(500), work).await;
            if let Ok(answer) = made {
                let error = answer.expect_err(sql);
                assert_eq!(error.kind(), ErrorKind::Timeout, "{sql}: {error}");
            }
            // Hours, if it did not end; the machine may be busy.
            assert!(begun.elapsed() < Duration::from_secs(30), "{sql}: {:?}", begun.elapsed());
        }
    }
}

#[tokio::test]
async fn joins_answer_as_before() {
    let stop = Stop::default();
    for (sql, expected) in [
        ("SELECT count(*) FROM a JOIN b ON a.n + b.n < 10 WHERE a.n < 50 AND b.n < 50", 36),
        ("SELECT count(*) FROM a JOIN b ON a.n = b.n AND a.n + b.n < 10", 4),
        (
            "SELECT count(*) FROM (SELECT * FROM a LIMIT 50) a CROSS JOIN (SELECT * FROM b LIMIT 7) b",
            350,
        ),
        (
            "SELECT count(*) FROM (SELECT * FROM a WHERE n < 9) a LEFT JOIN (SELECT * FROM b WHERE n < 9) b ON a.n > b.n + 3",
            14,
        ),
    ] {
        assert_eq!(run(&stop, 2, sql).await.expect(sql), expected, "{sql}");
    }
}
