//! `promtool query` works against the server.

mod support;

use std::process::Command;

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
