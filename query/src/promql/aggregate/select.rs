//! Aggregations that pick whole series: `topk`, `bottomk`, `limitk`, `limit_ratio`.

use super::{Group, bounds, value};
use crate::promql::error::Error;
use crate::promql::expr::Aggregator;
use crate::promql::number::{go, index};
use crate::promql::source::StepSeries;
use crate::promql::vector::Collector;

mod hash;
mod heap;

use heap::Best;

/// Picks series in each group at each step; in the result they stand in the order of the last step's
/// choice, which for an instant query is the order of rank.
///
/// # Errors
/// [`Error::Execution`] when the parameter is NaN or out of range where there is anything to pick.
pub(super) fn apply(
    op: Aggregator,
    param: &[f64],
    series: &[StepSeries],
    groups: &[Group],
    steps: usize,
) -> Result<Vec<StepSeries>, Error> {
    let (least, most) = bounds(param);
    let is_ratio = op == Aggregator::LimitRatio;
    // Then no step picks anything, so that no step's parameter can be wrong.
    if if is_ratio { most == 0.0 && least == 0.0 } else { most < 1.0 } {
        return Ok(Vec::new());
    }
    let places: Vec<f64> = if is_ratio {
        series.iter().map(|one| hash::fraction(&one.labels)).collect()
    } else {
        Vec::new()
    };
    let mut out = Collector::new(steps);
    for (step, param) in param.iter().enumerate().take(steps) {
        for group in groups {
            let candidates =
                group.members.iter().filter_map(|m| value(series, *m, step).map(|v| (*m, v)));
            let mut candidates = candidates.peekable();
            if candidates.peek().is_none() {
                continue;
            }
            check(op, *param)?;
            let most = index(*param).min(series.len());
            let picked: Vec<(usize, f64)> = match op {
                Aggregator::LimitRatio => {
                    let belongs = |(member, _): &(usize, f64)| {
                        places.get(*member).is_some_and(|place| in_ratio(*param, *place))
                    };
                    Best::heaped(|a, b| a < b, candidates.filter(belongs))
                }
                Aggregator::Topk => Best::of(most, |a, b| a < b, candidates),
                Aggregator::Bottomk => Best::of(most, |a, b| a > b, candidates),
                _ => Best::heaped(|a, b| a < b, candidates.take(most)),
            };
            for (member, value) in picked {
                if let Some(one) = series.get(member) {
                    let slot = out.slot(one.labels.clone());
                    out.put(slot, step, value);
                }
            }
        }
    }
    Ok(out.finish())
}

fn check(op: Aggregator, param: f64) -> Result<(), Error> {
    if op == Aggregator::LimitRatio {
        return if param.is_nan() {
            Err(Error::Execution("Ratio value NaN is NaN".to_owned()))
        } else {
            Ok(())
        };
    }
    // The bounds of 64-bit integers; NaN is outside too.
    if !(-9_223_372_036_854_775_808.0..=9_223_372_036_854_774_784.0).contains(&param) {
        return Err(Error::Execution(format!(
            "Scalar value {} overflows int64",
            go::shortest(param)
        )));
    }
    Ok(())
}

/// Whether a place in 0 to 1 belongs to the share that `ratio` (-1 to 1) names; `r` and `r - 1` split any
/// vector in two.
fn in_ratio(ratio: f64, place: f64) -> bool {
    let ratio = ratio.clamp(-1.0, 1.0);
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}
