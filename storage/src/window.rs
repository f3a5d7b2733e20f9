//! The windows of time that files are cut to.

/// Length of a file's window, microseconds: two hours.
pub(crate) const WINDOW: i64 = 2 * 3_600_000_000;
const DAY: i64 = 24 * 3_600_000_000;
const MINUTE: i64 = 60_000_000;

/// Number of the window that a time (microseconds since the Unix epoch) falls into.
pub(crate) fn window_of(time: i64) -> i64 {
    time.div_euclid(WINDOW)
}

/// UTC date of a window, `YYYY-MM-DD`; `None` beyond the years -9999 to 9999.
pub(crate) fn date_of(window: i64) -> Option<String> {
    let start = window.checked_mul(WINDOW)?;
    let time = jiff::Timestamp::from_microsecond(start).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
}

/// Start of a window within its day, `HHMM`.
pub(crate) fn start_of(window: i64) -> String {
    let minute = window.saturating_mul(WINDOW).rem_euclid(DAY) / MINUTE;
    format!("{:02}{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_do_not_cross_midnight() {
        let midnight = 1_795_305_600_000_000; // 2026-11-22T00:00:00Z
        assert_eq!(date_of(window_of(midnight)).unwrap(), "2026-11-22");
        assert_eq!(start_of(window_of(midnight)), "0000");
        assert_eq!(date_of(window_of(midnight - 1)).unwrap(), "2026-11-21");
        assert_eq!(start_of(window_of(midnight - 1)), "2200");
        assert_eq!(start_of(window_of(midnight + WINDOW)), "0200");
        assert_eq!(date_of(window_of(-1)).unwrap(), "1969-12-31");
        assert_eq!(date_of(i64::MAX), None);
    }
}
