//! Exact sums of windows: `increase` and `rate` over deltas, grouped, in one aggregate.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, cast, when};
use datafusion::prelude::{SessionContext, ident, lit};
use weir_wire::schema::{Column, FLOW_COLUMNS, flow_column};

use super::fetch::{Aggregate, Groups};
use super::filter::{Rows, is_label, rows};
use super::metrics::Metric;
use super::shape::{Shape, Slot};
use super::tiers::value_columns;
use super::windows::Windows;
use crate::error::{Error, ErrorKind};
use crate::promql::source::{Grouping, Labels, Selector, StepSeries, Steps, Window};

/// Values that a result may have, over all series and steps (16 bytes each).
const MAX_VALUES: usize = 5_000_000;

/// What a window sum reads.
pub(crate) struct Read<'a> {
    pub(crate) metric: &'static Metric,
    pub(crate) selector: &'a Selector,
    pub(crate) grouping: &'a Grouping,
    pub(crate) windows: Windows,
}

impl Read<'_> {
    /// The key and value columns that it needs.
    pub(crate) fn columns(&self) -> BTreeSet<&str> {
        let own = self.metric.virtual_label().map(super::metrics::Virtual::name);
        let matched = self.selector.matchers.iter().map(|m| &*m.name);
        let matched = matched.filter(|name| own != Some(*name));
        surviving_columns(self.grouping)
            .into_iter()
            .map(|c| c.name)
            .chain(matched.filter(|name| flow_column(name).is_some_and(is_label)))
            .chain(value_columns(self.metric))
            .collect()
    }
}

/// The window sums of a metric, see [`crate::promql::source::Source::window_sums`].
pub(crate) async fn window_sums(
    session: &SessionContext,
    table: &'static str,
    read: &Read<'_>,
    steps: &Steps,
) -> Result<Vec<StepSeries>, Error> {
    let Read { metric, selector, grouping, windows } = read;
    let own = metric.virtual_label().map(super::metrics::Virtual::name);
    let Rows::Where(filters) = rows(selector, own) else { return Ok(Vec::new()) };
    let labels = surviving_columns(grouping);
    let aggregate = aggregate(table, metric, &labels, filters, windows)?;
    let Groups { groups, filled } = aggregate.run(session).await?;
    let keep = own.is_some_and(|own| survives(grouping, own));
    let shape = Shape::new(metric, selector, keep, &filled);
    let count = steps.len();
    check_size(groups.len().saturating_mul(shape.slots.len()), count)?;
    let mut result = Vec::with_capacity(groups.len() * shape.slots.len());
    for group in groups {
        let buckets: Vec<(usize, Vec<i64>)> = group
            .entries
            .into_iter()
            .filter_map(|(key, values)| Some((usize::try_from(key).ok()?, values)))
            .collect();
        let mut series: Vec<Vec<Option<f64>>> = vec![vec![None; count]; shape.slots.len()];
        windows.slide(&buckets, shape.width, |i, sums| {
            for (values, value) in series.iter_mut().zip(shape.values(sums)) {
                if windows.count == 1 {
                    // One window stands for every step (`@`, or an instant query).
                    values.fill(Some(value));
                } else if let Some(at) = values.get_mut(i) {
                    *at = Some(value);
                }
            }
        });
        for (slot, values) in shape.slots.iter().zip(series) {
            result.push(StepSeries {
                labels: name_labels(&labels, &group.labels, slot),
                values: values.as_slice().into(),
            });
        }
    }
    Ok(result)
}

/// The aggregate behind window sums.
pub(crate) fn aggregate<'a>(
    table: &'static str,
    metric: &'a Metric,
    labels: &'a [&'static Column],
    mut filters: Vec<Expr>,
    windows: &Windows,
) -> Result<Aggregate<'a>, Error> {
    let since = || cast(ident("end"), DataType::Int64) - lit(windows.origin.saturating_add(1));
    if windows.has_gaps() {
        filters.push((since() % lit(windows.step)).lt(lit(windows.rest)));
    }
    let key = if windows.count == 1 {
        None
    } else if windows.is_cut() {
        let second = when((since() % lit(windows.step)).gt_eq(lit(windows.rest)), lit(1i64))
            .otherwise(lit(0i64))?;
        Some(since() / lit(windows.step) * lit(2i64) + second)
    } else {
        Some(since() / lit(windows.step))
    };
    let (after, until) = (windows.origin, windows.end);
    Ok(Aggregate { table, metric, labels, filters, after, until, key })
}

/// The windows of a query; `@` makes one of all.
pub(crate) fn cut(window: &Window, steps: &Steps) -> Result<Windows, Error> {
    let (first, count) = match window.at {
        Some(at) => (at, 1),
        None => (steps.start, steps.len()),
    };
    first
        .checked_sub(window.offset)
        .and_then(|first| Windows::new(first, steps.step, count, window.range))
        .ok_or_else(|| Error::new(ErrorKind::Execution, "time range of the query is out of bounds"))
}

fn check_size(series: usize, steps: usize) -> Result<(), Error> {
    if series.saturating_mul(steps) > MAX_VALUES {
        return Err(Error::new(
            ErrorKind::Execution,
            format!(
                "query gives {series} series of {steps} steps, more than {MAX_VALUES} values; use a \
                 longer step or aggregate with sum by (...)"
            ),
        ));
    }
    Ok(())
}

/// The key columns that a grouping keeps.
pub(crate) fn surviving_columns(grouping: &Grouping) -> Vec<&'static Column> {
    FLOW_COLUMNS.iter().filter(|c| is_label(c) && survives(grouping, c.name)).collect()
}

fn survives(grouping: &Grouping, label: &str) -> bool {
    match grouping {
        Grouping::Every => true,
        Grouping::By(names) => names.iter().any(|n| **n == *label),
        Grouping::Without(names) => names.iter().all(|n| **n != *label),
    }
}

/// The labels of a series, sorted, without empty ones.
pub(crate) fn name_labels(columns: &[&'static Column], values: &[Arc<str>], slot: &Slot) -> Labels {
    let mut labels: Vec<(Arc<str>, Arc<str>)> = columns
        .iter()
        .zip(values)
        .filter(|(_, value)| !value.is_empty())
        .map(|(column, value)| (Arc::from(column.name), value.clone()))
        .collect();
    labels.extend(slot.label.iter().map(|(name, value)| (Arc::from(*name), value.clone())));
    labels.sort_unstable();
    Labels(labels)
}

#[cfg(test)]
mod tests;
