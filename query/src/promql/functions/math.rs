//! Functions of single values.

use crate::promql::number::go::{max, min};
use std::f64::consts::PI;

/// `clamp`; nothing is between bounds that are the wrong way round.
pub(super) fn clamp(value: f64, args: &[f64]) -> Option<f64> {
    let [low, high] = args else { return None };
    if high < low { None } else { Some(max(*low, min(*high, value))) }
}

pub(super) fn clamp_min(value: f64, args: &[f64]) -> Option<f64> {
    clamp(value, &[*args.first()?, f64::INFINITY])
}

pub(super) fn clamp_max(value: f64, args: &[f64]) -> Option<f64> {
    clamp(value, &[f64::NEG_INFINITY, *args.first()?])
}

/// `round` to the nearest multiple (of 1 if none is given), halves up.
pub(super) fn round(value: f64, args: &[f64]) -> Option<f64> {
    // The inverse, because multiples such as 0.1 are not exact while 10 is.
    let inverse = 1.0 / args.first().copied().unwrap_or(1.0);
    Some((value * inverse + 0.5).floor() / inverse)
}

/// `sgn`: zero and NaN stay.
pub(super) fn sgn(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}

/// Radians as degrees.
pub(super) fn deg(value: f64) -> f64 {
    value * 180.0 / PI
}

/// Degrees as radians.
pub(super) fn rad(value: f64) -> f64 {
    value * PI / 180.0
}
