//! The running agent has no more privileges than it needs, in any of its threads.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scrape(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn no_thread_keeps_what_only_the_start_needs() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let spool = tempfile::tempdir().unwrap();
    let agent = Command::new(env!("CARGO_BIN_EXE_weir-agent"))
        .args([
            "--server",
            "http://127.0.0.1:1",
            "--interval",
            "1s",
            "--listen",
            &address,
            "--spool",
        ])
        .arg(spool.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let agent = Agent(agent);
    // It measures, with whatever it has kept.
    let until = Instant::now() + Duration::from_secs(20);
    let intervals = |text: &str| {
        let line = text.lines().find(|l| l.starts_with("weir_agent_intervals_total"));
        line.and_then(|l| l.split(' ').next_back()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    while scrape(&address).is_none_or(|text| intervals(&text) < 2.0) {
        assert!(Instant::now() < until, "it does not measure");
        thread::sleep(Duration::from_millis(100));
    }
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{}/task", agent.0.id())).unwrap() {
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        let line = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim();
        let effective = u64::from_str_radix(line("CapEff:"), 16).unwrap();
        // BPF, NET_ADMIN, SYS_ADMIN, SYS_PTRACE, DAC_READ_SEARCH.
        let needed = 1 << 39 | 1 << 12 | 1 << 21 | 1 << 19 | 1 << 2;
        assert_eq!(effective & !needed, 0, "{status}");
        assert_eq!(line("NoNewPrivs:"), "1");
        threads += 1;
    }
    assert!(threads >= 4, "{threads}");
}
