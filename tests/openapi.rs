//! The API against its document (`/api/v1/openapi.json`): schemathesis makes requests that the document allows, and others
//! that it does not, and compares statuses, media types and bodies with what the document promises.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "dashboards/history.rs"]
mod history;
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use history::MINUTE;
use support::{Server, now_us, program};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const READER: &str = "reader-of-openapi-tests";
const AGENT: &str = "agent-of-openapi-tests";
const ADMIN: &str = "admin-of-openapi-tests";

/// A server with a history that asks for tokens and deletes.
fn server(directory: &Path) -> Server {
    let data = directory.join("data");
    let prices = format!("{HERE}/deploy/prices/aws.toml");
    let open = Server::start(&data, &["--prices", &prices]);
    history::post(&open, now_us() / MINUTE * MINUTE);
    assert!(open.terminate().success());
    let tokens = directory.join("tokens");
    std::fs::write(&tokens, format!("reader {READER}\nagent {AGENT}\nadmin {ADMIN}\n")).unwrap();
    let tokens = tokens.to_str().unwrap();
    Server::start(&data, &["--prices", &prices, "--token-file", tokens, "--admin-api"])
}

/// A Python with what these tests use.
fn python() -> Option<PathBuf> {
    program("python3", &["-c", "import schemathesis, openapi_spec_validator"])
}

/// The server's document, as a file.
fn document(server: &Server, directory: &Path) -> PathBuf {
    let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
    let request = agent.get(format!("{}/api/v1/openapi.json", server.url));
    let mut answer = request.header("authorization", format!("Bearer {READER}")).call().unwrap();
    let path = directory.join("openapi.json");
    std::fs::write(&path, answer.body_mut().read_to_string().unwrap()).unwrap();
    path
}

/// Runs schemathesis on a server, with these arguments beside those of `openapi/schemathesis.toml`.
fn schemathesis(python: &Path, server: &Server, directory: &Path, arguments: &[&str]) -> Output {
    Command::new(python)
        .args(["-c", "from schemathesis.cli import schemathesis; schemathesis()", "--config-file"])
        .arg(format!("{HERE}/tests/openapi/schemathesis.toml"))
        .arg("run")
        .arg(document(server, directory))
        .args(["--no-color"])
        .args(arguments)
        .env("WEIR_HOOKS", format!("{HERE}/tests/openapi/hooks.py"))
        .env("WEIR_URL", &server.url)
        .env("WEIR_READER", READER)
        .env("WEIR_AGENT", AGENT)
        .env("WEIR_ADMIN", ADMIN)
        .current_dir(directory)
        .output()
        .unwrap()
}

/// Fails with what schemathesis has found.
fn nothing_found(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
}

#[test]
fn the_document_is_valid() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let path = document(&server, dir.path());
    support::run(Command::new(python).args(["-m", "openapi_spec_validator"]).arg(path));
}

#[test]
fn queries_do_what_the_document_says() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let arguments = ["--exclude-tag", "Sending", "--exclude-tag", "Deleting"];
    nothing_found(&schemathesis(&python, &server, dir.path(), &arguments));
}

#[test]
fn writes_do_what_the_document_says() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let arguments = ["--include-tag", "Sending", "--include-tag", "Deleting"];
    nothing_found(&schemathesis(&python, &server, dir.path(), &arguments));
}
