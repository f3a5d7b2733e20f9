//! Weir against Prometheus 3.5 and VictoriaMetrics 1.145 on the same samples, in one run.
//!
//! ```text
//! ingest   hosts as they are scraped, 2,000 samples a request       per CPU second, durable or not
//! hosts    40 hosts, 24 h, every 15 s   -> load -> settle -> bytes  -> queries over 1 h and 24 h
//! pods     100,000 series, 1 h          -> load -> settle -> bytes  -> regular expressions
//! month    2 hosts, 30 d, every 60 s    -> load -> settle -> bytes  -> queries over 30 d
//! ```
//!
//! `cargo bench --bench compare` runs all of it. One system runs at a time, on loopback, with a
//! directory of its own, and is asked over the HTTP API that all three have. `tests/unpack-peers`
//! fetches the other two.
//!
//! - `WEIR_BENCH_PARTS`   any of `ingest,hosts,pods,month`, default all;
//! - `WEIR_BENCH_SYSTEMS` any of `weir,prometheus,victoria`, default all;
//! - `WEIR_BENCH_HOSTS`, `_HOURS`, `_PODS`, `_DAYS` sizes of the sets, default 40, 24, 10000, 30;
//! - `WEIR_BENCH_SCRAPES` scrapes of the ingest part, default 1200;
//! - `WEIR_BENCH_RUNS`    times that each query is asked after a first one, default 5;
//! - `WEIR_BENCH_QUERIES` only those whose name and range have this in them: `sum by (rate) 24 h`;
//! - `WEIR_BENCH_DIR`     where the data goes, default the folder for temporary files.

#![expect(clippy::expect_used, reason = "a benchmark fails by panicking")]

mod answer;
#[path = "compare/ask.rs"]
mod ask;
mod cost;
mod protobuf;
#[path = "compare/random.rs"]
mod random;
#[path = "compare/remote_write.rs"]
mod remote_write;
#[path = "compare/report.rs"]
mod report;
#[path = "compare/send.rs"]
mod send;
#[path = "compare/sets.rs"]
mod sets;
#[path = "compare/system.rs"]
mod system;
#[path = "compare/targets.rs"]
mod targets;
#[path = "compare/values.rs"]
mod values;

use std::path::Path;
use std::time::Instant;

use remote_write::Lane;
use report::{Goals, Loaded, TakenIn};
use sets::Set;
use system::{Kind, System};

fn main() {
    let begin = Instant::now();
    let wanted = |name: &str, one: &str| {
        std::env::var(name).ok().is_none_or(|all| all.split(',').any(|w| w == one))
    };
    let kinds: Vec<Kind> =
        Kind::ALL.into_iter().filter(|k| wanted("WEIR_BENCH_SYSTEMS", k.key())).collect();
    let root = std::env::var_os("WEIR_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    if kinds.iter().any(|kind| *kind != Kind::Weir) {
        Kind::fetch_peers();
    }
    for kind in &kinds {
        println!("{} {}", kind.name(), kind.version());
    }
    let mut goals = Goals::default();
    let hosts = Set::hosts(number("WEIR_BENCH_HOSTS", 40), number("WEIR_BENCH_HOURS", 24));
    if wanted("WEIR_BENCH_PARTS", "ingest") {
        ingest(&root, &kinds, &hosts, &mut goals);
    }
    let pods = Set::pods(number("WEIR_BENCH_PODS", 10_000));
    let month = Set::month(number("WEIR_BENCH_DAYS", 30));
    for set in [hosts, pods, month] {
        if wanted("WEIR_BENCH_PARTS", set.name) {
            compare(&root, &kinds, &set, &mut goals);
        }
    }
    goals.print();
    println!("\n{:.0} s in all", begin.elapsed().as_secs_f64());
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a whole number")),
        Err(_) => default,
    }
}

/// Samples as they are scraped. The bodies are made beforehand, and the same for all.
fn ingest(root: &Path, kinds: &[Kind], hosts: &Set, goals: &mut Goals) {
    let scrapes = number("WEIR_BENCH_SCRAPES", 1200);
    println!(
        "\ningest: the same hosts, {scrapes} scrapes, {} connections, 2,000 samples a request",
        sets::CONNECTIONS
    );
    let bodies = hosts.scraped(scrapes as usize);
    let mut all = Vec::new();
    for kind in kinds {
        let dir = tempfile::tempdir_in(root).expect("a temporary folder");
        let system = System::start(*kind, dir.path());
        let lanes = bodies.iter().map(|lane| Box::new(lane.clone().into_iter()) as Lane).collect();
        let before = system.cpu();
        let sent = send::send(&system.address, lanes);
        all.push(TakenIn {
            kind: *kind,
            samples: sent.samples,
            wire: sent.bytes,
            elapsed: sent.elapsed,
            cpu: system.cpu() - before,
            peak: system.memory("VmHWM"),
            refused: sent.refused,
            p50: sent.latency(0.5),
            p99: sent.latency(0.99),
        });
    }
    report::print_ingest(&all, goals);
}

/// Loads a set into each system, lets it settle, and asks.
fn compare(root: &Path, kinds: &[Kind], set: &Set, goals: &mut Goals) {
    println!("\n{}: {}", set.name, set.about);
    let mut questions = set.questions();
    if let Ok(only) = std::env::var("WEIR_BENCH_QUERIES") {
        questions
            .retain(|question| format!("{} {}", question.name, question.range).contains(&only));
    }
    let runs = number("WEIR_BENCH_RUNS", 5).max(1) as usize;
    let mut all = Vec::new();
    for kind in kinds {
        let dir = tempfile::tempdir_in(root).expect("a temporary folder");
        let system = System::start(*kind, dir.path());
        let before = system.cpu();
        let sent = send::send(&system.address, set.backfill());
        let (cpu, peak) = (system.cpu() - before, system.memory("VmHWM"));
        let (system, disk) = system.settle();
        let asked = questions.iter().map(|question| ask::ask(&system, question, runs)).collect();
        let (samples, elapsed) = (sent.samples, sent.elapsed);
        all.push(Loaded { kind: *kind, samples, elapsed, cpu, peak, disk, asked });
    }
    report::print_sizes(&all, set.name, goals);
    report::print_questions(&all, set.name, &questions, goals);
}
