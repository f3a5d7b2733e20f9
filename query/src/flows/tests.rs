//! Flow metrics against brute force over random rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use regex::Regex;

use super::FlowSource;
use super::metrics::{Columns, Metric, metric_named};
use super::shape::bounds;
use crate::database::{Resources, Runtime};
use crate::promql::source::{Grouping, Labels, MatchOp, Matcher, Selector, Source, Steps, Window};
use crate::session::LazySession;
use crate::testing::{Row, dense, flow_batch, snapshot};

pub(super) const BASE_MS: i64 = 1_790_000_000_000;
const LABELS: [(&str, &[&str]); 5] = [
    ("namespace", &["", "shop", "infra"]),
    ("workload", &["api", "web", "db_1", "dbx1"]),
    ("peer_workload", &["api", "web", "cache"]),
    ("protocol", &["tcp", "udp"]),
    ("role", &["client", "server"]),
];

pub(super) fn random_rows(rng: &mut StdRng, count: usize, span_ms: i64) -> Vec<Row> {
    (0..count)
        .map(|_| {
            let mut labels = Vec::new();
            for (name, values) in LABELS {
                // A label that is not required is null now and then, besides being empty.
                if name != "namespace" && name != "peer_workload" || rng.random_bool(0.8) {
                    labels.push((name, values[rng.random_range(0..values.len())]));
                }
            }
            // Often exactly on a millisecond, or a microsecond beside it: where windows end.
            let end =
                (BASE_MS + rng.random_range(-span_ms..=span_ms)) * 1000 + rng.random_range(-1..=1);
            let mut numbers = Vec::new();
            if rng.random_bool(0.5) {
                numbers.push(("port", rng.random_range(79..82)));
            }
            for column in ["tx_bytes", "retransmits", "active", "connects"] {
                if rng.random_bool(0.9) {
                    numbers.push((column, rng.random_range(0..1000)));
                }
            }
            if let Some((_, all)) = numbers.iter().find(|(n, _)| *n == "retransmits") {
                let syn = rng.random_range(0..=*all);
                let closing = rng.random_range(0..=all - syn);
                numbers.push(("retransmits_syn", syn));
                // Rows from before there was this column lack it.
                if rng.random_bool(0.7) {
                    numbers.push(("retransmits_closing", closing));
                }
            }
            let rtts = rng.random_bool(0.6).then(|| {
                (0..rng.random_range(0..5)).map(|_| rng.random_range(0..1u64 << 22)).collect()
            });
            Row { end, labels, numbers, rtts }
        })
        .collect()
}

/// The series that one row belongs to, with what it adds to each.
fn series_of(metric: &Metric, row: &Row) -> Vec<(BTreeMap<String, String>, i64)> {
    let number = |name: &str| row.numbers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    let mut labels: BTreeMap<String, String> = row
        .labels
        .iter()
        .filter(|(_, v)| !v.is_empty())
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    // Required columns that a test row leaves out hold an x.
    labels.entry("node".into()).or_insert_with(|| "x".into());
    if let Some(port) = number("port") {
        labels.insert("port".into(), port.to_string());
    }
    let with = |name: &str, value: &str| {
        let mut labels = labels.clone();
        labels.insert(name.into(), value.into());
        labels
    };
    match metric.columns {
        Columns::Counter(c) | Columns::Level(c) => {
            number(c).map(|n| (labels, n)).into_iter().collect()
        }
        Columns::Parted(parted) => number(parted.all)
            .map(|all| {
                let name = parted.label.name();
                let mut rest = all;
                let mut series = Vec::new();
                for (value, column) in parted.parts {
                    let part = number(column).unwrap_or(0);
                    rest -= part;
                    series.push((with(name, value), part));
                }
                series.push((with(name, parted.rest), rest));
                series
            })
            .unwrap_or_default(),
        Columns::Bucket(_) => row
            .rtts
            .as_deref()
            .map(|rtts| {
                let slots = dense(rtts);
                let mut below = 0;
                bounds()
                    .zip(slots)
                    .map(|(le, n)| {
                        below += n;
                        (with("le", &le), below)
                    })
                    .collect()
            })
            .unwrap_or_default(),
        Columns::Sum(_) => {
            row.rtts.iter().map(|r| (labels.clone(), r.iter().sum::<u64>() as i64)).collect()
        }
        Columns::Count(_) => row.rtts.iter().map(|r| (labels.clone(), r.len() as i64)).collect(),
        Columns::Cost(_) => Vec::new(),
    }
}

