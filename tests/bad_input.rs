//! What is wrong gets a clear answer, and the server goes on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{Server, WEIR, batch, flows, now_us, skip};

fn stored_rows(server: &Server) -> i64 {
    server.sql("SELECT count(*) FROM flows")[0][0].as_i64().unwrap()
}

#[test]
fn a_bad_batch_is_refused_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let good = batch("b", 0, &flows(now_us(), &[("w", 1, 0)]));
    assert_eq!(server.post(&good).unwrap().0, 200);
    let cases: [(Vec<u8>, u16, &str); 4] = [
        (good[..good.len() - 30].to_vec(), 400, "cut short"),
        (b"{\"json\": true}".to_vec(), 400, "not an Arrow IPC stream"),
        (
            batch("b", 1, &flows(now_us(), &[("w", 1, 0)]).project(&[0, 1, 2]).unwrap()),
            400,
            "column `workload` is missing",
        ),
        (batch("b", 1, &flows(4_071_000_000_000_000, &[("w", 1, 0)])), 400, "ahead of this server"),
    ];
    for (body, expected, text) in cases {
        let (status, reply) = server.post(&body).unwrap();
        assert_eq!(status, expected, "{reply}");
        assert!(reply.contains(text), "{text}: {reply}");
    }
    assert_eq!(stored_rows(&server), 1);
}

#[test]
fn a_body_of_a_gigabyte_is_refused_by_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = "POST /v1/flows HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // The sender goes on sending; the server answers without waiting for all of it.
    let chunk = vec![0u8; 1 << 20];
    for _ in 0..64 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let mut reply = [0u8; 12];
    stream.read_exact(&mut reply).expect("an answer");
    assert_eq!(&reply, b"HTTP/1.1 413");
    assert_eq!(server.get("/-/healthy").0, 200);
    assert_eq!(server.post(&batch("b", 0, &flows(now_us(), &[("w", 1, 0)]))).unwrap().0, 200);
}

#[test]
fn bad_questions_are_answered_as_prometheus_does() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let (status, answer) =
        server.form("/api/v1/query", &[("query", "sum(rate(flow_tx_bytes_total[5m])")]);
    assert_eq!((status, answer["errorType"].as_str()), (400, Some("bad_data")), "{answer}");
    let (status, answer) = server.form("/api/v1/query", &[("query", "no_such_metric")]);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"]["result"], serde_json::json!([]));
    for statement in [
        "DELETE FROM flows",
        "DROP TABLE flows",
        "INSERT INTO flows SELECT * FROM flows",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "COPY flows TO '/tmp/x.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "SELECT * FROM '/etc/passwd'",
        "SELECT no_such_column FROM flows",
        "SELEC 1",
    ] {
        let (status, answer) = server.form("/api/v1/sql", &[("query", statement)]);
        assert_eq!(status, 400, "{statement}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|e| !e.is_empty()), "{statement}: {answer}");
    }
    assert_eq!(server.get("/-/healthy").0, 200);
}

#[test]
fn a_directory_has_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.post(&batch("b", 0, &flows(now_us(), &[("w", 1, 0)]))).unwrap().0, 200);
    let Err(error) = Server::try_start(dir.path(), &[]) else {
        panic!("two servers, one directory")
    };
    assert!(error.contains(&dir.path().display().to_string()), "{error}");
    assert_eq!(stored_rows(&server), 1);
}

#[test]
fn listening_wide_needs_tokens_or_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(WEIR)
        .args(["serve", "--listen", "0.0.0.0:0", "--data"])
        .arg(dir.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("--token-file"), "{error}");
}

/// Any page of a browser can send a POST to loopback; what is read it does not get to see.
#[test]
fn pages_do_not_write_to_a_server_without_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let body = batch("b", 0, &flows(now_us(), &[("w", 1, 0)]));
    let of_page = [("Origin", "http://evil.example")];
    let (status, text) = server.ask("/v1/flows", &of_page, &body);
    assert_eq!(status, 403, "{text}");
    assert_eq!(server.ask("/v1/flows", &[("Sec-Fetch-Site", "cross-site")], &body).0, 403);
    assert_eq!(stored_rows(&server), 0);
    assert_eq!(server.ask("/api/v1/sql", &of_page, b"SELECT 1").0, 200, "a dashboard may ask");
    assert_eq!(server.post(&body).unwrap().0, 200);
}

#[test]
fn tokens_separate_senders_from_readers() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "agent sender-0123456789abc\nreader reader-0123456789abc\n").unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, &["--token-file", tokens.to_str().unwrap()]);
    assert_eq!(server.get("/-/ready").0, 200);
    assert_eq!(server.get("/api/v1/labels").0, 401);
    assert_eq!(server.post(&batch("b", 0, &flows(now_us(), &[("w", 1, 0)]))).unwrap().0, 401);
    let send = |token: &str| {
        ureq::post(format!("{}/v1/flows", server.url))
            .header("Authorization", format!("Bearer {token}"))
            .send(&batch("b", 0, &flows(now_us(), &[("w", 1, 0)])))
            .map(|r| r.status().as_u16())
    };
    assert_eq!(send("sender-0123456789abc").unwrap(), 200);
    assert!(send("reader-0123456789abc").is_err());
    let output = Command::new(WEIR)
        .args(["sql", "SELECT count(*) AS n FROM flows", "--url", &server.url, "--token-file"])
        .arg(&tokens)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("(1 row)"), "{output:?}");
}

#[test]
fn a_full_disk_refuses_batches_and_heals() {
    let Some(disk) = SmallDisk::mount(12) else { return };
    let server = Server::start(&disk.path().join("data"), &["--flush-interval", "1s"]);
    let mut stored = 0;
    let mut sequence = 0;
    let mut refused = None;
    // Values without pattern, so that compression does not help.
    let mut noise = 1u64;
    let deadline = Instant::now() + Duration::from_secs(120);
    while refused.is_none() && sequence < 2000 {
        assert!(Instant::now() < deadline, "the server neither takes nor refuses batches");
        let names: Vec<String> = (0..2000)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                format!("{noise:016x}{:016x}", noise.rotate_left(17))
            })
            .collect();
        let rows: Vec<_> = names.iter().map(|n| (n.as_str(), 1, 0)).collect();
        match server.post(&batch("b", sequence, &flows(now_us(), &rows))).unwrap() {
            (200, _) => {
                stored += 2000;
                sequence += 1;
            }
            (429, _) => std::thread::sleep(Duration::from_millis(100)),
            other => refused = Some(other),
        }
    }
    let (status, text) = refused.expect("a 12 MiB disk takes less than 2000 batches");
    assert_eq!(status, 503, "{text}");
    assert_eq!(stored_rows(&server), stored, "what was acknowledged is still there");
    disk.grow(256);
    let again = flows(now_us(), &[("after", 1, 0)]);
    support::eventually("batches are taken again", Duration::from_secs(60), || {
        server.post(&batch("b", sequence, &again)).unwrap().0 == 200
    });
    assert!(server.terminate().success());
    let server = Server::start(&disk.path().join("data"), &[]);
    assert_eq!(stored_rows(&server), stored + 1);
}

/// A tmpfs of a few mebibytes, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(mib: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir.path())
            .output()
            .is_ok_and(|o| o.status.success());
        if !mounted {
            skip("mounting a tmpfs needs root");
            return None;
        }
        Some(Self(dir))
    }

    fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    fn grow(&self, mib: u32) {
        let options = format!("remount,size={mib}m");
        support::run(Command::new("mount").args(["-o", &options]).arg(self.path()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
