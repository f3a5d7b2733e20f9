//! What the agent costs the node that it measures: pairs of runs without and with it, in one go.
//!
//! `cargo bench -p weir-agent --bench cost`, as root. It takes iperf3, nginx and wrk
//! (`apt-get install iperf3 nginx-light wrk`). `WEIR_BENCH_PAIRS` sets how many pairs of runs (default 5),
//! `WEIR_BENCH_SECONDS` how long each run is (default 5), `WEIR_BENCH_PARTS=throughput,requests,agent` which.
//!
//! Everything happens between two network namespaces of this machine; both ends are measured, which no node
//! has to do for its own traffic alone. The agent sends to a server that takes everything and keeps nothing.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "../../agent/tests/kernel/lab.rs"]
#[expect(dead_code, reason = "it is the tests' own, which use more of it")]
mod lab;

mod agent;
mod flows;
mod sink;

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use agent::{Agent, Programs};
use lab::{Lab, Link};
use sink::Sink;

const TOOLS: [&str; 4] = ["iperf3", "nginx", "wrk", "ip"];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == flows::HOLD) {
        flows::hold(&arguments[1..]);
        return ExitCode::SUCCESS;
    }
    // Also called to list what there is.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let Some(lab) = Lab::build(&TOOLS, Link::Veth) else {
        eprintln!("this benchmark takes root, and: apt-get install iperf3 nginx-light wrk");
        return ExitCode::FAILURE;
    };
    let parts = std::env::var("WEIR_BENCH_PARTS").unwrap_or_default();
    let wanted = |part: &str| parts.is_empty() || parts.split(',').any(|p| p == part);
    let statistics = Statistics::on();
    let (pairs, seconds) = (number("WEIR_BENCH_PAIRS", 5), number("WEIR_BENCH_SECONDS", 5));
    println!("{:<44} {:>12} {:>12} {:>8}  goal", "figure", "without", "with", "ratio");
    if wanted("throughput") {
        throughput(&lab, pairs, seconds);
    }
    if wanted("requests") {
        requests(&lab, pairs, seconds);
    }
    if wanted("agent") {
        for (flows, goal_cores, goal_mib) in [(5_000, 0.005, 30.0), (100_000, 0.05, 80.0)] {
            own_cost(&lab, flows, goal_cores, goal_mib);
        }
    }
    drop(statistics);
    ExitCode::SUCCESS
}

/// The kernel's measurement of BPF programs; as it was when dropped.
struct Statistics(String);

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl Statistics {
    fn on() -> Self {
        let before = fs::read_to_string(SWITCH).unwrap_or_default();
        // It costs some nanoseconds an event itself, so only the parts that look at it turn it on.
        Self(before)
    }

    fn set(on: bool) {
        let _ = fs::write(SWITCH, if on { "1" } else { "0" });
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, self.0.trim());
    }
}

/// Runs without and with the agent, alternating which comes first; the medians of both.
fn pairs<const N: usize>(count: u64, mut run: impl FnMut() -> [f64; N]) -> [(f64, f64); N] {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for pair in 0..count {
        for second in [false, true] {
            if (pair % 2 == 0) == second {
                let sink = Sink::start();
                let agent = Agent::start(&sink);
                with.push(run());
                drop(agent);
            } else {
                without.push(run());
            }
        }
    }
    std::array::from_fn(|i| (median(&without, i), median(&with, i)))
}

fn median<const N: usize>(runs: &[[f64; N]], figure: usize) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(|run| run[figure]).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn line(figure: &str, (without, with): (f64, f64), goal: &str) {
    println!("{figure:<44} {without:>12.1} {with:>12.1} {:>8.3}  {goal}", with / without);
}

fn throughput(lab: &Lab, count: u64, seconds: u64) {
    let address = lab.b.address.to_string();
    let run = || {
        let _server = lab.b.start("iperf3", &["-s", "-1", "-B", &address]);
        thread::sleep(Duration::from_millis(300));
        let time = seconds.to_string();
        let report = lab.a.run("iperf3", &["-c", &address, "-t", &time, "--json"]);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        [report["end"]["sum_received"]["bits_per_second"].as_f64().unwrap() / 1e6]
    };
    let [rate] = pairs(count, run);
    line("iperf3 over veth, Mbit/s", rate, "0.99");
    Statistics::set(true);
    let (sink, bytes) = (Sink::start(), rate.1 * 1e6 / 8.0 * seconds as f64);
    let agent = Agent::start(&sink);
    let before = agent.programs();
    run();
    let spent = agent.programs().since(before);
    Statistics::set(false);
    spent.print("of them, per GiB", bytes / f64::from(1 << 30));
}

