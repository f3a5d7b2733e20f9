//! Expressions with the values that Prometheus computes for them.
//!
//! ```text
//! load 30s                 series follow, in promtool's notation
//!   m{a="1"} 0+10x5
//! eval 5m sum(m)           the vector follows
//!   {} 50
//! fail 5m sum(             the expression has no value
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;

use super::memory::{Memory, parse_labels};
use crate::promql::source::{Labels, Steps};
use crate::promql::{Value, parse_duration};

#[derive(Debug, Default)]
struct Case {
    time: i64,
    expr: String,
    /// None: it fails.
    vector: Option<Vec<(Labels, f64)>>,
}

fn read(text: &str) -> (Memory, Vec<Case>) {
    let (mut memory, mut cases) = (Memory::default(), Vec::new());
    let mut interval = 0;
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("load", every)) => interval = parse_duration(every).unwrap(),
            Some((word @ ("eval" | "fail"), rest)) => {
                let (time, expr) = rest.split_once(' ').unwrap();
                let time = parse_duration(time).unwrap();
                let vector = (word == "eval").then(Vec::new);
                cases.push(Case { time, expr: expr.to_owned(), vector });
            }
            Some(("", rest)) => match cases.last_mut() {
                None => memory.load(interval, rest.trim()),
                Some(case) => {
                    let (labels, value) = rest.trim().rsplit_once(' ').unwrap();
                    let sample = (parse_labels(labels), value.parse().unwrap());
                    case.vector.as_mut().unwrap().push(sample);
                }
            },
            _ => {}
        }
    }
    (memory, cases)
}

/// Equal up to the last digits, in which the mathematical functions of Go and C differ.
fn is_close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || ((a - b) / b).abs() < 1e-12
}

fn samples(value: Value, step: usize) -> BTreeMap<Labels, f64> {
    match value {
        Value::Scalar(values) => [(Labels::default(), values[step])].into(),
        Value::Vector(series) => series
            .into_iter()
            .filter_map(|series| series.values[step].map(|value| (series.labels, value)))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn agree(a: &BTreeMap<Labels, f64>, b: &BTreeMap<Labels, f64>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && is_close(*a.1, *b.1))
}

async fn check(text: &str) {
    let (memory, cases) = read(text);
    let mut wrong = String::new();
    for case in &cases {
        let place = format!("{} at {} ms", case.expr, case.time);
        match (memory.at(case.time, &case.expr).await, &case.vector) {
            (Err(_), None) => {}
            (Ok(answer), None) => writeln!(wrong, "{place}: no error but {answer:?}").unwrap(),
            (Err(error), Some(_)) => writeln!(wrong, "{place}: {error}").unwrap(),
            (Ok(answer), Some(expected)) => {
                let got = samples(answer.value, 0);
                let expected = expected.iter().cloned().collect();
                if !agree(&got, &expected) {
                    writeln!(wrong, "{place}:\n  expected {expected:?}\n  got {got:?}").unwrap();
                }
            }
        }
    }
    assert!(!cases.is_empty());
    assert!(wrong.is_empty(), "{wrong}");
}

/// A range query must give at every step what an instant query gives at that time.
async fn check_ranges(text: &str) {
    let (memory, cases) = read(text);
    let mut wrong = String::new();
    for case in cases.iter().filter(|case| case.vector.is_some()) {
        // `end()` is the end of the range there and the time itself here.
        if case.expr.contains("end()") {
            continue;
        }
        let steps = Steps { start: case.time - 100_000, end: case.time + 100_000, step: 25_000 };
        let range = memory.query(&case.expr, steps, false).await;
        let mut instants = Vec::new();
        for time in steps.iter() {
            instants.push(memory.at(time, &case.expr).await);
        }
        let range = match range {
            Ok(range) => range,
            // One step without an answer leaves the whole range without.
            Err(error) => {
                if instants.iter().all(Result::is_ok) {
                    writeln!(wrong, "{}: {error}", case.expr).unwrap();
                }
                continue;
            }
        };
        for (step, instant) in instants.into_iter().enumerate() {
            let got = samples(range.value.clone(), step);
            match instant.map(|answer| samples(answer.value, 0)) {
                Ok(expected) if agree(&got, &expected) => {}
                expected => {
                    writeln!(wrong, "{} step {step}: {got:?}, not {expected:?}", case.expr)
                        .unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test]
async fn windows_and_range_functions_agree_with_prometheus() {
    check(include_str!("golden/windows.promql")).await;
}

#[tokio::test]
async fn vectors_operators_and_functions_agree_with_prometheus() {
    check(include_str!("golden/vectors.promql")).await;
}

#[tokio::test]
async fn histograms_agree_with_prometheus() {
    check(include_str!("golden/histograms.promql")).await;
}

#[tokio::test]
async fn a_range_query_is_many_instant_queries() {
    check_ranges(include_str!("golden/windows.promql")).await;
    check_ranges(include_str!("golden/vectors.promql")).await;
    check_ranges(include_str!("golden/histograms.promql")).await;
}
