//! How fast a real server takes flows in, from the socket to the durable acknowledgement.
//!
//! `cargo bench --bench ingest` starts `weir serve` on loopback and sends from as many connections
//! as there are nodes, in three shapes. For each: at full rate, each agent waiting for its
//! acknowledgement; then at half of that rate, whatever the answers take. At last it kills a server
//! with a large log and times its restart.
//!
//! - `WEIR_BENCH_SECONDS` length of each run, default 60;
//! - `WEIR_BENCH_SHAPES`  any of `small,busy,wide`, default all;
//! - `WEIR_BENCH_WAL_MIB` size of the log for the restart, default 1024; 0 leaves the restart out;
//! - `WEIR_BENCH_DIR`     where the data goes, default the folder for temporary files.

#![expect(clippy::expect_used, reason = "a benchmark fails by panicking")]

mod answer;
mod cost;
mod generator;
mod load;
mod process;

use std::path::Path;
use std::time::Duration;

use generator::Shape;
use load::{Pace, Until};
use process::Server;

/// Rows that are made before a shape's runs; longer runs send them again.
const MADE_ROWS: usize = 3_000_000;

/// Name, what it is, rows of a batch, workloads, nodes.
const SHAPES: [(&str, &str, usize, usize, usize); 3] = [
    ("small", "16 nodes with a usual batch each", 145, 60, 16),
    ("busy", "16 nodes with a large batch each", 1_500, 60, 16),
    ("wide", "64 nodes with a usual batch each, 10 times the workloads", 145, 600, 64),
];

fn main() {
    let seconds = number("WEIR_BENCH_SECONDS", 60);
    let wanted = std::env::var("WEIR_BENCH_SHAPES").unwrap_or_else(|_| "small,busy,wide".into());
    let wal = number("WEIR_BENCH_WAL_MIB", 1024) << 20;
    let root = std::env::var_os("WEIR_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    for (name, what, rows, workloads, nodes) in SHAPES {
        if !wanted.split(',').any(|w| w == name) {
            continue;
        }
        println!("{name}: {what}");
        let keys_per_node = (rows as f64 / 0.684) as usize;
        let shape = Shape { nodes, workloads, keys_per_node, ..Shape::default() };
        let intervals = (MADE_ROWS / nodes / rows).max(1) as u64;
        let lanes = load::lanes(shape, intervals);
        let dir = tempfile::tempdir_in(&root).expect("a temporary folder");
        rates(dir.path(), &lanes, Duration::from_secs(seconds));
        if wal > 0 {
            let dir = tempfile::tempdir_in(&root).expect("a temporary folder");
            restart(dir.path(), &lanes, wal);
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a whole number")),
        Err(_) => default,
    }
}

/// Full rate, then half of it.
fn rates(data: &Path, lanes: &[std::sync::Arc<load::Lane>], length: Duration) {
    let server = Server::start(data, &[]);
    let mut full = None;
    for run in 0..2 {
        let pace = full.map_or(Pace::Closed, |rate: f64| Pace::Open(rate / 2.0));
        let (cpu, own) = (server.cpu(), cost::cpu_of(std::process::id()));
        let done = load::send(&server.address, lanes, run, pace, Until::Elapsed(length));
        let million = done.rows as f64 / 1e6;
        let per_million = |cpu: Duration| cpu.as_secs_f64() / million;
        println!(
            "  {:<9} {:>7.0} rows/s in batches of {:.0}, ack p50 {:.1?} p99 {:.1?} max {:.1?}, {} refused for lack of room",
            if full.is_none() { "full rate" } else { "half rate" },
            done.rate(),
            done.rows as f64 / done.batches as f64,
            done.latency(0.5),
            done.latency(0.99),
            done.latency(1.0),
            done.refused,
        );
        println!(
            "            {:.1} B/row on the wire; CPU s per million rows: server {:.2}, generator {:.2}; server's peak memory {:.0} MiB",
            done.bytes as f64 / done.rows as f64,
            per_million(server.cpu() - cpu),
            per_million(cost::cpu_of(std::process::id()) - own),
            server.peak_memory() as f64 / f64::from(1 << 20),
        );
        full.get_or_insert(done.rate());
    }
}

/// Fills the log of a server that does not flush, kills it and starts another with the defaults.
fn restart(data: &Path, lanes: &[std::sync::Arc<load::Lane>], wal: u64) {
    let server = Server::start(data, &["--flush-interval", "1d", "--memtable-mib", "16384"]);
    let log = data.join("wal");
    let full = || cost::size_of(&log) >= wal;
    let sent = load::send(&server.address, lanes, 0, Pace::Closed, Until::Reached(&full));
    server.kill();
    let bytes = cost::size_of(&log) as f64;
    let server = Server::start(data, &[]);
    println!(
        "  restart   ready {:.1?} after kill -9 with {:.0} MiB of log, {} rows ({:.0} B/row); peak memory {:.0} MiB",
        server.ready_after,
        bytes / f64::from(1 << 20),
        sent.rows,
        bytes / sent.rows as f64,
        server.peak_memory() as f64 / f64::from(1 << 20),
    );
}
