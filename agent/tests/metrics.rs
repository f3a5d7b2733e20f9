//! The metrics endpoint of a running agent, as a scraper and as the server see it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use weir_agent::metrics::Listen;
use weir_agent::{Choice, Config, Handle, spawn};

/// Takes every request with 204, and tells which paths were asked for and how long the bodies were.
fn server() -> (SocketAddr, Receiver<(String, usize)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut read = Vec::new();
                let mut buffer = [0; 65536];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    read.extend(&buffer[..length]);
                    let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") else {
                        continue;
                    };
                    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
                    let field = |name: &str| head.lines().find_map(|l| l.strip_prefix(name));
                    let body = field("content-length: ").map_or(0, |n| n.parse().unwrap());
                    if read.len() < end + 4 + body {
                        continue;
                    }
                    let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
                    let _ = tell.send((path, body));
                    read.drain(..end + 4 + body);
                    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
                }
            });
        }
    });
    (address, told)
}

fn start(server: SocketAddr, spool: &std::path::Path) -> Handle {
    let listen =
        Listen { address: "127.0.0.1:0".parse().unwrap(), token_file: None, insecure: false };
    spawn(Config {
        interval: Duration::from_secs(1),
        listen: Some(listen),
        samples: true,
        // Without privileges, so that it runs everywhere.
        source: Choice::SockDiag,
        ..Config::new(format!("http://{server}"), spool)
    })
    .unwrap()
}

fn scrape(agent: &Handle, accept: &str) -> String {
    let mut stream = TcpStream::connect(agent.metrics_address().unwrap()).unwrap();
    let head = format!(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The value of a series that begins so.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn scrapers_and_the_server_see_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (address, told) = server();
    let agent = start(address, dir.path());
    let loopback = "weir_interface_rx_bytes_total{netns=\"host\",device=\"lo\"}";
    let until = Instant::now() + Duration::from_secs(20);
    let mut first = scrape(&agent, "text/plain");
    while value(&first, "weir_agent_intervals_total").is_none_or(|n| n < 1.0)
        || value(&first, loopback).is_none()
    {
        assert!(Instant::now() < until, "{first}");
        thread::sleep(Duration::from_millis(200));
        first = scrape(&agent, "text/plain");
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..1000 {
        socket.send_to(&[0; 1000], address).unwrap();
    }
    let before = value(&first, loopback).unwrap();
    loop {
        let now = scrape(&agent, "text/plain");
        // Any number of scrapers: the first one took nothing away.
        if value(&now, loopback).unwrap() >= before + 1e6 {
            break;
        }
        assert!(Instant::now() < until, "{now}");
        thread::sleep(Duration::from_millis(200));
    }
    for what in ["weir_tcp_retransmitted_segments_total{netns=\"host\"}", "weir_agent_rows_total"] {
        assert!(value(&first, what).is_some(), "{what}: {first}");
    }
    assert!(first.contains("weir_agent_source_info{source=\"sock_diag\"} 1\n"), "{first}");
    let open = scrape(&agent, "application/openmetrics-text");
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE weir_agent_rows counter\n"));
    check(&first);
    let (mut flows, mut samples) = (0, 0);
    while flows == 0 || samples < 2 {
        let (path, length) = told.recv_timeout(Duration::from_secs(10)).unwrap();
        match path.as_str() {
            "/v1/flows" => flows += 1,
            "/api/v1/write" => samples += 1,
            other => panic!("{other}"),
        }
        assert!(length > 100, "{path} {length}");
    }
    agent.stop();
}

/// By Prometheus' own tool, if it is there.
fn check(text: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Ok(promtool) => promtool,
        Err(error) => {
            let required = std::env::var_os("WEIR_REQUIRE").is_some_and(|v| v == "1");
            assert!(!required, "WEIR_REQUIRE=1, but no promtool: {error}");
            eprintln!("skipped: no promtool: {error}");
            return;
        }
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = promtool.wait_with_output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));
}
