//! Bodies of remote write 1.0: `prometheus.WriteRequest`, compressed with snappy.
//!
//! ```text
//! WriteRequest  1: TimeSeries*      TimeSeries  1: Label*  2: Sample*
//! Label         1: name  2: value   Sample      1: double value  2: int64 timestamp, ms
//! ```

use std::sync::Arc;

use super::protobuf::{field, varint};
use super::targets::Target;

/// A body that is ready to be sent.
#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) samples: u64,
    /// Time of its last sample, milliseconds.
    pub(crate) until: i64,
}

/// Bodies of one connection, in order of time.
pub(crate) type Lane = Box<dyn Iterator<Item = Body> + Send>;

/// The label fields of a `TimeSeries`.
pub(crate) fn encoded_labels(labels: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        field(&mut label, 1, name.as_bytes());
        field(&mut label, 2, value.as_bytes());
        field(&mut out, 1, &label);
    }
    out
}

fn sample(out: &mut Vec<u8>, time: i64, value: f64) {
    let mut message = [0; 20];
    message[0] = 1 << 3 | 1;
    message[1..9].copy_from_slice(&value.to_le_bytes());
    message[9] = 2 << 3;
    let (mut at, mut rest) = (10, time.cast_unsigned());
    while rest >= 0x80 {
        message[at] = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
        at += 1;
    }
    message[at] = rest as u8;
    field(out, 2, &message[..=at]);
}

/// A request that is being written.
#[derive(Default)]
struct Request {
    bytes: Vec<u8>,
    samples: u64,
    until: i64,
}

impl Request {
    fn series(&mut self, labels: &[u8], samples: &[u8], count: usize, until: i64) {
        self.bytes.push(1 << 3 | 2);
        varint(&mut self.bytes, (labels.len() + samples.len()) as u64);
        self.bytes.extend_from_slice(labels);
        self.bytes.extend_from_slice(samples);
        self.samples += count as u64;
        self.until = self.until.max(until);
    }

    fn finish(&mut self) -> Body {
        let bytes = snap::raw::Encoder::new().compress_vec(&self.bytes).expect("it compresses");
        let body = Body { bytes: Arc::new(bytes), samples: self.samples, until: self.until };
        self.bytes.clear();
        self.samples = 0;
        body
    }
}

/// Bodies as Prometheus sends them: each series of a scrape with its one sample, `size` samples a
/// request, whatever targets and scrapes they come from.
pub(crate) fn scraped(mut targets: Vec<Target>, scrapes: usize, size: u64) -> Vec<Body> {
    let (mut bodies, mut request, mut buffer) = (Vec::new(), Request::default(), Vec::new());
    for _ in 0..scrapes {
        for target in &mut targets {
            let time = target.next_time();
            for series in &mut target.series {
                buffer.clear();
                sample(&mut buffer, time, series.values.next());
                request.series(&series.labels, &buffer, 1, time);
                if request.samples == size {
                    bodies.push(request.finish());
                }
            }
        }
    }
    if request.samples > 0 {
        bodies.push(request.finish());
    }
    bodies
}

/// Bodies as a backfill sends them: a target's series with `together` samples each.
pub(crate) fn backfilled(mut targets: Vec<Target>, scrapes: usize, together: usize) -> Lane {
    let (steps, width) = (scrapes.div_ceil(together), targets.len());
    Box::new((0..steps * width).map(move |turn| {
        let target = &mut targets[turn % width];
        let from = turn / width * together;
        let times: Vec<i64> =
            (from..scrapes.min(from + together)).map(|_| target.next_time()).collect();
        let until = times.last().copied().unwrap_or_default();
        let (mut request, mut buffer) = (Request::default(), Vec::new());
        for series in &mut target.series {
            buffer.clear();
            for time in &times {
                sample(&mut buffer, *time, series.values.next());
            }
            request.series(&series.labels, &buffer, times.len(), until);
        }
        request.finish()
    }))
}
