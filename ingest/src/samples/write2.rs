//! Remote write 2.0 (<https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>), walked in place.
//!
//! ```text
//! message Request    { repeated string symbols = 4; repeated TimeSeries timeseries = 5; }
//! message TimeSeries { repeated uint32 labels_refs = 1;      name, value, name, value, ... of symbols
//!                      repeated Sample samples = 2; repeated Histogram histograms = 3;
//!                      repeated Exemplar exemplars = 4; Metadata metadata = 5;
//!                      int64 created_timestamp = 6; }                                 passed over
//! message Sample     { double value = 1; int64 timestamp = 2; }       milliseconds
//! message Metadata   { MetricType type = 1; uint32 help_ref = 3; uint32 unit_ref = 4; }
//! enum MetricType    { UNSPECIFIED = 0; COUNTER = 1; GAUGE = 2; HISTOGRAM = 3; GAUGEHISTOGRAM = 4;
//!                      SUMMARY = 5; INFO = 6; STATESET = 7; }
//! ```
//!
//! The order of fields is not fixed, so symbols are collected first. Fields that are not named here
//! are passed over, a start timestamp among them.

use super::decode::{BodyError, Described, MetricType};
use super::labels;
use super::points::{Points, SeriesPoints, TooMany};
use super::protobuf::{Field, Reader, WireError};

/// Strings that series refer to.
struct Symbols<'a>(Vec<&'a [u8]>);

impl<'a> Symbols<'a> {
    fn get(&self, reference: u64) -> Result<&'a [u8], BodyError> {
        // An error that is made for every symbol would be dropped for every symbol.
        match usize::try_from(reference).ok().and_then(|i| self.0.get(i)) {
            Some(symbol) => Ok(*symbol),
            None => Err(BodyError::Symbol { reference, symbols: self.0.len() }),
        }
    }

    fn text(&self, reference: u64) -> Result<&'a str, BodyError> {
        std::str::from_utf8(self.get(reference)?).map_err(|_| WireError::Text(4).into())
    }
}

/// Puts the points of a request into `points`, what it says of metrics into `metadata`.
pub(crate) fn read<'a>(
    body: &'a [u8],
    points: &mut Points,
    metadata: &mut Vec<Described<'a>>,
) -> Result<(), BodyError> {
    let mut symbols = Symbols(Vec::new());
    let mut reader = Reader::new(body);
    while let Some((field, value)) = reader.field()? {
        if field == 4 {
            TooMany::check("symbols", symbols.0.len() + 1, points.limits().symbols)?;
            symbols.0.push(value.bytes(4)?);
        }
    }
    // Metrics that were described in this request, by the reference of their name.
    let mut described = vec![0u64; symbols.0.len() / 64 + 1];
    let mut reader = Reader::new(body);
    let mut number = 0;
    while let Some((field, value)) = reader.field()? {
        if field == 5 {
            number += 1;
            let mut series = points.series();
            let about = read_series(value.bytes(5)?, &symbols, &mut series)
                .map_err(|e| e.in_series(number))?;
            series.finish()?;
            if let About { name: Some(name), metadata: Some(message) } = about
                && is_first(&mut described, name)
            {
                let found = read_metadata(message, name, &symbols);
                metadata.push(found.map_err(|e| e.in_series(number))?);
            }
        }
    }
    Ok(())
}

/// What a series says of its metric.
#[derive(Default)]
struct About<'a> {
    /// Reference of the metric's name.
    name: Option<u64>,
    metadata: Option<&'a [u8]>,
}

fn is_first(seen: &mut [u64], reference: u64) -> bool {
    let word = usize::try_from(reference / 64).ok().and_then(|i| seen.get_mut(i));
    word.is_some_and(|word| {
        let before = *word;
        *word |= 1 << (reference % 64);
        before != *word
    })
}

fn read_series<'a>(
    message: &'a [u8],
    symbols: &Symbols<'a>,
    series: &mut SeriesPoints<'_, 'a>,
) -> Result<About<'a>, BodyError> {
    let mut about = About::default();
    // A name whose value has not come yet.
    let mut pending = None;
    let mut reference = |reference: u64, series: &mut SeriesPoints<'_, 'a>| {
        let symbol = symbols.get(reference)?;
        match pending.take() {
            None => pending = Some(symbol),
            Some(name) => {
                if name == labels::NAME {
                    about.name = Some(reference);
                }
                series.label(name, symbol);
            }
        }
        Ok::<_, BodyError>(())
    };
    let mut metadata = None;
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match (field, value) {
            (1, Field::Bytes(packed)) => {
                let mut packed = Reader::new(packed);
                while !packed.is_empty() {
                    reference(packed.varint()?, series)?;
                }
            }
            // Not packed, which readers have to understand as well.
            (1, value) => reference(value.varint(1)?, series)?,
            (2, value) => {
                let (time, value) = super::write1::read_sample(value.bytes(2)?)?;
                series.point(time, value)?;
            }
            (3, _) => series.histogram(),
            (4, _) => series.exemplar(),
            (5, value) => metadata = Some(value.bytes(5)?),
            _ => {}
        }
    }
    if pending.is_some() {
        return Err(BodyError::OddLabels);
    }
    about.metadata = metadata;
    Ok(about)
}

fn read_metadata<'a>(
    message: &'a [u8],
    name: u64,
    symbols: &Symbols<'a>,
) -> Result<Described<'a>, BodyError> {
    let mut found = Described { metric: symbols.text(name)?, ..Described::default() };
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => found.metric_type = MetricType::from_number(value.varint(1)?),
            3 => found.help = symbols.text(value.varint(3)?)?,
            4 => found.unit = symbols.text(value.varint(4)?)?,
            _ => {}
        }
    }
    Ok(found)
}
