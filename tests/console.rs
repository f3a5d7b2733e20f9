//! The console in Chromium, against real servers: `tests/console/views` has what is tested, with Playwright, a file for each
//! of the tests here. One server has a history whose numbers are known (`tests/dashboards/history.rs`), the other one plays the
//! recorded day of the demo; a test starts others itself where it stops them, or wants them slow, empty or closed.
//! Pictures of all views are left in `tests/console/screenshots`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "console/demo.rs"]
mod demo;
#[path = "dashboards/history.rs"]
mod history;
#[path = "console/large.rs"]
mod large;
mod support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use demo::Demo;
use history::MINUTE;
use support::ports::free_port;
use support::{Server, WEIR, now_us, program, skip};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/console");

/// Node.js, and the folder with the packages; `None` after saying what is not there.
fn tools() -> Option<(PathBuf, &'static str)> {
    static PACKAGES: OnceLock<Result<String, String>> = OnceLock::new();
    let node = program("node", &["--test", "--version"])?;
    // As Debian installs it; `CHROMIUM` names another one.
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    program(&chromium, &["--version"])?;
    let packages = PACKAGES.get_or_init(|| {
        let output = Command::new(format!("{HERE}/install")).output().map_err(|e| e.to_string())?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    });
    match packages {
        Ok(folder) => Some((node, folder)),
        Err(error) => {
            skip(&format!("npm cannot install playwright-core and axe-core: {error}"));
            None
        }
    }
}

/// Runs a file of `views` with the two servers.
fn run(file: &str) {
    let Some((node, packages)) = tools() else { return };
    let mut command = Command::new(node);
    command.env("CONSOLE_TESTS", packages);
    run_with(file, command);
}

fn run_with(file: &str, mut node: Command) {
    let folder = tempfile::tempdir().unwrap();
    let prices = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prices/aws.toml");
    let server = Server::start(folder.path(), &["--prices", prices]);
    let end = now_us() / MINUTE * MINUTE;
    history::post(&server, end);
    let demo = Demo::start();
    let (demo_start, demo_end) = demo.bounds();
    let status = node
        .args(["--test", "--test-reporter=spec", &format!("{HERE}/views/{file}.test.mjs")])
        .env("WEIR_BINARY", WEIR)
        .env("WEIR_FREE_PORT", free_port().to_string())
        .env("WEIR_HISTORY_URL", &server.url)
        .env("WEIR_HISTORY_END", (end / 1_000_000).to_string())
        .env("WEIR_DEMO_URL", &demo.client.url)
        .env("WEIR_DEMO_START", demo_start.to_string())
        .env("WEIR_DEMO_END", demo_end.to_string())
        .status()
        .unwrap();
    assert!(status.success(), "tests/console/views/{file}.test.mjs");
}

#[test]
fn overview() {
    run("overview");
}

#[test]
fn flows() {
    run("flows");
}

#[test]
fn map() {
    let Some((node, packages)) = tools() else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    large::post(&server);
    let mut command = Command::new(node);
    command.env("CONSOLE_TESTS", packages).env("WEIR_LARGE_URL", &server.url);
    run_with("map", command);
}

#[test]
fn metrics() {
    run("metrics");
}

#[test]
fn explore() {
    run("explore");
}

#[test]
fn links() {
    run("links");
}

#[test]
fn keyboard() {
    run("keyboard");
}

#[test]
fn looks() {
    run("looks");
}

#[test]
fn states() {
    run("states");
}
