//! The systems that are compared: each a process of its own with a directory of its own.
//!
//! | system | acknowledges | settled means |
//! |---|---|---|
//! | Weir | what is synced to disk | everything in files, windows that are over compacted |
//! | VictoriaMetrics | what is in memory; on disk within 5 s | in-memory parts flushed, forced merge |
//! | Prometheus | what is written to its log, not synced | head compacted, blocks compacted |

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weir_storage::{Clock, Store};

use super::cost::{cpu_of, memory_of, size_of};

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Weir,
    Victoria,
    Prometheus,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Weir, Self::Prometheus, Self::Victoria];

    /// As settings name it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Victoria => "victoria",
            Self::Prometheus => "prometheus",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Weir => "Weir",
            Self::Victoria => "VictoriaMetrics",
            Self::Prometheus => "Prometheus",
        }
    }

    /// Its program; a peer's is where `tests/unpack-peers` puts it.
    fn program(self) -> PathBuf {
        let name = match self {
            Self::Weir => return env!("CARGO_BIN_EXE_weir").into(),
            Self::Victoria => "victoria-metrics",
            Self::Prometheus => "prometheus",
        };
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        home.join(".cache/weir-peers/usr/bin").join(name)
    }

    /// Fetches the peers unless they are there.
    pub(crate) fn fetch_peers() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/unpack-peers");
        let status = Command::new(script).status().expect("tests/unpack-peers runs");
        assert!(status.success(), "tests/unpack-peers cannot fetch Prometheus and VictoriaMetrics");
    }

    /// Its version.
    pub(crate) fn version(self) -> String {
        match self {
            Self::Weir => env!("CARGO_PKG_VERSION").to_owned(),
            Self::Prometheus => {
                said(Command::new(self.program()).arg("--version"), "version ", char::is_whitespace)
            }
            // The program does not know it, the changelog of its package does.
            Self::Victoria => {
                let log = "../share/doc/victoria-metrics/changelog.Debian.gz";
                let log = self.program().with_file_name(log);
                said(Command::new("gzip").arg("-cd").arg(log), "(", |c| c == ')')
            }
        }
    }
}

/// What a command says between two marks.
fn said(command: &mut Command, after: &str, until: impl Fn(char) -> bool) -> String {
    let output = command.output().map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    let found = output.ok().and_then(|text| {
        let (_, rest) = text.split_once(after)?;
        rest.split(until).next().map(str::to_owned)
    });
    found.unwrap_or_else(|| "of unknown version".to_owned())
}

/// A running system; killed when dropped.
pub(crate) struct System {
    pub(crate) kind: Kind,
    dir: PathBuf,
    child: Child,
    /// `HOST:PORT`
    pub(crate) address: String,
}

