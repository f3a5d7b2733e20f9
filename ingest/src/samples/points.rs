//! The points of a request: what its bytes come to, whatever the protocol.
//!
//! One row for each series of the request, in buffers that become an Arrow batch without a copy.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Float64Array, Int64Array, ListArray, RecordBatch, RecordBatchOptions,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use thiserror::Error;
use weir_storage::series::points_schema;

use super::labels;
use super::limits::Limits;
use super::refusals::{LabelsError, Refusals, Times};

/// A bound of the request as a whole.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("request has more than {limit} {what}; send it in smaller ones")]
pub struct TooMany {
    what: &'static str,
    limit: usize,
}

impl TooMany {
    pub(crate) fn check(what: &'static str, count: usize, limit: usize) -> Result<(), Self> {
        if count > limit { Err(Self { what, limit }) } else { Ok(()) }
    }
}

/// Points by series, as they come.
#[derive(Debug)]
pub(crate) struct Points {
    limits: Limits,
    accepted: Times,
    labels: Vec<u8>,
    /// Where the labels of each series end, after a leading 0.
    label_ends: Vec<i32>,
    times: Vec<i64>,
    values: Vec<f64>,
    /// Where the points of each series end, after a leading 0.
    point_ends: Vec<i32>,
    refusals: Refusals,
    exemplars: u64,
}

impl Points {
    /// None yet.
    pub(crate) fn new(limits: Limits, accepted: Times) -> Self {
        Self {
            limits,
            accepted,
            labels: Vec::new(),
            label_ends: vec![0],
            times: Vec::new(),
            values: Vec::new(),
            point_ends: vec![0],
            refusals: Refusals::default(),
            exemplars: 0,
        }
    }

    /// Makes room for the points of a body of this many bytes.
    pub(crate) fn expect(&mut self, bytes: usize) {
        // A sample of remote write has 18 bytes and a series some 200 more.
        let series = (bytes / 256).min(self.limits.series);
        self.labels.reserve(bytes.min(self.limits.label_bytes) / 2);
        self.label_ends.reserve(series);
        self.point_ends.reserve(series);
        self.times.reserve(series);
        self.values.reserve(series);
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Begins a series.
    pub(crate) fn series<'a>(&mut self) -> SeriesPoints<'_, 'a> {
        SeriesPoints {
            labels_from: self.labels.len(),
            points_from: self.times.len(),
            points: self,
            previous: &[],
            count: 0,
            named: false,
            sorted: true,
            fault: None,
            histograms: 0,
            old: None,
            ahead: None,
        }
    }

    /// Whether a sample of this time (milliseconds) is accepted.
    pub(crate) fn accepts(&self, time: i64) -> bool {
        (self.accepted.earliest..=self.accepted.latest).contains(&time)
    }

    /// Points of all series.
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// Exemplars that were passed over.
    pub(crate) fn exemplars(&self) -> u64 {
        self.exemplars
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    pub(crate) fn refusals_mut(&mut self) -> &mut Refusals {
        &mut self.refusals
    }

    /// One row for each series.
    pub(crate) fn finish(self) -> Result<(RecordBatch, Refusals), ArrowError> {
        let rows = self.label_ends.len().saturating_sub(1);
        let offsets = |ends: Vec<i32>| OffsetBuffer::new(ScalarBuffer::from(ends));
        let points = offsets(self.point_ends);
        let schema = points_schema();
        let list = |column: usize, values: ArrayRef| match schema.field(column).data_type() {
            DataType::List(field) => {
                ListArray::try_new(FieldRef::clone(field), points.clone(), values, None)
            }
            _ => Err(ArrowError::SchemaError("points are lists".into())),
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(BinaryArray::try_new(
                offsets(self.label_ends),
                Buffer::from_vec(self.labels),
                None,
            )?),
            Arc::new(list(1, Arc::new(Int64Array::from(self.times)))?),
            Arc::new(list(2, Arc::new(Float64Array::from(self.values)))?),
        ];
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok((RecordBatch::try_new_with_options(schema, columns, &options)?, self.refusals))
    }
}

/// A series that is being read: its labels and its points, in any order.
#[derive(Debug)]
pub(crate) struct SeriesPoints<'p, 'a> {
    points: &'p mut Points,
    labels_from: usize,
    points_from: usize,
    /// Name of the last label.
    previous: &'a [u8],
    count: usize,
    named: bool,
    sorted: bool,
    fault: Option<LabelsError>,
    histograms: u64,
    /// How many came before the accepted times, and the first one's time.
    old: Option<(u64, i64)>,
    ahead: Option<(u64, i64)>,
}

/// Whether a name comes after the one before it. The first byte nearly always tells.
#[inline]
fn follows(name: &[u8], previous: &[u8]) -> bool {
    match (name, previous) {
        ([a, ..], [b, ..]) if a != b => a > b,
        _ => name > previous,
    }
}

impl<'a> SeriesPoints<'_, 'a> {
    /// A label.
    #[inline]
    pub(crate) fn label(&mut self, name: &'a [u8], value: &'a [u8]) {
        if self.note(name, value.len()) {
            labels::write_text(&mut self.points.labels, name);
            labels::write_text(&mut self.points.labels, value);
        }
    }

