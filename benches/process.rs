//! A `weir serve` process, and what it costs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the process is there");
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).expect("VmHWM");
        let kib = line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
        kib.expect("a number") * 1024
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

/// CPU time of a process, user and system (proc_pid_stat(5), fields 14 and 15).
pub(crate) fn cpu_of(pid: u32) -> Duration {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let (_, fields) = stat.rsplit_once(") ").expect("a command name");
    let ticks: u64 =
        fields.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// Bytes of all files below a folder.
pub(crate) fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(m) if m.is_dir() => size_of(&entry.path()),
            Ok(m) => m.len(),
            Err(_) => 0,
        })
        .sum()
}
