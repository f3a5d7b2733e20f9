//! The shortest decimal that reads back as the same number; of two that are equally near, the even one, as
//! in Go.

/// Appends a finite number without an exponent.
pub(crate) fn write_plain(value: f64, out: &mut Vec<u8>) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let Some((mantissa, exponent)) = text.split_once('e') else {
        let whole = text.strip_suffix(".0").unwrap_or(text);
        return out.extend_from_slice(whole.as_bytes());
    };
    let (sign, digits) = digits(mantissa);
    out.extend_from_slice(sign.as_bytes());
    let zeros = |count: usize, out: &mut Vec<u8>| out.resize(out.len() + count, b'0');
    match exponent.strip_prefix('-').map(str::parse::<usize>) {
        Some(places) => {
            out.extend_from_slice(b"0.");
            zeros(places.unwrap_or(1).saturating_sub(1), out);
            out.extend(digits);
        }
        None => {
            // There are fewer digits than places before the point: such numbers are whole.
            let start = out.len();
            out.extend(digits);
            let missing = (start + 1 + exponent.parse().unwrap_or(0)).saturating_sub(out.len());
            zeros(missing, out);
        }
    }
}

/// Appends a finite number with a signed exponent of at least two digits.
pub(crate) fn write_scientific(value: f64, out: &mut Vec<u8>) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let (text, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = digits(text);
    out.extend_from_slice(sign.as_bytes());
    let start = out.len();
    out.extend(digits);
    // Zeros before the first digit and after the last belong to the exponent.
    let point = text.trim_start_matches('-').find('.').unwrap_or(out.len() - start);
    let zeros = out.iter().skip(start).take_while(|digit| **digit == b'0').count();
    let leading = zeros.min((out.len() - start).saturating_sub(1));
    out.drain(start..start + leading);
    while out.len() > start + 1 && out.last() == Some(&b'0') {
        out.pop();
    }
    if out.len() > start + 1 {
        out.insert(start + 1, b'.');
    }
    let number = |n: usize| i32::try_from(n).unwrap_or(0);
    let exponent = exponent.parse().unwrap_or(0) + number(point) - number(leading) - 1;
    let sign = if exponent < 0 { '-' } else { '+' };
    out.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
}

/// Sign and digits of a number without an exponent.
fn digits(text: &str) -> (&str, impl Iterator<Item = u8>) {
    let (sign, text) = text.split_at(usize::from(text.starts_with('-')));
    (sign, text.strip_suffix(".0").unwrap_or(text).bytes().filter(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn text(write: fn(f64, &mut Vec<u8>), value: f64) -> String {
        let mut out = b"x".to_vec();
        write(value, &mut out);
        String::from_utf8(out).unwrap().split_off(1)
    }

    #[test]
    fn numbers_are_as_short_as_can_be_and_read_back() {
        let mut random = SmallRng::seed_from_u64(7);
        let mut values = vec![0.0, -0.0, 1e15, 1e16, 1e17, 9e20, 1e21, 1e-5, 9.9e-6, 1e-6, 1e-7];
        values.extend([f64::MAX, f64::MIN_POSITIVE, 5e-324, 100.0, -123.0, 0.5, 1e22, 1e23]);
        for i in 0..30_000 {
            values.push(f64::from_bits(random.random()));
            values.push(random.random_range(-1e9..1e9) / 10_f64.powi(i % 30 - 8));
            values.push(f64::from(random.random::<i32>()) / 10_f64.powi(i % 8));
        }
        for value in values.into_iter().filter(|value| value.is_finite()) {
            for (written, other) in [
                (text(write_plain, value), format!("{value}")),
                (text(write_scientific, value), format!("{value:e}")),
            ] {
                let back: f64 = written.parse().unwrap();
                assert_eq!(back.to_bits(), value.to_bits(), "{written}");
                let count = |text: &str| {
                    let mantissa = text.split('e').next().unwrap_or_default();
                    mantissa.bytes().filter(u8::is_ascii_digit).count()
                };
                assert_eq!(count(&written), count(&other), "{written} {other}");
            }
        }
    }

    #[test]
    fn of_two_that_are_equally_near_the_even_one_is_written() {
        assert_eq!(text(write_plain, 133_879_546_950_562.0 + 0.625), "133879546950562.62");
        assert_eq!(text(write_plain, 133_879_546_950_562.0 + 0.875), "133879546950562.88");
    }

    #[test]
    fn exponents_are_laid_out_as_in_go() {
        for (value, plain, scientific) in [
            (1e6, "1000000", "1e+06"),
            (-0.5, "-0.5", "-5e-01"),
            (123.0, "123", "1.23e+02"),
            (1e-7, "0.0000001", "1e-07"),
            (-2.5e-9, "-0.0000000025", "-2.5e-09"),
            (1.5e17, "150000000000000000", "1.5e+17"),
            (0.001_05, "0.00105", "1.05e-03"),
            (100.25, "100.25", "1.0025e+02"),
            (0.0, "0", "0e+00"),
        ] {
            assert_eq!(text(write_plain, value), plain);
            assert_eq!(text(write_scientific, value), scientific);
        }
    }
}
