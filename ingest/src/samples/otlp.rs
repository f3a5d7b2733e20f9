//! OTLP metrics (<https://opentelemetry.io/docs/specs/otlp/>), walked in place and turned into series
//! as Prometheus 3 turns them.
//!
//! ```text
//! message ExportMetricsServiceRequest { repeated ResourceMetrics resource_metrics = 1; }
//! message ResourceMetrics { Resource resource = 1; repeated ScopeMetrics scope_metrics = 2; }
//! message Resource        { repeated KeyValue attributes = 1; }
//! message ScopeMetrics    { repeated Metric metrics = 2; }
//! message Metric          { string name = 1; string description = 2; string unit = 3;
//!                           oneof { Gauge = 5; Sum = 7; Histogram = 9;
//!                                   ExponentialHistogram = 10; Summary = 11; } }
//! message Gauge, Sum, Histogram, ExponentialHistogram, Summary
//!                         { repeated ...DataPoint data_points = 1;
//!                           AggregationTemporality aggregation_temporality = 2;  1 delta, 2 cumulative
//!                           bool is_monotonic = 3; }                             Sum alone
//! ```
//!
//! | metric | series |
//! |---|---|
//! | gauge, sum | the name; `_total` behind that of a monotonic sum |
//! | histogram | `_bucket` with `le`, `_sum`, `_count` |
//! | summary | the name with `quantile`, `_sum`, `_count` |
//! | exponential histogram | refused |
//!
//! The unit becomes a word of the name ([`names`]). Of the resource, `service.namespace` and
//! `service.name` are the label `job`, `service.instance.id` is `instance`; if it has other attributes,
//! they are labels of the series `target_info`. Deltas become counters ([`deltas`]). Exemplars, scopes
//! and start times are passed over.

use super::decode::{BodyError, Described, MetricType};
use super::metadata::Metadata;
use super::points::Points;
use super::protobuf::Reader;

mod attributes;
pub(crate) mod deltas;
mod names;
mod points;
mod target;

use deltas::Staged;
use names::Kind;
use points::Writer;

/// Why OTLP cannot be translated.
#[derive(Debug)]
pub(crate) enum TranslateError {
    /// The body.
    Body(BodyError),
    /// There are deltas, and nothing to add them to was given.
    Deltas,
}

impl<E: Into<BodyError>> From<E> for TranslateError {
    fn from(error: E) -> Self {
        Self::Body(error.into())
    }
}

/// Puts the points of a request into `points`, and tells `metadata` of its metrics.
pub(crate) fn translate(
    body: &[u8],
    points: &mut Points,
    deltas: Option<&mut Staged<'_>>,
    metadata: &Metadata,
) -> Result<(), TranslateError> {
    let mut writer = Writer::new(points, deltas);
    let mut reader = Reader::new(body);
    while let Some((field, value)) = reader.field()? {
        if field == 1 {
            resource_metrics(value.bytes(1)?, &mut writer, metadata)?;
        }
    }
    Ok(())
}

fn resource_metrics(
    message: &[u8],
    writer: &mut Writer<'_, '_, '_>,
    metadata: &Metadata,
) -> Result<(), TranslateError> {
    let limit = writer.limits().labels;
    let mut attributes = Vec::new();
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        if field == 1 {
            attributes = attributes::read(value.bytes(1)?, 1, limit)?;
        }
    }
    writer.begin_resource(target::identity(&attributes));
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        if field == 2 {
            scope_metrics(value.bytes(2)?, writer, metadata)?;
        }
    }
    target::write_info(attributes, writer)
}

fn scope_metrics(
    message: &[u8],
    writer: &mut Writer<'_, '_, '_>,
    metadata: &Metadata,
) -> Result<(), TranslateError> {
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        if field == 2 {
            metric(value.bytes(2)?, writer, metadata)?;
        }
    }
    Ok(())
}

/// The kinds of data, by their field.
const GAUGE: u32 = 5;
const SUM: u32 = 7;
const HISTOGRAM: u32 = 9;
const EXPONENTIAL: u32 = 10;
const SUMMARY: u32 = 11;

fn metric(
    message: &[u8],
    writer: &mut Writer<'_, '_, '_>,
    metadata: &Metadata,
) -> Result<(), TranslateError> {
    let (mut name, mut description, mut unit) = ("", "", "");
    let mut data = None;
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => name = value.text(1)?,
            2 => description = value.text(2)?,
            3 => unit = value.text(3)?,
            GAUGE | SUM | HISTOGRAM | EXPONENTIAL | SUMMARY => {
                data = Some((field, value.bytes(field)?));
            }
            _ => {}
        }
    }
    let Some((kind, data)) = data else { return Ok(()) };
    let (mut temporality, mut monotonic, mut count) = (0, false, 0_u64);
    let mut reader = Reader::new(data);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => count += 1,
            2 if kind != SUMMARY && kind != GAUGE => temporality = value.varint(2)?,
            3 if kind == SUM => monotonic = value.varint(3)? != 0,
            _ => {}
        }
    }
    let (name_kind, metric_type) = match kind {
        GAUGE => (Kind::Gauge, MetricType::Gauge),
        SUM if monotonic => (Kind::Counter, MetricType::Counter),
        SUM => (Kind::Other, MetricType::Gauge),
        HISTOGRAM => (Kind::Other, MetricType::Histogram),
        EXPONENTIAL => (Kind::Other, MetricType::Histogram),
        _ => (Kind::Other, MetricType::Summary),
    };
    let Some(metric_name) = names::metric_name(name, unit, name_kind) else {
        writer.refuse(count, || format!("metric {name:?}: its name has no letter or digit"));
        return Ok(());
    };
    let delta = match (kind, temporality) {
        (SUM | HISTOGRAM, 1) => true,
        (SUM | HISTOGRAM, 2) | (GAUGE | SUMMARY | EXPONENTIAL, _) => false,
        _ => {
            writer.refuse(count, || {
                format!("metric {name:?}: its temporality is neither delta nor cumulative")
            });
            return Ok(());
        }
    };
    if kind == EXPONENTIAL {
        writer.refuse_histograms(count, &metric_name);
        return Ok(());
    }
    metadata.learn(&[Described { metric: &metric_name, metric_type, help: description, unit }]);
    let mut reader = Reader::new(data);
    while let Some((field, value)) = reader.field()? {
        if field != 1 {
            continue;
        }
        writer.count_point()?;
        let point = value.bytes(1)?;
        match kind {
            GAUGE | SUM => points::number(point, &metric_name, delta, writer)?,
            HISTOGRAM => points::histogram(point, &metric_name, delta, writer)?,
            _ => points::summary(point, &metric_name, writer)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