fn group_of(labels: &BTreeMap<String, String>, grouping: &Grouping) -> Labels {
    let kept = labels.iter().filter(|(name, _)| match grouping {
        Grouping::Every => true,
        Grouping::By(names) => names.iter().any(|n| **n == ***name),
        Grouping::Without(names) => names.iter().all(|n| **n != ***name),
    });
    Labels(kept.map(|(n, v)| (Arc::from(n.as_str()), Arc::from(v.as_str()))).collect())
}

fn accepts(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    selector.matchers.iter().all(|m| m.op.accepts(labels.get(&*m.name).map_or("", String::as_str)))
}

pub(super) fn random_matchers(rng: &mut StdRng) -> Vec<Matcher> {
    const PATTERNS: [&str; 10] =
        ["api|web", "db.*", "db_.*", "", ".*", ".+", "[aw].*", "api|", "(?i)API", "8[01]"];
    let names = ["namespace", "workload", "peer_workload", "port", "phase", "nowhere", "role"];
    let values = ["api", "shop", "", "80", "080", "syn", "client"];
    (0..rng.random_range(0..3))
        .map(|_| {
            let value: Arc<str> = Arc::from(values[rng.random_range(0..values.len())]);
            let pattern = PATTERNS[rng.random_range(0..PATTERNS.len())];
            let regex = Regex::new(&format!("^(?s:{pattern})$")).expect("a pattern");
            let op = match rng.random_range(0..4) {
                0 => MatchOp::Equal(value),
                1 => MatchOp::NotEqual(value),
                2 => MatchOp::Matches(regex),
                _ => MatchOp::NotMatches(regex),
            };
            Matcher { name: Arc::from(names[rng.random_range(0..names.len())]), op }
        })
        .collect()
}

pub(super) fn random_grouping(rng: &mut StdRng) -> Grouping {
    let names = ["namespace", "workload", "peer_workload", "port", "phase", "nowhere", "role"];
    let some = (0..rng.random_range(0..4))
        .map(|_| Arc::from(names[rng.random_range(0..names.len())]))
        .collect();
    match rng.random_range(0..4) {
        0 => Grouping::Every,
        1 => Grouping::Without(some),
        _ => Grouping::By(some),
    }
}

fn random_range(rng: &mut StdRng, span: i64) -> (Window, Steps) {
    let instant = rng.random_bool(0.2);
    let start = BASE_MS + rng.random_range(-span..=span);
    let step = [1, 7, 100, 250, 1000, span][rng.random_range(0..6)].max(span / 60);
    let end = if instant { start } else { start + rng.random_range(0..=span) };
    let window = Window {
        range: match rng.random_range(0..4) {
            0 => step,
            1 => step * rng.random_range(1..6),
            2 => rng.random_range(1..=step),
            _ => rng.random_range(1..=span),
        },
        offset: rng.random_range(-span / 4..=span / 4),
        at: rng.random_bool(0.1).then(|| BASE_MS + rng.random_range(-span..=span)),
    };
    (window, Steps { start, end, step })
}

fn source(rows: &[Row], dir: &std::path::Path, rng: &mut StdRng) -> FlowSource {
    let memory = rng.random_range(0..=rows.len());
    let files = rng.random_range(1..4);
    let snapshot = snapshot(dir, &flow_batch(rows), memory, files);
    let runtime = Runtime::new(&Resources::default());
    FlowSource::new(Arc::new(LazySession::new(runtime, vec![snapshot])))
}

pub(super) const TESTED: [&str; 6] = [
    "flow_tx_bytes_total",
    "flow_retransmits_total",
    "flow_connects_total",
    "flow_rtt_seconds_bucket",
    "flow_rtt_seconds_sum",
    "flow_rtt_seconds_count",
];

