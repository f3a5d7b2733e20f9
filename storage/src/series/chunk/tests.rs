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

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}

/// Values in bytes that files may have for ever. Other bytes may be written for them one day.
#[test]
fn values_of_version_1_are_read_for_ever() {
    let stale = f64::from_bits(crate::series::STALE);
    let outliers = |n: i32| match n {
        3 => 1e6,
        9 => f64::NAN,
        69 => stale,
        _ => f64::from(n % 2),
    };
    let frozen: [(Vec<f64>, &str); 6] = [
        (vec![4.5; 100], "010104015a00"),
        (
            (0..70).map(|n| f64::from(1000 + 15 * n + n * n % 7)).collect(),
            "01000201d00f200309c78ffff8f11f3ffee3c77ffcf88f1ffff1e33f7efcc78fff454994",
        ),
        (
            (0..70).map(|n| f64::from(100 + n * 37 % 16) / 100.0).collect(),
            concat!(
                "01020001c801040050fa943ed8721cb650fa943ed8721cb650fa943ed8721cb650fa943ed8721cb6",
                "040050fa94",
            ),
        ),
        (
            (0..40).map(|n| 4096.0 * f64::from(n * 7919 % 16)).collect(),
            "010001802000800103001010102010",
        ),
        (
            (0..70).map(outliers).collect(),
            concat!(
                "01000001008100a2a8aaaaaaaaaaaa0103a0c21e01000a09000000000000f87f3b020000000000f0",
                "7f",
            ),
        ),
        ((0..20).map(|n| f64::from(n * n)).collect(), "01000601000204"),
    ];
    for (values, hex) in frozen {
        let mut read = Vec::new();
        decode_values(&bytes(hex), i32::try_from(values.len()).unwrap(), &mut read).unwrap();
        assert_eq!(bits(&read), bits(&values));
        let mut written = Vec::new();
        encode_values(&values, &mut written);
        assert_eq!(written, bytes(hex), "and still written so");
    }
}

#[test]
fn times_of_version_1_are_read_for_ever() {
    let start = 1_795_305_600_000;
    let frozen: [(Vec<i64>, &str); 2] = [
        ((0..100).map(|n| start + 15_000 * n).collect(), "0105987580d0eb88c06802"),
        (
            (0..30).map(|n| start + 15_000 * n + n * n % 5).collect(),
            "01020180d0eb88c068b2ea01446c49b6245b922dc996640b",
        ),
    ];
    for (times, hex) in frozen {
        let mut read = Vec::new();
        decode_times(&bytes(hex), i32::try_from(times.len()).unwrap(), &mut read).unwrap();
        assert_eq!(read, times);
        let mut written = Vec::new();
        encode_times(&times, &mut written);
        assert_eq!(written, bytes(hex), "and still written so");
    }
    let later = decode_times(&[2], 0, &mut Vec::new());
    assert_eq!(later, Err(ChunkError::Version(2)));
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
    fn some_places_are_read_as_all_are(values in proptest::collection::vec(value(), 0..300), steps in proptest::collection::vec(0i64..1 << 20, 0..300), a: usize, b: usize) {
        let counter: Vec<f64> = steps.iter().scan(0, |sum, s| { *sum += s; Some(*sum as f64 / 100.0) }).collect();
        for values in [values, counter, vec![0.25; 130], (0..200).map(f64::from).collect()] {
            let mut bytes = Vec::new();
            encode_values(&values, &mut bytes);
            let (a, b) = (a % (values.len() + 1), b % (values.len() + 3));
            let mut back = vec![1.5];
            decode_values_in(&bytes, i32::try_from(values.len()).unwrap(), a..b, &mut back).unwrap();
            let end = b.min(values.len());
            prop_assert_eq!(bits(&back[1..]), bits(&values[a.min(end)..end]));
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
