//! The day of the shop, in fast motion.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The hour at which the demo begins.
pub(super) const FIRST_HOUR: f64 = 7.0;

/// How busy visitors keep the shop at each full hour, of the busiest: quiet nights, a peak at noon and one in the evening.
const VISITORS: [f64; 24] = [
    0.25, 0.18, 0.14, 0.12, 0.12, 0.16, 0.25, 0.40, 0.55, 0.68, 0.80, 0.92, 1.00, 0.94, 0.84, 0.78,
    0.78, 0.84, 0.93, 0.98, 0.92, 0.75, 0.55, 0.38,
];
/// The same of jobs that run at night.
const JOBS: [f64; 24] = [
    0.80, 1.00, 1.00, 1.00, 0.90, 0.50, 0.15, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05,
    0.05, 0.05, 0.05, 0.05, 0.05, 0.10, 0.25, 0.50,
];

/// Who works when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Rhythm {
    Visitors,
    Jobs,
}

impl Rhythm {
    /// Share of the busiest, 0 to 1; straight from one full hour to the next.
    pub(super) fn level(self, hour: f64) -> f64 {
        let table = match self {
            Self::Visitors => &VISITORS,
            Self::Jobs => &JOBS,
        };
        let hour = hour.rem_euclid(24.0);
        let at = |full: f64| {
            // Within 0 and 23, so nothing is cut off.
            let index = full.rem_euclid(24.0) as usize;
            table.get(index).copied().unwrap_or_default()
        };
        let (full, part) = (hour.floor(), hour.fract());
        at(full) * (1.0 - part) + at(full + 1.0) * part
    }
}

/// A clock on which a day passes quickly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Day {
    /// When it was [`FIRST_HOUR`], in microseconds since the Unix epoch.
    pub(super) began_us: i64,
    /// Seconds of a day.
    pub(super) seconds: f64,
}

impl Day {
    /// The hour of the day, 0 to 24, at a time in microseconds since the Unix epoch.
    pub(super) fn hour(&self, now_us: i64) -> f64 {
        (FIRST_HOUR + self.since_began(now_us) / self.seconds * 24.0).rem_euclid(24.0)
    }

    /// Seconds from the beginning to the first time that it is this hour.
    pub(super) fn seconds_until(&self, hour: f64) -> f64 {
        (hour - FIRST_HOUR).rem_euclid(24.0) / 24.0 * self.seconds
    }

    /// Seconds since it began.
    pub(super) fn since_began(&self, now_us: i64) -> f64 {
        now_us.saturating_sub(self.began_us) as f64 / 1e6
    }
}

/// Microseconds since the Unix epoch.
pub(super) fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_goes_round() {
        let day = Day { began_us: 1_000_000_000, seconds: 240.0 };
        let at = |seconds: f64| day.hour(1_000_000_000 + (seconds * 1e6) as i64);
        assert_eq!((at(0.0), at(20.0), at(160.0), at(240.0)), (7.0, 9.0, 23.0, 7.0));
        assert_eq!((day.seconds_until(10.0), day.seconds_until(6.0)), (30.0, 230.0));
    }

    #[test]
    fn nights_are_quiet_and_levels_change_little_by_little() {
        let level = |hour| Rhythm::Visitors.level(hour);
        assert_eq!((level(12.0), level(12.5), level(24.0)), (1.0, 0.97, level(0.0)));
        assert!(level(3.0) < 0.2 && Rhythm::Jobs.level(3.0) > 0.9);
        let steps = (0..2400).map(|n| f64::from(n) / 100.0);
        let mut pairs = steps.clone().zip(steps.skip(1));
        assert!(pairs.all(|(a, b)| (level(a) - level(b)).abs() < 0.01));
    }
}
