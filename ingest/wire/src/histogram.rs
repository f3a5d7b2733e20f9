//! Log-scale histograms: two buckets for each power of two of microseconds.
//!
//! ```text
//! index i   holds the durations in (2^(i/2), 2^((i+1)/2)] microseconds
//! index -1  holds 0 and 1 microsecond
//! row       <name>_offset    index of the first entry of <name>_buckets
//!           <name>_buckets   counts of consecutive indices, no leading or trailing zeros
//!           <name>_count, <name>_sum_us, <name>_min_us, <name>_max_us
//! ```
//!
//! This is OpenTelemetry's exponential histogram at scale 1 (base 2^(1/2), upper-inclusive bounds,
//! `offset` + `bucket_counts`; OpenTelemetry metrics data model, section "ExponentialHistogram").
//! The bounds never depend on the data, so any two rows add up bucket by bucket.

/// Index of the first bucket: 0 and 1 microsecond.
pub const FIRST_INDEX: i32 = -1;

/// Number of distinct buckets. The last one also holds everything longer: its lower bound is
/// 2^31 microseconds (36 minutes), beyond any round trip or handshake that TCP survives.
pub const BUCKETS: usize = 64;

/// Index of the last bucket.
pub const LAST_INDEX: i32 = FIRST_INDEX + BUCKETS as i32 - 1;

/// Bucket index of a duration in microseconds. The BPF program computes the same in
/// `weir_agent_ebpf::histogram_slot`, which is this index minus [`FIRST_INDEX`].
#[must_use]
pub fn index_of(microseconds: u64) -> i32 {
    if microseconds <= 1 {
        return FIRST_INDEX;
    }
    let octave = (microseconds - 1).ilog2() as i32;
    if octave >= 31 {
        return LAST_INDEX;
    }
    let upper_half = microseconds * microseconds > 1u64 << (2 * octave + 1);
    2 * octave + i32::from(upper_half)
}

/// Inclusive upper bound of a bucket, in microseconds.
#[must_use]
pub fn upper_bound(index: i32) -> f64 {
    2f64.powf(f64::from(index + 1) / 2.0)
}

/// Cuts a dense array of counts (slot 0 is [`FIRST_INDEX`]) to the form that a row keeps: the index
/// of the first non-zero slot and the counts up to the last one. No counts at all give `(0, [])`.
#[must_use]
pub fn trim(slots: &[i64]) -> (i32, &[i64]) {
    let Some(first) = slots.iter().position(|&n| n != 0) else {
        return (0, &[]);
    };
    let last = slots.iter().rposition(|&n| n != 0).unwrap_or(first);
    (FIRST_INDEX + first as i32, slots.get(first..=last).unwrap_or(&[]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_are_upper_inclusive() {
        for (us, index) in
            [(0, -1), (1, -1), (2, 1), (3, 3), (4, 3), (5, 4), (6, 5), (8, 5), (9, 6), (11, 6)]
        {
            assert_eq!(index_of(us), index, "{us} us");
        }
        assert_eq!(index_of(u64::MAX), LAST_INDEX);
    }

    proptest! {
        #[test]
        fn every_duration_lies_in_its_bucket(us in 2u64..1 << 31) {
            let index = index_of(us);
            prop_assert!(us as f64 <= upper_bound(index) * (1.0 + 1e-12));
            prop_assert!(us as f64 > upper_bound(index - 1) * (1.0 - 1e-12));
        }

        #[test]
        fn trim_keeps_every_count(slots in prop::collection::vec(0i64..3, BUCKETS)) {
            let (offset, kept) = trim(&slots);
            let mut back = vec![0; BUCKETS];
            for (i, n) in kept.iter().enumerate() {
                back[(offset - FIRST_INDEX) as usize + i] = *n;
            }
            prop_assert_eq!(back, slots);
        }
    }
}
