//! Where Go's mathematics and text differ from Rust's, and answers show it.

/// The larger; an infinity wins even over NaN.
pub(crate) fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// The smaller; a negative infinity wins even over NaN.
pub(crate) fn min(a: f64, b: f64) -> f64 {
    -max(-a, -b)
}

/// The binary logarithm, exact for powers of two. Near 1 it is as imprecise as it is there: the logarithm
/// of the mantissa and the exponent cancel each other.
pub(crate) fn log2(value: f64) -> f64 {
    let (mantissa, exponent) = frexp(value);
    if mantissa.abs().to_bits() == 0.5_f64.to_bits() && mantissa > 0.0 {
        return f64::from(exponent - 1);
    }
    mantissa.ln() * (1.0 / std::f64::consts::LN_2) + f64::from(exponent)
}

/// The decimal logarithm.
pub(crate) fn log10(value: f64) -> f64 {
    log2(value) * (std::f64::consts::LN_2 / std::f64::consts::LN_10)
}

/// `base` to the power of `exponent`, by repeated squaring: the last digits of large powers decide whether
/// they are whole numbers, and that decides what powers of negative numbers they make.
pub(crate) fn pow(base: f64, exponent: f64) -> f64 {
    // Special cases are those of C.
    let is_special = base == 0.0 || base == 1.0 || !base.is_finite() || !exponent.is_finite();
    if is_special || exponent == 0.0 || exponent == 1.0 {
        return base.powf(exponent);
    }
    if exponent.abs() == 0.5 {
        return if exponent > 0.0 { base.sqrt() } else { 1.0 / base.sqrt() };
    }
    let (mut whole, mut fraction) = (exponent.abs().trunc(), exponent.abs().fract());
    if fraction != 0.0 && base < 0.0 {
        return f64::NAN;
    }
    if whole >= 9.223_372_036_854_776e18 {
        // Even, so large that only powers of -1 stay.
        return match (base == -1.0, (base.abs() < 1.0) == (exponent > 0.0)) {
            (true, _) => 1.0,
            (false, true) => 0.0,
            (false, false) => f64::INFINITY,
        };
    }
    let (mut result, mut result_exponent) = (1.0, 0_i64);
    if fraction != 0.0 {
        if fraction > 0.5 {
            fraction -= 1.0;
            whole += 1.0;
        }
        result = (fraction * base.ln()).exp();
    }
    let (mut square, square_exponent) = frexp(base);
    let mut square_exponent = i64::from(square_exponent);
    let mut rest = super::integer(whole);
    while rest != 0 {
        if !(-4096..=4096).contains(&square_exponent) {
            result_exponent += square_exponent;
            break;
        }
        if rest & 1 == 1 {
            result *= square;
            result_exponent += square_exponent;
        }
        square *= square;
        square_exponent <<= 1;
        if square < 0.5 {
            square += square;
            square_exponent -= 1;
        }
        rest >>= 1;
    }
    if exponent < 0.0 {
        result = 1.0 / result;
        result_exponent = -result_exponent;
    }
    scaled(result, result_exponent)
}

/// `value * 2^exponent`, rounded once.
fn scaled(value: f64, exponent: i64) -> f64 {
    let mut value = value;
    let mut rest = exponent.clamp(-4400, 4400);
    // Down to numbers near the smallest in one last step, so that only that one rounds.
    while rest > 1000 {
        value *= 2_f64.powi(1000);
        rest -= 1000;
    }
    while rest < -1000 {
        if rest < -2100 {
            return value * 0.0;
        }
        value *= 2_f64.powi(-500);
        rest += 500;
    }
    value * 2_f64.powi(i32::try_from(rest).unwrap_or(0))
}

/// The inverse of `sinh`; finite for all finite numbers.
pub(crate) fn asinh(value: f64) -> f64 {
    let size = value.abs();
    if size > LARGE && size.is_finite() {
        return (size.ln() + std::f64::consts::LN_2).copysign(value);
    }
    value.asinh()
}

/// The inverse of `cosh`; finite for all finite numbers from 1 on.
pub(crate) fn acosh(value: f64) -> f64 {
    if value > LARGE && value.is_finite() {
        return value.ln() + std::f64::consts::LN_2;
    }
    value.acosh()
}

/// Beyond this, 2^28, a number and the square root of its square less or more 1 are the same.
const LARGE: f64 = 268_435_456.0;

/// A number as mantissa in [0.5, 1) and power of two; zero, infinities and NaN as they are.
fn frexp(value: f64) -> (f64, i32) {
    if value == 0.0 || !value.is_finite() {
        return (value, 0);
    }
    // Denormal numbers are made normal first.
    let (value, shifted) =
        if value.is_subnormal() { (value * 4_503_599_627_370_496.0, -52) } else { (value, 0) };
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0) - 1022;
    (f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52)), exponent + shifted)
}

/// `%f`: six digits after the point.
pub(crate) fn fixed(value: f64) -> String {
    if value.is_finite() { format!("{value:.6}") } else { super::format_plain(value) }
}

/// `%g` and `%v`: the shortest decimal, with an exponent below 1e-4 and from 1e6 on.
pub(crate) fn shortest(value: f64) -> String {
    let size = value.abs();
    if value.is_finite() && size != 0.0 && !(1e-4..1e6).contains(&size) {
        return super::with_exponent(value);
    }
    super::format_plain(value)
}

/// `%q`: a text in quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_those_of_go() {
        assert!(max(f64::NAN, f64::INFINITY) == f64::INFINITY && max(f64::NAN, 1.0).is_nan());
        assert!(min(f64::NAN, f64::NEG_INFINITY) == f64::NEG_INFINITY && min(2.0, 1.0) == 1.0);
        assert!(log2(8.0) == 3.0 && log2(0.0) == f64::NEG_INFINITY && log2(-1.0).is_nan());
        assert!(log2(5e-324) == -1074.0 && (log10(1000.0) - 3.0).abs() < 1e-15);
        assert!(log2(f64::INFINITY) == f64::INFINITY && log2(-0.5).is_nan());
        for (base, exponent) in [(2.0, 10.0), (-3.0, 3.0), (2.5, -1.5), (0.1, 20.25), (7.0, 300.0)]
        {
            let (own, other) = (pow(base, exponent), f64::powf(base, exponent));
            assert!((own - other).abs() <= 1e-12 * other.abs(), "{base}^{exponent}: {own} {other}");
        }
        assert!(pow(-2.0, 0.3).is_nan() && pow(2.0, 5000.0) == f64::INFINITY);
        assert!(pow(2.0, -1074.0) == 5e-324 && pow(0.5, 3000.0) == 0.0 && pow(9.0, 0.5) == 3.0);
        assert!(
            (asinh(-f64::MAX) + 710.475_860_073_944).abs() < 1e-9 && asinh(1.0) == 1_f64.asinh()
        );
        assert!((acosh(f64::MAX) - 710.475_860_073_944).abs() < 1e-9 && acosh(0.5).is_nan());
        assert_eq!(fixed(1.5), "1.500000");
        assert_eq!([shortest(0.5), shortest(1e-5), shortest(1e6)], ["0.5", "1e-05", "1e+06"]);
        assert_eq!(quoted("a\"\n\u{1}é"), "\"a\\\"\\n\\x01é\"");
    }
}
