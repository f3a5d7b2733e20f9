use super::*;

fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
    pairs.iter().map(|(bound, count)| Bucket { bound: *bound, count: *count }).collect()
}

const INF: f64 = f64::INFINITY;

#[test]
fn quantiles_interpolate_within_the_bucket_of_the_rank() {
    let some = buckets(&[(1.0, 10.0), (2.0, 30.0), (4.0, 40.0), (INF, 40.0)]);
    for (q, value) in [(0.0, 0.0), (0.25, 1.0), (0.5, 1.5), (0.75, 2.0), (0.875, 3.0), (1.0, 4.0)] {
        assert_eq!(quantile(q, some.clone()), (value, false), "{q}");
    }
    assert_eq!(quantile(-0.1, some.clone()).0, -INF);
    assert_eq!(quantile(1.1, some.clone()).0, INF);
    assert!(quantile(f64::NAN, some).0.is_nan());
}

#[test]
fn ranks_above_the_last_finite_bound_give_that_bound() {
    assert_eq!(quantile(0.9, buckets(&[(1.0, 1.0), (INF, 10.0)])).0, 1.0);
}

#[test]
fn a_first_bucket_at_or_below_zero_has_no_lower_end() {
    let some = buckets(&[(-1.0, 10.0), (1.0, 20.0), (INF, 20.0)]);
    assert_eq!(quantile(0.25, some.clone()).0, -1.0);
    assert_eq!(quantile(0.75, some).0, 0.0);
}

#[test]
fn without_an_infinite_bucket_or_observations_there_is_no_quantile() {
    assert!(quantile(0.5, buckets(&[(1.0, 1.0), (2.0, 2.0)])).0.is_nan());
    assert!(quantile(0.5, buckets(&[(INF, 2.0)])).0.is_nan());
    assert!(quantile(0.5, buckets(&[(1.0, 0.0), (INF, 0.0)])).0.is_nan());
    assert!(quantile(0.5, Vec::new()).0.is_nan());
}

#[test]
fn shrinking_counts_are_repaired_and_told_unless_they_are_rounding() {
    let (value, repaired) =
        quantile(0.5, buckets(&[(1.0, 10.0), (2.0, 8.0), (3.0, 20.0), (INF, 20.0)]));
    assert_eq!((value, repaired), (1.0, true));
    let rounding = buckets(&[(1.0, 10.0), (2.0, 10.0 - 1e-13), (3.0, 20.0), (INF, 20.0)]);
    assert!(!quantile(0.5, rounding).1);
}

#[test]
fn equal_bounds_are_joined() {
    let some = buckets(&[(1.0, 5.0), (INF, 10.0), (1.0, 5.0), (INF, 10.0)]);
    assert_eq!(quantile(0.25, some).0, 0.5);
}

#[test]
fn fractions_interpolate_too() {
    let some = buckets(&[(1.0, 10.0), (2.0, 30.0), (4.0, 40.0), (INF, 40.0)]);
    assert_eq!(fraction(1.0, 2.0, some.clone()), 0.5);
    assert_eq!(fraction(1.5, 3.0, some.clone()), 0.375);
    assert_eq!(fraction(-INF, 1.5, some.clone()), 0.5);
    // The first bucket begins at -Inf, so nothing can be said of places within it.
    assert!(fraction(0.0, 1.0, some.clone()).is_nan());
    assert!(fraction(0.5, 1.5, some.clone()).is_nan());
    assert_eq!(fraction(-INF, INF, some.clone()), 1.0);
    assert_eq!(fraction(2.0, 1.0, some.clone()), 0.0);
    assert!(fraction(f64::NAN, 1.0, some).is_nan());
}
