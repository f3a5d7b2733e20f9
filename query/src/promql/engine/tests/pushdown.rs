//! Sums of deltas are asked of the source, grouped; no series is read for them.

use super::memory::{Memory, Request};
use crate::promql::Value;
use crate::promql::source::{Grouping, Steps};

const STEPS: Steps = Steps { start: 120_000, end: 240_000, step: 60_000 };

/// Two workloads of two pods each: 1 and 2, and 3 and 4 bytes every 10 s.
fn flows() -> Memory {
    let mut memory = Memory::default();
    for (workload, pod, bytes) in [("a", "1", 1), ("a", "2", 2), ("b", "1", 3), ("b", "2", 4)] {
        let labels = format!("workload=\"{workload}\",pod=\"{pod}\"");
        memory.load_deltas(10_000, &format!("bytes_total{{{labels}}} {bytes}x60"));
        for (le, count) in [("1", bytes), ("2", 2 * bytes), ("+Inf", 2 * bytes)] {
            memory.load_deltas(10_000, &format!("rtt_bucket{{{labels},le=\"{le}\"}} {count}x60"));
        }
    }
    memory
}

fn by(names: &[&str]) -> Grouping {
    Grouping::By(names.iter().map(|name| (*name).into()).collect())
}

/// Evaluates over [`STEPS`]; the values by series, and the groupings that were asked for.
async fn run(expr: &str) -> (Vec<(String, Vec<Option<f64>>)>, Vec<Grouping>) {
    let memory = flows();
    let Value::Vector(series) = memory.query(expr, STEPS, false).await.unwrap().value else {
        panic!("no vector: {expr}");
    };
    let asked = std::mem::take(&mut *memory.requests.lock());
    let asked = asked
        .into_iter()
        .map(|request| match request {
            Request::Sums { grouping, .. } => grouping,
            Request::Series { .. } => panic!("series were read: {expr}"),
        })
        .collect();
    (
        series
            .into_iter()
            .map(|one| (one.labels.to_string(), one.values.iter().collect()))
            .collect(),
        asked,
    )
}

fn always(labels: &str, value: f64) -> (String, Vec<Option<f64>>) {
    (labels.to_owned(), vec![Some(value); STEPS.len()])
}

#[tokio::test]
async fn one_request_for_each_sum() {
    let (series, asked) = run("sum by (workload) (rate(bytes_total[1m]))").await;
    let expected = [always("{workload=\"a\"}", 0.3), always("{workload=\"b\"}", 0.7)];
    assert_eq!((series.as_slice(), asked), (expected.as_slice(), vec![by(&["workload"])]));

    let (series, asked) = run("sum(increase(bytes_total[1m]))").await;
    assert_eq!((series, asked), (vec![always("{}", 60.0)], vec![by(&[])]));

    let (series, asked) = run("sum without (pod) (increase(bytes_total{pod=\"2\"}[30s]))").await;
    let expected = [always("{workload=\"a\"}", 6.0), always("{workload=\"b\"}", 12.0)];
    let gone = Grouping::Without(vec!["pod".into()]);
    assert_eq!((series.as_slice(), asked), (expected.as_slice(), vec![gone]));

    let (series, asked) = run("increase(bytes_total{pod!=\"2\",workload=\"a\"}[30s])").await;
    let expected = vec![always("{pod=\"1\", workload=\"a\"}", 3.0)];
    assert_eq!((series, asked), (expected, vec![Grouping::Every]));
}

#[tokio::test]
async fn what_is_around_a_sum_works_on_its_result() {
    let (series, asked) = run("topk(1, sum by (workload) (rate(bytes_total[1m]))) * 8").await;
    assert_eq!(series, [always("{workload=\"b\"}", 0.7 * 8.0)]);
    assert_eq!(asked, [by(&["workload"])]);

    let (series, asked) = run(
        "sum by (workload) (rate(bytes_total[1m])) / on () group_left () sum(rate(bytes_total[1m]))",
    )
    .await;
    let expected = [always("{workload=\"a\"}", 0.3), always("{workload=\"b\"}", 0.7)];
    assert_eq!(series, expected);
    assert_eq!(asked, [by(&["workload"]), by(&[])]);

    let (series, asked) =
        run("histogram_quantile(0.75, sum by (le, workload) (increase(rtt_bucket[1m])))").await;
    let expected = [always("{workload=\"a\"}", 1.5), always("{workload=\"b\"}", 1.5)];
    assert_eq!(series, expected);
    assert_eq!(asked, [by(&["le", "workload"])]);

    let (series, asked) =
        run("max_over_time(sum by (workload) (rate(bytes_total[1m]))[2m:30s])").await;
    assert_eq!(series, expected_rates());
    assert_eq!(asked, [by(&["workload"])]);
}

fn expected_rates() -> Vec<(String, Vec<Option<f64>>)> {
    vec![always("{workload=\"a\"}", 0.3), always("{workload=\"b\"}", 0.7)]
}

#[tokio::test]
async fn a_fixed_time_is_asked_for_once_and_offsets_are_passed_on() {
    let memory = flows();
    let expr = "sum(increase(bytes_total[1m] @ 90 offset 30s))";
    let answer = memory.query(expr, STEPS, false).await.unwrap();
    let Value::Vector(series) = answer.value else { panic!("no vector") };
    assert_eq!(series[0].values.iter().collect::<Vec<_>>(), vec![Some(60.0); 3]);
    let expected = Request::Sums {
        metric: Some("bytes_total".to_owned()),
        range: 60_000,
        offset: 30_000,
        steps: Steps { start: 90_000, end: 90_000, step: 60_000 },
        grouping: by(&[]),
    };
    assert_eq!(*memory.requests.lock(), [expected]);
}

#[tokio::test]
async fn other_metrics_are_read_as_series() {
    let mut memory = Memory::default();
    memory.load(10_000, "up_total{a=\"1\"} 0+1x60");
    let answer = memory.query("sum(increase(up_total[1m]))", STEPS, false).await.unwrap();
    let Value::Vector(series) = answer.value else { panic!("no vector") };
    assert_eq!(series[0].values.iter().collect::<Vec<_>>(), vec![Some(6.0); 3]);
    let expected =
        Request::Series { metric: Some("up_total".to_owned()), after: 60_000, until: 240_000 };
    assert_eq!(*memory.requests.lock(), [expected]);
}
