//! Frozen data directories: every later version opens them, whole, and answers from them.
//!
//! `tests/fixtures/history-N` is what a server of the time left behind when it was killed: tables with
//! tiers, a deletion that is not over, the list of senders, and batches in the log as they came, bare
//! and in one zstd frame.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{Server, WEIR, batch, flows};
use weir_wire::{Header, encode_stream};

/// 2026-11-22T10:20:00Z, in microseconds.
const TEN: i64 = 1_795_342_800_000_000;
const HOUR: i64 = 3_600_000_000;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The four batches, by sequence. The third tells of losses.
fn body(sequence: i64) -> Vec<u8> {
    match sequence {
        1 => batch("frozen", 1, &flows(TEN, &[("web", 100, 1), ("db", 200, 2)])),
        2 => batch("frozen", 2, &flows(TEN + HOUR, &[("web", 300, 3), ("secret", 400, 4)])),
        3 => {
            let losses = [("ring_drops".to_owned(), 7)].into();
            let header =
                Header { agent: "test".into(), boot: "frozen".into(), sequence: 3, losses };
            weir_wire::encode(&header, &flows(TEN + HOUR, &[("api", 500, 5)])).unwrap()
        }
        _ => {
            let header = Header {
                agent: "test".into(),
                boot: "frozen".into(),
                sequence: 4,
                losses: Default::default(),
            };
            let rows = flows(TEN + 2 * HOUR, &[("web", 600, 6)]);
            zstd::encode_all(encode_stream(&header, &rows).unwrap().as_slice(), 3).unwrap()
        }
    }
}

/// What every version must make of a directory.
fn check(fixture: &str) {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("data");
    copy(&frozen, &dir);
    let inspected = Command::new(WEIR).args(["inspect", "--verify"]).arg(&dir).output().unwrap();
    assert!(inspected.status.success(), "{}", String::from_utf8_lossy(&inspected.stdout));

    for round in ["replayed", "from files"] {
        let server = Server::start(&dir, &["--retention", "off"]);
        let rows = |table: &str| {
            server.sql(&format!(
                "SELECT workload, sum(tx_bytes), sum(retransmits) FROM {table} GROUP BY 1 ORDER BY 1"
            ))
        };
        let row = |workload: &str, bytes: i64, retransmits: i64| {
            vec![Value::from(workload), bytes.into(), retransmits.into()]
        };
        let wanted = [row("api", 500, 5), row("db", 200, 2), row("web", 1000, 10)];
        for table in ["flows", "flows_5m", "flows_1h"] {
            assert_eq!(rows(table), wanted, "{fixture}, {round}: {table}");
        }
        let ends = server.sql("SELECT count(*) FROM flows WHERE workload = 'web'");
        assert_eq!(ends, [[Value::from(3)]]);
        let losses = server.sql("SELECT reason, sum(\"count\") FROM agent_loss WHERE reason IS NOT NULL GROUP BY 1");
        assert_eq!(losses, [["ring_drops".into(), Value::from(7)]], "{fixture}, {round}");
        for sequence in 1..=4 {
            let (status, text) = server.post(&body(sequence)).unwrap();
            assert_eq!(status, 200, "{text}");
            assert!(text.contains("repeated"), "{fixture}, {round}, {sequence}: {text}");
        }
        assert!(server.terminate().success());
    }
}

#[test]
fn a_history_of_before_the_checkpoint_had_positions_is_opened() {
    check("history-1");
}

#[test]
fn a_history_of_this_version_is_opened() {
    check("history-2");
}

/// Writes the fixture of the current version: `WEIR_WRITE_FIXTURE=DIR cargo test --test history`.
#[test]
fn write_fixture() {
    let Some(to) = std::env::var_os("WEIR_WRITE_FIXTURE") else { return };
    let tmp = tempfile::tempdir().unwrap();
    let (dir, tokens) = (tmp.path().join("data"), tmp.path().join("tokens"));
    fs::write(&tokens, "admin a\nagent b\n").unwrap();
    let ok = |server: &Server, path: &str, token: &str, body: &[u8]| {
        let request = ureq::post(format!("{}{path}", server.url));
        let response = request.header("Authorization", format!("Bearer {token}")).send(body);
        assert_eq!(response.unwrap().status(), 200, "{path}");
    };
    let tokens = tokens.to_str().unwrap();
    let options = ["--retention", "off", "--admin-api", "--token-file", tokens];
    let server = Server::start(&dir, &options);
    ok(&server, "/v1/flows", "b", &body(1));
    assert!(server.terminate().success());
    let server = Server::start(&dir, &options);
    ok(&server, "/v1/flows", "b", &body(2));
    let deletion = "/api/v1/admin/delete?match%5B%5D=%7Bworkload%3D%22secret%22%7D";
    ok(&server, deletion, "a", &[]);
    ok(&server, "/v1/flows", "b", &body(3));
    ok(&server, "/v1/flows", "b", &body(4));
    server.kill_now();
    drop(server);
    fs::remove_file(dir.join("LOCK")).unwrap();
    copy(&dir, Path::new(&to));
    for empty in ["tmp", "spill"] {
        let _ = fs::remove_dir_all(Path::new(&to).join(empty));
    }
}
