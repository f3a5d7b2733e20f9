//! Durations as Prometheus writes them.

use super::error::Error;

/// Units from the longest to the shortest, with their milliseconds. A year has 365 days.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a duration: `1h30m`, `5m`, `90s`, `250ms`, with units from long to short and each at most
/// once, or a number of seconds such as `0.5`. The result is in milliseconds.
///
/// # Errors
/// [`Error::BadData`] with Prometheus' text when `text` is neither, or too large.
pub fn parse_duration(text: &str) -> Result<i64, Error> {
    let bad = || Error::BadData(format!("cannot parse \"{text}\" to a valid duration"));
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = seconds * 1000.0;
        // The bound of Prometheus' own durations, which are nanoseconds in 63 bits.
        if !ms.is_finite() || ms.abs() > 9.223_372_036_854e12 {
            return Err(Error::BadData(format!(
                "cannot parse \"{text}\" to a valid duration. It overflows int64"
            )));
        }
        return Ok(super::number::integer(ms.round()));
    }
    let mut rest = text;
    let mut total = 0_i64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at_checked(digits).ok_or_else(bad)?;
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
        let (unit, tail) = tail.split_at_checked(letters).ok_or_else(bad)?;
        // The iterator only goes forward: a repeated or misplaced unit is not found.
        let (_, ms) = units.find(|(name, _)| *name == unit).ok_or_else(bad)?;
        let part = number.parse::<i64>().ok().and_then(|n| n.checked_mul(*ms)).ok_or_else(bad)?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = tail;
    }
    if text.is_empty() || total > 9_223_372_036_854 {
        return Err(bad());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_ordered_units_or_are_seconds() {
        for (text, ms) in [
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1y2w3d4h5m6s7ms", ((((365 + 14 + 3) * 24 + 4) * 60 + 5) * 60 + 6) * 1000 + 7),
            ("0s", 0),
            ("250ms", 250),
            ("15", 15_000),
            ("0.5", 500),
            ("1e3", 1_000_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), ms, "{text}");
        }
        for text in ["", "m", "5x", "5m1h", "5m5m", "1.5h", "-5m", "99999y", "1e30", "NaN", "5é"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
