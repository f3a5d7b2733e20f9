use super::*;

#[test]
fn values_read_like_prometheus_json() {
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1.0 / 3.0, "0.3333333333333333"),
        (123_456_789.0, "123456789"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (0.000_001, "0.000001"),
        (0.000_000_1, "1e-07"),
        (-2.5e-9, "-2.5e-09"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(format_value(value), text);
    }
}

#[test]
fn sums_keep_small_terms() {
    let mut sum = Sum::default();
    for value in [1e100, 1.0, -1e100] {
        sum.add(value);
    }
    assert_eq!(sum.value(), 1.0);
}

#[test]
fn means_survive_overflow() {
    let mut mean = Mean::default();
    for value in [f64::MAX, f64::MAX, f64::MAX] {
        mean.add(value);
    }
    assert!((mean.value() / f64::MAX - 1.0).abs() < 1e-12);
    let mut mean = Mean::default();
    mean.add(f64::INFINITY);
    mean.add(1.0);
    assert_eq!(mean.value(), f64::INFINITY);
}

#[test]
fn quantiles_interpolate_between_ranks() {
    assert_eq!(quantile(0.5, &mut [3.0, 1.0, 2.0, 4.0]), 2.5);
    assert_eq!(quantile(0.0, &mut [3.0, 1.0]), 1.0);
    assert_eq!(quantile(1.0, &mut [3.0, 1.0]), 3.0);
    assert_eq!(quantile(1.1, &mut [3.0, 1.0]), f64::INFINITY);
    assert_eq!(quantile(-0.1, &mut [3.0, 1.0]), f64::NEG_INFINITY);
    assert!(quantile(0.5, &mut []).is_nan());
}
