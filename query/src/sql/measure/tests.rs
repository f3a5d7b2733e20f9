use futures::TryStreamExt;

use super::*;
use crate::database::{Resources, Runtime};
use crate::testing::{Row, flow_batch, snapshot};

fn refusal(text: &str) -> String {
    measure(text).expect_err(&text[..text.len().min(60)]).to_string()
}

#[test]
fn long_chains_are_refused_however_they_are_written() {
    for (head, link) in [
        ("SELECT 1", "+1"),
        ("SELECT 1", "/**/+--\n1"),
        ("SELECT true", " AND true"),
        ("SELECT true", " or true"),
        ("SELECT 'a'", "||'a'"),
        ("SELECT 1", "::int"),
        ("SELECT 1", " IS NULL"),
        ("SELECT a", "[1]"),
        ("SELECT a", ".a"),
        ("SELECT ", "- "),
        ("SELECT ", "NOT "),
        ("SELECT $$a$$", "+$$a$$"),
        ("SELECT 1", " UNION SELECT 1"),
        ("SELECT '\\'", "+1"),
        ("SELECT \"\\\"", "+1"),
        ("SELECT 1 -- '\n", "+1"),
        ("SELECT 1 /* ' */", "+1"),
    ] {
        let message = refusal(&format!("{head}{}", link.repeat(3000)));
        assert!(message.contains("statement has more than"), "{head}: {message}");
    }
    assert!(refusal(&format!("SELECT {}1", "(".repeat(3000))).contains("nested"));
    assert!(refusal(&"a".repeat(MAX_LENGTH + 1)).contains("longer"));
    let list = format!("SELECT a FROM b WHERE c IN (1{})", ", 1".repeat(10_000));
    assert!(measure(&list).is_ok());
    assert!(measure(&format!("SELECT '{}'", "+".repeat(10_000))).is_ok());
}

/// On a thread with the stack of a worker: what is let through is planned, run and dropped.
#[test]
fn what_is_allowed_fits_the_stack() {
    let dir = tempfile::tempdir().expect("a directory");
    let numbers = vec![("tx_bytes", 1)];
    let rows: Vec<Row> =
        (1..=4).map(|end| Row { end, numbers: numbers.clone(), ..Row::default() }).collect();
    let part = snapshot(dir.path(), &flow_batch(&rows), 2, 1);
    let chain = |head: &str, link: &str, tail: &str| {
        let count = |n: usize| measure(&format!("{head}{}{tail}", link.repeat(n))).is_ok();
        let most = (0..=MAX_WORDS).rev().find(|n| count(*n)).unwrap_or_default();
        assert!(most > 10, "{head}{link}");
        format!("{head}{}{tail}", link.repeat(most))
    };
    let from = " FROM flows";
    let mut texts = vec![
        chain("SELECT tx_bytes", "+tx_bytes", from),
        chain("SELECT sum(tx_bytes", "*tx_bytes", ") FROM flows"),
        chain("SELECT 1 FROM flows WHERE tx_bytes=1", " OR tx_bytes=1", ""),
        chain("SELECT 1 FROM flows WHERE tx_bytes=tx_bytes", " AND tx_bytes<tx_bytes+1", ""),
        chain("SELECT workload", "||workload", from),
        chain("SELECT workload", " LIKE 'a'", from),
        chain("SELECT workload", " IS DISTINCT FROM 'a'", from),
        chain("SELECT true", " AND true", from),
        chain("SELECT tx_bytes", "::bigint::int", from),
        chain("SELECT tx_bytes", " IS NULL", from),
        chain("SELECT ", "- ", "tx_bytes FROM flows"),
        chain("SELECT ", "NOT ", "tx_bytes=1 FROM flows"),
        chain("SELECT tx_bytes FROM flows", " UNION ALL SELECT tx_bytes FROM flows", ""),
        chain("SELECT tx_bytes FROM flows", " UNION SELECT tx_bytes FROM flows", ""),
        chain("SELECT 1 FROM flows", " NATURAL JOIN (VALUES (1)) AS t (tx_bytes)", ""),
        chain("SELECT CASE", " WHEN tx_bytes=1 THEN 1", " END FROM flows"),
    ];
    let nest = |n: usize, open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(n), close.repeat(n))
    };
    texts.push(nest(MAX_DEPTH, "SELECT * FROM (", "SELECT tx_bytes FROM flows", ")"));
    texts.push(format!("SELECT {}{from}", nest(MAX_DEPTH, "abs(", "tx_bytes", ")")));
    for text in texts {
        let part = part.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_stack_size(2 << 20)
            .enable_all()
            .build()
            .expect("a runtime");
        let task = runtime.spawn(async move {
            let session = Runtime::new(&Resources::default()).session(vec![part])?;
            let rows = crate::sql::run(&session, &text).await?;
            rows.try_collect::<Vec<_>>().await.map_err(crate::Error::from)
        });
        // Some answer; a plan may be refused, never overflow.
        drop(runtime.block_on(task).expect("no panic"));
    }
}
