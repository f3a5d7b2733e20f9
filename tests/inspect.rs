//! `weir inspect` as scripts use it: exit codes, words and JSON.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::{Server, WEIR, batch, flows, now_us};

fn inspect(dir: &Path, options: &[&str]) -> Output {
    Command::new(WEIR).arg("inspect").arg(dir).args(options).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A table by its name.
fn table<'a>(found: &'a Value, name: &str) -> &'a Value {
    found["tables"].as_array().unwrap().iter().find(|t| t["name"] == name).unwrap()
}

/// The history of a server that was stopped after two rows.
fn history(dir: &Path) {
    let server = Server::start(dir, &[]);
    let rows = flows(now_us(), &[("shop", 1, 0), ("bank", 20, 0)]);
    let (status, text) = server.post(&batch("b", 0, &rows)).unwrap();
    assert_eq!(status, 200, "{text}");
    assert!(server.terminate().success());
}

/// The one data file of the flows.
fn data_file(dir: &Path) -> PathBuf {
    let found = json(&inspect(dir, &["--json"]));
    let path = table(&found, "flows")["list"][0]["path"].as_str().unwrap();
    assert!(Path::new(path).starts_with(dir), "{found}");
    path.into()
}

#[test]
fn a_sound_history_is_told_in_words_and_in_json() {
    let dir = tempfile::tempdir().unwrap();
    history(dir.path());
    for options in [&[][..], &["--verify"], &["--repair"]] {
        let output = inspect(dir.path(), options);
        assert_eq!(code(&output), 0, "{options:?}: {output:?}");
        let text = said(&output);
        assert!(text.contains("flows: 1 files in 1 partitions, 2 rows"), "{text}");
        assert!(text.contains("workload 2"), "{text}");
        assert_eq!(text.contains("everything was read and is sound"), !options.is_empty());
    }
    let found = json(&inspect(dir.path(), &["--verify", "--json"]));
    let flows = table(&found, "flows");
    assert_eq!((&flows["files"], &flows["rows"]), (&1.into(), &2.into()), "{found}");
    assert_eq!(flows["labels"]["workload"]["values"], 2, "{found}");
    assert_eq!(table(&found, "flows_1h")["rows"], 2, "{found}");
    assert_eq!(found["damage"], Value::Array(Vec::new()), "{found}");
    assert_eq!(found["quarantine"], Value::Null, "{found}");
    assert!(!dir.path().join("quarantine").exists());
}

#[test]
fn damage_is_named_set_aside_and_never_deleted() {
    let dir = tempfile::tempdir().unwrap();
    history(dir.path());
    let path = data_file(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    // A page of the first column.
    bytes[40] ^= 0x10;
    std::fs::write(&path, &bytes).unwrap();
    let name = path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();

    assert_eq!(code(&inspect(dir.path(), &[])), 0, "a list reads no pages");
    let output = inspect(dir.path(), &["--verify"]);
    assert_eq!(code(&output), 1, "{output:?}");
    let text = said(&output);
    assert!(text.contains("DAMAGE ") && text.contains(&name), "{text}");
    assert!(path.exists(), "--verify changes nothing");

    let output = inspect(dir.path(), &["--repair", "--json"]);
    assert_eq!(code(&output), 1, "{output:?}");
    let found = json(&output);
    let damage = &found["damage"][0];
    assert_eq!(damage["rows"], 2, "what is missing from now on: {found}");
    assert!(damage["repaired"].as_str().unwrap().contains("quarantine"), "{found}");
    let quarantine = PathBuf::from(found["quarantine"].as_str().unwrap());
    assert_eq!(std::fs::read(quarantine.join(&name)).unwrap(), bytes);
    assert!(!path.exists());

    assert_eq!(code(&inspect(dir.path(), &["--verify"])), 0, "sound again");
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.sql("SELECT count(*) FROM flows")[0][0], 0);
    assert_eq!(server.sql("SELECT count(*) FROM flows_5m")[0][0], 2, "tiers have their own rows");
}

#[test]
fn what_cannot_be_inspected_is_another_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let output = inspect(&missing, &["--verify"]);
    assert_eq!(code(&output), 2, "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("missing"), "{error}");
    assert!(!missing.exists(), "it reads only");

    let data = dir.path().join("data");
    let server = Server::start(&data, &[]);
    let output = inspect(&data, &["--repair"]);
    assert_eq!(code(&output), 2, "a server has it: {output:?}");
    drop(server);
}
