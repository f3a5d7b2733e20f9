//! Translation of messages that prost encodes.

use proptest::prelude::*;
use prost::Message as _;
use weir_storage::series::STALE;

use super::deltas::Deltas;
use super::*;
use crate::samples::decode::tests::series_of;
use crate::samples::limits::Limits;
use crate::samples::messages::otlp::*;
use crate::samples::refusals::{Refusals, Times};

/// Milliseconds, and the same in nanoseconds.
const T: i64 = 1_700_000_000_000;
const NANOS: u64 = 1_700_000_000_000_000_000;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }) }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::Text(value.into()))
}

fn export(resource: Vec<KeyValue>, metrics: Vec<Metric>) -> Vec<u8> {
    Export {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes: resource }),
            scope_metrics: vec![ScopeMetrics { metrics }],
        }],
    }
    .encode_to_vec()
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric { name: name.into(), description: "Help.".into(), unit: unit.into(), data: Some(data) }
}

fn number(double: Option<f64>, int: Option<i64>) -> NumberPoint {
    NumberPoint { time: NANOS, double, int, ..NumberPoint::default() }
}

/// Series as text: `name{labels} value @ milliseconds after T`.
fn translated(body: &[u8], deltas: Option<&mut Staged<'_>>) -> (Vec<String>, Refusals) {
    let mut points = Points::new(Limits::default(), Times::ALL);
    translate(body, &mut points, deltas, &Metadata::default()).unwrap();
    let (batch, refusals) = points.finish().unwrap();
    let mut lines = Vec::new();
    for (mut labels, points) in series_of(&batch) {
        let name = labels.remove("__name__").unwrap();
        let labels: Vec<_> = labels.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
        for (time, bits) in points {
            let value = match bits {
                STALE => "stale".to_owned(),
                bits => f64::from_bits(bits).to_string(),
            };
            lines.push(format!("{name}{{{}}} {value} @ {}", labels.join(","), time - T));
        }
    }
    (lines, refusals)
}

#[test]
fn gauges_sums_and_the_resource() {
    let mut later = number(None, Some(-7));
    later.time += 1_999_999;
    later.attributes = vec![
        text("http.method", "GET"),
        attribute("flag", Value::Bool(true)),
        attribute("n", Value::Int(3)),
        attribute("x", Value::Double(0.5)),
        attribute("b", Value::Bytes(b"hi".to_vec())),
        attribute(
            "list",
            Value::Array(Array {
                values: vec![
                    AnyValue { value: Some(Value::Int(1)) },
                    AnyValue { value: Some(Value::Text("a".into())) },
                ],
            }),
        ),
        attribute("map", Value::Map(Map { values: vec![attribute("k", Value::Double(2.0))] })),
        text("empty", ""),
        text("job", "overridden"),
    ];
    let stale = NumberPoint { flags: 1, ..number(None, None) };
    let sum =
        |points, monotonic| Data::Sum(Numbers { data_points: points, temporality: 2, monotonic });
    let gauge = |points| Data::Gauge(Numbers { data_points: points, ..Numbers::default() });
    let body = export(
        vec![
            text("service.name", "shop"),
            text("service.namespace", "prod"),
            text("service.instance.id", "i-1"),
            text("host.name", "h"),
        ],
        vec![
            metric("room.temperature", "Cel", gauge(vec![number(Some(21.5), None)])),
            metric("requests", "{request}", sum(vec![later], true)),
            metric("queue.length", "1", sum(vec![stale], false)),
            metric("nothing", "", gauge(vec![number(None, None)])),
            metric("°", "", gauge(vec![number(Some(1.0), None)])),
        ],
    );
    let (lines, refusals) = translated(&body, None);
    assert_eq!(
        lines,
        [
            r#"room_temperature_celsius{instance="i-1",job="prod/shop"} 21.5 @ 0"#,
            r#"requests_total{b="aGk=",flag="true",http_method="GET",instance="i-1",job="prod/shop",list="[1,\"a\"]",map="{\"k\":2}",n="3",x="0.5"} -7 @ 1"#,
            r#"queue_length{instance="i-1",job="prod/shop"} stale @ 0"#,
            r#"target_info{host_name="h",instance="i-1",job="prod/shop"} 1 @ 0"#,
            r#"target_info{host_name="h",instance="i-1",job="prod/shop"} 1 @ 1"#,
        ]
    );
    assert_eq!(refusals.count(), 2);
    assert!(refusals.points.first.contains("without a value"), "{refusals}");
}

#[test]
fn histograms_and_summaries() {
    let histogram = HistogramPoint {
        time: NANOS,
        count: 10,
        sum: Some(12.5),
        bucket_counts: vec![1, 2, 3, 4],
        bounds: vec![0.005, 1.0, 1e21],
        ..HistogramPoint::default()
    };
    let unknown_sum = HistogramPoint { time: NANOS, count: 2, ..HistogramPoint::default() };
    let cumulative =
        |point| Data::Histogram(Histogram { data_points: vec![point], temporality: 2 });
    let summary = SummaryPoint {
        time: NANOS,
        count: 4,
        sum: 2.5,
        quantiles: vec![Quantile { quantile: 0.5, value: 0.25 }],
        ..SummaryPoint::default()
    };
    let exponential = Data::Exponential(Histogram {
        data_points: vec![HistogramPoint::default(); 3],
        temporality: 2,
    });
    let body = export(
        vec![text("host", "h")],
        vec![
            metric("latency", "s", cumulative(histogram)),
            metric("bare", "", cumulative(unknown_sum)),
            metric("size", "By", Data::Summary(Summary { data_points: vec![summary] })),
            metric("exp", "", exponential),
        ],
    );
    let (lines, refusals) = translated(&body, None);
    assert_eq!(
        lines,
        [
            "latency_seconds_sum{} 12.5 @ 0",
            "latency_seconds_count{} 10 @ 0",
            r#"latency_seconds_bucket{le="0.005"} 1 @ 0"#,
            r#"latency_seconds_bucket{le="1"} 3 @ 0"#,
            r#"latency_seconds_bucket{le="1000000000000000000000"} 6 @ 0"#,
            r#"latency_seconds_bucket{le="+Inf"} 10 @ 0"#,
            "bare_count{} 2 @ 0",
            r#"bare_bucket{le="+Inf"} 2 @ 0"#,
            r#"size_bytes{quantile="0.5"} 0.25 @ 0"#,
            "size_bytes_sum{} 2.5 @ 0",
            "size_bytes_count{} 4 @ 0",
        ],
        "and no target_info without job or instance"
    );
    assert_eq!((refusals.histograms.count, refusals.count()), (3, 3));
    assert_eq!(refusals.histograms.first, "`exp{}`");
}

