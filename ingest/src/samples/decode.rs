//! From the body of a request to its points. The same when it arrives and when the log is replayed.

use thiserror::Error;

use super::points::{Points, TooMany};
use super::protobuf::WireError;
use super::{write1, write2};

/// The message that a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// `prometheus.WriteRequest`.
    Write1,
    /// `io.prometheus.write.v2.Request`.
    Write2,
}

/// Why a body is not the message that it is said to be.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// Not protobuf, or not this message.
    #[error("body is not the protobuf message that its content type names: {0}")]
    Wire(#[from] WireError),
    /// More than a request may have.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// A reference beyond the symbol table.
    #[error("reference {reference} is beyond the table of {symbols} symbols")]
    Symbol {
        /// The reference.
        reference: u64,
        /// Size of the table.
        symbols: usize,
    },
    /// A label name without a value.
    #[error("labels are pairs of references, and there is an odd number of them")]
    OddLabels,
    /// One of these within a series.
    #[error("series {number} of the request: {source}")]
    Series {
        /// From 1.
        number: usize,
        /// What is wrong in it.
        source: Box<BodyError>,
    },
}

impl BodyError {
    pub(crate) fn in_series(self, number: usize) -> Self {
        match self {
            Self::TooMany(_) => self,
            other => Self::Series { number, source: Box::new(other) },
        }
    }

    /// Whether the request is well formed and merely too large.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self, Self::TooMany(_))
    }
}

/// What kind of metric it is (OpenMetrics).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MetricType {
    /// Not said.
    #[default]
    Unknown,
    /// Grows.
    Counter,
    /// A level.
    Gauge,
    /// Buckets of a distribution.
    Histogram,
    /// Buckets of a level.
    GaugeHistogram,
    /// Quantiles.
    Summary,
    /// Labels that tell something.
    Info,
    /// Which of several states.
    StateSet,
}

impl MetricType {
    /// Numbers are the same in both versions of remote write.
    pub(crate) fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Counter,
            2 => Self::Gauge,
            3 => Self::Histogram,
            4 => Self::GaugeHistogram,
            5 => Self::Summary,
            6 => Self::Info,
            7 => Self::StateSet,
            _ => Self::Unknown,
        }
    }

    /// As the Prometheus HTTP API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
}

/// What a request says of a metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Described<'a> {
    /// Name of the metric, or of its family (without `_bucket` and so on) in version 1.0.
    pub(crate) metric: &'a str,
    pub(crate) metric_type: MetricType,
    pub(crate) help: &'a str,
    pub(crate) unit: &'a str,
}

/// Puts what a decompressed body holds into `points`; gives what it says of metrics.
pub(crate) fn decode<'a>(
    message: Message,
    body: &'a [u8],
    points: &mut Points,
) -> Result<Vec<Described<'a>>, BodyError> {
    let mut metadata = Vec::new();
    points.expect(body.len());
    match message {
        Message::Write1 => write1::read(body, points, &mut metadata)?,
        Message::Write2 => write2::read(body, points, &mut metadata)?,
    }
    Ok(metadata)
}

#[cfg(test)]
pub(crate) mod tests;
