//! What a user does with the `weir` command: keep, ask, stop.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use support::{Client, Server, WEIR, batch, eventually, flows, now_us, signal};

const DAY_US: i64 = 86_400_000_000;

fn count(server: &Client, table: &str) -> i64 {
    server.sql(&format!("SELECT count(*) FROM {table}"))[0][0].as_i64().unwrap()
}

fn parquet_files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let paths = entries.map(|e| e.unwrap().path());
    paths
        .map(|path| match path.is_dir() {
            true => parquet_files(&path),
            false => usize::from(path.extension().is_some_and(|e| e == "parquet")),
        })
        .sum()
}

#[test]
fn retention_off_keeps_what_is_older_than_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let old = now_us() - 60 * DAY_US;
    let server = Server::start(dir.path(), &["--retention", "off"]);
    for (sequence, end) in [(0, old), (1, now_us())] {
        let body = batch("b", sequence, &flows(end, &[("w", 7, 0)]));
        assert_eq!(server.post(&body).unwrap().0, 200);
    }
    assert!(server.terminate().success());
    let server = Server::start(dir.path(), &["--retention", "off"]);
    assert_eq!(count(&server, "flows"), 2);
    let at = old as f64 / 1e6 + 1.0;
    assert_eq!(server.promql("sum(increase(flow_tx_bytes_total[1m]))", Some(at)), Some(7.0));
    assert!(server.terminate().success());
    // Not for want of looking, which is done every hundredth of the time that rows are kept.
    let server = Server::start(dir.path(), &["--retention", "10m"]);
    eventually("the old row goes", Duration::from_secs(60), || count(&server, "flows") == 1);
}

/// `weir up` on a directory, until it greets.
fn up(dir: &Path) -> (Child, Client) {
    let mut child = Command::new(WEIR)
        // One batch, and that at the end.
        .args(["up", "--listen", "127.0.0.1:0", "--interval", "5m", "--data"])
        .arg(dir)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said = String::new();
    for line in lines.by_ref() {
        said.push_str(&line);
        said.push('\n');
        if let Some((_, rest)) = line.split_once("PromQL and SQL:") {
            let url = rest.split_whitespace().next().unwrap().to_owned();
            // Someone must go on reading, or the process would block on a full pipe.
            std::thread::spawn(move || lines.for_each(|l| eprintln!("  {l}")));
            return (child, Client { url });
        }
    }
    panic!("weir up ended with {:?}: {said}", child.wait());
}

#[test]
fn control_c_delivers_the_last_batch_and_writes_the_history_out() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, server) = up(dir.path());
    // Traffic that the agent sees, whichever way it measures: a connection that stays.
    let mut held = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    held.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    held.read_exact(&mut [0; 15]).unwrap();
    let before = count(&server, "flows");
    let flows = dir.path().join("tables").join("flows");
    assert_eq!(parquet_files(&flows), 0, "nothing is written before the end");
    signal(&child, "-INT");
    assert!(child.wait().unwrap().success(), "Ctrl-C is no failure");

    assert!(parquet_files(&flows) > 0);
    let server = Server::start(dir.path(), &[]);
    assert!(count(&server, "flows") > before, "the last batch is in");
    assert!(count(&server, "agent_loss") > 0, "and says what it lacks");
    let spool = std::fs::read_dir(dir.path().join("agent")).unwrap();
    let waiting = spool.map(|e| e.unwrap().path()).filter(|p| {
        p.extension().is_some_and(|e| e == "batch") && p.metadata().is_ok_and(|m| m.len() > 0)
    });
    assert_eq!(waiting.count(), 0, "nothing waits in the spool");
}

#[test]
fn query_and_sql_print_tables() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let end = now_us();
    let rows = flows(end, &[("web", 600, 3), ("api", 60, 0)]);
    assert_eq!(server.post(&batch("b", 0, &rows)).unwrap().0, 200);
    let weir = |arguments: &[&str]| {
        Command::new(WEIR).args(arguments).args(["--url", &server.url]).output().unwrap()
    };
    let expression = "sum by (workload) (increase(flow_tx_bytes_total[1m]))";
    let output = weir(&["query", expression]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>()).collect();
    assert!(output.status.success(), "{output:?}");
    let expected = ["workload value", "-------- -----", "api 60", "web 600", "(2 rows)"];
    assert_eq!(lines.iter().map(|l| l.join(" ")).collect::<Vec<_>>(), expected, "{text}");

    // Points lie on whole steps: the minute after the rows.
    let at = ((end / 60_000_000 + 1) * 60).to_string();
    let output = weir(&["query", expression, "--at", &at, "--range", "2m", "--step", "1m"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("web") && text.contains("600"), "{text}");

    let statement = "SELECT workload, sum(retransmits) AS n FROM flows GROUP BY 1 ORDER BY 1";
    let output = weir(&["sql", statement]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("web") && text.contains("(2 rows)"), "{output:?}");
    let output = weir(&["sql", statement, "--format", "csv"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "workload,n\r\napi,0\r\nweb,3\r\n");

    for (arguments, why) in [
        (["query", "sum(rate(flow_tx_bytes_total[5m])"], "parse"),
        (["sql", "SELECT nonesuch FROM flows"], "nonesuch"),
    ] {
        let output = weir(&arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert!(error.starts_with("weir: ") && error.contains(why), "{why}: {error}");
    }
    let nobody =
        Command::new(WEIR).args(["query", "1", "--url", "http://127.0.0.1:1"]).output().unwrap();
    let error = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(!nobody.status.success() && error.contains("127.0.0.1:1"), "{error}");
}

/// Senders that are faster than the disk are told to wait, by status and header.
#[test]
fn a_server_with_full_memory_says_when_to_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = Arc::new(Server::start(dir.path(), &["--memtable-mib", "1"]));
    let (stored, full) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let senders: Vec<_> = (0..6)
        .map(|sender| {
            let (server, stored, full) = (server.clone(), stored.clone(), full.clone());
            std::thread::spawn(move || {
                let names: Vec<String> =
                    (0..4000).map(|i| format!("workload-{sender}-{i}")).collect();
                let rows: Vec<_> = names.iter().map(|n| (n.as_str(), 1, 0)).collect();
                let rows = flows(now_us(), &rows);
                let agent: ureq::Agent =
                    ureq::Agent::config_builder().http_status_as_error(false).build().into();
                for sequence in 0..500 {
                    if full.load(Ordering::Relaxed) {
                        return;
                    }
                    let body = batch(&format!("b{sender}"), sequence, &rows);
                    let url = format!("{}/v1/flows", server.url);
                    let mut answer = agent.post(url).send(&body).unwrap();
                    match answer.status().as_u16() {
                        200 => stored.fetch_add(4000, Ordering::Relaxed),
                        429 => {
                            full.store(true, Ordering::Relaxed);
                            let wait = answer.headers().get("retry-after").unwrap();
                            assert_eq!(wait, "1");
                            let text = answer.body_mut().read_to_string().unwrap();
                            assert!(text.contains("faster than they can be written"), "{text}");
                            return;
                        }
                        other => panic!("{other}: {}", answer.body_mut().read_to_string().unwrap()),
                    };
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert!(full.load(Ordering::Relaxed), "4,000 rows at a time never filled a megabyte");
    assert_eq!(count(&server, "flows"), stored.load(Ordering::Relaxed), "no more, no less");
    let late = batch("late", 0, &flows(now_us(), &[("w", 1, 0)]));
    eventually("there is room again", Duration::from_secs(60), || {
        server.post(&late).unwrap().0 == 200
    });
}