#[test]
fn deltas_add_up() {
    let sum = |time: u64, value| {
        let point = NumberPoint { time, ..number(Some(value), None) };
        metric(
            "n",
            "",
            Data::Sum(Numbers { data_points: vec![point], temporality: 1, monotonic: true }),
        )
    };
    let buckets = |time: u64, counts: [u64; 2]| {
        let point = HistogramPoint {
            time,
            count: counts.iter().sum(),
            sum: Some(0.5),
            bucket_counts: counts.to_vec(),
            bounds: vec![1.0],
            ..HistogramPoint::default()
        };
        metric("h", "", Data::Histogram(Histogram { data_points: vec![point], temporality: 1 }))
    };
    let second = NANOS + 1_000_000_000;
    let mut deltas = Deltas::default();

    let first = export(vec![], vec![sum(NANOS, 2.0), buckets(NANOS, [1, 1])]);
    let mut points = Points::new(Limits::default(), Times::ALL);
    assert!(matches!(
        translate(&first, &mut points, None, &Metadata::default()),
        Err(TranslateError::Deltas)
    ));
    let mut staged = deltas.stage();
    translated(&first, Some(&mut staged));
    let changes = staged.changes();
    deltas.commit(changes);

    let next = export(vec![], vec![sum(second, 3.0), buckets(second, [2, 0]), sum(NANOS, 100.0)]);
    let mut staged = deltas.stage();
    let (lines, refusals) = translated(&next, Some(&mut staged));
    assert_eq!(
        lines,
        [
            "n_total{} 5 @ 1000",
            "h_sum{} 1 @ 1000",
            "h_count{} 4 @ 1000",
            r#"h_bucket{le="1"} 3 @ 1000"#,
            r#"h_bucket{le="+Inf"} 4 @ 1000"#,
        ]
    );
    assert_eq!(refusals.count(), 1);
    assert!(refusals.points.first.contains("`n_total{}`: its delta is not newer"), "{refusals}");
}

#[test]
fn a_temporality_that_is_none_is_refused_by_name() {
    let body = export(
        vec![],
        vec![metric(
            "n",
            "",
            Data::Sum(Numbers {
                data_points: vec![number(Some(1.0), None); 2],
                temporality: 0,
                monotonic: true,
            }),
        )],
    );
    let (lines, refusals) = translated(&body, None);
    assert_eq!((lines.len(), refusals.points.count), (0, 2));
    assert!(refusals.points.first.contains("temporality"), "{refusals}");
}

#[test]
fn target_info_spans_the_time_of_its_points() {
    let at = |seconds: u64| NumberPoint {
        time: NANOS + seconds * 1_000_000_000,
        ..number(Some(1.0), None)
    };
    let lines = |last: u64| {
        let points = vec![at(0), at(last)];
        let gauge = Data::Gauge(Numbers { data_points: points, ..Numbers::default() });
        let resource = vec![text("service.name", "s"), text("a", "b")];
        let (lines, _) = translated(&export(resource, vec![metric("g", "", gauge)]), None);
        lines.iter().filter(|line| line.starts_with("target_info")).count()
    };
    assert_eq!([lines(0), lines(150), lines(400), lines(1_000_000_000)], [1, 2, 4, 1]);
}

proptest! {
    #[test]
    fn mangled_bodies_are_read_or_refused(
        cut: prop::sample::Index,
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let point = HistogramPoint {
            time: NANOS,
            bucket_counts: vec![1, 2],
            bounds: vec![1.0],
            attributes: vec![text("a", "b"), attribute("c", Value::Array(Array::default()))],
            ..HistogramPoint::default()
        };
        let gauge = Data::Gauge(Numbers {
            data_points: vec![number(Some(1.0), None)],
            ..Numbers::default()
        });
        let histogram = Data::Histogram(Histogram { data_points: vec![point], temporality: 1 });
        let mut body = export(
            vec![text("service.name", "s"), text("x", "y")],
            vec![metric("g", "s", gauge), metric("h", "", histogram)],
        );
        for (at, byte) in hits {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body.truncate(cut.index(body.len() + 1));
        let deltas = Deltas::default();
        let mut points = Points::new(Limits::default(), Times::ALL);
        let metadata = Metadata::default();
        if translate(&body, &mut points, Some(&mut deltas.stage()), &metadata).is_ok() {
            series_of(&points.finish().unwrap().0);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body: Vec<u8>) {
        let mut points = Points::new(Limits::default(), Times::ALL);
        let _ = translate(&body, &mut points, None, &Metadata::default());
    }
}
