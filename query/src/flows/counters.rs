//! Raw samples: deltas as counters that restart at UTC midnight.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::{cast, when};
use datafusion::prelude::{SessionContext, ident, lit};

use super::fetch::{Aggregate, Groups};
use super::filter::{Rows, rows};
use super::metrics::Metric;
use super::shape::Shape;
use super::sums::{name_labels, surviving_columns};
use crate::database::FLOWS;
use crate::error::{Error, ErrorKind};
use crate::promql::source::{Grouping, Labels, Selector, Series};

/// Samples that one selector may give (16 bytes each).
const MAX_SAMPLES: usize = 5_000_000;
const DAY_MS: i64 = 86_400_000;

/// Samples of one metric with times in `(after, until]`, milliseconds.
///
/// A row's sample lies at its `end`, rounded up to the millisecond: then a row ends in a window
/// exactly if its sample lies in it. Rows of one series in the same millisecond add up. A delta's
/// counter starts at zero each midnight, so the rows since the midnight before `after` are read too.
pub(crate) async fn series(
    session: &SessionContext,
    metric: &Metric,
    selector: &Selector,
    after: i64,
    until: i64,
) -> Result<Vec<Series>, Error> {
    let own = metric.virtual_label().map(super::metrics::Virtual::name);
    let Rows::Where(filters) = rows(selector, own) else { return Ok(Vec::new()) };
    let bounds = || Error::new(ErrorKind::Execution, "time range of the query is out of bounds");
    let from = if metric.is_delta() {
        after.checked_add(1).ok_or_else(bounds)?.div_euclid(DAY_MS) * DAY_MS - 1
    } else {
        after
    };
    let micros = |ms: i64| ms.checked_mul(1000).ok_or_else(bounds);
    let end = || cast(ident("end"), DataType::Int64);
    // Everything of the day up to `after` is one number, not one for each row.
    let key = when(end().lt_eq(lit(micros(after)?)), lit(after))
        .otherwise((end() + lit(999i64)) / lit(1000i64))?;
    let labels = surviving_columns(&Grouping::Every);
    let aggregate = Aggregate {
        table: FLOWS,
        metric,
        labels: &labels,
        filters,
        after: micros(from)?,
        until: micros(until)?,
        key: Some(key),
    };
    let Groups { groups, filled } = aggregate.run(session).await?;
    let shape = Shape::new(metric, selector, true, &filled);
    let samples: usize = groups.iter().map(|g| g.entries.len() * shape.slots.len()).sum();
    if samples > MAX_SAMPLES {
        return Err(Error::new(
            ErrorKind::Execution,
            format!(
                "selector of {} gives {samples} samples, more than {MAX_SAMPLES}; narrow its time \
                 range or match fewer series",
                metric.name
            ),
        ));
    }
    let name: (Arc<str>, Arc<str>) = (Arc::from("__name__"), Arc::from(metric.name));
    let mut result = Vec::new();
    for group in groups {
        let mut samples: Vec<Vec<(i64, f64)>> = vec![Vec::new(); shape.slots.len()];
        let mut total = vec![0i64; shape.width];
        let mut day = None;
        for (time, values) in group.entries {
            let restarts = !metric.is_delta() || day.replace(time.div_euclid(DAY_MS)) != day;
            if restarts {
                total.fill(0);
            }
            for (sum, value) in total.iter_mut().zip(&values) {
                *sum = sum.wrapping_add(*value);
            }
            if time > after {
                for (samples, value) in samples.iter_mut().zip(shape.values(&total)) {
                    samples.push((time, value));
                }
            }
        }
        for (slot, samples) in shape.slots.iter().zip(samples) {
            if !samples.is_empty() {
                let Labels(mut labels) = name_labels(&labels, &group.labels, slot);
                labels.push(name.clone());
                labels.sort_unstable();
                result.push(Series { labels: Labels(labels), samples });
            }
        }
    }
    Ok(result)
}
