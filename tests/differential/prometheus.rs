//! A real Prometheus with a data directory of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::data::Series;
use crate::grammar::Question;
use crate::outcome::Outcome;
use crate::support::{Background, eventually, skip};
use crate::{Side, write};

pub(crate) struct Prometheus {
    _process: Background,
    _directory: tempfile::TempDir,
    url: String,
    agent: ureq::Agent,
}

/// A program of those that `tests/unpack-peers` fetches.
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let path = PathBuf::from(home).join(".cache/weir-peers/usr/bin").join(name);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("{} is missing: run tests/unpack-peers", path.display()));
    None
}

impl Prometheus {
    /// Starts one and waits until it answers; `None` where there is none to start.
    pub(crate) fn start() -> Option<Self> {
        let program = peer("prometheus")?;
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("prometheus.yml");
        std::fs::write(&config, "global:\n  evaluation_interval: 1m\n").unwrap();
        let mut child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .args([
                "--web.listen-address=127.0.0.1:0",
                "--web.enable-remote-write-receiver",
                "--enable-feature=promql-experimental-functions",
                // Everything stays in one block, whose series are read in the order of their making.
                "--storage.tsdb.min-block-duration=30d",
                "--storage.tsdb.max-block-duration=30d",
                "--storage.tsdb.retention.time=100y",
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let process = Background(child);
        let mut said = String::new();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            said.push_str(&line);
            said.push('\n');
            let (_, rest) = line.split_once("msg=\"Listening on\"")?;
            Some(rest.split_once("address=")?.1.split_whitespace().next()?.to_owned())
        });
        let Some(address) = address else { panic!("prometheus ended: {said}") };
        // Someone must go on reading, or it would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let url = format!("http://{address}");
        eventually("prometheus is ready", Duration::from_secs(60), || {
            agent.get(format!("{url}/-/ready")).call().is_ok_and(|r| r.status() == 200)
        });
        Some(Self { _process: process, _directory: directory, url, agent })
    }

    /// Writes series by remote write.
    pub(crate) fn load(&self, series: &[Series]) {
        for chunk in series.chunks(50) {
            let mut response = self
                .agent
                .post(format!("{}/api/v1/write", self.url))
                .header("content-encoding", "snappy")
                .header("content-type", "application/x-protobuf")
                .header("x-prometheus-remote-write-version", "0.1.0")
                .send(&write::request(chunk)[..])
                .unwrap();
            let text = response.body_mut().read_to_string().unwrap();
            assert_eq!(response.status(), 204, "{text}");
        }
    }
}

impl Side for Prometheus {
    fn ask(&self, question: &Question) -> Outcome {
        let (path, fields) = question.form();
        let mut response =
            self.agent.post(format!("{}{path}", self.url)).send_form(fields).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        Outcome::of_json(&value)
    }
}
