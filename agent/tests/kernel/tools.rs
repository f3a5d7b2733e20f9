//! Well-known tools at work, told by their own numbers and the kernel's.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use weir_agent::bpf::Options;
use weir_agent::socket::{Protocol, SocketState};

use crate::lab::{Lab, Link, Namespace, Running};
use crate::watch::{Seen, Watch, sum};

fn tcp(seen: &Seen, end: &Namespace) -> Vec<SocketState> {
    let wanted = |s: &&SocketState| s.protocol == Protocol::Tcp && s.netns == end.cookie;
    seen.last.iter().filter(wanted).cloned().collect()
}

/// Drops packets on their way in, at random: so many of 100,000.
fn lose(end: &Namespace, of_100_000: u32) {
    end.nft("add table inet loss");
    end.nft("add chain inet loss in { type filter hook input priority 0; }");
    end.nft(&format!(
        "add rule inet loss in meta l4proto tcp numgen random mod 100000 < {of_100_000} drop"
    ));
}

/// `iperf3` with these options, at a loss of so many of 100,000 in both directions.
fn iperf3(options: &[&str], six: bool, of_100_000: u32) {
    let Some(lab) = Lab::build(&["iperf3", "nft", "nstat", "ethtool"], Link::VethSegmented) else {
        return;
    };
    if of_100_000 > 0 {
        lose(&lab.a, of_100_000);
        lose(&lab.b, of_100_000);
    }
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    let address = if six { lab.b.address6.to_string() } else { lab.b.address.to_string() };
    let _server = lab.b.start("iperf3", &["-s", "-1", "-B", &address]);
    thread::sleep(Duration::from_millis(500));
    let mut arguments = vec!["-c", &*address, "-t", "3", "-b", "60M", "--json"];
    arguments.extend(options);
    let client = lab.a.start("iperf3", &arguments);
    let report: Value = serde_json::from_str(&client.finish()).unwrap();
    let seen = watch.stop(&lab);
    let what = format!("{options:?}, {six}, {of_100_000}");
    let (a, b) = (tcp(&seen, &lab.a), tcp(&seen, &lab.b));
    let sent = |sockets: &[SocketState]| sum(&sockets.iter().collect::<Vec<_>>(), |c| c.tx_bytes);
    let received =
        |sockets: &[SocketState]| sum(&sockets.iter().collect::<Vec<_>>(), |c| c.rx_bytes);
    // What a connection that was reset had on its way is known to one end alone.
    let resets = a.iter().chain(&b).any(|s| s.counters.resets > 0);
    if !resets {
        assert_eq!((sent(&a), sent(&b)), (received(&b), received(&a)), "{what}");
    }
    let end = &report["end"];
    let told = |sum: &str| end[sum]["bytes"].as_f64().unwrap_or(0.0);
    let all_sent = told("sum_sent") + told("sum_sent_bidir_reverse");
    let all_received = told("sum_received") + told("sum_received_bidir_reverse");
    let counted = (sent(&a) + sent(&b)) as f64;
    // Beside the streams there are cookies and the control connection; what was handed over and not
    // received when the time was up lies between the two.
    assert!(
        all_received * 0.999 <= counted && counted <= all_sent * 1.001 + 20_000.0,
        "{what}: {counted} of {all_received} to {all_sent}"
    );
    for (sockets, namespace) in [(&a, &lab.a), (&b, &lab.b)] {
        let sockets: Vec<&SocketState> = sockets.iter().collect();
        let retransmits = sum(&sockets, |c| c.retransmits);
        assert_eq!(retransmits, namespace.counter("TcpRetransSegs"), "{what}: {}", namespace.name);
    }
    // The receiver's also counts timers of handshakes, which belong to no socket.
    let clients: Vec<&SocketState> = a.iter().collect();
    let timeouts = sum(&clients, |c| c.timeouts);
    assert_eq!(timeouts, lab.a.counter("TcpExtTCPTimeouts"), "{what}");
    assert!(of_100_000 < 3000 || sum(&clients, |c| c.retransmits) > 0, "{what}");
}

#[test]
fn iperf3_in_parallel_and_reverse() {
    iperf3(&["-P", "4"], false, 0);
    iperf3(&["-R"], false, 100);
}

