//! Expressions with the values that Prometheus computes for them.
//!
//! ```text
//! load 30s                 series follow, in promtool's notation
//!   m{a="1"} 0+10x5
//! eval 5m sum(m)           the vector follows
//!   {} 50
//! fail 5m topk(NaN, m)     the error follows; of parse errors only the kind counts
//!   Scalar value NaN overflows int64
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Write as _;

use super::memory::{Memory, parse_labels};
use crate::promql::error::Error;
use crate::promql::source::{Labels, Steps};
use crate::promql::{Value, parse_duration};

#[derive(Debug)]
struct Case {
    time: i64,
    expr: String,
    /// The vector, or the error.
    expected: Result<BTreeMap<Labels, f64>, String>,
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
                let expected =
                    if word == "eval" { Ok(BTreeMap::new()) } else { Err(String::new()) };
                cases.push(Case { time, expr: expr.to_owned(), expected });
            }
            Some(("", rest)) => match cases.last_mut().map(|case| &mut case.expected) {
                None => memory.load(interval, rest.trim()),
                Some(Ok(vector)) => {
                    let (labels, value) = rest.trim().rsplit_once(' ').unwrap();
                    vector.insert(parse_labels(labels), value.parse().unwrap());
                }
                Some(Err(message)) => *message = rest.trim().to_owned(),
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

/// A message without the series at its end, which Prometheus lists in any order.
fn without_series(message: &str) -> &str {
    message.split(": [").next().unwrap_or_default().trim()
}

fn samples(value: Value, step: usize) -> BTreeMap<Labels, f64> {
    match value {
        Value::Scalar(values) => [(Labels::default(), values[step])].into(),
        Value::Vector(series) => series
            .into_iter()
            .filter_map(|series| series.values.get(step).map(|value| (series.labels, value)))
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
        match (memory.at(case.time, &case.expr).await, &case.expected) {
            (Err(error), Err(message)) => {
                let is_syntax = message.contains("parse error: ");
                let got = error.to_string();
                let is_right = if is_syntax {
                    matches!(error, Error::BadData(_)) && got.contains("parse error: ")
                } else {
                    matches!(error, Error::Execution(_))
                        && without_series(&got) == without_series(message)
                };
                if !is_right {
                    writeln!(wrong, "{place}: {got}\n  instead of {message}").unwrap();
                }
            }
            (Ok(answer), Err(_)) => writeln!(wrong, "{place}: no error but {answer:?}").unwrap(),
            (Err(error), Ok(_)) => writeln!(wrong, "{place}: {error}").unwrap(),
            (Ok(answer), Ok(expected)) => {
                let got = samples(answer.value, 0);
                if !agree(&got, expected) {
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
    for case in cases.iter().filter(|case| case.expected.is_ok()) {
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
async fn infos_agree_with_prometheus() {
    check(include_str!("golden/info.promql")).await;
}

/// Functions that Prometheus has only had since 3.6.
const NEWER: [&str; 2] = ["first_over_time", "ts_of_first_over_time"];

#[test]
fn golden_cases_cover_the_language() {
    let text = FILES.concat();
    let calls = |name: &str| {
        let pattern = format!(r"\b{name}( (by|without) \([^)]*\))? ?\(");
        regex::Regex::new(&pattern).unwrap().is_match(&text)
    };
    let missing: Vec<_> = crate::promql::function_names()
        .chain([
            "sum",
            "avg",
            "min",
            "max",
            "count",
            "group",
            "stddev",
            "stdvar",
            "topk",
            "bottomk",
            "quantile",
            "count_values",
            "limitk",
            "limit_ratio",
        ])
        .filter(|name| !calls(name) && !NEWER.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    for operator in [
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
        " ^ ",
        " atan2 ",
        " == ",
        " != ",
        " < ",
        " > ",
        " <= ",
        " >= ",
        " and ",
        " or ",
        " unless ",
        " bool ",
        " on (",
        " ignoring (",
        " group_left",
        " group_right",
        " offset ",
        " @ ",
        "@ start()",
        "@ end()",
        "=~",
        "!~",
        "!=\"",
    ] {
        assert!(text.contains(operator), "{operator}");
    }
    assert!(regex::Regex::new(r"\[\w+:\w*\]").unwrap().is_match(&text), "no subquery");
}

#[tokio::test]
async fn a_range_query_is_many_instant_queries() {
    check_ranges(include_str!("golden/windows.promql")).await;
    check_ranges(include_str!("golden/vectors.promql")).await;
    check_ranges(include_str!("golden/histograms.promql")).await;
}

/// All golden files.
const FILES: [&str; 4] = [
    include_str!("golden/windows.promql"),
    include_str!("golden/vectors.promql"),
    include_str!("golden/histograms.promql"),
    include_str!("golden/info.promql"),
];

/// Lets promtool itself (of Prometheus 3.5, as `tests/unpack-peers` fetches it, or as `WEIR_PROMTOOL_3`
/// names it) confirm the expected values.
/// The grammar as another implementation reads it: what both take means the same to both.
#[test]
fn promql_parser_reads_the_same() {
    let (mut compared, mut different) = (0, Vec::new());
    for case in FILES.iter().flat_map(|text| read(text).1) {
        // It panics on durations that it cannot hold.
        let theirs = std::panic::catch_unwind(|| promql_parser::parser::parse(&case.expr));
        let Ok(Ok(theirs)) = theirs else { continue };
        // A parse error that the crate does not have is about what it does not check.
        let Ok(ours) = crate::promql::formatted(&case.expr) else { continue };
        compared += 1;
        // It leaves a plus out that is before everything.
        let said = crate::promql::formatted(&theirs.to_string()).unwrap_or_default();
        if said.trim_start_matches('+') != ours.trim_start_matches('+') {
            different.push(format!("{}\n  theirs {theirs}\n  ours   {ours}", case.expr));
        }
    }
    assert!(compared > 300, "{compared}");
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn promtool_agrees_with_the_golden_values() {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let fetched = std::path::Path::new(&home).join(".cache/weir-peers/usr/bin/promtool");
    let named = std::env::var_os("WEIR_PROMTOOL_3").map(std::path::PathBuf::from);
    let Some(promtool) = named.or_else(|| fetched.exists().then_some(fetched)) else {
        // Past the test harness, which would hide it.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: there is no promtool of Prometheus 3.5: run tests/unpack-peers"
        );
        return;
    };
    for text in FILES {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("golden.yaml");
        std::fs::write(&path, rule_test(text)).unwrap();
        let output = std::process::Command::new(&promtool)
            .args(["--enable-feature=promql-experimental-functions", "test", "rules"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A golden file as a promtool unit test, without what promtool cannot expect: failures and NaN.
fn rule_test(text: &str) -> String {
    let mut blocks = text.split("\n\n");
    let mut yaml = "evaluation_interval: 1m\ntests:\n- interval: 30s\n  input_series:\n".to_owned();
    for line in blocks.next().unwrap().lines().filter_map(|line| line.strip_prefix("  ")) {
        let end = line.find("} ").map_or_else(|| line.find(' ').unwrap(), |at| at + 1);
        let (series, values) = line.split_at(end);
        writeln!(yaml, "  - series: {series:?}\n    values: {values:?}").unwrap();
    }
    yaml.push_str("  promql_expr_test:\n");
    for block in blocks {
        let mut lines = block.lines();
        let first = lines.next().unwrap().strip_prefix("eval ");
        let Some((time, expr)) = first.and_then(|first| first.split_once(' ')) else { continue };
        if lines.clone().any(|line| line.ends_with(" NaN")) {
            continue;
        }
        writeln!(yaml, "  - expr: {expr:?}\n    eval_time: {time}\n    exp_samples:").unwrap();
        for line in lines {
            let (labels, value) = line.trim().rsplit_once(' ').unwrap();
            let value = value.replace("Inf", ".Inf");
            writeln!(yaml, "    - labels: {labels:?}\n      value: {value}").unwrap();
        }
    }
    yaml
}

/// Pieces of expressions put together at random have a value or an error, and never panic.
#[tokio::test]
async fn mangled_expressions_are_answered_too() {
    let (memory, cases) = read(include_str!("golden/vectors.promql"));
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    let mut values = 0;
    for _ in 0..3000 {
        let [first, second] = [random(cases.len()), random(cases.len())].map(|at| &cases[at].expr);
        let mut text: String = first.chars().take(random(first.len() + 1)).collect();
        text.extend(second.chars().skip(random(second.len())));
        values += usize::from(memory.at(300_000, &text).await.is_ok());
    }
    assert!(values > 0);
}
