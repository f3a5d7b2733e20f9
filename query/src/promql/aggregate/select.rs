//! Aggregations that pick whole series: `topk`, `bottomk`, `limitk`, `limit_ratio`.

use std::cmp::Ordering;

use super::{Group, value};
use crate::promql::error::Error;
use crate::promql::expr::Aggregator;
use crate::promql::number;
use crate::promql::source::{Labels, StepSeries};
use crate::promql::vector::Collector;

/// Picks series in each group at each step; in the result they stand in the order of the last step's
/// choice, which for an instant query is the order of rank.
///
/// # Errors
/// [`Error::Execution`] when the parameter is NaN or out of range.
pub(super) fn apply(
    op: Aggregator,
    param: &[f64],
    series: &[StepSeries],
    groups: &[Group],
    steps: usize,
) -> Result<Vec<StepSeries>, Error> {
    let mut out = Collector::new(steps);
    let mut candidates: Vec<(usize, f64)> = Vec::new();
    for (step, param) in param.iter().enumerate().take(steps) {
        check(op, *param)?;
        for group in groups {
            candidates.clear();
            candidates.extend(
                group.members.iter().filter_map(|m| value(series, *m, step).map(|v| (*m, v))),
            );
            match op {
                Aggregator::LimitRatio => {
                    candidates.retain(|(member, _)| {
                        series.get(*member).is_some_and(|one| in_ratio(*param, &one.labels))
                    });
                }
                Aggregator::Topk => {
                    candidates.sort_by(|a, b| ranked(a.1, b.1, |a, b| b.partial_cmp(&a)));
                    candidates.truncate(number::index(*param));
                }
                Aggregator::Bottomk => {
                    candidates.sort_by(|a, b| ranked(a.1, b.1, |a, b| a.partial_cmp(&b)));
                    candidates.truncate(number::index(*param));
                }
                _ => candidates.truncate(number::index(*param)),
            }
            for (member, value) in &candidates {
                if let Some(one) = series.get(*member) {
                    let slot = out.slot(one.labels.clone());
                    out.put(slot, step, *value);
                }
            }
        }
    }
    Ok(out.finish())
}

fn check(op: Aggregator, param: f64) -> Result<(), Error> {
    if op == Aggregator::LimitRatio {
        return if param.is_nan() {
            Err(Error::Execution("Ratio value is NaN".to_owned()))
        } else {
            Ok(())
        };
    }
    // The bounds of 64-bit integers; NaN is outside too.
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&param) {
        return Err(Error::Execution(format!(
            "Scalar value {} overflows int64",
            number::format_value(param)
        )));
    }
    Ok(())
}

/// Order of rank, NaN last.
fn ranked(a: f64, b: f64, order: impl Fn(f64, f64) -> Option<Ordering>) -> Ordering {
    order(a, b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Whether a series belongs to the share of all series that `ratio` (-1 to 1) names. The choice
/// depends on the labels alone; `r` and `r - 1` split any vector in two.
fn in_ratio(ratio: f64, labels: &Labels) -> bool {
    let place = fraction(labels);
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}

/// A number in 0 to 1, evenly spread over label sets (FNV-1a with a final mix).
fn fraction(labels: &Labels) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |byte: u8| {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    };
    for (name, value) in &labels.0 {
        name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]).for_each(&mut eat);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    let high = u32::try_from(hash >> 32).unwrap_or(u32::MAX);
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}
