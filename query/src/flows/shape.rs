//! From the aggregated columns of a metric to its series.
//!
//! A metric's columns are aggregated into a few integers (`width`), which are turned into parts, and
//! each series is the sum of some parts:
//!
//! ```text
//!            integers             parts                       series
//! counter    sum                  sum                         one
//! parted     all, each part       each part, the rest         phase="syn", ..., phase="established"
//! bucket     64 bucket counts     63 cumulative counts, all   le="..." by bound, le="+Inf"
//! ```
//!
//! Where the metric's own label (`phase`, `reason`, `side`, `le`) does not survive the grouping there is one series, the sum of all
//! parts that the matchers accept. The last bucket also holds everything longer than its bound, so its
//! bound is no `le`: it appears as `+Inf` alone.
//!
//! Which `le` a result has is the same for all of its series and steps, so that sums over series and
//! `histogram_quantile` see the same bounds everywhere: from one below the lowest bucket that any row
//! of the result filled (interpolation in the lowest then starts at its own lower bound) to the
//! highest, and `+Inf`. A selector that matches on `le` gets every bound that it accepts, filled or not.

use std::ops::Range;
use std::sync::Arc;

use weir_wire::histogram::{BUCKETS, FIRST_INDEX, upper_bound};

use super::metrics::{Columns, Metric, Virtual};
use crate::promql::source::{MatchOp, Selector};

/// One series of each label set: the value of the metric's own label, if it has one, and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Name and value of the label that is no column.
    pub(crate) label: Option<(&'static str, Arc<str>)>,
    /// Which parts add up to it.
    parts: Vec<usize>,
}

/// How the integers of a metric become series.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    columns: Columns,
    /// Number of integers.
    pub(crate) width: usize,
    /// The series of each label set.
    pub(crate) slots: Vec<Slot>,
}

impl Shape {
    /// The shape of `metric` under a selector. `keep` says whether the metric's own label survives the
    /// grouping, `filled` which of its 64 buckets any row filled.
    pub(crate) fn new(
        metric: &Metric,
        selector: &Selector,
        keep: bool,
        filled: &Range<usize>,
    ) -> Self {
        let columns = metric.columns;
        let Some(label) = metric.virtual_label() else {
            return Self { columns, width: 1, slots: vec![Slot { label: None, parts: vec![0] }] };
        };
        let ops: Vec<&MatchOp> =
            selector.matchers.iter().filter(|m| &*m.name == label.name()).map(|m| &m.op).collect();
        let values: Vec<Arc<str>> = match columns {
            Columns::Parted(parted) => parted.values().map(Arc::from).collect(),
            _ => bounds().collect(),
        };
        let accepted = values.into_iter().enumerate().filter(|(i, value): &(usize, Arc<str>)| {
            let shown = match label {
                Virtual::Phase | Virtual::Reason | Virtual::Side => true,
                // The slot of the last bucket is `+Inf`.
                Virtual::Le => {
                    !ops.is_empty()
                        || *i == BUCKETS - 1
                        || (filled.start.saturating_sub(1)..filled.end).contains(i)
                }
            };
            shown && ops.iter().all(|op| op.accepts(value))
        });
        let slots = if keep {
            accepted
                .map(|(i, value)| Slot { label: Some((label.name(), value)), parts: vec![i] })
                .collect()
        } else {
            let parts: Vec<usize> = accepted.map(|(i, _)| i).collect();
            if parts.is_empty() { Vec::new() } else { vec![Slot { label: None, parts }] }
        };
        Self { columns, width: width(&columns), slots }
    }

    /// The value of each slot, in order.
    pub(crate) fn values<'a>(&'a self, integers: &[i64]) -> impl Iterator<Item = f64> + use<'a> {
        let mut parts = integers.to_vec();
        match self.columns {
            Columns::Parted(_) => {
                if let [all, known @ ..] = integers {
                    let rest = known.iter().fold(*all, |rest, part| rest.wrapping_sub(*part));
                    parts = known.iter().copied().chain([rest]).collect();
                }
            }
            Columns::Bucket(_) => {
                let mut below = 0i64;
                for part in &mut parts {
                    below = below.wrapping_add(*part);
                    *part = below;
                }
            }
            _ => {}
        }
        let unit = unit(&self.columns);
        self.slots.iter().map(move |slot| {
            let sum = slot.parts.iter().filter_map(|i| parts.get(*i)).sum::<i64>() as f64;
            sum / unit
        })
    }
}

/// What one of a metric is in its column.
pub(crate) fn unit(columns: &Columns) -> f64 {
    match columns {
        Columns::Sum(_) => 1e6,
        Columns::Cost(_) => 1e9,
        _ => 1.0,
    }
}

/// How many integers the columns of a metric are aggregated into.
pub(crate) fn width(columns: &Columns) -> usize {
    match columns {
        Columns::Bucket(_) => BUCKETS,
        Columns::Parted(parted) => 1 + parted.parts.len(),
        _ => 1,
    }
}

/// The values of `le`: the inclusive upper bounds of all buckets but the last in seconds, and `+Inf`.
pub(crate) fn bounds() -> impl Iterator<Item = Arc<str>> {
    (FIRST_INDEX..)
        .take(BUCKETS - 1)
        .map(|index| Arc::from(format!("{}", upper_bound(index) / 1e6)))
        .chain(std::iter::once(Arc::from("+Inf")))
}

/// Widens `filled` by the buckets that these counts fill.
pub(crate) fn widen(filled: &mut Range<usize>, counts: &[i64]) {
    let first = counts.iter().position(|n| *n != 0);
    let last = counts.iter().rposition(|n| *n != 0);
    if let (Some(first), Some(last)) = (first, last) {
        *filled = if filled.start == filled.end {
            first..last + 1
        } else {
            filled.start.min(first)..filled.end.max(last + 1)
        };
    }
}