#[tokio::test]
async fn window_sums_equal_brute_force() {
    for seed in 0..12 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let span = [500, 5_000, 60_000][rng.random_range(0..3)];
        let rows = random_rows(rng, 300, span);
        let dir = tempfile::tempdir().expect("a directory");
        let source = source(&rows, dir.path(), rng);
        for _ in 0..12 {
            let metric = metric_named(TESTED[rng.random_range(0..TESTED.len())]).expect("a metric");
            let (window, steps) = random_range(rng, span);
            let grouping = random_grouping(rng);
            let selector = Selector {
                metric: Some(Arc::from(metric.name)),
                name_matchers: vec![],
                matchers: random_matchers(rng),
            };
            let scale = if matches!(metric.columns, Columns::Sum(_)) { 1e6 } else { 1.0 };
            // Bounds of buckets that no row fills may be left out; sums over `le` would differ then.
            let bucket = matches!(metric.columns, Columns::Bucket(_));
            let grouping = match grouping {
                Grouping::By(mut names) if bucket => {
                    names.push(Arc::from("le"));
                    Grouping::By(names)
                }
                other => other,
            };
            let mut expected: BTreeMap<Labels, Vec<Option<i64>>> = BTreeMap::new();
            for row in &rows {
                for (labels, value) in series_of(metric, row) {
                    if !accepts(&selector, &labels) {
                        continue;
                    }
                    for (i, t) in steps.iter().enumerate() {
                        let until = (window.at.unwrap_or(t) - window.offset) * 1000;
                        if row.end > until - window.range * 1000 && row.end <= until {
                            let sums = expected
                                .entry(group_of(&labels, &grouping))
                                .or_insert_with(|| vec![None; steps.len()]);
                            *sums[i].get_or_insert(0) += value;
                        }
                    }
                }
            }
            let found = source
                .window_sums(&selector, &window, &steps, &grouping)
                .await
                .expect("an answer")
                .expect("a metric of deltas");
            let mut left = expected.clone();
            for series in &found {
                let Some(sums) = left.remove(&series.labels) else {
                    panic!("seed {seed}: unexpected {:?} for {selector:?}", series.labels)
                };
                let sums: Vec<_> = sums.iter().map(|v| v.map(|v| v as f64 / scale)).collect();
                assert_eq!(
                    series.values.iter().collect::<Vec<_>>(),
                    sums,
                    "seed {seed} {selector:?} {window:?} {steps:?}"
                );
            }
            if bucket {
                // What is left out lies outside of the filled buckets: nothing, or everything.
                for (labels, sums) in left {
                    let infinite = Labels(
                        labels
                            .0
                            .iter()
                            .map(|(n, v)| {
                                (n.clone(), if &**n == "le" { "+Inf".into() } else { v.clone() })
                            })
                            .collect(),
                    );
                    assert!(
                        sums.iter().flatten().all(|n| *n == 0) || expected[&infinite] == sums,
                        "seed {seed}: {labels:?} was left out"
                    );
                }
            } else {
                assert!(left.is_empty(), "seed {seed}: missing {left:?} for {selector:?}");
            }
        }
    }
}

#[tokio::test]
async fn raw_samples_are_counters_that_restart_at_midnight() {
    for seed in 100..106 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let span = 2 * 86_400_000;
        let rows = random_rows(rng, 200, span);
        let dir = tempfile::tempdir().expect("a directory");
        let source = source(&rows, dir.path(), rng);
        for name in ["flow_tx_bytes_total", "flow_retransmits_total", "flow_active_connections"] {
            let metric = metric_named(name).expect("a metric");
            let after = BASE_MS + rng.random_range(-span..=span);
            let until = after + rng.random_range(1..=span);
            let selector = Selector {
                metric: Some(Arc::from(name)),
                name_matchers: vec![],
                matchers: random_matchers(rng),
            };
            let millisecond = |row: &Row| (row.end + 999).div_euclid(1000);
            let midnight = |ms: i64| ms - ms.rem_euclid(86_400_000);
            let mut deltas: BTreeMap<Labels, BTreeMap<i64, i64>> = BTreeMap::new();
            for row in &rows {
                for (mut labels, value) in series_of(metric, row) {
                    if accepts(&selector, &labels) {
                        labels.insert("__name__".into(), name.into());
                        *deltas
                            .entry(group_of(&labels, &Grouping::Every))
                            .or_default()
                            .entry(millisecond(row))
                            .or_default() += value;
                    }
                }
            }
            let mut expected: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
            for (labels, deltas) in deltas {
                for (ms, value) in deltas.range(after + 1..=until) {
                    let value = if metric.is_delta() {
                        deltas.range(midnight(*ms)..=*ms).map(|(_, v)| v).sum()
                    } else {
                        *value
                    };
                    expected.entry(labels.clone()).or_default().push((*ms, value as f64));
                }
            }
            let found: BTreeMap<_, _> = source
                .series(&selector, after, until)
                .await
                .expect("an answer")
                .into_iter()
                .map(|s| (s.labels, s.samples))
                .collect();
            assert_eq!(found, expected, "seed {seed} {selector:?}");
        }
    }
}
