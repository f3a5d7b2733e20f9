//! Calendar functions of seconds since the Unix epoch, in UTC.

use crate::promql::number::integer;

const DAY: i64 = 86_400;

/// Year, month (1 to 12) and day (1 to 31) of a day counted from 1970-01-01, in the proleptic
/// Gregorian calendar (algorithm `civil_from_days` by Howard Hinnant).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn date(seconds: i64) -> (i64, i64, i64) {
    civil(seconds.div_euclid(DAY))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_length(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[expect(clippy::cast_precision_loss, reason = "calendar fields are small")]
fn to_value(field: i64) -> f64 {
    field as f64
}

/// Applies a calendar function to a sample value. What is no time becomes one all the same, as it does in
/// a Prometheus on amd64: the lowest 64-bit integer, which Go's calendar takes for one after the highest.
pub(super) fn of_value(f: fn(i64) -> f64, value: f64) -> f64 {
    let in_range = value.abs() < 9_223_372_036_854_775_808.0;
    f(if in_range { integer(value) } else { i64::MAX })
}

pub(super) fn minute(seconds: i64) -> f64 {
    to_value(seconds.rem_euclid(3600) / 60)
}

pub(super) fn hour(seconds: i64) -> f64 {
    to_value(seconds.rem_euclid(DAY) / 3600)
}

/// Sunday is 0.
pub(super) fn day_of_week(seconds: i64) -> f64 {
    to_value((seconds.div_euclid(DAY) + 4).rem_euclid(7))
}

pub(super) fn day_of_month(seconds: i64) -> f64 {
    to_value(date(seconds).2)
}

/// January 1st is 1.
pub(super) fn day_of_year(seconds: i64) -> f64 {
    let (year, month, day) = date(seconds);
    to_value((1..month).map(|month| month_length(year, month)).sum::<i64>() + day)
}

pub(super) fn days_in_month(seconds: i64) -> f64 {
    let (year, month, _) = date(seconds);
    to_value(month_length(year, month))
}

pub(super) fn month(seconds: i64) -> f64 {
    to_value(date(seconds).1)
}

pub(super) fn year(seconds: i64) -> f64 {
    to_value(date(seconds).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_fields_of_known_times() {
        // seconds, year, month, day, day of year, day of week, days in month, hour, minute
        for (time, fields) in [
            (0, [1970, 1, 1, 1, 4, 31, 0, 0]),
            (951_868_740, [2000, 2, 29, 60, 2, 29, 23, 59]),
            (1_767_225_599, [2025, 12, 31, 365, 3, 31, 23, 59]),
            (-1, [1969, 12, 31, 365, 3, 31, 23, 59]),
            (4_107_542_400, [2100, 3, 1, 60, 1, 31, 0, 0]),
        ] {
            let got = [
                year(time),
                month(time),
                day_of_month(time),
                day_of_year(time),
                day_of_week(time),
                days_in_month(time),
                hour(time),
                minute(time),
            ];
            assert_eq!(got, fields.map(f64::from), "{time}");
        }
    }
}
