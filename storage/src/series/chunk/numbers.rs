//! Whole numbers as differences in blocks.

use super::block::{self, BLOCK};
use super::{ChunkError, put_varint, take_byte, take_varint, unzigzag, zigzag};

/// Head of numbers that follow one rule throughout.
const UNIFORM: u8 = 4;
/// Blocks that are looked at to choose an order.
const LOOKS: usize = 4;
/// Numbers beyond this are not divided: their differences may wrap.
const DIVISIBLE: u64 = 1 << 60;

/// Appends numbers; a common divisor is looked for if it `may_divide`.
pub(super) fn encode(numbers: &[i64], may_divide: bool, out: &mut Vec<u8>) {
    let first = numbers.first().copied().unwrap_or_default();
    let divisor = if may_divide { divisor(numbers, first) } else { 1 };
    let zero: Vec<i64> = if divisor == 1 {
        numbers.iter().map(|n| n.wrapping_sub(first)).collect()
    } else {
        numbers.iter().map(|n| n.wrapping_sub(first) / divisor).collect()
    };
    let one = differences(&zero);
    let step = one.first().copied().unwrap_or_default();
    let mut best = (cost(&zero), 0u8, zero);
    if best.0 > 0 {
        let two = differences(&one);
        for other in [(cost(&one), 1, one), (cost(&two), 2, two)] {
            if other.0 < best.0 {
                best = other;
            }
        }
    }
    let (_, order, left) = best;
    let uniform = left.first().filter(|n| left.iter().all(|other| other == *n));
    out.push(if uniform.is_some() { order | UNIFORM } else { order });
    put_varint(divisor.unsigned_abs(), out);
    put_varint(zigzag(first), out);
    if order == 2 {
        put_varint(zigzag(step), out);
    }
    match uniform {
        Some(number) => put_varint(zigzag(*number), out),
        None => left.chunks(BLOCK).for_each(|numbers| block::encode(numbers, out)),
    }
}

fn differences(numbers: &[i64]) -> Vec<i64> {
    numbers.iter().skip(1).zip(numbers).map(|(next, before)| next.wrapping_sub(*before)).collect()
}

/// Bits that numbers take, about: of many blocks only some are looked at.
fn cost(numbers: &[i64]) -> u64 {
    if numbers.iter().all(|n| Some(n) == numbers.first()) {
        return 0;
    }
    let blocks = numbers.len().div_ceil(BLOCK);
    numbers.chunks(BLOCK).step_by(blocks.div_ceil(LOOKS)).map(block::cost).sum()
}

/// What divides the distances of all numbers from the first.
fn divisor(numbers: &[i64], first: i64) -> i64 {
    let mut divisor = 0u64;
    for number in numbers {
        if number.unsigned_abs() > DIVISIBLE {
            return 1;
        }
        divisor = common(divisor, number.wrapping_sub(first).unsigned_abs());
        if divisor == 1 {
            return 1;
        }
    }
    i64::try_from(divisor.max(1)).unwrap_or(1)
}

fn common(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Appends what the first `until` of `count` numbers become; returns the bytes after all of them.
pub(super) fn decode<'a, T: Copy>(
    bytes: &'a [u8],
    count: usize,
    until: usize,
    to: &mut Vec<T>,
    made: impl Fn(i64) -> T,
) -> Result<&'a [u8], ChunkError> {
    let mut rest = bytes;
    let head = take_byte(&mut rest)?;
    let order = usize::from(head & !UNIFORM);
    if order > 2 {
        return Err(ChunkError::Damaged("an order that does not exist"));
    }
    let divisor = take_varint(&mut rest)?.cast_signed();
    let first = unzigzag(take_varint(&mut rest)?);
    let mut step = 0;
    if order == 2 {
        step = unzigzag(take_varint(&mut rest)?).wrapping_mul(divisor);
    }
    let second = first.wrapping_add(step);
    to.reserve(until);
    to.extend([first, second].into_iter().take(order.min(until)).map(&made));
    let mut last = second;
    let (left, wanted) = (count.saturating_sub(order), until.saturating_sub(order));
    let mut take = |numbers: &[i64]| match order {
        0 => to.extend(numbers.iter().map(|n| made(first.wrapping_add(n.wrapping_mul(divisor))))),
        1 => to.extend(numbers.iter().map(|n| {
            last = last.wrapping_add(n.wrapping_mul(divisor));
            made(last)
        })),
        _ => to.extend(numbers.iter().map(|n| {
            step = step.wrapping_add(n.wrapping_mul(divisor));
            last = last.wrapping_add(step);
            made(last)
        })),
    };
    if head & UNIFORM != 0 {
        let number = unzigzag(take_varint(&mut rest)?);
        if order == 0 {
            let all = made(first.wrapping_add(number.wrapping_mul(divisor)));
            to.resize(to.len() + until, all);
            return Ok(rest);
        }
        let number = [number; BLOCK];
        for at in (0..wanted).step_by(BLOCK) {
            take(number.get(..wanted - at).unwrap_or(&number));
        }
        return Ok(rest);
    }
    let mut numbers = [0; BLOCK];
    for at in (0..left).step_by(BLOCK) {
        let length = (left - at).min(BLOCK);
        if at >= wanted {
            rest = block::pass(rest, length)?;
            continue;
        }
        rest = block::decode(rest, length, &mut numbers)?;
        take(numbers.get(..length.min(wanted - at)).unwrap_or(&numbers));
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::super::varint_len;
    use super::*;

    #[test]
    fn what_follows_a_rule_takes_a_few_bytes() {
        let length = |numbers: Vec<i64>| {
            let mut out = Vec::new();
            encode(&numbers, true, &mut out);
            let mut back = Vec::new();
            assert!(
                decode(&out, numbers.len(), numbers.len(), &mut back, |n| n).unwrap().is_empty()
            );
            assert_eq!(back, numbers);
            out.len()
        };
        assert_eq!(length(vec![]), 3);
        assert_eq!(length(vec![7; 1000]), 4);
        assert!(length((0..1000).map(|n| 1_795_305_600_000 + 15_000 * n).collect()) <= 12);
        assert!(length((0..1000).map(|n| n * n).collect()) <= 8);
        let pages = (0..640).map(|n| 4096 * (n * 7919 % 16)).collect();
        assert!(length(pages) <= 640 / 2 + 10 * 2 + 8, "a common divisor is worth nothing");
        assert_eq!(varint_len(127), 1);
        assert_eq!(varint_len(128), 2);
    }
}
