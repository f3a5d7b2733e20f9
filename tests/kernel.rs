//! The whole path on real traffic: programs in two network namespaces, the agent in the kernel, the
//! server's history, and PromQL against the programs' own numbers and the kernel's.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use support::netns::Pair;
use support::{WEIR, run, skip};

/// The programs attach to the root of all cgroups: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// `weir up`, asking for a report every second.
struct Up {
    child: Child,
    server: support::Client,
    _dir: tempfile::TempDir,
}

impl Up {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(WEIR)
            .args(["up", "--interval", "1s", "--listen", "127.0.0.1:0", "--data"])
            .arg(dir.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            said.push_str(&line);
            if let Some(at) = line.find("http://") {
                let url = line[at..].split_whitespace().next().unwrap().to_owned();
                std::thread::spawn(move || {
                    lines.for_each(|l| eprintln!("  {}", l.unwrap_or_default()));
                });
                return Self { child, server: support::Client { url }, _dir: dir };
            }
        }
        panic!("weir up ended with {:?}: {said}", child.wait());
    }

    /// Sum over all series of what happened in the last two minutes.
    fn total(&self, metric: &str, selector: &str) -> f64 {
        let expression = format!("sum(increase({metric}{{{selector}}}[2m]))");
        self.server.promql(&expression, None).unwrap_or(0.0)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// An absolute counter of a namespace's network stack.
fn nstat(pair: &Pair, namespace: &str, name: &str) -> f64 {
    let text = run(pair.command(namespace, "nstat").args(["-asz", "-j", name]));
    let value: Value = serde_json::from_str(&text).unwrap();
    value["kernel"][name].as_f64().unwrap()
}

#[test]
fn bytes_retransmits_and_timeouts_are_those_of_the_kernel() {
    let _guard = ONE_AT_A_TIME.lock();
    let Some(pair) = Pair::new(71, &["iperf3", "nft", "nstat", "ss", "ethtool"]) else { return };
    pair.drop_at_input(&pair.b, "meta l4proto tcp numgen random mod 100 < 3");
    let up = Up::start();
    let _server = pair.background(&pair.b, "iperf3", &["-s", "-1", "-B", &pair.address_b]);
    std::thread::sleep(Duration::from_millis(500));
    let client = pair
        .command(&pair.a, "iperf3")
        .args(["-c", &pair.address_b, "-n", "60M", "-b", "100M", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut rtts = Vec::new();
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(100));
        rtts.extend(pair.round_trips(&pair.a, 5201));
    }
    let output = client.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sent = report["end"]["sum_sent"]["bytes"].as_f64().unwrap();
    let received = report["end"]["sum_received"]["bytes"].as_f64().unwrap();
    std::thread::sleep(Duration::from_millis(2500));

    let sender = format!("address=\"{}\",peer_address=\"{}\"", pair.address_a, pair.address_b);
    let receiver = format!("address=\"{}\",peer_address=\"{}\"", pair.address_b, pair.address_a);
    let tx = up.total("flow_tx_bytes_total", &sender);
    assert!((tx - sent).abs() <= sent * 0.001, "tx {tx}, iperf3 sent {sent}");
    let rx = up.total("flow_rx_bytes_total", &receiver);
    assert!((rx - received).abs() <= received * 0.001, "rx {rx}, iperf3 received {received}");
    for (end, selector) in [(&pair.a, &sender), (&pair.b, &receiver)] {
        let retransmits = up.total("flow_retransmits_total", selector);
        assert_eq!(retransmits, nstat(&pair, end, "TcpRetransSegs"), "retransmits at {end}");
        let timeouts = up.total("flow_timeouts_total", selector);
        assert_eq!(timeouts, nstat(&pair, end, "TcpExtTCPTimeouts"), "timeouts at {end}");
    }
    assert!(up.total("flow_retransmits_total", &sender) > 100.0, "3 % of 60 MB were lost");

    rtts.sort_by(f64::total_cmp);
    let median = rtts[rtts.len() / 2];
    let p50 = up
        .server
        .promql(
            &format!(
                "histogram_quantile(0.5, sum by (le) (increase(flow_rtt_seconds_bucket{{{sender},\
                 peer_port=\"5201\"}}[2m])))"
            ),
            None,
        )
        .unwrap()
        * 1e6;
    assert!((p50 - median).abs() <= median * 0.2, "p50 {p50} us, ss -ti {median} us");
}

#[test]
fn two_thousand_short_connections_are_all_counted() {
    let _guard = ONE_AT_A_TIME.lock();
    let Some(pair) = Pair::new(72, &["python3"]) else { return };
    let up = Up::start();
    let script = format!("{}/tests/python/short_connections.py", env!("CARGO_MANIFEST_DIR"));
    let mut server =
        pair.background(&pair.b, "python3", &[&script, "server", &pair.address_b, "8081"]);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "listening");
    let text = run(pair.command(&pair.a, "python3").args([
        &script,
        "client",
        &pair.address_b,
        "8081",
        "2000",
        "10",
    ]));
    let report: Value = serde_json::from_str(&text).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    let client = format!("address=\"{}\",peer_port=\"8081\",role=\"client\"", pair.address_a);
    let server = format!("address=\"{}\",port=\"8081\",role=\"server\"", pair.address_b);
    let number = |key: &str| report[key].as_f64().unwrap();
    for (metric, selector, expected) in [
        ("flow_connects_total", &client, number("connections")),
        ("flow_closes_total", &client, number("connections")),
        ("flow_tx_bytes_total", &client, number("sent")),
        ("flow_rx_bytes_total", &client, number("received")),
        ("flow_connect_failures_total", &client, 0.0),
        ("flow_accepts_total", &server, number("connections")),
        ("flow_tx_bytes_total", &server, number("received")),
        ("flow_rx_bytes_total", &server, number("sent")),
    ] {
        assert_eq!(up.total(metric, selector), expected, "{metric}{{{selector}}}");
    }
    // Both ends run on this host, so each names the other.
    let named = format!("{client},workload=~\"python.*\",peer_workload=~\"python.*\"");
    assert_eq!(up.total("flow_connects_total", &named), number("connections"), "{named}");
}

