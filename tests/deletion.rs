//! Deleting over HTTP: who may, and what is left.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Server, batch, flows, now_us};

const AGENT: &str = "agent-0123456789abcdef";
const READER: &str = "reader-0123456789abcdef";
const ADMIN: &str = "admin-0123456789abcdef";

fn tokens(dir: &Path) -> PathBuf {
    let path = dir.join("tokens");
    std::fs::write(&path, format!("agent {AGENT}\nreader {READER}\nadmin {ADMIN}\n")).unwrap();
    path
}

fn start(dir: &Path, more: &[&str]) -> Server {
    let tokens = tokens(dir);
    let options = [&["--token-file", tokens.to_str().unwrap()], more].concat();
    Server::start(&dir.join("data"), &options)
}

/// POSTs with a token: status and body.
fn ask(server: &Server, path: &str, token: &str, body: &[u8]) -> (u16, String) {
    server.ask(path, &[("Authorization", &format!("Bearer {token}"))], body)
}

/// Workloads of all flows in SQL, and the bytes of all by PromQL.
fn seen(server: &Server) -> (Vec<String>, Option<String>) {
    let statement = b"SELECT workload FROM flows ORDER BY 1";
    let (status, text) = ask(server, "/api/v1/sql?format=json", READER, statement);
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let rows: Vec<(String,)> = serde_json::from_value(answer["rows"].clone()).unwrap();
    let query = "/api/v1/query?query=sum(increase(flow_tx_bytes_total[5m]))";
    let (status, text) = ask(server, query, READER, b"");
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let sum = answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned);
    (rows.into_iter().map(|(name,)| name).collect(), sum)
}

const DELETE: &str = "/api/v1/admin/delete?match[]=%7Bworkload%3D%22secret%22%7D";

#[test]
fn an_admin_deletes_rows_and_nobody_sees_them_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), &["--admin-api"]);
    let rows = flows(now_us(), &[("kept", 1, 0), ("secret", 20, 0)]);
    let (status, text) = ask(&server, "/v1/flows", AGENT, &batch("b", 0, &rows));
    assert_eq!(status, 200, "{text}");
    let all = (vec!["kept".to_owned(), "secret".to_owned()], Some("21".to_owned()));
    assert_eq!(seen(&server), all);

    for token in [AGENT, READER, "nobody-0123456789abcdef"] {
        assert_eq!(ask(&server, DELETE, token, b"").0, 401, "{token}");
    }
    assert_eq!(server.ask(DELETE, &[], b"").0, 401);
    assert_eq!(ask(&server, "/api/v1/admin/clean", READER, b"").0, 401);
    assert_eq!(seen(&server), all);

    let (status, text) = ask(&server, DELETE, ADMIN, b"");
    assert_eq!(status, 200, "{text}");
    let left = (vec!["kept".to_owned()], Some("1".to_owned()));
    assert_eq!(seen(&server), left, "at once");
    for tier in ["flows_5m", "flows_1h"] {
        let statement = format!("SELECT sum(tx_bytes) FROM {tier}");
        let (_, text) = ask(&server, "/api/v1/sql?format=csv", READER, statement.as_bytes());
        assert!(text.trim_end().ends_with("\n1"), "{tier}: {text}");
    }
    server.kill_now();
    drop(server);
    let server = start(dir.path(), &["--admin-api"]);
    assert_eq!(seen(&server), left, "after a kill");
    assert_eq!(ask(&server, "/api/v1/admin/clean", ADMIN, b"").0, 200);
    assert_eq!(seen(&server), left, "off the disk");

    // A tier alone cannot lose what the rows still say.
    let (status, text) = ask(&server, &format!("{DELETE}&table=flows_1h"), ADMIN, b"");
    assert!(status == 400 && text.contains("name both"), "{status}: {text}");
}

#[test]
fn without_the_option_or_tokens_there_is_no_admin_api() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), &[]);
    for path in [DELETE, "/api/v1/admin/tsdb/delete_series", "/api/v1/admin/clean"] {
        assert_eq!(ask(&server, path, ADMIN, b"").0, 404, "{path}");
    }
    let other = tempfile::tempdir().unwrap();
    let Err(error) = Server::try_start(other.path(), &["--admin-api"]) else {
        panic!("whoever reaches it deletes");
    };
    assert!(error.contains("without tokens") && error.contains("--token-file"), "{error}");
}
