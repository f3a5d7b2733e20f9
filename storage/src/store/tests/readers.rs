//! Other engines read what the store wrote: deltalake, Polars and DuckDB from the Python package
//! index, with the interpreter that `WEIR_PYTHON` names (`python3` otherwise).

use std::io::Write as _;
use std::process::Command;

use super::*;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers.py");

fn python() -> Option<String> {
    let python = std::env::var("WEIR_PYTHON").unwrap_or_else(|_| "python3".into());
    let found =
        Command::new(&python).args(["-c", "import deltalake, polars, duckdb, pyarrow"]).output();
    if found.is_ok_and(|o| o.status.success()) {
        return Some(python);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{python} lacks deltalake, polars, duckdb or pyarrow"
    );
    // Past the test harness, which would hide it.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: {python} lacks deltalake, polars, duckdb or pyarrow (set WEIR_PYTHON)"
    );
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn other_engines_read_the_same_rows() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    // Enough commits for a checkpoint, over three windows and two days.
    for round in 0..55 {
        let rows: Vec<_> = (round * 100..(round + 1) * 100)
            .map(|n| (MIDNIGHT - HOUR + n * 3 * SECOND + 7, ["web", "api", ""][n as usize % 3], n))
            .collect();
        let part = part("flows", batch(&rows));
        store.append(Entry { source: None, parts: vec![part] }).await.unwrap();
        store.flush().await.unwrap();
    }
    let files = store.snapshot("flows").unwrap().files;
    let paths: Vec<_> =
        files.iter().map(|f| dir.path().join("tables").join(f.path.as_ref())).collect();
    let output = Command::new(python)
        .arg(SCRIPT)
        .arg(dir.path().join("tables/flows"))
        .args(paths)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let sum: i64 = (0..5500).sum();
    let wanted = format!(
        "5500 {sum} {} 1834 1834 {} {}",
        2 * sum + 5500,
        MIDNIGHT - HOUR + 7,
        MIDNIGHT - HOUR + 5499 * 3 * SECOND + 7
    );
    for engine in ["polars", "polars-parquet", "deltalake", "duckdb"] {
        assert!(
            text.lines().any(|l| l == format!("{engine} {wanted}")),
            "{engine} {wanted}\n{text}"
        );
    }
    assert!(text.lines().any(|l| l == "dates 5500"), "{text}");
    let second_day = 5500 - 3600 / 3;
    assert!(text.lines().any(|l| l == format!("duckdb-date {second_day}")), "{text}");
}