    /// A label whose name and value are given with their lengths of one byte in front.
    #[inline]
    pub(crate) fn label_with_lengths(&mut self, name: &'a [u8], value: &'a [u8]) {
        if self.note(name.get(1..).unwrap_or_default(), value.len().saturating_sub(1)) {
            self.points.labels.extend_from_slice(name);
            self.points.labels.extend_from_slice(value);
        }
    }

    /// Whether the label is to be written.
    #[inline]
    fn note(&mut self, name: &'a [u8], value_len: usize) -> bool {
        let limits = &self.points.limits;
        self.count += 1;
        let fault = if name.is_empty() {
            LabelsError::EmptyName
        } else if self.count > limits.labels {
            LabelsError::TooMany(limits.labels)
        } else if name.len() > limits.name {
            LabelsError::LongName(limits.name)
        } else if value_len > limits.value {
            LabelsError::LongValue(limits.value)
        } else {
            // A label without a value is no label.
            if value_len > 0 {
                self.sorted &= follows(name, self.previous);
                self.named = self.named || name == labels::NAME;
                self.previous = name;
            }
            return value_len > 0;
        };
        self.fault.get_or_insert(fault);
        false
    }

    /// A sample; `time` in milliseconds since the Unix epoch.
    #[inline]
    pub(crate) fn point(&mut self, time: i64, value: f64) -> Result<(), TooMany> {
        let points = &mut *self.points;
        if time < points.accepted.earliest {
            self.old.get_or_insert((0, time)).0 += 1;
        } else if time > points.accepted.latest {
            self.ahead.get_or_insert((0, time)).0 += 1;
        } else {
            TooMany::check("samples", points.times.len() + 1, points.limits.samples)?;
            points.times.push(time);
            points.values.push(value);
        }
        Ok(())
    }

    /// A native histogram, which is not stored.
    pub(crate) fn histogram(&mut self) {
        self.histograms += 1;
    }

    /// An exemplar, which is not stored either, and which nobody misses.
    pub(crate) fn exemplar(&mut self) {
        self.points.exemplars += 1;
    }

    /// Takes the series in, or notes why not.
    #[inline]
    pub(crate) fn finish(mut self) -> Result<(), TooMany> {
        if self.old.is_some() || self.ahead.is_some() || self.histograms > 0 {
            self.refuse_points();
        }
        let points = &mut *self.points;
        // Metadata of remote write 1.0, or exemplars alone: there is nothing to keep.
        let is_empty = points.times.len() == self.points_from;
        let fault = match self.fault.take() {
            None if !self.named => Some(LabelsError::NoName),
            None if !self.sorted => points.sort(self.labels_from).err(),
            fault => fault,
        };
        let written = points.labels.get(self.labels_from..).unwrap_or_default();
        let fault = match fault {
            None if !labels::is_text(written) => Some(LabelsError::NotText),
            fault => fault,
        };
        if let Some(fault) = fault {
            points.refusals.labels(written, &fault);
        } else if !is_empty {
            let ends = (i32::try_from(points.labels.len()), i32::try_from(points.times.len()));
            let label_bytes = points.limits.label_bytes.min(i32::MAX as usize);
            TooMany::check("bytes of labels", points.labels.len(), label_bytes)?;
            TooMany::check("series", points.label_ends.len(), points.limits.series)?;
            if let (Ok(label_end), Ok(point_end)) = ends {
                points.label_ends.push(label_end);
                points.point_ends.push(point_end);
                return Ok(());
            }
            return Err(TooMany { what: "samples", limit: i32::MAX as usize });
        }
        points.labels.truncate(self.labels_from);
        points.times.truncate(self.points_from);
        points.values.truncate(self.points_from);
        Ok(())
    }

    #[cold]
    fn refuse_points(&mut self) {
        let points = &mut *self.points;
        let labels = points.labels.get(self.labels_from..).unwrap_or_default();
        if self.histograms > 0 {
            points.refusals.histogram(self.histograms, labels);
        }
        if let Some((count, first)) = self.old {
            points.refusals.old(count, labels, first);
        }
        if let Some((count, first)) = self.ahead {
            points.refusals.ahead(count, labels, first);
        }
    }
}

impl Points {
    #[cold]
    fn sort(&mut self, from: usize) -> Result<(), LabelsError> {
        let sorted = labels::sort(self.labels.get(from..).unwrap_or_default())?;
        self.labels.truncate(from);
        self.labels.extend_from_slice(&sorted);
        Ok(())
    }
}
