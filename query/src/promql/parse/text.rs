//! The values of literals: strings, numbers, durations.

use crate::promql::error::Error;
use crate::promql::time::parse_duration;

/// What a quoted string stands for; `None` for a malformed escape, and for bytes that are no UTF-8
/// (`"\xff"`), which no label of a series can hold.
pub(super) fn unquote(text: &str) -> Option<String> {
    let mut chars = text.chars();
    let quote = chars.next()?;
    let inner = chars.as_str().strip_suffix(quote)?;
    if quote == '`' {
        return Some(inner.to_owned());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    let push = |c: char, bytes: &mut Vec<u8>| {
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    };
    while let Some(c) = chars.next() {
        if c != '\\' {
            push(c, &mut bytes);
            continue;
        }
        match chars.next()? {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' => bytes.push(b'\\'),
            c if c == quote => push(c, &mut bytes),
            'x' => bytes.push(u8::try_from(digits(&mut chars, 2, 16, 0)?).ok()?),
            'u' => push(char::from_u32(digits(&mut chars, 4, 16, 0)?)?, &mut bytes),
            'U' => push(char::from_u32(digits(&mut chars, 8, 16, 0)?)?, &mut bytes),
            c @ '0'..='7' => {
                let first = c.to_digit(8)?;
                bytes.push(u8::try_from(digits(&mut chars, 2, 8, first)?).ok()?);
            }
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok()
}

fn digits(chars: &mut std::str::Chars<'_>, count: usize, base: u32, first: u32) -> Option<u32> {
    (0..count).try_fold(first, |value, _| {
        value.checked_mul(base)?.checked_add(chars.next()?.to_digit(base)?)
    })
}

/// What a number literal stands for: an integer as Go reads them (`0x1f`, `017` octal, `1_000`), else a
/// floating-point number, `Inf` or `NaN`.
pub(super) fn number(text: &str) -> Option<f64> {
    if let Some(value) = integer(text) {
        return Some(value);
    }
    match text.to_ascii_lowercase().as_str() {
        "inf" => return Some(f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    // The lexer lets underscores through at places where they separate no digits.
    let bytes = text.as_bytes();
    let separates = |at: usize| {
        let digit =
            |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        digit(at.checked_sub(1)) && digit(at.checked_add(1))
    };
    if text.match_indices('_').any(|(at, _)| !separates(at)) {
        return None;
    }
    text.replace('_', "").parse::<f64>().ok().filter(|value| value.is_finite())
}

#[expect(clippy::cast_precision_loss, reason = "literals are floating-point numbers")]
fn integer(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let (base, body) = match lower.strip_prefix("0x") {
        Some(body) => (16, body.strip_prefix('_').unwrap_or(body)),
        None => match lower.strip_prefix('0').filter(|rest| !rest.is_empty()) {
            Some(body) => (8, body.strip_prefix('_').unwrap_or(body)),
            None => (10, lower.as_str()),
        },
    };
    // An underscore stands between digits.
    if body.is_empty() || body.starts_with('_') || body.ends_with('_') || body.contains("__") {
        return None;
    }
    let plain: String = body.chars().filter(|c| *c != '_').collect();
    i64::from_str_radix(&plain, base).ok().map(|value| value as f64)
}

/// Seconds of a duration literal.
pub(super) fn duration(text: &str) -> Result<f64, Error> {
    parse_duration(text).map(crate::promql::number::seconds)
}
