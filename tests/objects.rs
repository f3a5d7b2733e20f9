//! Tables in an object store, with a real S3 server (SeaweedFS) on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::seaweed::{BUCKET, Environment, Seaweed};
use support::sender::Sender;
use support::{Server, batch, eventually, flows, now_us, python};

/// Flushes come often, and memory has room for what is sent while the bucket is away. The cache holds
/// 2 MiB.
const OPTIONS: [&str; 8] =
    ["--flush-interval", "200ms", "--memtable-mib", "16", "--retention", "off", "--cache-mib", "2"];

fn try_serve(data: &Path, seaweed: &Seaweed, prefix: &str) -> Result<Server, String> {
    let url = format!("s3://{BUCKET}/{prefix}");
    let mut options = vec!["--store", url.as_str()];
    options.extend(OPTIONS);
    Server::try_start_in(data, &options, &seaweed.environment())
}

fn serve(data: &Path, seaweed: &Seaweed, prefix: &str) -> Server {
    try_serve(data, seaweed, prefix).unwrap_or_else(|error| panic!("server: {error}"))
}

/// A value of the server's own metrics.
fn metric(server: &Server, name: &str) -> f64 {
    let (_, text) = server.get("/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|e| e.metadata().unwrap().len()).sum()
}

#[test]
fn the_bucket_has_the_history_and_the_cache_its_bound() {
    let Some(seaweed) = Seaweed::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), &seaweed, "a/b");
    let now = now_us();
    for sequence in 0..8 {
        let names: Vec<String> = (0..2000).map(|i| format!("w{sequence}-{i}")).collect();
        let rows: Vec<_> = names.iter().map(|n| (n.as_str(), sequence + 1, 1)).collect();
        let end = now - sequence * 3_600_000_000;
        let body = batch("b", sequence, &flows(end, &rows));
        // With so little memory the server may ask to be sent it again.
        eventually("the batch is taken", Duration::from_secs(60), || {
            server.post(&body).unwrap().0 == 200
        });
    }
    let questions = [
        "SELECT count(*), sum(tx_bytes), sum(retransmits) FROM flows",
        "SELECT workload, sum(tx_bytes) FROM flows WHERE workload LIKE 'w3-1%' GROUP BY 1 ORDER BY 1",
    ];
    let time = Some(now as f64 / 1e6 + 1.0);
    let ask = |server: &Server| {
        let sql: Vec<_> = questions.iter().map(|q| server.sql(q)).collect();
        let sum = "sum(increase(flow_tx_bytes_total{workload=~\"w[0-3]-.*\"}[6h]))";
        (sql, server.promql(sum, time))
    };
    let answers = ask(&server);
    assert_eq!(answers.0[0], [[Value::from(16_000), Value::from(72_000), Value::from(16_000)]]);
    assert_eq!(answers.1, Some(20_000.0));
    assert!(server.terminate().success(), "the last rows get to the bucket");

    std::fs::remove_dir_all(dir.path().join("cache")).unwrap();
    let server = serve(dir.path(), &seaweed, "a/b");
    assert_eq!(metric(&server, "weir_memtable_rows"), 0.0);
    assert_eq!(ask(&server), answers, "with an empty cache");
    let fetched = metric(&server, "weir_cache_misses_total");
    assert!(fetched > 0.0);
    assert_eq!(ask(&server), answers);
    assert_eq!(metric(&server, "weir_cache_misses_total"), fetched, "all of it fits the cache");
    assert!(bytes_below(&dir.path().join("cache")) <= 2 << 20);
    let Some(python) = python() else { return };
    let script = format!("{}/tests/python/objects.py", env!("CARGO_MANIFEST_DIR"));
    let read = Command::new(&python)
        .args([&script, &format!("s3://{BUCKET}/a/b/tables/flows"), &seaweed.endpoint()])
        .envs(seaweed.environment())
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let read: Value = serde_json::from_slice(&read.stdout).unwrap();
    for engine in ["deltalake", "polars"] {
        assert_eq!(read[engine], serde_json::json!([16_000, 72_000]), "{engine}");
    }
}