#[test]
fn iperf3_both_ways_at_once_over_ipv6() {
    iperf3(&["--bidir"], true, 100);
    iperf3(&["--bidir"], false, 3000);
}

#[test]
fn iperf3_at_a_loss_of_a_fifth() {
    iperf3(&[], true, 20_000);
}

/// A web server in the second namespace, which counts for itself.
fn nginx(lab: &Lab, folder: &std::path::Path) -> Running {
    let path = folder.display();
    let text = format!(
        "daemon off; master_process off; pid {path}/pid; error_log stderr crit;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {path}/a;\n\
         proxy_temp_path {path}/b; fastcgi_temp_path {path}/c; uwsgi_temp_path {path}/d;\n\
         scgi_temp_path {path}/e; server {{ listen 8080 backlog=8192; location /status {{ stub_status; }}\n\
         location / {{ return 200 \"{}\"; }} }} }}\n",
        "x".repeat(1000)
    );
    let config = folder.join("nginx.conf");
    std::fs::write(&config, text).unwrap();
    let running = lab.b.start("nginx", &["-c", &config.to_string_lossy()]);
    wait_for(&lab.b, "sport = :8080");
    running
}

fn wait_for(end: &Namespace, filter: &str) {
    for _ in 0..100 {
        if !end.run("ss", &["-ltnH", filter]).is_empty() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("nobody listens: {filter}");
}

/// `wrk` for some seconds: every connection that nginx accepted is seen at both ends, or counted as lost.
fn wrk(header: &str, seconds: &str, connections: &str) {
    let Some(lab) = Lab::build(&["nginx", "wrk", "ss", "python3"], Link::Veth) else { return };
    let folder = tempfile::tempdir().unwrap();
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    let _server = nginx(&lab, folder.path());
    let url = format!("http://{}:8080/", lab.b.address);
    let arguments = ["-t", "1", "-c", connections, "-d", seconds, "-H", header, &url];
    let said = lab.a.run("wrk", &arguments);
    let status = format!(
        "import urllib.request; print(urllib.request.urlopen('{url}status').read().decode())"
    );
    let status = lab.a.run("python3", &["-c", &status]);
    let counts = status.lines().nth(2).unwrap().split_whitespace();
    let counts: Vec<u64> = counts.map(|n| n.parse().unwrap()).collect();
    let [accepted, _, requests] = counts[..] else { panic!("{status}") };
    let seen = watch.stop(&lab);
    let (clients, servers) = (tcp(&seen, &lab.a), tcp(&seen, &lab.b));
    let lost = seen.map_insert_failures + seen.ring_drops;
    eprintln!("{accepted} connections, {requests} requests, {lost} lost; {said}");
    let total = |sockets: &[SocketState], of: fn(&SocketState) -> u64| -> u64 {
        sockets.iter().map(of).sum()
    };
    let accepts = total(&servers, |s| s.counters.accepts);
    assert!(
        accepts <= accepted && accepted <= accepts + lost,
        "{accepts} of {accepted}, {lost} lost"
    );
    if lost == 0 {
        assert_eq!(accepts, accepted);
        let connects = total(&clients, |s| s.counters.connects);
        // Some may have been under way when the time was up.
        let failed = total(&clients, |s| s.counters.connect_failures);
        assert!(
            connects >= accepts && connects - failed <= accepts,
            "{connects} {failed} {accepts}"
        );
        // Each answer has a thousand bytes and a head.
        let received = total(&clients, |s| s.counters.rx_bytes);
        assert!(received >= (requests - requests / 100) * 1000, "{received} for {requests}");
    }
}

#[test]
fn nginx_counts_the_same_connections() {
    wrk("Connection: keep-alive", "3s", "16");
}

/// As fast as this machine can.
#[test]
fn a_storm_of_short_connections_is_seen_or_counted_as_lost() {
    wrk("Connection: close", "20s", "64");
}

#[test]
fn redis_counts_the_same_bytes_and_connections() {
    let Some(lab) = Lab::build(&["redis-server", "redis-benchmark", "redis-cli", "ss"], Link::Veth)
    else {
        return;
    };
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    let address = lab.b.address.to_string();
    let arguments = ["--bind", &address, "--port", "6379", "--save", "", "--protected-mode", "no"];
    let server = lab.b.start("redis-server", &arguments);
    wait_for(&lab.b, "sport = :6379");
    let at = ["-h", &address, "-p", "6379"];
    let benchmark = [&at[..], &["-q", "-c", "20", "-n", "20000", "-d", "300", "-t", "set,get"]];
    lab.a.run("redis-benchmark", &benchmark.concat());
    let info = lab.a.run("redis-cli", &[&at[..], &["info", "stats"]].concat());
    drop(server);
    let seen = watch.stop(&lab);
    let told = |name: &str| -> u64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().parse().unwrap()
    };
    let servers = tcp(&seen, &lab.b);
    let servers: Vec<&SocketState> = servers.iter().collect();
    assert_eq!(sum(&servers, |c| c.accepts), told("total_connections_received"));
    // The answer to the question itself is not in it.
    let (read, written) = (sum(&servers, |c| c.rx_bytes), sum(&servers, |c| c.tx_bytes));
    assert_eq!(read, told("total_net_input_bytes"));
    let answer = info.len() as u64;
    let without = written - told("total_net_output_bytes");
    assert!((answer..answer + 100).contains(&without), "{without} for an answer of {answer}");
}

