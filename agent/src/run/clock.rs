//! Intervals on a clock that may be set.
//!
//! The length of an interval comes from the monotonic clock, its place in time from one reading of
//! the wall clock at its end. While the two agree, intervals join without gap or overlap: small
//! differences (NTP slews a clock by up to 500 ppm) go into the length. When the wall clock was
//! set, the new time is believed: the interval keeps its measured length, so that history has a gap
//! (set forward) or an overlap (set back) where the clock had one, and the step is logged. Deltas
//! are exact in either case.

use std::time::Duration;

use crate::rows::Interval;

/// Differences up to this are the clock being slewed or the process being scheduled late.
const SLEW_US: i64 = 50_000;

/// The interval that ends now, and by how much the wall clock was stepped in it, microseconds.
pub(super) fn interval(
    previous_end_us: Option<i64>,
    now_us: i64,
    elapsed: Duration,
) -> (Interval, Option<i64>) {
    let elapsed_us = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX).max(1);
    let measured = Interval { start_us: now_us.saturating_sub(elapsed_us), end_us: now_us };
    let Some(previous) = previous_end_us else { return (measured, None) };
    let step = measured.start_us.saturating_sub(previous);
    if step.abs() > SLEW_US {
        return (measured, Some(step));
    }
    let start_us = previous.min(now_us.saturating_sub(1));
    (Interval { start_us, end_us: now_us }, None)
}

/// Time until the next multiple of `period` since the epoch. A moment just before a multiple counts
/// as being there, so that a timer that fires early does not make an interval of a millisecond.
pub(super) fn until_next(now_us: i64, period: Duration) -> Duration {
    let period_us = i64::try_from(period.as_micros()).unwrap_or(i64::MAX).max(1);
    let mut wait = period_us - now_us.rem_euclid(period_us);
    if wait < period_us / 20 {
        wait = wait.saturating_add(period_us);
    }
    Duration::from_micros(wait.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000_000;
    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn intervals_join_while_the_clock_is_slewed() {
        let (interval, step) = interval(Some(100 * S), 110 * S + 3_000, TEN);
        assert_eq!(interval, Interval { start_us: 100 * S, end_us: 110 * S + 3_000 });
        assert_eq!(step, None);
    }

    #[test]
    fn a_clock_set_forward_leaves_a_gap() {
        let (interval, step) = interval(Some(100 * S), 3710 * S, TEN);
        assert_eq!(interval, Interval { start_us: 3700 * S, end_us: 3710 * S });
        assert_eq!(step, Some(3600 * S));
    }

    #[test]
    fn a_clock_set_back_is_told_and_never_turns_an_interval_around() {
        let (interval, step) = interval(Some(100 * S), 50 * S, TEN);
        assert_eq!(interval, Interval { start_us: 40 * S, end_us: 50 * S });
        assert_eq!(step, Some(-60 * S));
    }

    #[test]
    fn ticks_fall_on_multiples() {
        assert_eq!(until_next(103 * S, TEN), Duration::from_secs(7));
        assert_eq!(until_next(100 * S, TEN), TEN);
        assert_eq!(until_next(100 * S - 1, TEN), TEN + Duration::from_micros(1));
    }

    proptest! {
        #[test]
        fn start_is_before_end(
            previous in any::<Option<i64>>(), now in -1_000_000_000_000i64..4_000_000_000_000_000,
            elapsed in 0u64..1 << 40
        ) {
            let (interval, _) = interval(previous, now, Duration::from_micros(elapsed));
            prop_assert!(interval.start_us < interval.end_us);
        }
    }
}
