//! Weir answers PromQL as a real Prometheus 3.5 does.
//!
//! ```text
//! data -> remote write -> Prometheus --- HTTP ---+
//!   |                                            +-> outcome = outcome ? -> shrink -> smallest
//!   +---> a Source in memory -> weir's engine ---+
//! grammar + seed -> expressions, times, steps
//! ```
//!
//! `WEIR_DIFFERENTIAL` sets the number of expressions (2,000), `WEIR_DIFFERENTIAL_SEED` the seed of the
//! first (1). A mismatch prints the smallest expression that shows it and the command that repeats it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "differential/data.rs"]
mod data;
#[path = "differential/grammar.rs"]
mod grammar;
#[path = "differential/http.rs"]
mod http;
#[path = "differential/memory.rs"]
mod memory;
#[path = "differential/outcome.rs"]
mod outcome;
#[path = "differential/prometheus.rs"]
mod prometheus;
#[path = "differential/shrink.rs"]
mod shrink;

use std::fmt::Write as _;

use rand::SeedableRng;
use rand::rngs::StdRng;

use grammar::{Question, generate};
use http::Http;
use memory::Memory;
use outcome::{Outcome, differences};
use prometheus::Prometheus;

/// Whoever answers questions.
pub(crate) trait Side {
    fn ask(&self, question: &Question) -> Outcome;
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// How two sides differ in their answers; `None` also if the model contradicts itself when it is asked
/// again (sums and ties in the order of Go's maps).
fn mismatch(model: &dyn Side, weir: &dyn Side, question: &Question) -> Option<String> {
    let expected = model.ask(question);
    let difference = differences(&expected, &weir.ask(question), question)?;
    for _ in 0..8 {
        differences(&expected, &model.ask(question), question).is_none().then_some(())?;
    }
    Some(difference)
}

#[test]
fn random_expressions_have_the_same_answer() {
    let Some(prometheus) = Prometheus::start() else { return };
    let series = data::series();
    prometheus.http.load(&series);
    compare(&prometheus, &Memory::new(&series));
}

/// The whole way: remote write, the store, HTTP.
#[test]
fn random_expressions_have_the_same_answer_over_http() {
    let Some(prometheus) = Prometheus::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = support::Server::start(dir.path(), &["--retention", "off"]);
    let weir = Http::new(server.url.clone());
    let series = data::series();
    prometheus.http.load(&series);
    weir.load(&series);
    compare(&prometheus, &weir);
}

/// Asks both sides; panics with what differs.
fn compare(prometheus: &dyn Side, weir: &dyn Side) {
    let first = setting("WEIR_DIFFERENTIAL_SEED", 1);
    let count = setting("WEIR_DIFFERENTIAL", 2000);
    let mut report = String::new();
    let (mut answered, mut found) = (0_u64, 0);
    for seed in first..first + count {
        let question = generate(&mut StdRng::seed_from_u64(seed));
        if let Outcome::Answer(answer) = prometheus.ask(&question) {
            answered += u64::from(!answer.series.is_empty());
        }
        if mismatch(prometheus, weir, &question).is_none() {
            continue;
        }
        let small = shrink::smallest(&question, |q| mismatch(prometheus, weir, q).is_some());
        let difference = mismatch(prometheus, weir, &small).unwrap_or_default();
        writeln!(
            report,
            "\nseed {seed}: {question}\n  smallest: {small}\n{difference}\n  repeat: \
             WEIR_DIFFERENTIAL=1 WEIR_DIFFERENTIAL_SEED={seed} cargo test --test differential random"
        )
        .unwrap();
        found += 1;
        if found == setting("WEIR_DIFFERENTIAL_STOP", 10) {
            break;
        }
    }
    assert!(report.is_empty(), "{report}");
    // Errors and empty vectors agree too easily.
    assert!(answered * 5 > count * 2, "only {answered} of {count} expressions have an answer");
}
