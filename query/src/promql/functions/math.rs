//! Functions of single values.

/// The larger; NaN if either is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The smaller; NaN if either is.
fn smaller(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// `clamp`; nothing is between bounds that are the wrong way round.
pub(super) fn clamp(value: f64, args: &[f64]) -> Option<f64> {
    let [low, high] = args else { return None };
    if low > high { None } else { Some(larger(*low, smaller(*high, value))) }
}

pub(super) fn clamp_min(value: f64, args: &[f64]) -> Option<f64> {
    Some(larger(*args.first()?, value))
}

pub(super) fn clamp_max(value: f64, args: &[f64]) -> Option<f64> {
    Some(smaller(*args.first()?, value))
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
