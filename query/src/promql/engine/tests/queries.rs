//! Limits, order, kinds of values and remarks.

use super::memory::Memory;
use crate::promql::error::Error;
use crate::promql::source::Steps;
use crate::promql::{Engine, Query, Value};

fn memory() -> Memory {
    let mut memory = Memory::default();
    for (name, value) in [("a", "3"), ("b", "NaN"), ("c", "1"), ("d", "2")] {
        memory.load(60_000, &format!("m{{x=\"{name}\"}} {value}x20"));
    }
    memory.load(60_000, "c_total 0+1x1000");
    memory
}

async fn order(expr: &str) -> String {
    let Value::Vector(series) = memory().at(60_000, expr).await.unwrap().value else {
        panic!("no vector");
    };
    series.iter().filter_map(|one| one.labels.get("x")).collect()
}

#[tokio::test]
async fn instant_queries_keep_the_order_of_sort_and_topk() {
    assert_eq!(order("m").await, "abcd");
    assert_eq!(order("sort(m)").await, "cdab");
    assert_eq!(order("sort_desc(m)").await, "adcb");
    assert_eq!(order("topk(3, m)").await, "adc");
    assert_eq!(order("bottomk(2, m)").await, "cd");
    assert_eq!(order("sort_by_label_desc(m, \"x\")").await, "dcba");
    assert_eq!(order("sort_desc(m) + 1").await, "adcb");
}

#[tokio::test]
async fn range_queries_sort_by_labels() {
    let steps = Steps { start: 60_000, end: 120_000, step: 60_000 };
    let answer = memory().query("sort_desc(m)", steps, false).await.unwrap();
    let Value::Vector(series) = answer.value else { panic!("no vector") };
    let order: String = series.iter().filter_map(|one| one.labels.get("x")).collect();
    assert_eq!(order, "abcd");
}

#[tokio::test]
async fn instant_queries_may_be_of_any_kind() {
    let memory = memory();
    let value = memory.at(60_000, "c_total[2m]").await.unwrap().value;
    let Value::Matrix(series) = value else { panic!("no matrix") };
    assert_eq!(series[0].samples, [(0, 0.0), (60_000, 1.0)]);
    assert_eq!(series[0].labels.metric(), "c_total");
    let value = memory.at(90_000, "c_total[1m:20s]").await.unwrap().value;
    let Value::Matrix(series) = value else { panic!("no matrix") };
    assert_eq!(series[0].samples, [(40_000, 0.0), (60_000, 1.0), (80_000, 1.0)]);
    assert!(matches!(memory.at(0, "\"text\"").await.unwrap().value, Value::Str(t) if t == "text"));
    assert!(
        matches!(memory.at(5000, "time()").await.unwrap().value, Value::Scalar(v) if v == [5.0])
    );

    let steps = Steps { start: 0, end: 60_000, step: 60_000 };
    for expr in ["c_total[1m]", "\"text\""] {
        let error = memory.query(expr, steps, false).await.unwrap_err();
        assert!(error.to_string().contains("invalid expression type"), "{error}");
    }
}

#[tokio::test]
async fn steps_are_limited() {
    let memory = memory();
    let query = |start, end, step| memory.query("1", Steps { start, end, step }, false);
    assert!(query(0, 11_000, 1).await.is_ok());
    for (steps, text) in [
        ((0, 11_001, 1), "exceeded maximum resolution of 11,000 points per timeseries."),
        ((1, 0, 1), "end timestamp must not be before start time"),
        ((0, 1, 0), "zero or negative query resolution step widths are not accepted"),
        ((i64::MIN, i64::MAX, 1), "out of range"),
    ] {
        let error = query(steps.0, steps.1, steps.2).await.unwrap_err();
        assert!(matches!(error, Error::BadData(_)) && error.to_string().contains(text), "{error}");
    }
}

#[tokio::test]
async fn samples_are_limited() {
    let memory = memory();
    let engine = Engine { max_samples: 100, ..Engine::default() };
    let run = |expr: &str, end| {
        let steps = Steps { start: 0, end, step: 60_000 };
        let query = Query { expr: expr.to_owned(), steps, instant: false, lookback_ms: None };
        let (engine, memory) = (engine.clone(), &memory);
        async move { engine.evaluate(memory, &query).await }
    };
    assert!(run("c_total", 600_000).await.is_ok());
    let error = run("c_total", 6_000_000).await.unwrap_err();
    assert!(matches!(&error, Error::Execution(text) if text.contains("limit: 100")), "{error}");
    // Constant expressions are evaluated once, but their copies count.
    assert!(run("m @ 0", 60_000_000).await.is_err());
    // Refused before any room is made for it.
    let error = run("sum_over_time(vector(1)[200y:1ms])", 0).await.unwrap_err();
    assert!(error.to_string().contains("limit: 100"), "{error}");
}

#[tokio::test]
async fn the_lookback_can_be_set() {
    let memory = memory();
    let steps = Steps { start: 90_000, end: 90_000, step: 1 };
    let count = async |lookback_ms| {
        let query = Query { expr: "c_total".to_owned(), steps, instant: true, lookback_ms };
        match Engine::default().evaluate(&memory, &query).await.unwrap().value {
            Value::Vector(series) => series.len(),
            _ => 0,
        }
    };
    assert_eq!(count(None).await, 1);
    assert_eq!(count(Some(30_000)).await, 0);
    assert_eq!(count(Some(30_001)).await, 1);
}

