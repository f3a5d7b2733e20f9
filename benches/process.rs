//! A `weir serve` process, and what it costs.

#![allow(dead_code, reason = "each benchmark uses its part of this module")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::cost::{cpu_of, memory_of};

/// A server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens, `HOST:PORT`.
    pub(crate) address: String,
    /// From its start until it was ready.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// Starts a server on `data` and waits until it is ready.
    pub(crate) fn start(data: &Path, options: &[&str]) -> Self {
        let begin = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["serve", "--listen", "127.0.0.1:0", "--retention", "off", "--data"])
            .arg(data)
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its standard error")).lines();
        let mut said = String::new();
        for line in lines.by_ref() {
            let line = line.expect("its standard error is text");
            if let Some((_, address)) = line.split_once(" on http://") {
                let ready_after = begin.elapsed();
                let address = address.trim().to_owned();
                // Whoever sets a filter wants to see what passes it.
                let all = std::env::var_os("WEIR_LOG").is_some();
                // Someone must go on reading, or the server would block on a full pipe.
                std::thread::spawn(move || {
                    for line in lines.map_while(Result::ok) {
                        if all || line.contains("WARN") || line.contains("ERROR") {
                            eprintln!("  {line}");
                        }
                    }
                });
                return Self { child, address, ready_after };
            }
            said.push_str(&line);
            said.push('\n');
        }
        child.wait().expect("its end");
        panic!("the server did not start: {said}");
    }

    /// CPU time of the process so far, user and system.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }

    /// Largest resident set so far, bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        memory_of(self.child.id(), "VmHWM")
    }

    /// Resident set now, bytes.
    pub(crate) fn memory(&self) -> u64 {
        memory_of(self.child.id(), "VmRSS")
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("its end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
