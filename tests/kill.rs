//! kill -9 at random moments under ingest, flushes and compaction: every acknowledged row is there,
//! once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::sender::Sender;
use support::{Server, eventually};

const ROUNDS: u64 = 50;
const SENDERS: usize = 3;

#[test]
fn every_acknowledged_row_survives_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(0x5eed);
    let senders: Vec<Arc<Mutex<Sender>>> =
        (0..SENDERS).map(|i| Arc::new(Mutex::new(Sender::new(&format!("b{i}"))))).collect();
    // Small bounds, so that kills fall into flushes and commits as well.
    let options = ["--flush-interval", "100ms", "--memtable-mib", "1", "--retention", "off"];
    for round in 0..ROUNDS {
        let server = Arc::new(Server::start(dir.path(), &options));
        let stop = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = senders
            .iter()
            .map(|sender| {
                let (sender, server, stop) = (sender.clone(), server.clone(), stop.clone());
                std::thread::spawn(move || {
                    let mut sender = sender.lock().unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        // Refused, or the server is gone: the same batch again.
                        if !sender.send(&server) {
                            std::thread::sleep(Duration::from_millis(10));
                        }
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(random.random_range(20..400)));
        server.kill_now();
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|t| t.join().unwrap());
        drop(server);
        check(dir.path(), &senders, &options, round);
    }
}

fn check(data: &std::path::Path, senders: &[Arc<Mutex<Sender>>], options: &[&str], round: u64) {
    let server = Server::start(data, options);
    // Most rounds flush several times; without compaction there would be a file for each.
    eventually("few files are left", Duration::from_secs(60), || table_files(&server) < 30);
    for sender in senders {
        let mut sender = sender.lock().unwrap();
        // The batch in doubt is delivered now, stored or repeated, and is certain from here on.
        eventually("a batch in doubt is taken", Duration::from_secs(60), || {
            !sender.is_waiting() || sender.send(&server)
        });
        sender.check(&server, &format!("round {round}"));
        assert!(sender.acknowledged() > 0, "nothing was sent in {round} rounds");
    }
}

/// Files of the table of flows, as the server counts them.
fn table_files(server: &Server) -> u64 {
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    let line = text.lines().find_map(|l| l.strip_prefix("weir_table_files{table=\"flows\"} "));
    line.unwrap().parse().unwrap()
}