#[tokio::test]
async fn doubtful_queries_are_remarked_on() {
    let memory = memory();
    let answer = memory.at(60_000, "rate(m[5m])").await.unwrap();
    assert!(answer.infos[0].contains("might not be a counter"), "{:?}", answer.infos);
    let answer = memory.at(60_000, "quantile(2, m)").await.unwrap();
    assert!(answer.warnings[0].contains("between 0 and 1, got 2"), "{:?}", answer.warnings);
    let answer = memory.at(60_000, "histogram_quantile(0.5, m)").await.unwrap();
    assert!(answer.warnings[0].contains("bucket label \"le\" is missing"), "{:?}", answer.warnings);
    assert!(memory.at(60_000, "rate(c_total[5m])").await.unwrap().infos.is_empty());
}

#[tokio::test]
async fn smoothing_factors_are_checked() {
    let expr = "double_exponential_smoothing(c_total[5m], 1.5, 0.5)";
    let error = memory().at(60_000, expr).await.unwrap_err();
    assert!(error.to_string().contains("invalid smoothing factor"), "{error}");
}

#[tokio::test]
async fn limits_pick_whole_series() {
    let memory = memory();
    let count = async |expr: &str| match memory.at(60_000, expr).await.unwrap().value {
        Value::Vector(series) => series.len(),
        _ => 0,
    };
    assert_eq!(count("limitk(2, m)").await, 2);
    assert_eq!(count("limitk(9, m)").await, 4);
    let both = count("limit_ratio(0.4, m)").await + count("limit_ratio(-0.6, m)").await;
    assert_eq!(both, 4);
}

#[tokio::test]
async fn first_over_time_sees_a_left_open_window_and_keeps_the_name() {
    let memory = memory();
    let Value::Vector(series) =
        memory.at(120_000, "first_over_time(c_total[2m])").await.unwrap().value
    else {
        panic!("no vector");
    };
    // The window is left-open: the sample at 0 is outside.
    assert_eq!(series[0].values.iter().collect::<Vec<_>>(), [Some(1.0)]);
    assert_eq!(series[0].labels.metric(), "c_total");
}

/// Ten calls of which each repeats the value before ten times: 10^10 bytes if nobody stops them.
#[tokio::test]
async fn labels_cannot_grow_without_bound() {
    let replace = |inner: String| {
        format!("label_replace({inner}, \"x\", \"{}\", \"x\", \"(.*)\")", "$1".repeat(10))
    };
    let join = |inner: String| format!("label_join({inner}, \"x\", \"\"{})", ", \"x\"".repeat(10));
    let nested = |call: &dyn Fn(String) -> String, times: usize| {
        (0..times).fold("m".to_owned(), |inner, _| call(inner))
    };
    for call in [&replace as &dyn Fn(String) -> String, &join] {
        match memory().at(60_000, &nested(call, 10)).await {
            Err(Error::Execution(message)) => assert!(message.contains("longer than"), "{message}"),
            other => panic!("{other:?}"),
        }
        let Value::Vector(series) = memory().at(60_000, &nested(call, 3)).await.unwrap().value
        else {
            panic!("no vector")
        };
        assert!(series.iter().all(|one| one.labels.get("x").is_some_and(|x| x.len() == 1000)));
    }
    // Values within the bound are still paid for.
    let engine = Engine { max_samples: 1000, ..Engine::default() };
    let steps = Steps { start: 60_000, end: 60_000, step: 1 };
    let query = Query { expr: nested(&replace, 4), steps, instant: true, lookback_ms: None };
    match engine.evaluate(&memory(), &query).await {
        Err(Error::Execution(message)) => assert!(message.contains("too many"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stopped_query_has_no_answer() {
    let steps = Steps { start: 600_000, end: 600_000, step: 1 };
    let stop = crate::promql::Stop::default();
    stop.stop();
    for expr in ["1", "m", "c_total[5m]", "rate(c_total[5m])"] {
        let query = Query { expr: expr.to_owned(), steps, instant: true, lookback_ms: None };
        let answer = Engine::default().evaluate_until(&memory(), &query, &stop).await;
        assert!(matches!(answer, Err(Error::Timeout(_))), "{expr}: {answer:?}");
    }
}

/// Every step sees all 1,000 samples again, and none is held.
#[tokio::test]
async fn what_windows_see_is_not_held() {
    let engine = Engine { max_samples: 20_000, ..Engine::default() };
    let ask = |range: &str| Query {
        expr: format!("sum_over_time(c_total[{range}])"),
        steps: Steps { start: 60_000_000, end: 65_000_000, step: 1000 },
        instant: false,
        lookback_ms: None,
    };
    for range in ["1h", "1d"] {
        let answer = engine.evaluate(&memory(), &ask(range)).await.unwrap();
        assert!(answer.samples > 0 && answer.peak <= 20_000, "{range}: {answer:?}");
    }
}
