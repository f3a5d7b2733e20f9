//! Data points and the series that they become.
//!
//! ```text
//! message NumberDataPoint    { fixed64 time_unix_nano = 3; oneof { double = 4; sfixed64 = 6; }
//!                              repeated KeyValue attributes = 7; uint32 flags = 8; }
//! message HistogramDataPoint { fixed64 time_unix_nano = 3; fixed64 count = 4; optional double sum = 5;
//!                              repeated fixed64 bucket_counts = 6; repeated double explicit_bounds = 7;
//!                              repeated KeyValue attributes = 9; uint32 flags = 10; }
//! message SummaryDataPoint   { fixed64 time_unix_nano = 3; fixed64 count = 4; double sum = 5;
//!                              repeated ValueAtQuantile quantile_values = 6;
//!                              repeated KeyValue attributes = 7; uint32 flags = 8; }
//! message ValueAtQuantile    { double quantile = 1; double value = 2; }
//! ```
//!
//! Bit 0 of the flags says that there is no value: a stale marker is stored.

use weir_storage::series::STALE;
use weir_storage::series::labels::{METRIC_NAME, write_canonical};

use super::TranslateError;
use super::attributes::{self, Labels};
use super::deltas::{DeltaError, Staged};
use crate::samples::decode::BodyError;
use crate::samples::labels::describe;
use crate::samples::limits::Limits;
use crate::samples::points::{Points, TooMany};
use crate::samples::protobuf::{Field, Reader, WireError};

/// Nanoseconds of a millisecond.
const NANOS: u64 = 1_000_000;

/// Writes series, and knows the resource that they are of.
pub(super) struct Writer<'p, 's, 'd> {
    points: &'p mut Points,
    deltas: Option<&'s mut Staged<'d>>,
    /// `job` and `instance`.
    identity: Labels,
    /// Times of the resource's points so far, milliseconds: first and last.
    times: Option<(i64, i64)>,
    /// Data points so far.
    count: usize,
    /// Canonical labels of the series under way.
    canonical: Vec<u8>,
}

