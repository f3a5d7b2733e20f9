//! Intervals on a clock that may be set.
//!
//! The length of an interval comes from the monotonic clock, its place in time from one reading of
//! the wall clock at its end. While the two agree, intervals join without gap or overlap: small
//! differences (NTP slews a clock by up to 500 ppm) go into the length. When the wall clock was
//! set, the new time is believed: the interval keeps its measured length, so that history has a gap
//! (set forward) or an overlap (set back) where the clock had one, and the step is logged. Deltas
//! are exact in either case.
//!
//! Collections are due at multiples of the period since the epoch. One that is late by no more than
//! clocks slew ends at the multiple itself. So rows of all nodes end together, a window of a query
//! that begins and ends at such multiples has whole intervals, and times take a fraction of the
//! room in files.

use std::time::Duration;

use crate::rows::Interval;

/// Differences up to this are the clock being slewed or the process being scheduled late.
const SLEW_US: i64 = 50_000;

/// Where the interval before ended, microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// What its rows say.
    pub(super) reported_us: i64,
    /// What the wall clock said.
    pub(super) read_us: i64,
}

/// The interval that ends now, where it ended, and by how much the wall clock was stepped in it,
/// microseconds.
pub(super) fn interval(
    previous: Option<Ended>,
    now_us: i64,
    elapsed: Duration,
    period: Duration,
) -> (Interval, Ended, Option<i64>) {
    let elapsed_us = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX).max(1);
    let measured = Interval { start_us: now_us.saturating_sub(elapsed_us), end_us: now_us };
    let as_read = Ended { reported_us: now_us, read_us: now_us };
    let Some(previous) = previous else { return (measured, as_read, None) };
    let step = measured.start_us.saturating_sub(previous.read_us);
    if step.abs() > SLEW_US {
        return (measured, as_read, Some(step));
    }
    let due_us = multiple_near(now_us, period);
    let end_us = due_us.filter(|due| *due > previous.reported_us).unwrap_or(now_us);
    let start_us = previous.reported_us.min(end_us.saturating_sub(1));
    (Interval { start_us, end_us }, Ended { reported_us: end_us, read_us: now_us }, None)
}

/// The multiple of `period` that a collection at this moment was due at.
fn multiple_near(now_us: i64, period: Duration) -> Option<i64> {
    let period_us = i64::try_from(period.as_micros()).unwrap_or(i64::MAX).max(1);
    let near_us = SLEW_US.min(period_us / 20);
    let late_us = now_us.rem_euclid(period_us);
    if late_us <= near_us {
        return now_us.checked_sub(late_us);
    }
    let early_us = period_us - late_us;
    (early_us <= near_us).then(|| now_us.checked_add(early_us)).flatten()
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

/// `CLOCK_MONOTONIC`, nanoseconds, as BPF programs read it.
pub(super) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000_000;
    const TEN: Duration = Duration::from_secs(10);

    fn at(us: i64) -> Option<Ended> {
        Some(Ended { reported_us: us, read_us: us })
    }

    #[test]
    fn intervals_join_while_the_clock_is_slewed() {
        let (interval, ended, step) = interval(at(100 * S), 110 * S + 3_000, TEN, TEN);
        assert_eq!(interval, Interval { start_us: 100 * S, end_us: 110 * S });
        assert_eq!(ended, Ended { reported_us: 110 * S, read_us: 110 * S + 3_000 });
        assert_eq!(step, None);
    }

    #[test]
    fn a_late_collection_ends_where_it_was_due_and_a_very_late_one_when_it_was() {
        let mut previous = at(100 * S);
        let mut read_us = 100 * S;
        let mut ends = Vec::new();
        for (due_s, late_us) in [(110, 49_000), (120, 50_000), (130, 51_000), (140, -20), (150, 0)]
        {
            let now_us = due_s * S + late_us;
            let elapsed = Duration::from_micros(u64::try_from(now_us - read_us).unwrap());
            let (interval, ended, step) = interval(previous, now_us, elapsed, TEN);
            assert_eq!(step, None, "no clock was set");
            assert_eq!(Some(interval.start_us), previous.map(|p| p.reported_us));
            ends.push(interval.end_us);
            (previous, read_us) = (Some(ended), now_us);
        }
        assert_eq!(ends, [110 * S, 120 * S, 130 * S + 51_000, 140 * S, 150 * S]);
    }

    #[test]
    fn the_last_interval_of_a_stopping_agent_ends_when_it_does() {
        let previous = Some(Ended { reported_us: 110 * S, read_us: 110 * S + 3_000 });
        let (interval, _, step) =
            interval(previous, 110 * S + 9_000, Duration::from_millis(6), TEN);
        assert_eq!(interval, Interval { start_us: 110 * S, end_us: 110 * S + 9_000 });
        assert_eq!(step, None);
    }

    #[test]
    fn a_clock_set_forward_leaves_a_gap() {
        let (interval, _, step) = interval(at(100 * S), 3710 * S, TEN, TEN);
        assert_eq!(interval, Interval { start_us: 3700 * S, end_us: 3710 * S });
        assert_eq!(step, Some(3600 * S));
    }

    #[test]
    fn a_clock_set_back_is_told_and_never_turns_an_interval_around() {
        let (interval, _, step) = interval(at(100 * S), 50 * S, TEN, TEN);
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
            elapsed in 0u64..1 << 40, period_ms in 1u64..3_600_000
        ) {
            let previous = previous.map(|us| Ended { reported_us: us, read_us: us });
            let elapsed = Duration::from_micros(elapsed);
            let period = Duration::from_millis(period_ms);
            let (interval, _, _) = interval(previous, now, elapsed, period);
            prop_assert!(interval.start_us < interval.end_us);
        }
    }
}
