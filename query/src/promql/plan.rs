//! Finds the parts of an expression that the store can answer as sums of deltas.
//!
//! ```text
//! rate(m[w])                          every series' own sum
//! sum by (a) (rate(m[w]))             one sum per value of a
//! sum by (a) (sum by (a, b) (...))    the same, in one go
//! ```
//!
//! Everything around such a part (`topk`, `histogram_quantile`, arithmetic) works on its small result.

use std::sync::Arc;

use super::expr::{Aggregate, Aggregator, Call, Expr, Pick};
use super::functions::Function;
use super::labels::METRIC_NAME;
use super::source::Grouping;

/// A sum of `rate` or `increase`.
#[derive(Debug)]
pub(crate) struct Sums<'a> {
    /// Which series.
    pub(crate) pick: &'a Pick,
    /// Window, milliseconds.
    pub(crate) range: i64,
    /// What is summed together.
    pub(crate) grouping: Grouping,
    /// `rate`: per second; otherwise `increase`.
    pub(crate) per_second: bool,
}

/// Recognises an expression that is nothing but a sum of `rate` or `increase`.
pub(crate) fn sums(expr: &Expr) -> Option<Sums<'_>> {
    match expr {
        Expr::Call(Call { function: Function::Increase { per_second }, args, .. }) => {
            let [Expr::Range(pick, range)] = args.as_slice() else { return None };
            // A window of less than a millisecond holds nothing that could be divided by it.
            if *range <= 0 {
                return None;
            }
            let grouping = Grouping::Every;
            Some(Sums { pick, range: *range, grouping, per_second: *per_second })
        }
        Expr::Aggregate(aggregate) => {
            let Aggregate { op: Aggregator::Sum, grouping, param: None, expr, .. } = &**aggregate
            else {
                return None;
            };
            let inner = sums(expr)?;
            Some(Sums { grouping: regroup(inner.grouping, grouping), ..inner })
        }
        _ => None,
    }
}

/// The grouping that gives at once what `inner` and then `outer` give. `rate` and `increase` have
/// dropped the metric name already.
fn regroup(inner: Grouping, outer: &Grouping) -> Grouping {
    let named = |names: &[Arc<str>]| {
        names.iter().filter(|name| &***name != METRIC_NAME).cloned().collect::<Vec<_>>()
    };
    match (inner, outer) {
        (inner, Grouping::Every) => inner,
        (Grouping::Every, Grouping::By(names)) => Grouping::By(named(names)),
        (Grouping::Every, Grouping::Without(names)) => Grouping::Without(named(names)),
        (Grouping::By(mut kept), Grouping::By(names)) => {
            kept.retain(|name| names.contains(name));
            Grouping::By(kept)
        }
        (Grouping::By(mut kept), Grouping::Without(names)) => {
            kept.retain(|name| !names.contains(name));
            Grouping::By(kept)
        }
        (Grouping::Without(gone), Grouping::By(names)) => {
            let mut kept = named(names);
            kept.retain(|name| !gone.contains(name));
            Grouping::By(kept)
        }
        (Grouping::Without(mut gone), Grouping::Without(names)) => {
            for name in named(names) {
                if !gone.contains(&name) {
                    gone.push(name);
                }
            }
            Grouping::Without(gone)
        }
    }
}

#[cfg(test)]
mod tests;
