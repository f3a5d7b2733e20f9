//! How far the clock is believed.
//!
//! A clock that jumps a year ahead must not remove a year of history. Retention therefore goes by the
//! data as well: its present is the clock's, but at most [`SLACK`] after the newest row. Rows that
//! were dated by the wrong clock themselves lie alone, with a gap before them: the newest stretch of
//! rows counts only once it spans [`SLACK`]. Until then the stretch before it does.
//!
//! What it costs: a store that receives nothing expires nothing, and after a silence of over a day
//! expiry begins a day late.

use std::time::Duration;

/// How far apart rows lie that belong to one stretch, and how long a stretch is that proves itself.
const SLACK_MICROS: i64 = 24 * 3_600_000_000;
/// The same, as it is told.
pub(crate) const SLACK: Duration = Duration::from_micros(SLACK_MICROS.unsigned_abs());

/// The present that retention goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Present {
    /// Microseconds since the Unix epoch.
    pub(crate) at: i64,
    /// There is a newest stretch of rows that has not proved itself.
    pub(crate) doubtful: bool,
}

/// The present that retention goes by, from the clock and the times that files and memory span
/// (inclusive). All in microseconds.
pub(crate) fn present(clock: i64, spans: impl IntoIterator<Item = (i64, i64)>) -> Present {
    let mut spans: Vec<_> = spans.into_iter().filter(|(min, max)| min <= max).collect();
    spans.sort_unstable();
    let mut stretches: Vec<(i64, i64)> = Vec::new();
    for (min, max) in spans {
        match stretches.last_mut() {
            Some((_, end)) if min <= end.saturating_add(SLACK_MICROS) => *end = max.max(*end),
            _ => stretches.push((min, max)),
        }
    }
    let (newest, doubtful) = match stretches.as_slice() {
        [] => return Present { at: clock, doubtful: false },
        [.., (_, before), (start, end)] if end.saturating_sub(*start) < SLACK_MICROS => {
            (*before, true)
        }
        [.., (_, end)] => (*end, false),
    };
    Present { at: clock.min(newest.saturating_add(SLACK_MICROS)), doubtful }
}

#[cfg(test)]
mod tests {
    use super::{Present, SLACK_MICROS};

    fn present(clock: i64, spans: impl IntoIterator<Item = (i64, i64)>) -> i64 {
        super::present(clock, spans).at
    }

    const DAY: i64 = SLACK_MICROS;
    const YEAR: i64 = 365 * DAY;

    #[test]
    fn a_clock_that_jumps_ahead_is_not_believed() {
        let history = [(0, 10 * DAY), (10 * DAY, 30 * DAY)];
        assert_eq!(present(30 * DAY + 5, history), 30 * DAY + 5, "the ordinary case");
        assert_eq!(present(30 * DAY + YEAR, history), 31 * DAY);
        // This host's own rows are dated by the same clock.
        let jumped = 30 * DAY + YEAR;
        let with = |end| history.into_iter().chain([(jumped, end)]);
        assert_eq!(present(jumped + 9, with(jumped + 9)), 31 * DAY);
        assert_eq!(present(jumped + DAY, with(jumped + DAY)), jumped + DAY, "a day proves it");
        let Present { doubtful, .. } = super::present(jumped + 9, with(jumped + 9));
        assert!(doubtful, "that is worth a warning");
        // The clock is put right again: the stray rows change nothing.
        assert_eq!(present(30 * DAY + 7, with(jumped + 9)), 30 * DAY + 7);
    }

    #[test]
    fn a_clock_that_jumps_back_expires_nothing_early_and_no_data_is_no_reason() {
        assert_eq!(present(-YEAR, [(0, DAY)]), -YEAR);
        assert_eq!(present(YEAR, []), YEAR);
        assert_eq!(present(YEAR, [(5, 9)]), DAY + 9, "a single short stretch is all there is");
        assert_eq!(present(YEAR, [(i64::MAX, i64::MIN)]), YEAR, "spans of nothing are no spans");
    }
}
