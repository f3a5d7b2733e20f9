//! A running agent, and what it has used.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::sink::Sink;

/// Killed when dropped.
pub(crate) struct Agent {
    child: Child,
    _spool: tempfile::TempDir,
}

/// What the kernel's measurement says of the agent's programs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Programs {
    pub(crate) events: u64,
    pub(crate) ns: u64,
}

impl Programs {
    pub(crate) fn since(self, before: Self) -> Self {
        Self { events: self.events - before.events, ns: self.ns - before.ns }
    }
}

impl Agent {
    pub(crate) fn start(sink: &Sink) -> Self {
        Self::start_every(sink, Duration::from_secs(1))
    }

    pub(crate) fn start_every(sink: &Sink, interval: Duration) -> Self {
        let spool = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_weir-agent"))
            .args(["--server", &sink.url(), "--source", "bpf", "--listen", "off"])
            .args(["--interval", &format!("{}s", interval.as_secs()), "--spool"])
            .arg(spool.path())
            .stderr(Stdio::null())
            .spawn()
            .expect("the agent starts");
        let agent = Self { child, _spool: spool };
        for _ in 0..100 {
            thread::sleep(Duration::from_millis(50));
            if agent.fdinfo().any(|text| text.contains("prog_type:\t13")) {
                return agent;
            }
        }
        panic!("the agent did not attach its programs");
    }

    /// User and system time so far.
    pub(crate) fn cpu(&self) -> (Duration, Duration) {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // Hundredths of a second (USER_HZ), fields 14 and 15 of proc(5).
        let time = |at: usize| Duration::from_millis(10 * fields[at].parse::<u64>().unwrap());
        (time(11), time(12))
    }

    /// Lets the peak of the resident memory begin anew (proc(5), `clear_refs`).
    pub(crate) fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    pub(crate) fn peak_mib(&self) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// Of all its programs together; 0 unless the kernel measures.
    pub(crate) fn programs(&self) -> Programs {
        let mut all = Programs::default();
        let mut seen = Vec::new();
        for text in self.fdinfo() {
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim().parse::<u64>().ok()
            };
            // Links name the program, too; only the program's own descriptor has its times.
            let (Some(id), Some(ns), Some(events)) =
                (field("prog_id:"), field("run_time_ns:"), field("run_cnt:"))
            else {
                continue;
            };
            if !seen.contains(&id) {
                seen.push(id);
                all.events += events;
                all.ns += ns;
            }
        }
        all
    }

    fn fdinfo(&self) -> impl Iterator<Item = String> {
        let folder = format!("/proc/{}/fdinfo", self.child.id());
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| fs::read_to_string(entry.path()).ok())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