impl System {
    /// Starts it on a directory, which may have data already, and waits until it is ready.
    pub(crate) fn start(kind: Kind, dir: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let address = free.expect("a free port").to_string();
        let log = File::options().create(true).append(true).open(dir.join("log"));
        let log = log.expect("a file for its messages");
        let mut command = Command::new(kind.program());
        let data = dir.join("data");
        let path = data.display();
        match kind {
            Kind::Weir => command
                .args(["serve", "--retention", "off", "--query-max-samples", "2000000000"])
                .args(["--listen", &address])
                .arg(format!("--data={path}"))
                .env("WEIR_LOG", "warn"),
            Kind::Victoria => command
                .arg(format!("-storageDataPath={path}"))
                .arg(format!("-httpListenAddr={address}"))
                .args([
                    "-retentionPeriod=100y",
                    "-loggerLevel=ERROR",
                    "-search.maxUniqueTimeseries=2000000",
                    "-search.maxSamplesPerQuery=4000000000",
                    "-search.maxQueryDuration=10m",
                ]),
            Kind::Prometheus => {
                let config = dir.join("prometheus.yml");
                fs::write(&config, "global:\n  evaluation_interval: 1m\n").expect("a file");
                command
                    .arg(format!("--config.file={}", config.display()))
                    .arg(format!("--storage.tsdb.path={path}"))
                    .arg(format!("--web.listen-address={address}"))
                    .args([
                        "--web.enable-remote-write-receiver",
                        "--web.enable-admin-api",
                        "--storage.tsdb.retention.time=100y",
                        "--query.max-samples=2000000000",
                        "--query.timeout=10m",
                        "--log.level=error",
                    ])
            }
        };
        let error = log.try_clone().expect("a second handle");
        let child = command.stdout(Stdio::from(log)).stderr(Stdio::from(error)).spawn();
        let child = child.unwrap_or_else(|e| panic!("{} does not start: {e}", kind.name()));
        let system = Self { kind, dir: dir.to_owned(), child, address };
        system.wait("it is ready", || {
            ureq::get(system.url("/-/ready")).call().is_ok_and(|r| r.status() == 200)
        });
        system
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn wait(&self, what: &str, mut done: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !done() {
            assert!(
                begin.elapsed() < PATIENCE,
                "{}: not within {PATIENCE:?}: {what}; see {}",
                self.kind.name(),
                self.dir.join("log").display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Calls an endpoint that does something.
    fn call(&self, path: &str) -> String {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
        let answer = agent.post(self.url(path)).send_empty();
        let mut answer = answer.unwrap_or_else(|e| panic!("{path}: {e}"));
        answer.body_mut().read_to_string().expect("an answer")
    }

    /// A metric of the system about itself, all of its series together.
    fn metric(&self, name: &str) -> f64 {
        let mut answer = ureq::get(self.url("/metrics")).call().expect("its metrics");
        let text = answer.body_mut().read_to_string().expect("text");
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit_once(' ')?.1.parse::<f64>().ok())?
        });
        values.sum()
    }

    /// Makes what it has permanent, and its form on disk what it is in the long run; starts it again,
    /// so that none still holds the memory of writing. Bytes on disk, what is needed to answer.
    pub(crate) fn settle(self) -> (Self, u64) {
        let (kind, dir) = (self.kind, self.dir.clone());
        let data = dir.join("data");
        match kind {
            Kind::Weir => {
                self.stop();
                compact(&data);
                let log = size_of(&data.join("wal"));
                let bytes = size_of(&data);
                assert!(log * 50 < bytes.max(1 << 20), "{log} of {bytes} bytes are log");
                (Self::start(kind, &dir), bytes)
            }
            Kind::Victoria => {
                self.call("/internal/force_flush");
                self.call("/internal/force_merge");
                self.wait("its merge is over", || self.metric("vm_active_force_merges") == 0.0);
                self.stop();
                // What it keeps in `cache` is made again if it is missing.
                let bytes = size_of(&data.join("data")) + size_of(&data.join("indexdb"));
                (Self::start(kind, &dir), bytes)
            }
            Kind::Prometheus => {
                let state = || {
                    ["prometheus_tsdb_compactions_total", "prometheus_tsdb_head_min_time"]
                        .map(|name| self.metric(name))
                };
                let (mut last, mut since) = (state(), Instant::now());
                // It looks for work once a minute.
                self.wait("compaction is over", || {
                    let now = state();
                    if now != last {
                        (last, since) = (now, Instant::now());
                    }
                    since.elapsed() > Duration::from_secs(65)
                });
                self.call("/api/v1/admin/tsdb/snapshot");
                // Everything as blocks, what is still in memory included.
                let bytes = size_of(&data.join("snapshots"));
                fs::remove_dir_all(data.join("snapshots")).expect("it goes");
                self.stop();
                (Self::start(kind, &dir), bytes)
            }
        }
    }

    /// SIGTERM, and waits for its end.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|s| s.success()), "kill -TERM {pid}");
        self.child.wait().expect("its end");
    }

    /// CPU time so far, user and system.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }

    /// Makes the largest resident set that of now.
    pub(crate) fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        fs::write(path, "5").expect("its largest resident set is forgotten");
    }

    /// Bytes of a line of /proc/PID/status: `VmHWM`, `RssAnon`.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        memory_of(self.child.id(), line)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Compacts a history that no server holds as a server does that has been quiet for a while: the same
/// code, with a clock that is ahead by the time that it would wait for.
fn compact(data: &Path) {
    const QUIET: i64 = 20 * 60 * 1_000_000;
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let mut options = weir_ingest::store_options(data);
        options.clock = Clock::new(|| Clock::system().now() + QUIET);
        options.compaction = false;
        options.removal_grace = Duration::ZERO;
        let store = Store::open(options).await.expect("the history opens");
        store.compact().await.expect("it is compacted");
        store.expire().await.expect("what was replaced goes");
        store.close().await.expect("it closes");
    });
}
