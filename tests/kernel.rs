//! The whole path on real traffic: programs in two network namespaces, the agent in the kernel, the
//! server's history, and PromQL against the programs' own numbers and the kernel's.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../agent/tests/kernel/lab.rs"]
mod lab;
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use lab::{Lab, Link, Namespace};
use support::{WEIR, skip};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/short_connections.py");

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
            if let Some((_, rest)) = line.split_once("PromQL and SQL:") {
                let url = rest.split_whitespace().next().unwrap().to_owned();
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

/// Asks a process to end.
fn terminate(child: &Child) {
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
}

impl Drop for Up {
    fn drop(&mut self) {
        terminate(&self.child);
        let _ = self.child.wait();
    }
}

/// What `iperf3 --json` says that the client handed over and the server got.
fn volumes(report: &str) -> (f64, f64) {
    let report: Value = serde_json::from_str(report).unwrap();
    let bytes = |end: &str| report["end"][end]["bytes"].as_f64().unwrap();
    (bytes("sum_sent"), bytes("sum_received"))
}

fn drop_three_in_a_hundred(end: &Namespace) {
    end.nft("add table inet loss");
    end.nft("add chain inet loss in { type filter hook input priority 0; }");
    end.nft("add rule inet loss in meta l4proto tcp numgen random mod 100 < 3 drop");
}

/// Starts the HTTP server of the short connections and waits until it listens.
fn serve(end: &Namespace, port: &str) -> lab::Running {
    let server = end.start("python3", &[SCRIPT, "server", &end.address.to_string(), port]);
    let filter = format!("sport = :{port}");
    support::eventually("python3 listens", Duration::from_secs(10), || {
        !end.run("ss", &["-ltnH", &filter]).is_empty()
    });
    server
}

#[test]
fn bytes_retransmits_and_timeouts_are_those_of_the_kernel() {
    let tools = ["iperf3", "nft", "nstat", "ethtool"];
    let Some(lab) = Lab::build(&tools, Link::VethSegmented) else { return };
    drop_three_in_a_hundred(&lab.b);
    let up = Up::start();
    let address = lab.b.address.to_string();
    let _server = lab.b.start("iperf3", &["-s", "-1", "-B", &address]);
    std::thread::sleep(Duration::from_millis(500));
    let client = lab.a.start("iperf3", &["-c", &address, "-t", "6", "-b", "100M", "--json"]);
    let (sent, received) = volumes(&client.finish());
    // iperf3's client ends in the middle of a transfer: what it handed over and the server did not
    // read is on its way. Little of it, or the bounds below would say little.
    assert!(received >= sent * 0.99, "iperf3 sent {sent} and received {received}");
    lab.settle();
    std::thread::sleep(Duration::from_millis(2500));

    let ends = [(&lab.a, &lab.b), (&lab.b, &lab.a)].map(|(local, peer)| {
        (local, format!("address=\"{}\",peer_address=\"{}\"", local.address, peer.address))
    });
    let [(_, sender), (_, receiver)] = &ends;
    // What was handed over but not acknowledged when the server closed is not in `tx_bytes`: it lies
    // between what the server got and what the client sent, each to 0.1 %.
    let tx = up.total("flow_tx_bytes_total", sender);
    assert!(received * 0.999 <= tx && tx <= sent * 1.001, "tx {tx}: iperf3 {received} to {sent}");
    let rx = up.total("flow_rx_bytes_total", receiver);
    assert!(received * 0.999 <= rx && rx <= sent * 1.001, "rx {rx}: iperf3 {received} to {sent}");
    for (end, selector) in &ends {
        let retransmits = up.total("flow_retransmits_total", selector);
        let counted = end.counter("TcpRetransSegs") as f64;
        assert_eq!(retransmits, counted, "segments resent by {}", end.name);
    }
    assert!(up.total("flow_retransmits_total", sender) > 100.0, "3 % of 75 MB were lost");
    // The receiver's namespace also counts SYN-ACK timers, which belong to no connection yet.
    let timeouts = up.total("flow_timeouts_total", sender);
    assert_eq!(timeouts, lab.a.counter("TcpExtTCPTimeouts") as f64);
}

/// Over a path with a delay, because between two namespaces of one machine the round trip is the
/// scheduler's whim: its median and the moving average that `ss` shows differ by themselves.
#[test]
fn round_trip_times_are_those_of_ss() {
    let delay = Duration::from_millis(10);
    let Some(lab) = Lab::build(&["iperf3", "nft", "ss"], Link::Delayed(delay)) else { return };
    drop_three_in_a_hundred(&lab.b);
    let up = Up::start();
    let address = lab.b.address.to_string();
    let _server = lab.b.start("iperf3", &["-s", "-1", "-B", &address]);
    std::thread::sleep(Duration::from_millis(500));
    let client = lab.a.start("iperf3", &["-c", &address, "-t", "5", "-b", "20M", "--json"]);
    let mut by_ss: Vec<f64> = Vec::new();
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(100));
        by_ss.extend(smoothed(&lab.a));
    }
    client.finish();
    lab.settle();
    std::thread::sleep(Duration::from_millis(2500));
    by_ss.sort_by(f64::total_cmp);
    let median = by_ss[by_ss.len() / 2];
    let expression = format!(
        "histogram_quantile(0.5, sum by (le) (increase(flow_rtt_seconds_bucket{{address=\"{}\",\
         peer_port=\"5201\"}}[2m])))",
        lab.a.address
    );
    let p50 = up.server.promql(&expression, None).unwrap();
    assert!((p50 / median - 1.0).abs() <= 0.2, "p50 {p50} s, by ss -ti {median} s");
}

