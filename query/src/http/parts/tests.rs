use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels(pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect())
}

fn query(steps: Steps, instant: bool) -> Query {
    Query { expr: String::new(), steps, instant, lookback_ms: None }
}

fn text(parts: &[Bytes]) -> serde_json::Value {
    serde_json::from_slice(&parts.concat()).expect("JSON")
}

#[test]
fn times_keep_their_milliseconds() {
    for (ms, text) in [(1_500, "1.500"), (2_000, "2"), (7, "0.007"), (-1_001, "-1.001")] {
        let mut out = Vec::new();
        seconds(ms, &mut out);
        assert_eq!(out, text.as_bytes());
    }
}

#[test]
fn large_answers_come_in_parts_of_bounded_size() {
    let steps = Steps { start: 0, end: 10_999_000, step: 1000 };
    let values: Values = (0..11_000).map(|i| (i % 3 != 1).then_some(f64::from(i) + 0.5)).collect();
    let one = |name| StepSeries { labels: labels(&[("q\"", name)]), values: values.clone() };
    let all: Vec<StepSeries> = vec![
        one("a"),
        StepSeries { labels: Labels::default(), values: Values::none(11_000) },
        one("b"),
        one("c"),
    ];
    let parts: Vec<Bytes> = Parts::answer(Value::Vector(all), &query(steps, false), 2, None)
        .between("[", "]")
        .collect();
    assert!(parts.len() > 2 && parts.iter().all(|part| part.len() < PART + 1024));
    let answer = text(&parts);
    let result = answer[0]["result"].as_array().expect("series");
    let names: Vec<_> = result.iter().map(|one| one["metric"]["q\""].clone()).collect();
    assert_eq!(names, ["a", "b"], "those without a value do not count");
    for one in result {
        let wanted: Vec<serde_json::Value> = (0..11_000)
            .filter(|i| i % 3 != 1)
            .map(|i| serde_json::json!([i, format!("{i}.5")]))
            .collect();
        assert_eq!(one["values"], serde_json::Value::from(wanted));
    }
    let samples: Vec<(i64, f64)> = (0..20_000).map(|i| (i * 10, -1.0)).collect();
    let all = vec![Series { labels: labels(&[("a", "b")]), samples }; 2];
    let steps = Steps { start: 0, end: 0, step: 1 };
    let parts: Vec<Bytes> =
        Parts::answer(Value::Matrix(all), &query(steps, true), 9, None).collect();
    assert!(parts.len() > 6 && parts.iter().all(|part| part.len() < PART + 1024));
    let answer = text(&parts);
    for one in answer["result"].as_array().expect("series") {
        let values = one["values"].as_array().expect("points");
        assert_eq!(values.len(), 20_000);
        assert_eq!(
            (&values[1], &values[19_999]),
            (&serde_json::json!([0.010, "-1"]), &serde_json::json!([199.990, "-1"]))
        );
    }
}

#[test]
fn small_answers_are_one_part() {
    let steps = Steps { start: 1500, end: 1500, step: 1 };
    let stats = serde_json::json!({"samples": 1});
    let one = |value| StepSeries {
        labels: labels(&[("a", "b"), ("c", "d")]),
        values: Values::repeated(Some(value), 1),
    };
    for (value, stats, wanted) in [
        (Value::Str("x\"".into()), None, r#"{"resultType":"string","result":[1.500,"x\""]}"#),
        (Value::Scalar(vec![2.0]), None, r#"{"resultType":"scalar","result":[1.500,"2"]}"#),
        (
            Value::Scalar(vec![-2.5e-9]),
            None,
            r#"{"resultType":"scalar","result":[1.500,"-0.0000000025"]}"#,
        ),
        (
            Value::Vector(vec![one(-2.5e-9)]),
            None,
            r#"{"resultType":"vector","result":[{"metric":{"a":"b","c":"d"},"value":[1.500,"-2.5e-09"]}]}"#,
        ),
        (
            Value::Vector(vec![one(f64::NAN), one(0.5)]),
            Some(&stats),
            r#"{"resultType":"vector","result":[{"metric":{"a":"b","c":"d"},"value":[1.500,"NaN"]},{"metric":{"a":"b","c":"d"},"value":[1.500,"0.5"]}],"stats":{"samples":1}}"#,
        ),
        (Value::Matrix(vec![]), None, r#"{"resultType":"matrix","result":[]}"#),
    ] {
        let parts: Vec<Bytes> = Parts::answer(value, &query(steps, true), 9, stats).collect();
        assert_eq!(parts, [wanted.as_bytes()]);
    }
    let range = Steps { start: 0, end: 1000, step: 500 };
    let scalar = Value::Scalar(vec![1.0, 2.0, 3.0]);
    let parts: Vec<Bytes> = Parts::answer(scalar, &query(range, false), 9, None).collect();
    let wanted = r#"{"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[0.500,"2"],[1,"3"]]}]}"#;
    assert_eq!(parts, [wanted.as_bytes()]);
    let sets = BTreeSet::from([labels(&[("a", "b")]), labels(&[("a", "c")]), labels(&[("x", "")])]);
    let parts: Vec<Bytes> = Parts::label_sets(sets, 2).collect();
    assert_eq!(parts, [br#"[{"a":"b"},{"a":"c"}]"#.as_slice()]);
}