/// PostgreSQL's own programs, which Debian keeps in a folder for each version.
fn postgresql() -> Option<String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let folder = versions.map(|entry| entry.path().join("bin")).max()?;
    Some(folder.to_string_lossy().into_owned())
}

/// pgbench, with a connection for each transaction and with some that stay: as many connections as the kernel
/// opened, and at each end what the other end sent.
#[test]
fn pgbench_with_new_connections_and_with_old_ones() {
    let tools = ["pgbench", "setpriv", "ss", "nstat"];
    let Some(lab) = Lab::build(&tools, Link::Veth) else { return };
    let Some(bin) = postgresql() else {
        assert!(std::env::var_os("WEIR_REQUIRE_KERNEL").is_none(), "PostgreSQL is missing");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").to_string_lossy().into_owned();
    lab.b.run("chown", &["postgres", &folder.path().to_string_lossy()]);
    let as_postgres = ["--reuid=postgres", "--regid=postgres", "--clear-groups"];
    let initdb = [format!("{bin}/initdb"), "-D".into(), data.clone(), "-A".into(), "trust".into()];
    let initdb: Vec<&str> = as_postgres.into_iter().chain(initdb.iter().map(|s| &**s)).collect();
    lab.b.run("setpriv", &initdb);
    std::fs::write(folder.path().join("data/pg_hba.conf"), "host all all all trust\n").unwrap();
    let address = lab.b.address.to_string();
    let program = format!("{bin}/postgres");
    let options =
        [&*program, "-D", &data, "-h", &address, "-k", "", "-c", "fsync=off", "-c", "jit=off"];
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    let options: Vec<&str> = as_postgres.into_iter().chain(options).collect();
    let _server = lab.b.start("setpriv", &options);
    wait_for(&lab.b, "sport = :5432");
    let opened = lab.a.counter("TcpActiveOpens");
    let pgbench = |options: &[&str]| {
        let fixed = ["-h", &address, "-U", "postgres"];
        lab.a.run("pgbench", &[&fixed, options, &["postgres"]].concat())
    };
    pgbench(&["-i", "-q", "-s", "1"]);
    let said = pgbench(&["-n", "-C", "-c", "4", "-t", "100"]);
    assert!(said.contains("400/400"), "{said}");
    pgbench(&["-n", "-c", "8", "-T", "3"]);
    let opened = lab.a.counter("TcpActiveOpens") - opened;
    let seen = watch.stop(&lab);
    let (clients, servers) = (tcp(&seen, &lab.a), tcp(&seen, &lab.b));
    let clients: Vec<&SocketState> = clients.iter().collect();
    let servers: Vec<&SocketState> = servers.iter().collect();
    assert!(opened > 408, "{opened}");
    assert_eq!((sum(&clients, |c| c.connects), sum(&servers, |c| c.accepts)), (opened, opened));
    assert_eq!(sum(&clients, |c| c.tx_bytes), sum(&servers, |c| c.rx_bytes));
    assert_eq!(sum(&servers, |c| c.tx_bytes), sum(&clients, |c| c.rx_bytes));
    assert!(sum(&clients, |c| c.tx_bytes) > 100_000);
    assert_eq!(sum(&clients, |c| c.connect_failures + c.resets), 0);
}
