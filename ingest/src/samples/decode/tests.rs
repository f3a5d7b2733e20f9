//! Both walkers against messages that prost encodes.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost::Message as _;
use weir_storage::series::labels::{check, iter};

use super::*;
use crate::samples::limits::Limits;
use crate::samples::messages::{v1, v2};
use crate::samples::refusals::{LabelsError, Refusals, Times};

const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Series as they are meant: labels, and points with their values as bits.
pub(crate) type Series = (BTreeMap<String, String>, Vec<(i64, u64)>);

pub(crate) fn series_of(batch: &RecordBatch) -> Vec<Series> {
    let labels = batch.column(0).as_binary::<i32>();
    let (times, values) = (batch.column(1).as_list::<i32>(), batch.column(2).as_list::<i32>());
    (0..batch.num_rows())
        .map(|row| {
            let canonical = labels.value(row);
            check(canonical).unwrap();
            let set = iter(canonical).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            let (times, values) = (times.value(row), values.value(row));
            let times = times.as_primitive::<Int64Type>().values().iter().copied();
            let values = values.as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits());
            (set, times.zip(values).collect())
        })
        .collect()
}

fn read(
    message: Message,
    body: &[u8],
    limits: Limits,
    times: Times,
) -> Result<(Vec<Series>, Refusals), BodyError> {
    let mut points = Points::new(limits, times);
    decode(message, body, &mut points)?;
    let (batch, refusals) = points.finish().unwrap();
    Ok((series_of(&batch), refusals))
}

fn read_all(message: Message, body: &[u8]) -> (Vec<Series>, Refusals) {
    read(message, body, Limits::default(), Times::ALL).unwrap()
}

pub(crate) fn request1(series: &[Series]) -> v1::WriteRequest {
    let timeseries = series.iter().map(|(labels, points)| v1::TimeSeries {
        labels: labels
            .iter()
            .map(|(name, value)| v1::Label { name: name.clone(), value: value.clone() })
            .collect(),
        samples: samples(points),
        ..v1::TimeSeries::default()
    });
    v1::WriteRequest { timeseries: timeseries.collect(), metadata: vec![] }
}

fn samples(points: &[(i64, u64)]) -> Vec<v1::Sample> {
    let sample = |&(timestamp, value): &(i64, u64)| v1::Sample {
        value: f64::from_bits(value),
        timestamp,
        start: 7,
    };
    points.iter().map(sample).collect()
}

pub(crate) fn request2(series: &[Series]) -> v2::Request {
    let mut symbols = vec![String::new()];
    let mut reference = |text: &String| {
        let found = symbols.iter().position(|s| s == text).unwrap_or_else(|| {
            symbols.push(text.clone());
            symbols.len() - 1
        });
        u32::try_from(found).unwrap()
    };
    let timeseries = series.iter().map(|(labels, points)| v2::TimeSeries {
        labels_refs: labels.iter().flat_map(|(n, v)| [reference(n), reference(v)]).collect(),
        samples: samples(points),
        created: 12345,
        ..v2::TimeSeries::default()
    });
    let timeseries = timeseries.collect();
    v2::Request { symbols, timeseries }
}

pub(crate) fn one(labels: &[(&str, &str)], points: &[(i64, f64)]) -> Series {
    (
        labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        points.iter().map(|(t, v)| (*t, v.to_bits())).collect(),
    )
}

fn any_series() -> impl Strategy<Value = Vec<Series>> {
    let text = prop_oneof!["[a-z_]{1,8}", "[a-z]{120,140}", "\\PC{1,5}"];
    let value = prop_oneof![any::<u64>(), Just(STALE), any::<f64>().prop_map(f64::to_bits)];
    let points = vec((any::<i64>(), value), 1..4);
    let labels = btree_map(text.clone(), text, 0..6).prop_map(|mut labels| {
        labels.insert("__name__".into(), "m".into());
        labels
    });
    vec((labels, points), 0..5)
}

/// Minus zero is the default for an encoder that compares numbers: the sign is lost on the way.
fn sent(mut series: Vec<Series>) -> Vec<Series> {
    for (_, value) in series.iter_mut().flat_map(|(_, points)| points) {
        if f64::from_bits(*value) == 0.0 {
            *value = 0;
        }
    }
    series
}