fn requests(lab: &Lab, count: u64, seconds: u64) {
    let server = Nginx::start(lab);
    let url = format!("http://{}:8080/", lab.b.address);
    let time = format!("{seconds}s");
    let wrk = |connections: &str, header: &str| {
        let arguments =
            ["-t", "1", "-c", connections, "-d", &time, "-H", header, "--latency", &url];
        report(&lab.a.run("wrk", &arguments))
    };
    let closing = || wrk("32", "Connection: close");
    let [rate, _] = pairs(count, closing);
    line("wrk, new connections/s", rate, "0.97");
    let [rate, p99] = pairs(count, || wrk("8", "Connection: keep-alive"));
    line("wrk, requests/s over 8 connections", rate, "");
    line("p99 of those, microseconds", p99, "1.03");
    Statistics::set(true);
    let sink = Sink::start();
    let agent = Agent::start(&sink);
    let before = agent.programs();
    let [rate, _] = closing();
    let spent = agent.programs().since(before);
    Statistics::set(false);
    spent.print("of them, per connection, both ends", rate * seconds as f64);
    let (user, system) = agent.cpu();
    let cores = |time: Duration| time.as_secs_f64() / seconds as f64;
    println!("  agent: {:.3} cores of user and {:.3} of system time", cores(user), cores(system));
    drop(server);
}

/// Requests a second, and the 99th percentile of the latency in microseconds.
fn report(text: &str) -> [f64; 2] {
    let field = |name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(name));
        line.and_then(|line| line.split_whitespace().last()).unwrap_or_else(|| panic!("{text}"))
    };
    let rate = field("Requests/sec:").parse().unwrap();
    let p99 = field("99%");
    let unit = p99.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let value: f64 = p99.trim_end_matches(unit).parse().unwrap();
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => panic!("{text}"),
    };
    [rate, value * factor]
}

/// A web server in the second namespace.
struct Nginx {
    _running: lab::Running,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn start(lab: &Lab) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("nginx.conf");
        let path = folder.path().display();
        let text = format!(
            "daemon off; master_process off; pid {path}/pid; error_log stderr crit;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; client_body_temp_path {path}/a; proxy_temp_path {path}/b;\n\
             fastcgi_temp_path {path}/c; uwsgi_temp_path {path}/d; scgi_temp_path {path}/e;\n\
             server {{ listen 8080 backlog=4096; location / {{ return 200 \"{}\"; }} }} }}\n",
            "x".repeat(1024)
        );
        fs::write(&config, text).unwrap();
        let running = lab.b.start("nginx", &["-c", &config.to_string_lossy()]);
        thread::sleep(Duration::from_millis(700));
        Self { _running: running, _folder: folder }
    }
}

/// The agent's own cost while many connections are open and say something in each interval.
fn own_cost(lab: &Lab, wanted: usize, goal_cores: f64, goal_mib: f64) {
    const INTERVAL: Duration = Duration::from_secs(10);
    let sink = Sink::start();
    let agent = Agent::start_every(&sink, INTERVAL);
    // It has begun to measure; its start reads the kernel's type information and gives that memory back.
    thread::sleep(Duration::from_secs(2));
    let start_mib = agent.peak_mib();
    agent.forget_peak();
    let mut flows = flows::open(lab, wanted);
    // The first intervals have all connections as new ones.
    for _ in 0..2 {
        flows.talk();
        thread::sleep(INTERVAL);
    }
    let (before, rows, bytes) = (agent.cpu(), sink.rows(), sink.bytes());
    const INTERVALS: u32 = 4;
    for _ in 0..INTERVALS {
        flows.talk();
        thread::sleep(INTERVAL);
    }
    let (user, system) = agent.cpu();
    let seconds = (INTERVAL * INTERVALS).as_secs_f64();
    let cores = |now: Duration, before: Duration| (now - before).as_secs_f64() / seconds;
    println!("{wanted} sockets, each with some bytes in every interval of 10 s");
    let print =
        |what: &str, value: String, goal: &str| println!("  {what:<55} {value:>12}  {goal}");
    let goal = format!("at most {goal_cores}");
    print("agent, user CPU, cores", format!("{:.4}", cores(user, before.0)), &goal);
    print("agent, system CPU, cores", format!("{:.4}", cores(system, before.1)), "");
    let goal = format!("at most {goal_mib}");
    print("resident memory while measuring, peak, MiB", format!("{:.1}", agent.peak_mib()), &goal);
    print("resident memory at its start, peak, MiB", format!("{start_mib:.1}"), "");
    let rows = sink.rows() - rows;
    print("rows in an interval", format!("{}", rows / u64::from(INTERVALS)), "");
    let each = (sink.bytes() - bytes) as f64 / rows as f64;
    print("bytes on the wire per flow row", format!("{each:.1}"), "at most 12");
}

impl Programs {
    fn print(self, what: &str, per: f64) {
        let events = self.events as f64;
        println!(
            "  BPF: {:.0} ns an event; {what}: {:.0} events, {:.1} us",
            self.ns as f64 / events,
            events / per,
            self.ns as f64 / per / 1000.0
        );
    }
}
