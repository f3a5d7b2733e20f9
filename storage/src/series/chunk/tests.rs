use proptest::prelude::*;

use super::*;

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn round_trip(values: &[f64]) -> usize {
    let mut bytes = Vec::new();
    encode_values(values, &mut bytes);
    let count = i32::try_from(values.len()).unwrap();
    let mut back = vec![1.5];
    decode_values(&bytes, count, &mut back).unwrap();
    assert_eq!(bits(&back[1..]), bits(values));
    bytes.len()
}

#[test]
fn every_value_comes_back_bit_by_bit() {
    let odd = [
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(crate::series::STALE),
        f64::from_bits(0x7ff0_0000_0000_0001),
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        f64::MAX,
        9_007_199_254_740_991.0,
        9_007_199_254_740_993.0,
        -9_007_199_254_740_992.0,
        1e18,
        0.1 + 0.2,
        1.0 / 3.0,
        123.456,
        1e-14,
        1e-15,
    ];
    round_trip(&odd);
    round_trip(&[]);
    for value in odd {
        round_trip(&[value]);
        round_trip(&[value; 200]);
        // Among ordinary ones.
        for place in [0, 63, 64, 199] {
            let mut values: Vec<f64> = (0..200).map(|n| f64::from(n) / 100.0).collect();
            values[place] = value;
            round_trip(&values);
        }
    }
}

#[test]
fn decimals_and_counters_take_few_bits() {
    let counter: Vec<f64> = (0..960).map(|n| f64::from(n * 15 + n * n % 7)).collect();
    assert!(round_trip(&counter) < 960 / 2);
    let load: Vec<f64> = (0..960).map(|n| f64::from(100 + n * 37 % 16) / 100.0).collect();
    assert!(round_trip(&load) < 960 / 2 + 60);
    let mut rare = vec![5.0; 960];
    rare[500] = 1e6;
    assert!(round_trip(&rare) < 60, "one outlier costs no more than itself");
    rare[959] = f64::from_bits(crate::series::STALE);
    assert!(round_trip(&rare) < 70, "nor does a stale marker");
}

/// The bytes of chunks that are in files already.
#[test]
fn version_1_is_read_for_ever() {
    let frozen: &[(&str, &[f64])] = &[];
    let _ = frozen;
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-1000i32..1000).prop_map(|n| f64::from(n) / 100.0),
        2 => (0u32..50).prop_map(f64::from),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(f64::from_bits(crate::series::STALE)),
    ]
}

proptest! {
    #[test]
    fn any_values_come_back(values in proptest::collection::vec(value(), 0..300)) {
        round_trip(&values);
    }

    #[test]
    fn any_counters_come_back(steps in proptest::collection::vec(-3i64..1 << 40, 0..300), scale in 0i32..12) {
        let mut sum = 0i64;
        let values: Vec<f64> = steps.iter().map(|s| { sum += s >> (s & 31); sum as f64 / 10f64.powi(scale) }).collect();
        round_trip(&values);
    }

    #[test]
    fn any_times_come_back(times in proptest::collection::vec(any::<i64>(), 0..200), steps in proptest::collection::vec(0i64..20_000, 0..300)) {
        let regular: Vec<i64> = steps.iter().scan(0, |t, s| { *t += s; Some(*t) }).collect();
        for times in [times, regular] {
            let mut bytes = Vec::new();
            encode_times(&times, &mut bytes);
            let mut back = vec![-1];
            decode_times(&bytes, i32::try_from(times.len()).unwrap(), &mut back).unwrap();
            prop_assert_eq!(&back[1..], &times[..]);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), count in prop_oneof![-5i32..400, Just(65_536), Just(i32::MAX)]) {
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        let (mut times, mut values) = (Vec::new(), Vec::new());
        let done = decode_times(&bytes, count, &mut times);
        prop_assert_eq!(times.len(), if done.is_ok() { usize::try_from(count).unwrap() } else { 0 });
        let done = decode_values(&bytes, count, &mut values);
        prop_assert_eq!(values.len(), if done.is_ok() { usize::try_from(count).unwrap() } else { 0 });
        prop_assert!(times.capacity() <= 2 * MAX_POINTS && values.capacity() <= 2 * MAX_POINTS);
    }

    #[test]
    fn damage_never_gives_more_or_fewer_points(values in proptest::collection::vec(value(), 1..200), at: prop::sample::Index, bit in 0u32..8, cut in any::<bool>()) {
        let mut bytes = Vec::new();
        encode_values(&values, &mut bytes);
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at); } else { bytes[at] ^= 1u8 << bit; }
        let mut back = Vec::new();
        let count = i32::try_from(values.len()).unwrap();
        if decode_values(&bytes, count, &mut back).is_ok() {
            prop_assert_eq!(back.len(), values.len());
        } else {
            prop_assert!(back.is_empty());
        }
    }
}
