//! Trends over a window: `deriv`, `predict_linear`, `double_exponential_smoothing`.

use crate::promql::number::{Sum, seconds};
use crate::promql::window::View;

/// Slope per second and value at `origin` (milliseconds) of the least squares line, as Prometheus'
/// `linearRegression` has it; none for fewer than two samples.
#[expect(clippy::float_cmp, reason = "asks whether all values are the same")]
fn line(samples: &[(i64, f64)], origin: i64) -> Option<(f64, f64)> {
    let [(_, first), _, ..] = samples else { return None };
    if samples.iter().all(|(_, value)| value == first) {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, *first) });
    }
    let mut count = 0.0;
    let [mut x_sum, mut y_sum, mut xy_sum, mut x2_sum] = [Sum::default(); 4];
    for (time, y) in samples {
        let x = seconds(time - origin);
        count += 1.0;
        x_sum.add(x);
        y_sum.add(*y);
        xy_sum.add(x * y);
        x2_sum.add(x * x);
    }
    let (x, y) = (x_sum.value(), y_sum.value());
    let covariance = xy_sum.value() - x * y / count;
    let variance = x2_sum.value() - x * x / count;
    let slope = covariance / variance;
    Some((slope, y / count - slope * x / count))
}

/// `deriv`
pub(super) fn deriv(view: View<'_>, _: &[f64]) -> Option<f64> {
    let (time, _) = view.samples.first()?;
    line(view.samples, *time).map(|(slope, _)| slope)
}

/// `predict_linear`: the line's value so many seconds after the evaluation time.
pub(super) fn predict(view: View<'_>, args: &[f64]) -> Option<f64> {
    let ahead = args.first()?;
    line(view.samples, view.time).map(|(slope, now)| slope * ahead + now)
}

/// `double_exponential_smoothing` with smoothing and trend factor.
pub(super) fn smooth(view: View<'_>, args: &[f64]) -> Option<f64> {
    let [level_factor, trend_factor] = args else { return None };
    let [(_, first), rest @ ..] = view.samples else { return None };
    let (_, second) = rest.first()?;
    let (mut previous, mut level, mut trend) = (0.0, *first, second - first);
    for (at, (_, value)) in rest.iter().enumerate() {
        if at > 0 {
            trend = trend_factor * (level - previous) + (1.0 - trend_factor) * trend;
        }
        let next = level_factor * value + (1.0 - level_factor) * (level + trend);
        (previous, level) = (level, next);
    }
    Some(level)
}