proptest! {
    #[test]
    fn what_prost_encodes_is_what_is_read(series in any_series()) {
        let series = sent(series);
        let (found, refusals) = read_all(Message::Write1, &request1(&series).encode_to_vec());
        prop_assert_eq!(&found, &series);
        prop_assert!(refusals.is_empty());
        let (found, refusals) = read_all(Message::Write2, &request2(&series).encode_to_vec());
        prop_assert_eq!(&found, &series);
        prop_assert!(refusals.is_empty());
    }

    #[test]
    fn torn_and_mangled_bodies_are_read_or_refused(
        series in any_series(),
        cut: prop::sample::Index,
        hits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        for (message, body) in [
            (Message::Write1, request1(&series).encode_to_vec()),
            (Message::Write2, request2(&series).encode_to_vec()),
        ] {
            let torn = body.get(..cut.index(body.len() + 1)).unwrap();
            let _ = read(message, torn, Limits::default(), Times::ALL);
            let mut mangled = body.clone();
            for (at, byte) in &hits {
                if !mangled.is_empty() {
                    let at = at.index(mangled.len());
                    mangled[at] = *byte;
                }
            }
            // `series_of` checks that whatever is read has canonical labels.
            let _ = read(message, &mangled, Limits::default(), Times::ALL);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body: Vec<u8>) {
        for message in [Message::Write1, Message::Write2] {
            let _ = read(message, &body, Limits::default(), Times::ALL);
        }
    }
}

#[test]
fn labels_are_sorted_and_empty_ones_left_out() {
    let label = |name: &str, value: &str| v1::Label { name: name.into(), value: value.into() };
    let request = v1::WriteRequest {
        timeseries: vec![v1::TimeSeries {
            labels: vec![label("job", "a"), label("empty", ""), label("__name__", "up")],
            samples: samples(&[(1, 2.0_f64.to_bits())]),
            ..v1::TimeSeries::default()
        }],
        metadata: vec![],
    };
    let (found, refusals) = read_all(Message::Write1, &request.encode_to_vec());
    assert_eq!(found, [one(&[("__name__", "up"), ("job", "a")], &[(1, 2.0)])]);
    assert!(refusals.is_empty());
}

#[test]
fn what_cannot_be_stored_is_named_and_the_rest_is_read() {
    let good = one(&[("__name__", "good")], &[(1000, 1.0), (500, 2.0), (1000, 1.0)]);
    let mut request = request1(&[
        good.clone(),
        one(&[("__name__", "late"), ("a", "b")], &[(99, 1.0), (98, 1.0), (100, 3.0)]),
        one(&[("__name__", "early")], &[(2001, 1.0)]),
        one(&[("job", "nameless")], &[(1000, 1.0)]),
        one(&[("__name__", "native")], &[]),
    ]);
    request.timeseries[4].histograms = vec![v1::Empty { value: 1.0 }; 2];
    request.timeseries[0].exemplars = vec![v1::Empty::default()];
    request.timeseries[3].labels.push(v1::Label { name: "job".into(), value: "x".into() });
    let mut twice = request.timeseries[0].clone();
    twice.labels.extend([v1::Label { name: "__name__".into(), value: "x".into() }]);
    request.timeseries.push(twice);
    let times = Times { earliest: 100, latest: 2000 };
    let (found, refusals) =
        read(Message::Write1, &request.encode_to_vec(), Limits::default(), times).unwrap();
    assert_eq!(found, [good, one(&[("__name__", "late"), ("a", "b")], &[(100, 3.0)])]);
    assert_eq!(
        [refusals.histograms.count, refusals.old.count, refusals.ahead.count],
        [2, 2, 1],
        "{refusals}"
    );
    assert_eq!(refusals.labels.count, 2);
    let text = refusals.to_string();
    for part in [
        "2 native histograms are not supported yet",
        "(first: `native{}`)",
        "(first: `late{a=\"b\"}` at 1970-01-01T00:00:00.099Z)",
        "`early{}` at 1970-01-01T00:00:02.001Z",
        "`{job=\"nameless\",job=\"x\"}`: it has no metric name",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn metadata_of_both_versions() {
    let mut request = request1(&[]);
    request.metadata.push(v1::Metadata {
        kind: 1,
        family: "http_requests".into(),
        help: "Requests.".into(),
        unit: "requests".into(),
    });
    let body = request.encode_to_vec();
    let mut points = Points::new(Limits::default(), Times::ALL);
    let found = decode(Message::Write1, &body, &mut points).unwrap();
    let expected = Described {
        metric: "http_requests",
        metric_type: MetricType::Counter,
        help: "Requests.",
        unit: "requests",
    };
    assert_eq!(found, [expected]);

    let series = [
        one(&[("__name__", "http_requests"), ("a", "1")], &[(1, 1.0)]),
        one(&[("__name__", "http_requests"), ("a", "2")], &[(1, 1.0)]),
    ];
    let mut request = request2(&series);
    let at = u32::try_from(request.symbols.len()).unwrap();
    request.symbols.extend(["Requests.".into(), "requests".into()]);
    for series in &mut request.timeseries {
        series.metadata = Some(v2::Metadata { kind: 1, help_ref: at, unit_ref: at + 1 });
    }
    let body = request.encode_to_vec();
    let mut points = Points::new(Limits::default(), Times::ALL);
    let found = decode(Message::Write2, &body, &mut points).unwrap();
    assert_eq!(found, [expected], "once for both series");
}

#[test]
fn references_that_are_not_packed_or_point_nowhere() {
    let request = |refs: Vec<u32>| {
        let series = v2::Unpacked { labels_refs: refs, samples: samples(&[(1, 0)]) };
        let mut body = v2::Request {
            symbols: ["", "__name__", "up"].map(str::to_owned).to_vec(),
            timeseries: vec![],
        }
        .encode_to_vec();
        body.push(5 << 3 | 2);
        prost::encoding::encode_varint(series.encoded_len() as u64, &mut body);
        series.encode(&mut body).unwrap();
        body
    };
    let (found, _) = read_all(Message::Write2, &request(vec![1, 2]));
    assert_eq!(found, [one(&[("__name__", "up")], &[(1, 0.0)])]);
    for (refs, expected) in
        [(vec![1, 3], "reference 3 is beyond"), (vec![1, 2, 1], "an odd number of them")]
    {
        let result = read(Message::Write2, &request(refs), Limits::default(), Times::ALL);
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("series 1 of"), "{error}");
    }
}

#[test]
fn limits_are_met_before_memory_is_taken() {
    let limits = Limits { series: 2, samples: 4, symbols: 5, ..Limits::default() };
    let series = |n: i64| (0..n).map(|i| one(&[("__name__", &format!("m{i}"))], &[(i, 1.0)]));
    let refused = |message, body: Vec<u8>| {
        let error = read(message, &body, limits, Times::ALL).unwrap_err();
        assert!(error.is_too_large(), "{error}");
        error.to_string()
    };
    let three: Vec<_> = series(3).collect();
    assert!(refused(Message::Write1, request1(&three).encode_to_vec()).contains("2 series"));
    assert!(refused(Message::Write2, request2(&three).encode_to_vec()).contains("2 series"));
    let long = [one(&[("__name__", "m")], &[(1, 1.0); 5])];
    assert!(refused(Message::Write1, request1(&long).encode_to_vec()).contains("4 samples"));
    let four: Vec<_> = series(4).collect();
    assert!(refused(Message::Write2, request2(&four).encode_to_vec()).contains("5 symbols"));
    // A few bytes of references that stand for many bytes of labels.
    let limits = Limits { label_bytes: 1000, ..Limits::default() };
    let long = vec![one(&[("__name__", "m"), ("a", &"x".repeat(600))], &[(1, 1.0)]); 2];
    let body = request2(&long).encode_to_vec();
    let error = read(Message::Write2, &body, limits, Times::ALL).unwrap_err().to_string();
    assert!(error.contains("1000 bytes of labels"), "{error}");
}

#[test]
fn one_series_beyond_a_limit_does_not_keep_the_others_out() {
    let limits = Limits { labels: 2, name: 10, value: 10, ..Limits::default() };
    let long = "x".repeat(11);
    let body = request1(&[
        one(&[("__name__", "m")], &[(1, 1.0)]),
        one(&[("__name__", "many"), ("a", "1"), ("b", "2")], &[(1, 1.0)]),
        one(&[("__name__", "m"), (&long, "a")], &[(1, 1.0)]),
        one(&[("__name__", "m"), ("a", &long)], &[(1, 1.0)]),
        one(&[("__name__", "m"), ("", "a")], &[(1, 1.0)]),
    ])
    .encode_to_vec();
    let (found, refusals) = read(Message::Write1, &body, limits, Times::ALL).unwrap();
    assert_eq!(found, [one(&[("__name__", "m")], &[(1, 1.0)])]);
    assert_eq!(refusals.labels.count, 4);
    assert_eq!(refusals.labels.first, format!("`many{{a=\"1\"}}`: {}", LabelsError::TooMany(2)));
}
