//! The same metrics as samples for the server, by Prometheus remote write 1.0.
//!
//! A set that the server does not take is not repeated: the next one follows within an interval, and counters
//! lose nothing by a gap.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::Family;
use crate::rows::Observer;
use crate::ship::{Poster, SendError};

/// `prometheus.WriteRequest` (prometheus/prompb/remote.proto).
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    /// Milliseconds since the Unix epoch.
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// Series of one request.
const MAX_SERIES: usize = 10_000;

/// Ships metrics.
pub(crate) struct RemoteWrite {
    poster: Poster,
    /// Labels of the node.
    node: Vec<(&'static str, String)>,
    failing: AtomicBool,
}

impl RemoteWrite {
    pub(crate) fn new(poster: Poster, observer: &Observer) -> Self {
        let mut node = vec![("job", "weir-agent".into()), ("instance", observer.node.clone())];
        node.push(("node", observer.node.clone()));
        node.extend(observer.cluster.clone().map(|cluster| ("cluster", cluster)));
        node.extend(observer.zone.clone().map(|zone| ("zone", zone)));
        node.extend(observer.region.clone().map(|region| ("region", region)));
        Self { poster, node, failing: AtomicBool::new(false) }
    }

    /// Sends every value as a sample of now.
    pub(super) fn send(&self, families: &[Family]) -> Result<(), SendError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let all = series(families, &self.node, now);
        for some in all.chunks(MAX_SERIES) {
            let request = WriteRequest { timeseries: some.to_vec() }.encode_to_vec();
            let body = snap::raw::Encoder::new().compress_vec(&request);
            let body = body.map_err(|error| SendError::Encode(error.to_string()))?;
            self.poster.post(
                "/api/v1/write",
                &body,
                &[
                    ("content-type", "application/x-protobuf"),
                    ("content-encoding", "snappy"),
                    ("x-prometheus-remote-write-version", "0.1.0"),
                ],
            )?;
        }
        Ok(())
    }

    /// Says once when the server begins or ceases to refuse.
    pub(super) fn note(&self, sent: Result<(), SendError>) {
        match sent {
            Ok(()) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("server takes metrics again");
                }
            }
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "server takes no metrics, their history has a gap");
                }
            }
        }
    }
}

fn series(families: &[Family], node: &[(&'static str, String)], timestamp: i64) -> Vec<TimeSeries> {
    let mut all = Vec::new();
    for family in families {
        for sample in &family.samples {
            let name = ("__name__", format!("{}{}", family.name, sample.suffix));
            let labels = node.iter().chain(&sample.labels).chain([&name]);
            let mut labels: Vec<Label> = labels
                .map(|(name, value)| Label { name: (*name).to_owned(), value: value.clone() })
                .collect();
            labels.sort_by(|a, b| a.name.cmp(&b.name));
            let samples = vec![Sample { value: sample.value, timestamp }];
            all.push(TimeSeries { labels, samples });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::family::Kind;
    use super::*;

    #[test]
    fn each_value_is_a_series_with_sorted_labels() {
        let mut family = Family::new("weir_x", Kind::Counter, "X.");
        family.add(vec![("workload", "a".into()), ("direction", "b".into())], 5);
        let node = [("job", "weir-agent".into()), ("instance", "n1".into())];
        let request = WriteRequest { timeseries: series(&[family], &node, 1234) };
        let back = WriteRequest::decode(request.encode_to_vec().as_slice()).unwrap();
        let one = &back.timeseries[0];
        let labels: Vec<_> =
            one.labels.iter().map(|l| (l.name.as_str(), l.value.as_str())).collect();
        assert_eq!(
            labels,
            [
                ("__name__", "weir_x_total"),
                ("direction", "b"),
                ("instance", "n1"),
                ("job", "weir-agent"),
                ("workload", "a"),
            ]
        );
        assert_eq!((one.samples[0].value, one.samples[0].timestamp), (5.0, 1234));
    }
}
