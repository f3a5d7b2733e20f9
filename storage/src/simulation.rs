//! A seeded simulation of the whole engine: a store on a simulated disk and clock, with crashes,
//! faults and a model that says what must be there.
//!
//! A seed is a history: senders append, repeat and come late; rows are flushed, summed up in two tiers,
//! compacted, folded, divided into parts and deleted; they expire by age, by rule and by bytes; the disk
//! fills up and heals, writes and syncs fail, the clock jumps, the program or the power dies at any
//! operation, recovery included. After each start, and whenever rows are read, [`model`] is asked:
//!
//! - every acknowledged row is there exactly once;
//! - an entry that was refused is there as a whole or not at all, in all its tables, and once it was
//!   seen or not seen by a reader it stays so;
//! - a repetition adds nothing;
//! - a deletion that was acknowledged hides its rows for good, one that nobody heard of all or none;
//! - sums of each tier are those of the rows, late ones included;
//! - a snapshot that is held stays readable and shows the same rows;
//! - after a start every data file on disk is named by a commit, and nothing unfinished is left.
//!
//! One seed is one run: operations come one at a time, and what they do depends on the seed alone.
//! With several at a time ([`run::Mode::Together`]) only what must hold is fixed, not the order.
//!
//! `WEIR_SIMULATION_SEEDS` and `WEIR_SIMULATION_FROM` choose how many seeds run and the first of them,
//! `WEIR_SIMULATION_SEED` runs one and prints every operation of the disk.

mod model;
mod rows;
mod run;

use std::sync::atomic::{AtomicU64, Ordering};

use self::run::{Failure, Mode, Outcome};
use crate::disk::simulated::Sabotage;

/// Seeds that run without further wishes.
const SEEDS: u64 = 50;

/// Seeds that find something when its remedy is taken away, and what. A seed's history changes with
/// the generator, so each is a test of its own as well (`store::tests::power`).
const FOUND: &[(u64, &str)] = &[
    (107, "a folder of a dead program was lost, and committed files with it"),
    (292, "replayed entries of the last segment were not durable"),
];

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs seeds on all cores; panics at the first that fails.
fn run_seeds(first: u64, count: u64, mode: Mode) -> Outcome {
    let next = AtomicU64::new(first);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let outcomes: Vec<Result<Outcome, Failure>> = std::thread::scope(|scope| {
        let work = || {
            let mut sum = Outcome::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed != first && (seed - first).is_multiple_of(1000) && seed < first + count {
                    println!("seed {seed}");
                }
                if seed >= first.saturating_add(count) {
                    return Ok(sum);
                }
                match run::run(seed, mode, None, false) {
                    Ok((outcome, _)) => sum.add(&outcome),
                    Err(failure) => {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                        return Err(failure);
                    }
                }
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let mut sum = Outcome::default();
    for outcome in outcomes {
        match outcome {
            Ok(outcome) => sum.add(&outcome),
            Err(failure) => panic!("{failure}"),
        }
    }
    sum
}

#[test]
fn acknowledged_rows_survive_whatever_happens() {
    if let Some(seed) = variable("WEIR_SIMULATION_SEED") {
        let failure = run::run(seed, Mode::Alone, None, true);
        match failure {
            Ok((outcome, trace)) => {
                println!("{}\nseed {seed} holds: {outcome:?}", trace.join("\n"))
            }
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let first = variable("WEIR_SIMULATION_FROM").unwrap_or(0);
    let count = variable("WEIR_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let outcome = run_seeds(first, count, Mode::Alone);
    println!("{count} seeds from {first}: {outcome:?}");
    // A simulation in which nothing goes wrong shows nothing.
    assert!(outcome.crashes > count, "{outcome:?}");
    assert!(outcome.acknowledged > count, "{outcome:?}");
    assert!(outcome.refused > count / 20, "{outcome:?}");
    assert!(outcome.flushes > count, "{outcome:?}");
    assert!(outcome.compactions > count / 10, "{outcome:?}");
    assert!(outcome.deletions > count / 50, "{outcome:?}");
    assert!(outcome.divided > count / 20, "{outcome:?}");
    assert!(outcome.folded > count / 50, "{outcome:?}");
    assert!(outcome.exceeded > count / 200, "{outcome:?}");
}

#[test]
fn so_they_do_when_operations_overlap() {
    let first = variable("WEIR_SIMULATION_FROM").unwrap_or(0);
    let count = variable("WEIR_SIMULATION_SEEDS").unwrap_or(SEEDS) / 10;
    let outcome = run_seeds(first, count, Mode::Together);
    println!("{count} seeds from {first}, overlapping: {outcome:?}");
}

#[test]
fn what_was_found_once_stays_mended() {
    for (seed, what) in FOUND {
        if let Err(failure) = run::run(*seed, Mode::Alone, None, false) {
            panic!("again ({what}): {failure}");
        }
    }
}

#[test]
fn one_seed_is_one_run() {
    for seed in 0..5 {
        let trace = || run::run(seed, Mode::Alone, None, true).unwrap().1;
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}

#[test]
fn a_disk_that_lies_is_found_out() {
    for sabotage in [Sabotage::FileSync, Sabotage::FolderSync] {
        let found =
            (0..50).find_map(|seed| run::run(seed, Mode::Alone, Some(sabotage), false).err());
        assert!(found.is_some(), "{sabotage:?} went unnoticed");
    }
}