/// `rtt:` of the connection that has sent most, by ss(8), seconds.
fn smoothed(end: &Namespace) -> Option<f64> {
    let out = end.run("ss", &["-tinH", "state", "established"]);
    let field = |line: &str, name: &str| -> Option<f64> {
        let fields = &mut line.split_whitespace();
        fields.find_map(|f| f.strip_prefix(name)?.split('/').next()?.parse().ok())
    };
    let sent = |line: &&str| field(line, "bytes_sent:").unwrap_or(0.0) as u64;
    let data = out.lines().filter(|l| l.contains(" rtt:")).max_by_key(sent)?;
    field(data, "rtt:").map(|milliseconds| milliseconds / 1e3)
}

#[test]
fn two_thousand_short_connections_are_all_counted() {
    let Some(lab) = Lab::build(&["python3"], Link::Veth) else { return };
    let up = Up::start();
    let address = lab.b.address.to_string();
    let _server = serve(&lab.b, "8081");
    let text = lab.a.run("python3", &[SCRIPT, "client", &address, "8081", "2000", "10"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    let client = format!("address=\"{}\",peer_port=\"8081\",role=\"client\"", lab.a.address);
    let server = format!("address=\"{}\",port=\"8081\",role=\"server\"", lab.b.address);
    let number = |key: &str| report[key].as_f64().unwrap();
    assert_eq!(number("connections"), 2000.0);
    // Spread over 10 s; on a machine that is too slow for that this test would prove less.
    assert!(number("elapsed") <= 15.0, "2,000 connections took {} s, not 10", number("elapsed"));
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
    let Some(lab) = Lab::build(&["python3"], Link::Veth) else { return };
    let Some(agent) = weir_agent() else { return };
    let dir = tempfile::tempdir().unwrap();
    let listen = format!("127.0.0.1:{}", support::ports::free_port());
    let start = || {
        support::Server::start_on(&dir.path().join("data"), &listen, &["--flush-interval", "1s"])
    };
    let server = start();
    let _agent = support::Background(
        Command::new(agent)
            .args(["--server", &server.url, "--interval", "1s", "--listen", "off", "--spool"])
            .arg(dir.path().join("spool"))
            .spawn()
            .unwrap(),
    );
    let address = lab.b.address.to_string();
    let _http = serve(&lab.b, "8082");
    let connect = |count: &str| {
        lab.a.run("python3", &[SCRIPT, "client", &address, "8082", count, "3"]);
    };
    std::thread::sleep(Duration::from_secs(2));
    connect("50");
    server.kill_now();
    drop(server);
    connect("70");
    // More than ten intervals, with the three that the connections took.
    std::thread::sleep(Duration::from_secs(8));
    let server = start();
    let selector = format!("address=\"{}\",peer_port=\"8082\"", lab.a.address);
    let expression = format!("sum(increase(flow_connects_total{{{selector}}}[2m]))");
    support::eventually("all 120 connections", Duration::from_secs(45), || {
        server.promql(&expression, None).unwrap_or(0.0) >= 120.0
    });
    assert_eq!(server.promql(&expression, None), Some(120.0));
    // The node's own counters come the same way.
    let loopback = "max(weir_interface_rx_bytes_total{netns=\"host\",device=\"lo\"})";
    support::eventually("samples of the agent", Duration::from_secs(20), || {
        server.promql(loopback, None).is_some_and(|bytes| bytes > 0.0)
    });
}

/// An agent is replaced by another in the middle of a transfer: the second goes on from where the connection is,
/// neither from its beginning nor from nothing.
#[test]
fn an_agent_that_starts_in_mid_flow_counts_from_there() {
    let Some(lab) = Lab::build(&["iperf3", "ss"], Link::Veth) else { return };
    let Some(agent) = weir_agent() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = support::Server::start_on(
        &dir.path().join("data"),
        "127.0.0.1:0",
        &["--flush-interval", "1s"],
    );
    let start = || {
        support::Background(
            Command::new(&agent)
                .args(["--server", &server.url, "--interval", "1s", "--listen", "off", "--spool"])
                .arg(dir.path().join("spool"))
                .spawn()
                .unwrap(),
        )
    };
    let mut first = start();
    std::thread::sleep(Duration::from_secs(2));
    let address = lab.b.address.to_string();
    let _server = lab.b.start("iperf3", &["-s", "-1", "-B", &address]);
    std::thread::sleep(Duration::from_millis(500));
    let client = lab.a.start("iperf3", &["-c", &address, "-t", "10", "-b", "40M", "--json"]);
    std::thread::sleep(Duration::from_secs(4));
    terminate(&first.0);
    first.0.wait().unwrap();
    let _second = start();
    let (sent, received) = volumes(&client.finish());
    lab.settle();
    let selector = format!("address=\"{}\",peer_port=\"5201\"", lab.a.address);
    let total = |metric: &str| {
        let expression = format!("sum(increase({metric}{{{selector}}}[2m]))");
        server.promql(&expression, None).unwrap_or(0.0)
    };
    support::eventually("both connections' ends", Duration::from_secs(20), || {
        total("flow_closes_total") >= 2.0
    });
    // Between the two agents, and in the last second, nobody looked.
    let tx = total("flow_tx_bytes_total");
    assert!(tx <= sent * 1.001 && tx >= received * 0.7, "{tx} of {received} to {sent}");
    assert_eq!(total("flow_connects_total"), 2.0, "opened once");
}

/// What is dropped, refused and reset arrives as columns and as labels.
#[test]
fn drops_and_reasons_arrive() {
    let Some(lab) = Lab::build(&["python3", "nft"], Link::Veth) else { return };
    lab.b.nft("add table inet hole");
    lab.b.nft("add chain inet hole in { type filter hook input priority 0; }");
    lab.b.nft("add rule inet hole in udp dport 7201 drop");
    let up = Up::start();
    std::thread::sleep(Duration::from_millis(1500));
    let address = lab.b.address.to_string();
    let script = format!(
        "import socket\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         for _ in range(12): s.sendto(b'x' * 100, ('{address}', 7201))\n\
         for _ in range(3): socket.socket().connect_ex(('{address}', 7202))\n"
    );
    lab.a.run("python3", &["-c", &script]);
    let sent = format!("address=\"{}\",peer_port=\"7201\",role=\"client\"", lab.a.address);
    let refused = format!("address=\"{}\",peer_port=\"7202\",reason=\"refused\"", lab.a.address);
    support::eventually("what was dropped", Duration::from_secs(20), || {
        up.total("flow_drops_total", &sent) > 0.0
    });
    assert_eq!(up.total("flow_drops_total", &sent), 12.0);
    assert_eq!(up.total("flow_connect_failures_total", &refused), 3.0);
    support::eventually("drops by reason", Duration::from_secs(20), || {
        let by_reason =
            "sum(weir_workload_drops_total{reason=\"NETFILTER_DROP\",protocol=\"udp\"})";
        up.server.promql(by_reason, None) >= Some(12.0)
    });
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

/// The resolver's configuration of a namespace (ip-netns(8)); removed when dropped.
struct Resolver(std::path::PathBuf);

impl Resolver {
    fn of(end: &Namespace, server: &str) -> Self {
        let folder = std::path::Path::new("/etc/netns").join(&end.name);
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("nameserver {server}\noptions timeout:1 attempts:1\n");
        std::fs::write(folder.join("resolv.conf"), text).unwrap();
        Self(folder)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        // Gone if it was made for this.
        let _ = std::fs::remove_dir("/etc/netns");
    }
}

/// Asks for each name as programs do, and sends a datagram to each address.
const LOOK_UP: &str = "import socket, sys
for name in sys.argv[1:]:
    try:
        for family, _, _, _, address in socket.getaddrinfo(name, 9999, type=socket.SOCK_DGRAM):
            socket.socket(family, socket.SOCK_DGRAM).sendto(b'x', address)
    except socket.gaierror as error:
        print(name, error)
";

#[test]
fn names_that_workloads_ask_for_are_those_of_their_peers() {
    let Some(lab) = Lab::build(&["python3", "dnsmasq"], Link::Veth) else { return };
    let server = lab.b.address.to_string();
    let _dns = lab.b.start(
        "dnsmasq",
        &[
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--conf-file=/dev/null",
            "--pid-file=",
            "--user=root",
            "--bind-interfaces",
            &format!("--listen-address={server}"),
            "--host-record=one.test,203.0.113.1",
            "--host-record=hosted.test,203.0.113.2",
            "--cname=shop.test,hosted.test",
            "--address=/missing.test/",
        ],
    );
    support::eventually("dnsmasq listens", Duration::from_secs(10), || {
        !lab.b.run("ss", &["-lunH", "sport = :53"]).is_empty()
    });
    // Nobody is there, but there is a way.
    lab.a.run("ip", &["route", "add", "203.0.113.0/24", "via", &server]);
    let _resolver = Resolver::of(&lab.a, &server);
    let up = Up::start();
    lab.a.run("python3", &["-c", LOOK_UP, "one.test", "shop.test", "missing.test"]);
    let sent = |address: &str, domain: &str| {
        let selector = format!("peer_address=\"{address}\",peer_domain=\"{domain}\"");
        up.total("flow_tx_packets_total", &selector)
    };
    support::eventually("flows with names", Duration::from_secs(20), || {
        sent("203.0.113.1", "one.test") > 0.0 && sent("203.0.113.2", "shop.test") > 0.0
    });
    // Not by the name that another name stands for.
    assert_eq!(sent("203.0.113.2", "hosted.test"), 0.0);
    let python = "workload=~\"python.*\"";
    let latest = |metric: &str, selector: &str| {
        let expression = format!("sum({metric}{{{python}{selector}}})");
        up.server.promql(&expression, None).unwrap_or(0.0)
    };
    support::eventually("metrics of questions", Duration::from_secs(20), || {
        latest("weir_dns_answers_total", ",code=\"NXDOMAIN\"") > 0.0
    });
    let asked = latest("weir_dns_questions_total", "");
    let answered = latest("weir_dns_answers_total", "");
    assert!(asked >= 3.0 && (asked - answered).abs() < 0.5, "{asked} asked, {answered} answered");
    assert_eq!(latest("weir_dns_latency_seconds_count", ""), answered);
}
