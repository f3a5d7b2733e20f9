//! `promtool query` works against the server.

mod support;

use std::process::Command;

use support::write::{Series, request};
use support::{Server, batch, flows, now_us, program, run};

#[test]
fn promtool_asks_instant_and_range() {
    let Some(promtool) = program("promtool", &["--version"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    // In whole milliseconds, as promtool passes times on: a row must not end after the query.
    let now = now_us() / 1000 * 1000;
    for sequence in 0..6 {
        let end = now - (5 - sequence) * 10_000_000;
        let rows = flows(end, &[("nginx", 1000, 1), ("curl", 50, 0)]);
        assert_eq!(server.post(&batch("b", sequence, &rows)).unwrap().0, 200);
    }
    let time = format!("{:.3}", now as f64 / 1e6);
    let expression = "sum by (workload) (increase(flow_tx_bytes_total[1m]))";
    let instant = run(Command::new(&promtool).args([
        "query",
        "instant",
        "--time",
        &time,
        &server.url,
        expression,
    ]));
    assert!(instant.contains(r#"{workload="nginx"} => 6000 @"#), "{instant}");
    assert!(instant.contains(r#"{workload="curl"} => 300 @"#), "{instant}");
    let start = format!("{:.3}", (now - 30_000_000) as f64 / 1e6);
    let range = run(Command::new(&promtool).args([
        "query",
        "range",
        "--start",
        &start,
        "--end",
        &time,
        "--step",
        "10s",
        &server.url,
        "sum(rate(flow_tx_bytes_total{workload=\"nginx\"}[10s]))",
    ]));
    assert_eq!(range.matches("100 @[").count(), 4, "{range}");
    let labels = run(Command::new(&promtool).args(["query", "labels", &server.url, "workload"]));
    assert!(labels.contains("curl") && labels.contains("nginx"), "{labels}");
    let selector = r#"flow_tx_bytes_total{workload="nginx"}"#;
    let series =
        run(Command::new(&promtool).args(["query", "series", "--match", selector, &server.url]));
    assert!(series.contains(r#"peer_workload="peer""#), "{series}");
}

#[test]
fn promtool_asks_for_samples() {
    let Some(promtool) = program("promtool", &["--version"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let now = now_us() / 1000;
    let ended = f64::from_bits(weir_storage::series::STALE);
    let one = |code: &str, job: &str, last: f64| {
        let labels = [("__name__", "requests_total"), ("code", code), ("job", job)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let mut samples: Vec<(i64, f64)> =
            (0..60).map(|i| (now - (60 - i) * 10_000, (i * 10) as f64)).collect();
        samples.push((now, last));
        Series { labels, samples }
    };
    let body = request(&[
        one("200", "a", 600.0),
        one("200", "b", 600.0),
        one("404", "a b", 600.5),
        one("500", "a", ended),
    ]);
    let headers = [("content-encoding", "snappy"), ("content-type", "application/x-protobuf")];
    assert_eq!(server.ask("/api/v1/write", &headers, &body), (204, String::new()));
    let query = |kind: &[&str], rest: &[&str]| {
        let url = [server.url.as_str()];
        run(Command::new(&promtool).arg("query").args(kind).args(url).args(rest))
    };
    let time = format!("{:.3}", now as f64 / 1e3);
    let instant = ["instant", "--time", &time];
    let rates = query(&instant, &["sum by (code) (rate(requests_total[1m]))"]);
    let codes = rates.lines().map(|line| line.split(" => ").next().unwrap()).collect::<Vec<_>>();
    assert_eq!(codes, [r#"{code="200"}"#, r#"{code="404"}"#, r#"{code="500"}"#], "{rates}");
    assert!(rates.contains(r#"{code="200"} => 2 @["#), "{rates}");
    let newest = query(&instant, &[r#"requests_total{job="a"}"#]);
    // What has ended is not there.
    assert_eq!(newest.lines().count(), 1, "{newest}");
    assert!(newest.starts_with(r#"requests_total{code="200", job="a"} => 600 @["#), "{newest}");
    assert!(query(&instant, &["requests_total == 600.5"]).contains(r#"job="a b"} => 600.5"#));
    let window = query(&instant, &[r#"requests_total{code="404"}[20s]"#]);
    assert_eq!(window.matches(" @[").count(), 2, "{window}");
    let start = format!("{:.3}", (now - 30_000) as f64 / 1e3);
    let range = ["range", "--start", &start, "--end", &time, "--step", "10s"];
    let counts = query(&range, &["count(requests_total)"]);
    let counts: Vec<&str> =
        counts.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(counts, ["4", "4", "4", "3"], "the last step is after the end of one series");
    let labels = query(&["labels"], &["job"]);
    assert_eq!(labels.split_whitespace().collect::<Vec<_>>().join(" "), "a a b b", "{labels}");
    let series = query(&["series", "--match", r#"{__name__="requests_total", code=~"2.*"}"#], &[]);
    assert_eq!(series.lines().count(), 2, "{series}");
    assert!(series.contains(r#"code="200", job="b""#), "{series}");
}

#[test]
fn promtool_accepts_the_servers_own_metrics() {
    let Some(promtool) = program("promtool", &["--version"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    let file = dir.path().join("metrics.txt");
    std::fs::write(&file, text).unwrap();
    run(Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(file).unwrap()));
}
