//! Remote write 1.0 (<https://prometheus.io/docs/specs/prw/remote_write_spec/>), walked in place.
//!
//! ```text
//! message WriteRequest   { repeated TimeSeries timeseries = 1; repeated MetricMetadata metadata = 3; }
//! message TimeSeries     { repeated Label labels = 1; repeated Sample samples = 2;
//!                          repeated Exemplar exemplars = 3; repeated Histogram histograms = 4; }
//! message Label          { string name = 1; string value = 2; }
//! message Sample         { double value = 1; int64 timestamp = 2; }       milliseconds
//! message MetricMetadata { MetricType type = 1; string metric_family_name = 2;
//!                          string help = 4; string unit = 5; }
//! enum MetricType        { UNKNOWN = 0; COUNTER = 1; GAUGE = 2; HISTOGRAM = 3; GAUGEHISTOGRAM = 4;
//!                          SUMMARY = 5; INFO = 6; STATESET = 7; }
//! ```
//!
//! Fields that are not named here are passed over, as protobuf wants it.

use super::decode::{BodyError, Described, MetricType};
use super::points::{Points, SeriesPoints, TooMany};
use super::protobuf::{Reader, WireError};

/// Puts the points of a request into `points`, what it says of metrics into `metadata`.
pub(crate) fn read<'a>(
    body: &'a [u8],
    points: &mut Points,
    metadata: &mut Vec<Described<'a>>,
) -> Result<(), BodyError> {
    let mut reader = Reader::new(body);
    let mut number = 0;
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => {
                number += 1;
                let mut series = points.series();
                read_series(value.bytes(1)?, &mut series).map_err(|e| e.in_series(number))?;
                series.finish()?;
            }
            3 => {
                TooMany::check("metrics", metadata.len() + 1, points.limits().series)?;
                metadata.push(read_metadata(value.bytes(3)?)?);
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_series<'a>(message: &'a [u8], series: &mut SeriesPoints<'_, 'a>) -> Result<(), BodyError> {
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => read_label(value.bytes(1)?, series)?,
            2 => {
                let (time, value) = read_sample(value.bytes(2)?)?;
                series.point(time, value)?;
            }
            3 => series.exemplar(),
            4 => series.histogram(),
            _ => {}
        }
    }
    Ok(())
}

/// The tags of name and value.
const NAME: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;

#[inline]
fn read_label<'a>(message: &'a [u8], series: &mut SeriesPoints<'_, 'a>) -> Result<(), WireError> {
    // As every encoder writes it, both texts being shorter than 128 bytes: each follows its length as
    // it does in canonical labels.
    if let [NAME, name @ ..] = message
        && let [name_len @ ..0x80, ..] = name
        && let Some((name, [VALUE, value @ ..])) = name.split_at_checked(1 + usize::from(*name_len))
        && let [value_len @ ..0x80, text @ ..] = value
        && text.len() == usize::from(*value_len)
    {
        series.label_with_lengths(name, value);
        return Ok(());
    }
    let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
    let mut reader = Reader::new(message);
    while let Some((field, content)) = reader.field()? {
        match field {
            1 => name = content.bytes(1)?,
            2 => value = content.bytes(2)?,
            _ => {}
        }
    }
    series.label(name, value);
    Ok(())
}

/// Time in milliseconds, and value. The same message in both versions.
#[inline]
pub(crate) fn read_sample(message: &[u8]) -> Result<(i64, f64), WireError> {
    let (mut time, mut value) = (0, 0.0);
    let mut reader = Reader::new(message);
    while let Some((field, content)) = reader.field()? {
        match field {
            1 => value = content.double(1)?,
            2 => time = content.int64(2)?,
            _ => {}
        }
    }
    Ok((time, value))
}

fn read_metadata(message: &[u8]) -> Result<Described<'_>, WireError> {
    let mut found = Described::default();
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => found.metric_type = MetricType::from_number(value.varint(1)?),
            2 => found.metric = value.text(2)?,
            4 => found.help = value.text(4)?,
            5 => found.unit = value.text(5)?,
            _ => {}
        }
    }
    Ok(found)
}
