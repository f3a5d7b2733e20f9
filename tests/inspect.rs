//! `weir inspect`, the real binary, on directories that a real server left.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{Server, WEIR, batch, flows, now_us};

/// Runs `weir inspect`: exit code, standard output and standard error.
fn inspect(dir: &Path, options: &[&str]) -> (i32, String, String) {
    let output = Command::new(WEIR).arg("inspect").arg(dir).args(options).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn inspect_json(dir: &Path, options: &[&str]) -> (i32, Value) {
    let options = [options, &["--json"]].concat();
    let (code, text, error) = inspect(dir, &options);
    (code, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{error}")))
}

/// A history of two rows, drained.
fn history(dir: &Path) {
    let server = Server::start(dir, &[]);
    let rows = flows(now_us() - 60_000_000, &[("web", 5, 1), ("db", 7, 0)]);
    let (status, text) = server.post(&batch("a", 1, &rows)).unwrap();
    assert_eq!(status, 200, "{text}");
    assert!(server.terminate().success());
}

fn data_file(dir: &Path, table: &str) -> PathBuf {
    let mut folders = vec![dir.join("tables").join(table)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|n| n != "_delta_log") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "parquet") {
                return path;
            }
        }
    }
    panic!("`{table}` has no file");
}

#[test]
fn a_sound_history_is_listed() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("data");
    history(&dir);
    let (code, found) = inspect_json(&dir, &[]);
    assert_eq!((code, &found["damage"]), (0, &serde_json::json!([])), "{found}");
    let table = |name: &str| {
        let tables = found["tables"].as_array().unwrap();
        tables.iter().find(|t| t["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    };
    for name in ["flows", "flows_5m", "flows_1h"] {
        let table = table(name);
        assert_eq!((&table["rows"], &table["files"]), (&2.into(), &1.into()), "{name}: {table}");
        let file = &table["list"][0];
        let size = fs::metadata(data_file(&dir, name)).unwrap().len();
        assert_eq!((&file["rows"], &file["bytes"]), (&2.into(), &size.into()));
        assert_eq!(file["times"], table["times"]);
        assert!(dir.join("tables").join(file["path"].as_str().unwrap()).exists());
        let workloads = serde_json::json!({"values": 2, "at_least": false});
        assert_eq!(table["labels"]["workload"], workloads, "{name}");
    }
    let (code, text, error) = inspect(&dir, &["--verify"]);
    assert_eq!(code, 0, "{text}{error}");
    for wanted in ["flows: 1 files", "workload 2", ".parquet: 2 rows", "read and is sound"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn damage_is_told_by_the_exit_code_and_put_aside() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("data");
    history(&dir);
    let path = data_file(&dir, "flows");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(inspect(&dir, &[]).0, 0, "its size is right");
    let (code, text, _) = inspect(&dir, &["--verify"]);
    assert_eq!(code, 1);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(text.contains("DAMAGE") && text.contains(name) && text.contains("2 rows"), "{text}");
    let (code, found) = inspect_json(&dir, &["--repair"]);
    assert_eq!(code, 1);
    assert_eq!(found["damage"][0]["repaired"], "moved to quarantine, and out of the table");
    let quarantine = PathBuf::from(found["quarantine"].as_str().unwrap());
    assert!(quarantine.starts_with(dir.join("quarantine")));
    assert!(quarantine.join(path.strip_prefix(&dir).unwrap()).exists(), "nothing is deleted");
    let (code, found) = inspect_json(&dir, &["--verify"]);
    assert_eq!((code, &found["quarantine"]), (0, &Value::Null), "{found}");
    let server = Server::start(&dir, &[]);
    assert_eq!(server.sql("SELECT count(*) FROM flows")[0][0], 0);
    assert_eq!(server.sql("SELECT sum(tx_bytes) FROM flows_5m")[0][0], 12);
}

#[test]
fn what_cannot_be_told_has_a_code_of_its_own() {
    let tmp = tempfile::tempdir().unwrap();
    let (code, text, error) = inspect(tmp.path(), &["--repair"]);
    assert_eq!((code, text.as_str()), (2, ""));
    assert!(error.contains("no data directory of weir"), "{error}");
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    let dir = tmp.path().join("data");
    let server = Server::start(&dir, &[]);
    for options in [&[][..], &["--verify"], &["--repair"]] {
        let (code, _, error) = inspect(&dir, options);
        assert_eq!(code, 2);
        assert!(error.contains("in use by the process with pid"), "{error}");
    }
    drop(server);
}
