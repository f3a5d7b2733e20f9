//! The windows of time that files are cut to.

use std::time::Duration;

const DAY: i64 = 24 * 3_600_000_000;
const MINUTE: i64 = 60_000_000;

const HOUR: i64 = 60 * MINUTE;

/// Length of the windows of one table, of its files or of its rows. Windows begin at multiples of it since the Unix epoch, so
/// that a window of a day or less does not cross midnight if it divides the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(i64);

impl Window {
    /// Five minutes.
    pub const FIVE_MINUTES: Self = Self(5 * MINUTE);
    /// One hour.
    pub const HOUR: Self = Self(HOUR);
    /// Two hours: rows as agents send them.
    pub const TWO_HOURS: Self = Self(DAY / 12);
    /// One day.
    pub const DAY: Self = Self(DAY);
    /// Thirty days.
    pub const THIRTY_DAYS: Self = Self(30 * DAY);

    /// Its length.
    #[must_use]
    pub fn length(self) -> Duration {
        Duration::from_micros(self.0.unsigned_abs())
    }

    /// Length, microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Number of the window that a time (microseconds since the Unix epoch) falls into.
    pub(crate) fn of(self, time: i64) -> i64 {
        time.div_euclid(self.0)
    }

    /// End of the left-open window `(end - length, end]` that a time falls into: the first multiple
    /// of the length that is not before it.
    #[must_use]
    pub fn end_of(self, time: i64) -> i64 {
        time.saturating_add((self.0 - time.rem_euclid(self.0)) % self.0)
    }

    /// Time at which a window ends, exclusive.
    pub(crate) fn end(self, number: i64) -> i64 {
        number.saturating_add(1).saturating_mul(self.0)
    }

    /// UTC date on which a window begins, `YYYY-MM-DD`; `None` beyond the years -9999 to 9999.
    pub(crate) fn date(self, number: i64) -> Option<String> {
        let start = number.checked_mul(self.0)?;
        let time = jiff::Timestamp::from_microsecond(start).ok()?;
        Some(time.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
    }

    /// Start of a window within its first day, `HHMM`.
    pub(crate) fn start(self, number: i64) -> String {
        let minute = number.saturating_mul(self.0).rem_euclid(DAY) / MINUTE;
        format!("{:02}{:02}", minute / 60, minute % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_do_not_cross_midnight() {
        let window = Window::TWO_HOURS;
        let midnight = 1_795_305_600_000_000; // 2026-11-22T00:00:00Z
        assert_eq!(window.date(window.of(midnight)).unwrap(), "2026-11-22");
        assert_eq!(window.start(window.of(midnight)), "0000");
        assert_eq!(window.date(window.of(midnight - 1)).unwrap(), "2026-11-21");
        assert_eq!(window.start(window.of(midnight - 1)), "2200");
        assert_eq!(window.start(window.of(midnight + window.micros())), "0200");
        assert_eq!(window.date(window.of(-1)).unwrap(), "1969-12-31");
        assert_eq!(window.date(i64::MAX), None);
        let day = Window::DAY;
        assert_eq!(day.date(day.of(midnight + DAY - 1)).unwrap(), "2026-11-22");
        assert_eq!(day.start(day.of(midnight + DAY - 1)), "0000");
        let five = Window::FIVE_MINUTES;
        assert_eq!(five.end_of(midnight), midnight);
        assert_eq!(five.end_of(midnight + 1), midnight + five.micros());
        assert_eq!(five.end_of(midnight - 1), midnight);
        assert_eq!(five.end_of(-1), 0);
        assert_eq!(Window::THIRTY_DAYS.of(0), Window::THIRTY_DAYS.of(30 * DAY - 1));
    }
}
