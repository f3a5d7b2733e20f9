//! A server under test: the real binary, on a port and a directory of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test file uses its part of this module")]

use std::io::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use serde_json::Value;
use weir_wire::Header;

pub(crate) mod answers;
pub(crate) mod peers;
pub(crate) mod ports;
pub(crate) mod seaweed;
pub(crate) mod sender;
pub(crate) mod write;

/// The `weir` binary of this build.
pub(crate) const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// A process that is killed when dropped.
pub(crate) struct Background(pub(crate) Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `weir serve` process; killed when dropped.
pub(crate) struct Server {
    child: Child,
    client: Client,
}

impl std::ops::Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Whoever asks a server.
pub(crate) struct Client {
    pub(crate) url: String,
}

impl Server {
    /// Starts a server on `data` and waits until it listens.
    pub(crate) fn start(data: &Path, options: &[&str]) -> Self {
        Self::try_start(data, options).unwrap_or_else(|error| panic!("server: {error}"))
    }

    /// Starts a server; its standard error if it ends before it listens.
    pub(crate) fn try_start(data: &Path, options: &[&str]) -> Result<Self, String> {
        Self::try_start_in(data, options, &[])
    }

    /// The same with variables in its environment.
    pub(crate) fn try_start_in(
        data: &Path,
        options: &[&str],
        environment: &[(&str, String)],
    ) -> Result<Self, String> {
        Self::listen(data, "127.0.0.1:0", options, environment)
    }

    /// Starts a server on a port that is given.
    pub(crate) fn start_on(data: &Path, listen: &str, options: &[&str]) -> Self {
        Self::listen(data, listen, options, &[]).unwrap_or_else(|error| panic!("server: {error}"))
    }

    fn listen(
        data: &Path,
        listen: &str,
        options: &[&str],
        environment: &[(&str, String)],
    ) -> Result<Self, String> {
        let mut child = Command::new(WEIR)
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .args(options)
            .env("WEIR_LOG", "warn")
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            if let Some((_, url)) = line.split_once(" on http://") {
                let url = format!("http://{}", url.trim());
                // Someone must go on reading, or the server would block on a full pipe.
                std::thread::spawn(move || {
                    lines.for_each(|l| eprintln!("  {}", l.unwrap_or_default()))
                });
                return Ok(Self { child, client: Client { url } });
            }
            said.push_str(&line);
            said.push('\n');
        }
        child.wait().unwrap();
        Err(said)
    }

    /// kill -9, while others may be talking to it.
    pub(crate) fn kill_now(&self) {
        signal(&self.child, "-KILL");
    }

    /// SIGTERM, and the exit status after the drain.
    pub(crate) fn terminate(mut self) -> std::process::ExitStatus {
        signal(&self.child, "-TERM");
        self.child.wait().unwrap()
    }
}

/// Sends a process a signal of kill(1).
pub(crate) fn signal(process: &Child, name: &str) {
    let pid = process.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

impl Client {
    /// Posts a batch: status and body.
    pub(crate) fn post(&self, body: &[u8]) -> Result<(u16, String), ureq::Error> {
        let agent = agent();
        let mut response = agent.post(format!("{}/v1/flows", self.url)).send(body)?;
        let text = response.body_mut().read_to_string()?;
        Ok((response.status().as_u16(), text))
    }

    /// POSTs with headers: status and body.
    pub(crate) fn ask(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let request = agent().post(format!("{}{path}", self.url));
        let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
        let mut response = request.send(body).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    /// GETs a path: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let agent = agent();
        let mut response = agent.get(format!("{}{path}", self.url)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    /// Posts a form: status and body.
    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let agent = agent();
        let mut response =
            agent.post(format!("{}{path}", self.url)).send_form(fields.iter().copied()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (response.status().as_u16(), value)
    }

    /// The rows of an SQL answer.
    pub(crate) fn sql(&self, statement: &str) -> Vec<Vec<Value>> {
        let (status, answer) =
            self.form("/api/v1/sql", &[("query", statement), ("format", "json")]);
        assert_eq!(status, 200, "{statement}: {answer}");
        serde_json::from_value(answer["rows"].clone()).unwrap()
    }

    /// The one value of a PromQL instant query; `None` when the vector is empty.
    pub(crate) fn promql(&self, expression: &str, time: Option<f64>) -> Option<f64> {
        let time = time.unwrap_or_else(|| now_us() as f64 / 1e6).to_string();
        let (status, answer) =
            self.form("/api/v1/query", &[("query", expression), ("time", &time)]);
        assert_eq!(status, 200, "{expression}: {answer}");
        let result = answer["data"]["result"].as_array().unwrap();
        assert!(result.len() <= 1, "{expression}: {answer}");
        result.first().map(|s| s["value"][1].as_str().unwrap().parse().unwrap())
    }
}

/// A client that waits no longer than a minute and returns refusals as answers.
fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Microseconds since the Unix epoch.
pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

/// Flow rows that end at `end`: one per workload name, each with `tx_bytes` and `retransmits`.
pub(crate) fn flows(end: i64, rows: &[(&str, i64, i64)]) -> RecordBatch {
    let n = rows.len();
    let time =
        |t| Arc::new(TimestampMicrosecondArray::from_value(t, n).with_timezone("UTC")) as ArrayRef;
    let text = |s: &str| Arc::new(StringArray::from(vec![s; n])) as ArrayRef;
    let workloads: StringArray = rows.iter().map(|(w, ..)| Some(*w)).collect();
    RecordBatch::try_from_iter([
        ("start", time(end - 1_000_000)),
        ("end", time(end)),
        ("node", text("test")),
        ("workload", Arc::new(workloads) as ArrayRef),
        ("peer_workload", text("peer")),
        ("address", text("10.0.0.1")),
        ("peer_address", text("10.0.0.2")),
        ("protocol", text("tcp")),
        ("role", text("client")),
        ("tx_bytes", Arc::new(rows.iter().map(|r| Some(r.1)).collect::<Int64Array>())),
        ("retransmits", Arc::new(rows.iter().map(|r| Some(r.2)).collect::<Int64Array>())),
    ])
    .unwrap()
}

/// A batch of one sender.
pub(crate) fn batch(boot: &str, sequence: i64, rows: &RecordBatch) -> Vec<u8> {
    let header =
        Header { agent: "test".into(), boot: boot.into(), sequence, losses: Default::default() };
    weir_wire::encode(&header, rows).unwrap()
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A program of this machine, or `None` after saying that the test is skipped. With `WEIR_REQUIRE=1`
/// a missing program fails the test.
pub(crate) fn program(name: &str, probe: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os(format!("WEIR_{}", name.to_uppercase().replace('-', "_")))
        .map_or_else(|| PathBuf::from(name), PathBuf::from);
    let ok = Command::new(&path)
        .args(probe)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success());
    if ok {
        return Some(path);
    }
    skip(&format!("{} is not installed (or fails {probe:?})", path.display()));
    None
}

/// Says that a test is skipped and why; fails it where nothing may be skipped.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("WEIR_REQUIRE").is_none(), "may not be skipped here: {reason}");
    // Past the test harness, which would hide it.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// A Python with the packages of `tests/python/requirements.txt`, see [`program`].
pub(crate) fn python() -> Option<PathBuf> {
    program("python3", &["-c", "import pyarrow, deltalake, polars, duckdb"])
}

/// Runs a command and returns its standard output; panics with its standard error if it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Reads a stream to its end.
pub(crate) fn read_all(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
