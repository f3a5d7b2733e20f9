//! Values as numbers: decimals of few digits become whole ones.

use std::ops::Range;

use super::{ChunkError, numbers, put_varint, take_varint};

/// The form whose numbers are the values' bits.
const BITS: u8 = 15;
/// Numbers up to this are exact as values.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Of so many values one may be an exception.
const REGULAR: usize = 8;

const POWERS: [f64; 15] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14];

pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) {
    match Decimals::of(values) {
        Some(Decimals { exponent, numbers, exceptions }) => {
            out.push(u8::try_from(exponent).unwrap_or(BITS));
            numbers::encode(&numbers, true, out);
            let mut after = 0;
            for (place, value) in exceptions {
                put_varint(u64::try_from(place - after).unwrap_or_default(), out);
                out.extend(value.to_bits().to_le_bytes());
                after = place + 1;
            }
        }
        None => {
            out.push(BITS);
            let bits: Vec<i64> =
                values.iter().map(|v| ordered(v.to_bits().cast_signed())).collect();
            numbers::encode(&bits, false, out);
        }
    }
}

/// Appends the values at `places`.
pub(super) fn decode(
    bytes: &[u8],
    count: usize,
    places: Range<usize>,
    to: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    let (form, body) = bytes.split_first().ok_or(super::CUT_OFF)?;
    let start = to.len();
    let mut rest = match POWERS.get(usize::from(*form)) {
        Some(power) => {
            let rest = numbers::decode(body, count, places.end, to, as_value)?;
            drop_before(to, start, &places);
            if *power != 1.0 {
                to.iter_mut().skip(start).for_each(|value| *value /= power);
            }
            rest
        }
        None if *form == BITS => {
            let value = |n| f64::from_bits(ordered(n).cast_unsigned());
            let rest = numbers::decode(body, count, places.end, to, value)?;
            drop_before(to, start, &places);
            rest
        }
        None => return Err(ChunkError::Damaged("its values have no form that exists")),
    };
    let mut place = 0usize;
    while !rest.is_empty() {
        let gap = usize::try_from(take_varint(&mut rest)?).unwrap_or(usize::MAX);
        let (bits, after) = rest.split_first_chunk().ok_or(super::CUT_OFF)?;
        place = place.saturating_add(gap);
        if place >= count {
            return Err(ChunkError::Damaged("an exception has no place"));
        }
        let wanted = place.checked_sub(places.start).and_then(|at| to.get_mut(start + at));
        if let Some(slot) = wanted {
            *slot = f64::from_bits(u64::from_le_bytes(*bits));
        }
        (place, rest) = (place.saturating_add(1), after);
    }
    Ok(())
}

/// Removes the values before those at `places`, which were decoded on the way to them.
fn drop_before(to: &mut Vec<f64>, start: usize, places: &Range<usize>) {
    to.drain(start..to.len().min(start + places.start));
}

/// Bits in an order that is that of the values, and back.
fn ordered(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the writer makes only numbers that are exact; of others any value will do"
)]
fn as_value(number: i64) -> f64 {
    number as f64
}

/// Values as whole numbers of one negative power of ten.
struct Decimals {
    exponent: usize,
    numbers: Vec<i64>,
    /// Those that are none, by place.
    exceptions: Vec<(usize, f64)>,
}

impl Decimals {
    /// `None` if too few of them are decimals.
    fn of(values: &[f64]) -> Option<Self> {
        let mut exponent = 0;
        let mut numbers = Vec::with_capacity(values.len());
        let mut exceptions = Vec::new();
        'all: loop {
            numbers.clear();
            exceptions.clear();
            let mut last = 0;
            for (place, value) in values.iter().enumerate() {
                if let Some(number) = number(*value, exponent) {
                    last = number;
                } else if let Some(more) = more_digits(*value, exponent) {
                    exponent = more;
                    continue 'all;
                } else {
                    exceptions.push((place, *value));
                    if exceptions.len() > values.len() / REGULAR + 1 {
                        return None;
                    }
                }
                numbers.push(last);
            }
            return Some(Self { exponent, numbers, exceptions });
        }
    }
}

/// The number that stands for a value, if one does exactly.
fn number(value: f64, exponent: usize) -> Option<i64> {
    let power = POWERS.get(exponent)?;
    let scaled = value * power;
    // Rounding proper is a call into a library where the processor may be an old one.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what does not fit is cut, and does not come back as the value"
    )]
    let number = (scaled + 0.5f64.copysign(scaled)) as i64;
    let back = if exponent == 0 { as_value(number) } else { as_value(number) / power };
    (back.to_bits() == value.to_bits() && scaled.abs() <= EXACT).then_some(number)
}

#[cold]
fn more_digits(value: f64, exponent: usize) -> Option<usize> {
    (exponent + 1..POWERS.len()).find(|e| number(value, *e).is_some())
}
