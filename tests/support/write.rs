//! Remote write 1.0: `prometheus.WriteRequest`, written by hand and compressed with snappy.
//!
//! ```text
//! WriteRequest  1: TimeSeries*      TimeSeries  1: Label*  2: Sample*
//! Label         1: name  2: value   Sample      1: double value  2: int64 timestamp, ms
//! ```

/// A series: labels in order, samples in order of time (milliseconds).
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) samples: Vec<(i64, f64)>,
}

/// The body of a request.
pub(crate) fn request(series: &[Series]) -> Vec<u8> {
    let mut out = Vec::new();
    for one in series {
        let mut message = Vec::new();
        for (name, value) in &one.labels {
            let mut label = Vec::new();
            field(&mut label, 1, name.as_bytes());
            field(&mut label, 2, value.as_bytes());
            field(&mut message, 1, &label);
        }
        for (time, value) in &one.samples {
            let mut sample = vec![1 << 3 | 1];
            sample.extend(value.to_le_bytes());
            sample.push(2 << 3);
            varint(&mut sample, time.cast_unsigned());
            field(&mut message, 2, &sample);
        }
        field(&mut out, 1, &message);
    }
    snap::raw::Encoder::new().compress_vec(&out).unwrap()
}

/// A field of bytes with its length.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
