//! A real S3 server (SeaweedFS) on loopback, with a folder and ports of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::ports::free_ports;
use super::{Background, program};

/// What the server accepts.
pub(crate) const KEY: &str = "weirtestkey";
pub(crate) const SECRET: &str = "weirtestsecret";
/// The bucket that is there from the start.
pub(crate) const BUCKET: &str = "weir";

const PORTS: [&str; 10] = [
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "admin.port",
    "admin.port.grpc",
];

/// Variables of a process.
pub(crate) type Environment = Vec<(&'static str, String)>;

/// The server; killed when dropped.
pub(crate) struct Seaweed {
    binary: PathBuf,
    folder: tempfile::TempDir,
    ports: Vec<u16>,
    process: Option<Background>,
}

impl Seaweed {
    /// Starts one; `None` after saying that the test is skipped.
    pub(crate) fn start() -> Option<Self> {
        let binary = program("weed", &["version"])?;
        let ports = free_ports(PORTS.len());
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { binary, folder, ports, process: None };
        server.restart();
        Some(server)
    }

    /// kill -9; what it acknowledged is on its disk.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it on the same folder and ports, and waits until it has the bucket.
    pub(crate) fn restart(&mut self) {
        let log = self.folder.path().join("stderr");
        let mut command = Command::new(&self.binary);
        command
            .arg("mini")
            .arg(format!("-dir={}", self.folder.path().display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"])
            .args(["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .args(["-s3.autoCreateBucket=false", &format!("-bucket={BUCKET}")]);
        for (name, port) in PORTS.iter().zip(&self.ports) {
            command.arg(format!("-{name}={port}"));
        }
        command
            .current_dir(self.folder.path())
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap());
        let mut process = Background(command.spawn().unwrap());
        // The gateway answers before it has the bucket; what is below it says when that is there.
        let filer = self.ports[PORTS.iter().position(|name| *name == "filer.port").unwrap()];
        let bucket = format!("http://127.0.0.1:{filer}/buckets/{BUCKET}/");
        let gateway = self.endpoint();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(5)))
            .build()
            .into();
        let started = Instant::now();
        while !(agent.get(&bucket).call().is_ok_and(|answer| answer.status() == 200)
            && agent.get(&gateway).call().is_ok())
        {
            let ended = process.0.try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < Duration::from_secs(60),
                "the S3 server has no bucket ({ended:?}); it says:\n{}",
                std::fs::read_to_string(&log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        self.process = Some(process);
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// The environment of whoever uses it.
    pub(crate) fn environment(&self) -> Environment {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }
}