/// kill -9 of the server and of the S3 server in turn, while a sender goes on sending.
#[test]
fn whoever_is_killed_every_acknowledged_row_is_there_once() {
    let Some(mut seaweed) = Seaweed::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut sender = Sender::new("kill");
    let mut server = serve(dir.path(), &seaweed, "kill");
    for round in 0..6 {
        for _ in 0..10 {
            sender.send(&server);
        }
        if round % 2 == 0 {
            server.kill_now();
            drop(server);
            server = serve(dir.path(), &seaweed, "kill");
        } else {
            seaweed.kill();
            let before = sender.acknowledged();
            for _ in 0..5 {
                sender.send(&server);
            }
            assert!(sender.acknowledged() > before, "the log takes rows without the bucket");
            if round == 3 {
                // Both at once: the server has nothing but its log.
                server.kill_now();
            }
            seaweed.restart();
            if round == 3 {
                drop(server);
                server = serve(dir.path(), &seaweed, "kill");
            }
        }
        eventually("the batch in doubt is delivered", Duration::from_secs(60), || {
            sender.send(&server) && !sender.is_waiting()
        });
        sender.check(&server, &format!("round {round}"));
    }
    eventually("rows get to the bucket", Duration::from_secs(60), || {
        metric(&server, "weir_memtable_rows") == 0.0
    });
    drop(server);
    let server = serve(dir.path(), &seaweed, "kill");
    assert!(sender.acknowledged() > 60);
    sender.check(&server, "at the end");
}

#[test]
fn a_second_server_takes_the_store_over_and_nothing_is_lost_or_doubled() {
    let Some(seaweed) = Seaweed::start() else { return };
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut left, mut right) = (Sender::new("left"), Sender::new("right"));
    let first = serve(a.path(), &seaweed, "two");
    (0..20).for_each(|_| assert!(left.send(&first)));
    let second = serve(b.path(), &seaweed, "two");
    (0..20).for_each(|_| assert!(right.send(&second)));
    // The first goes on until it finds out, and what it acknowledges until then counts.
    eventually("the first server is fenced", Duration::from_secs(60), || !left.send(&first));
    let (status, text) = first.post(&batch("x", 0, &flows(now_us(), &[("x", 1, 1)]))).unwrap();
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("took the object store over"), "{text}");
    (0..5).for_each(|_| assert!(right.send(&second)));
    right.check(&second, "at the second server");
    assert!(!first.terminate().success(), "what it could not write out is told");

    let third = serve(a.path(), &seaweed, "two");
    eventually("the refused batch is delivered", Duration::from_secs(60), || left.send(&third));
    left.check(&third, "back at its own directory");
    assert!(third.terminate().success());
    second.kill_now();
    drop(second);
    let last = serve(b.path(), &seaweed, "two");
    left.check(&last, "at the end");
    right.check(&last, "at the end");
}

#[test]
fn what_cannot_work_is_refused_with_the_reason() {
    let Some(seaweed) = Seaweed::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let refused = |url: &str, change: &dyn Fn(&mut Environment)| {
        let mut environment = seaweed.environment();
        change(&mut environment);
        let started = Server::try_start_in(dir.path(), &["--store", url], &environment);
        started.map(|_| ()).expect_err(url)
    };
    let url = format!("s3://{BUCKET}/refused");
    let error = refused(&url, &|env| env[2].1 = "wrong".into());
    assert!(error.contains(&url) && error.contains("AWS_SECRET_ACCESS_KEY"), "{error}");
    let error = refused(&url, &|env| drop(env.remove(2)));
    assert!(error.contains("needs AWS_SECRET_ACCESS_KEY"), "{error}");
    let error = refused("s3://nosuchbucket/p", &|_| ());
    assert!(error.contains("does the bucket exist?"), "{error}");
    let error = refused("file:///tmp/x", &|_| ());
    assert!(error.contains("s3://, gs:// or az://"), "{error}");

    serve(dir.path(), &seaweed, "mine").terminate();
    let error = try_serve(dir.path(), &seaweed, "other").map(|_| ()).unwrap_err();
    assert!(error.contains("is not there any more"), "{error}");
    let error = Server::try_start(dir.path(), &[]).map(|_| ()).unwrap_err();
    assert!(error.contains("--store"), "{error}");
}
