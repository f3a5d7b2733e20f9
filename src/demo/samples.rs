//! Samples of a recorded day: `prometheus.WriteRequest` of remote write 1.0 (prometheus/prompb/remote.proto), as agents
//! send their nodes' counters.

use anyhow::Context;
use prost::Message;

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

/// A body as it was sent, without its compression; at most `limit` bytes.
///
/// # Errors
/// When it is no block of snappy, or a larger one.
pub(super) fn expanded(body: &[u8], limit: usize) -> anyhow::Result<Vec<u8>> {
    let length = snap::raw::decompress_len(body)?;
    anyhow::ensure!(length <= limit, "samples of {length} bytes are more than {limit}");
    Ok(snap::raw::Decoder::new().decompress_vec(body)?)
}

/// A body to send, with the same samples so many microseconds later.
///
/// # Errors
/// When it is no such request.
pub(super) fn later(request: &[u8], offset_us: i64) -> anyhow::Result<Vec<u8>> {
    let mut request = WriteRequest::decode(request).context("recorded samples")?;
    let all = request.timeseries.iter_mut().flat_map(|series| &mut series.samples);
    all.for_each(|sample| sample.timestamp = sample.timestamp.saturating_add(offset_us / 1000));
    Ok(snap::raw::Encoder::new().compress_vec(&request.encode_to_vec())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_change() {
        let request = |timestamp| {
            let label = Label { name: "__name__".into(), value: "up".into() };
            let samples = vec![Sample { value: 1.5, timestamp }];
            WriteRequest { timeseries: vec![TimeSeries { labels: vec![label], samples }] }
        };
        let body = later(&request(7000).encode_to_vec(), 2_000_000).unwrap();
        let read = expanded(&body, 1000).unwrap();
        assert_eq!(WriteRequest::decode(&read[..]).unwrap(), request(9000));
        assert!(expanded(&body, 3).is_err());
        assert!(later(b"\x0a\xff", 1).is_err());
    }
}