impl<'p, 's, 'd> Writer<'p, 's, 'd> {
    pub(super) fn new(points: &'p mut Points, deltas: Option<&'s mut Staged<'d>>) -> Self {
        Self {
            points,
            deltas,
            identity: Labels::new(),
            times: None,
            count: 0,
            canonical: Vec::new(),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        self.points.limits()
    }

    pub(super) fn begin_resource(&mut self, identity: Labels) {
        self.identity = identity;
        self.times = None;
    }

    /// Labels `job` and `instance` of the resource.
    pub(super) fn identity(&self) -> &Labels {
        &self.identity
    }

    /// First and last time of the resource's points.
    pub(super) fn times(&self) -> Option<(i64, i64)> {
        self.times
    }

    pub(super) fn count_point(&mut self) -> Result<(), TooMany> {
        self.count += 1;
        TooMany::check("data points", self.count, self.points.limits().series)
    }

    pub(super) fn refuse(&mut self, count: u64, first: impl FnOnce() -> String) {
        self.points.refusals_mut().point(count, first);
    }

    pub(super) fn refuse_histograms(&mut self, count: u64, metric: &str) {
        self.canonical.clear();
        let labels = self.identity.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let labels = labels.chain([(METRIC_NAME, metric)]);
        // Names of labels are unique and not empty.
        let _ = write_canonical(labels, &mut self.canonical);
        self.points.refusals_mut().histogram(count, &self.canonical);
    }

    /// One sample: name, labels of the data point, and one more label.
    pub(super) fn sample(
        &mut self,
        name: &str,
        labels: &Labels,
        extra: Option<(&str, &str)>,
        time: i64,
        value: f64,
    ) -> Result<(), TooMany> {
        let mut set: Vec<(&str, &str)> = labels
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .filter(|(k, _)| *k != METRIC_NAME && extra.is_none_or(|(e, _)| e != *k))
            .chain(extra)
            .chain([(METRIC_NAME, name)])
            .collect();
        set.sort_unstable();
        let mut series = self.points.series();
        for (name, value) in set {
            series.label(name.as_bytes(), value.as_bytes());
        }
        series.point(time, value)?;
        series.finish()
    }

    /// The same for what grew by `delta` since the last time.
    fn delta(
        &mut self,
        name: &str,
        labels: &Labels,
        extra: Option<(&str, &str)>,
        time: i64,
        delta: f64,
    ) -> Result<(), TranslateError> {
        let Some(deltas) = &mut self.deltas else { return Err(TranslateError::Deltas) };
        if !self.points.accepts(time) {
            // It is refused with its reason, and must not count.
            return Ok(self.sample(name, labels, extra, time, delta)?);
        }
        self.canonical.clear();
        let set = labels.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let _ = write_canonical(
            set.filter(|(k, _)| *k != METRIC_NAME && extra.is_none_or(|(e, _)| e != *k))
                .chain(extra)
                .chain([(METRIC_NAME, name)]),
            &mut self.canonical,
        );
        match deltas.add(&self.canonical, time, delta) {
            Ok(value) => self.sample(name, labels, extra, time, value)?,
            Err(error) => {
                let why = match error {
                    DeltaError::Repeated => {
                        "its delta is not newer than the last one (it was sent again, or late)"
                    }
                    DeltaError::Full => {
                        "more series send deltas than this server adds up; send cumulative values"
                    }
                };
                let series = describe(&self.canonical);
                self.refuse(1, || format!("`{series}`: {why}"));
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        name: &str,
        about: &About,
        extra: Option<(&str, &str)>,
        value: f64,
    ) -> Result<(), TranslateError> {
        let About { labels, time, stale, delta } = about;
        if *stale {
            Ok(self.sample(name, labels, extra, *time, f64::from_bits(STALE))?)
        } else if *delta {
            self.delta(name, labels, extra, *time, value)
        } else {
            Ok(self.sample(name, labels, extra, *time, value)?)
        }
    }
}

/// What all data points have.
struct About {
    labels: Labels,
    /// Milliseconds since the Unix epoch.
    time: i64,
    /// There is no value.
    stale: bool,
    delta: bool,
}

impl About {
    fn read(
        point: &[u8],
        fields: (u32, u32),
        delta: bool,
        writer: &mut Writer<'_, '_, '_>,
    ) -> Result<Self, BodyError> {
        let (attributes, flags) = fields;
        let limit = writer.limits().labels;
        let mut labels = attributes::labels(attributes::read(point, attributes, limit)?);
        labels.extend(writer.identity.clone());
        let (mut time, mut stale) = (0, false);
        let mut reader = Reader::new(point);
        while let Some((field, value)) = reader.field()? {
            match field {
                3 => time = fixed(value, 3)?,
                _ if field == flags => stale = value.varint(flags)? & 1 == 1,
                _ => {}
            }
        }
        let time = i64::try_from(time / NANOS).unwrap_or(i64::MAX);
        let (first, last) = writer.times.unwrap_or((time, time));
        writer.times = Some((first.min(time), last.max(time)));
        Ok(Self { labels, time, stale, delta })
    }
}

fn fixed(value: Field<'_>, number: u32) -> Result<u64, WireError> {
    match value {
        Field::Fixed64(bits) => Ok(bits),
        _ => Err(WireError::Type(number)),
    }
}

/// A data point of a gauge or a sum.
pub(super) fn number(
    point: &[u8],
    name: &str,
    delta: bool,
    writer: &mut Writer<'_, '_, '_>,
) -> Result<(), TranslateError> {
    let about = About::read(point, (7, 8), delta, writer)?;
    let mut found = None;
    let mut reader = Reader::new(point);
    while let Some((field, value)) = reader.field()? {
        match field {
            4 => found = Some(value.double(4)?),
            #[expect(clippy::cast_precision_loss, reason = "samples are floats")]
            6 => found = Some(fixed(value, 6)?.cast_signed() as f64),
            _ => {}
        }
    }
    match found {
        None if !about.stale => {
            writer.refuse(1, || format!("`{name}`: a data point without a value"));
            Ok(())
        }
        value => writer.write(name, &about, None, value.unwrap_or_default()),
    }
}

/// A data point of a histogram with explicit buckets.
pub(super) fn histogram(
    point: &[u8],
    name: &str,
    delta: bool,
    writer: &mut Writer<'_, '_, '_>,
) -> Result<(), TranslateError> {
    let about = About::read(point, (9, 10), delta, writer)?;
    let limit = writer.limits().labels.saturating_mul(16);
    let (mut count, mut sum) = (0, None);
    let (mut counts, mut bounds) = (Vec::new(), Vec::new());
    let mut reader = Reader::new(point);
    while let Some((field, value)) = reader.field()? {
        match field {
            4 => count = fixed(value, 4)?,
            5 => sum = Some(value.double(5)?),
            6 => read_fixed(value, 6, limit, &mut counts)?,
            7 => read_fixed(value, 7, limit, &mut bounds)?,
            _ => {}
        }
    }
    if let Some(sum) = sum {
        writer.write(&format!("{name}_sum"), &about, None, sum)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "samples are floats")]
    let float = |n: u64| n as f64;
    writer.write(&format!("{name}_count"), &about, None, float(count))?;
    let bucket = format!("{name}_bucket");
    let mut below = 0_u64;
    for (n, bound) in counts.into_iter().zip(bounds) {
        below = below.saturating_add(n);
        let le = number_text(f64::from_bits(bound));
        writer.write(&bucket, &about, Some(("le", &le)), float(below))?;
    }
    writer.write(&bucket, &about, Some(("le", "+Inf")), float(count))
}

/// A data point of a summary.
pub(super) fn summary(
    point: &[u8],
    name: &str,
    writer: &mut Writer<'_, '_, '_>,
) -> Result<(), TranslateError> {
    let about = About::read(point, (7, 8), false, writer)?;
    let (mut count, mut sum) = (0, 0.0);
    let mut reader = Reader::new(point);
    while let Some((field, value)) = reader.field()? {
        match field {
            4 => count = fixed(value, 4)?,
            5 => sum = value.double(5)?,
            6 => {
                let (mut quantile, mut at) = (0.0, 0.0);
                let mut reader = Reader::new(value.bytes(6)?);
                while let Some((field, value)) = reader.field()? {
                    match field {
                        1 => quantile = value.double(1)?,
                        2 => at = value.double(2)?,
                        _ => {}
                    }
                }
                let quantile = number_text(quantile);
                writer.write(name, &about, Some(("quantile", &quantile)), at)?;
            }
            _ => {}
        }
    }
    writer.write(&format!("{name}_sum"), &about, None, sum)?;
    #[expect(clippy::cast_precision_loss, reason = "samples are floats")]
    writer.write(&format!("{name}_count"), &about, None, count as f64)
}

/// Values of 8 bytes, packed or not.
fn read_fixed(
    value: Field<'_>,
    number: u32,
    limit: usize,
    out: &mut Vec<u64>,
) -> Result<(), BodyError> {
    match value {
        Field::Fixed64(bits) => {
            TooMany::check("buckets in one histogram", out.len() + 1, limit)?;
            out.push(bits);
        }
        _ => {
            let (words, []) = value.bytes(number)?.as_chunks::<8>() else {
                return Err(WireError::Truncated.into());
            };
            TooMany::check("buckets in one histogram", out.len() + words.len(), limit)?;
            out.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
        }
    }
    Ok(())
}

/// A number as a label value: Go's `FormatFloat(x, 'f', -1, 64)`.
fn number_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}
