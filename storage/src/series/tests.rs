use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use proptest::prelude::*;

use super::*;

#[test]
fn a_number_stays_rather_than_a_stale_marker() {
    let stale = f64::from_bits(STALE);
    for (a, b, kept) in [
        (1.0, 2.0, 2.0),
        (-0.0, 0.0, 0.0),
        (f64::NEG_INFINITY, stale, f64::NEG_INFINITY),
        (f64::NAN, 1.0, f64::NAN),
        (stale, f64::NAN, f64::NAN),
        (stale, stale, stale),
    ] {
        assert_eq!(prefer(a, b).to_bits(), kept.to_bits());
        assert_eq!(prefer(b, a).to_bits(), kept.to_bits());
    }
}

#[test]
fn a_batch_has_the_points_of_each_series() {
    let mut points = PointsBuilder::new();
    points.point(9, 9.0);
    points.series(b"\x01a\x011");
    points.point(2, 0.5);
    points.point(1, 1.5);
    points.series(b"\x01a\x012");
    points.series(b"\x01a\x013");
    points.point(3, 2.5);
    let batch = points.finish().unwrap();
    assert_eq!(batch.num_rows(), 3);
    let times = batch.column(1).as_list::<i32>();
    let values = batch.column(2).as_list::<i32>();
    assert_eq!(times.value(0).as_primitive::<Int64Type>().values(), &[2, 1]);
    assert_eq!(values.value(0).as_primitive::<Float64Type>().values(), &[0.5, 1.5]);
    assert!(times.value(1).is_empty());
    assert_eq!(values.value(2).as_primitive::<Float64Type>().values(), &[2.5]);
    assert_eq!(PointsBuilder::new().finish().unwrap().num_rows(), 0);
}

proptest! {
    #[test]
    fn settled_points_do_not_depend_on_their_order(
        points in proptest::collection::vec((0i64..20, prop_oneof![Just(f64::from_bits(STALE)), any::<f64>()]), 0..60),
        seed in any::<u64>(),
    ) {
        let settled = |points: &[(i64, f64)]| {
            let (mut times, mut values) = points.iter().copied().unzip();
            settle(&mut times, &mut values);
            (times, values.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
        };
        let mut shuffled = points.clone();
        shuffled.sort_by_key(|(time, value)| seed.wrapping_mul(value.to_bits() ^ time.unsigned_abs()));
        let (times, values) = settled(&points);
        prop_assert!(times.is_sorted_by(|a, b| a < b));
        prop_assert_eq!((&times, &values), (&settled(&shuffled).0, &settled(&shuffled).1));
        let distinct: std::collections::BTreeSet<i64> = points.iter().map(|(t, _)| *t).collect();
        prop_assert_eq!(times.len(), distinct.len());
    }
}
