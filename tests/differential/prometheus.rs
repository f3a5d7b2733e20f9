//! A real Prometheus with a data directory of its own.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Side;
use crate::grammar::Question;
use crate::http::Http;
use crate::outcome::Outcome;
use crate::support::peers::peer;
use crate::support::{Background, eventually};

pub(crate) struct Prometheus {
    _process: Background,
    _directory: tempfile::TempDir,
    pub(crate) http: Http,
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
        let http = Http::new(format!("http://{address}"));
        eventually("prometheus is ready", Duration::from_secs(60), || http.is_ready());
        Some(Self { _process: process, _directory: directory, http })
    }
}

impl Side for Prometheus {
    fn ask(&self, question: &Question) -> Outcome {
        self.http.ask(question)
    }
}