#[test]
fn the_spool_delivers_what_was_measured_while_the_server_was_away() {
    let _guard = ONE_AT_A_TIME.lock();
    let Some(pair) = Pair::new(73, &["python3"]) else { return };
    let Some(agent) = weir_agent() else { return };
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let start = || {
        support::Server::start_on(&dir.path().join("data"), &listen, &["--flush-interval", "1s"])
    };
    let server = start();
    let url = server.url.clone();
    let agent = support::Background(
        Command::new(agent)
            .args(["--server", &url, "--interval", "1s", "--spool"])
            .arg(dir.path().join("spool"))
            .spawn()
            .unwrap(),
    );
    let script = format!("{}/tests/python/short_connections.py", env!("CARGO_MANIFEST_DIR"));
    let mut http =
        pair.background(&pair.b, "python3", &[&script, "server", &pair.address_b, "8082"]);
    BufReader::new(http.0.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let connect = |count: &str| {
        let arguments = [&script, "client", &pair.address_b, "8082", count, "3"];
        run(pair.command(&pair.a, "python3").args(arguments));
    };
    std::thread::sleep(Duration::from_secs(2));
    connect("50");
    server.kill_now();
    drop(server);
    connect("70");
    std::thread::sleep(Duration::from_secs(2));
    let server = start();
    let selector = format!("address=\"{}\",peer_port=\"8082\"", pair.address_a);
    let expression = format!("sum(increase(flow_connects_total{{{selector}}}[2m]))");
    support::eventually("all 120 connections", Duration::from_secs(45), || {
        server.promql(&expression, None).unwrap_or(0.0) >= 120.0
    });
    assert_eq!(server.promql(&expression, None), Some(120.0));
    drop(agent);
}

/// The `weir-agent` binary beside `weir`; built by the workspace, not by this package alone.
fn weir_agent() -> Option<std::path::PathBuf> {
    let path = std::path::Path::new(WEIR).with_file_name("weir-agent");
    if !path.exists() {
        skip(&format!("{} is not built; cargo test --workspace builds it", path.display()));
        return None;
    }
    Some(path)
}
