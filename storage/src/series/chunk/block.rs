//! Sixty-four numbers in as few bits as most of them need.

use super::{
    CUT_OFF, ChunkError, put_varint, take_byte, take_varint, unzigzag, varint_len, zigzag,
};

/// Numbers of a block.
pub(super) const BLOCK: usize = 64;

/// Width from which on bits are zigzag, without a base.
const ZIGZAG: u8 = 65;
/// Largest width of those.
const ZIGZAG_MAX: u32 = 61;
/// Added to the width of a block with patches.
const PATCHED: u8 = 128;

/// How a block is written.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// `None` for zigzag bits.
    base: Option<i64>,
    width: u32,
    /// All of it, in bits.
    cost: u64,
}

impl Plan {
    fn of(numbers: &[i64]) -> Self {
        let base = numbers.iter().copied().min().unwrap_or_default();
        let based = numbers.iter().map(|n| n.wrapping_sub(base).cast_unsigned());
        let (width, cost) = width(based, 64);
        let cost = cost + 8 * u64::from(varint_len(zigzag(base)));
        let (zigzag_width, zigzag_cost) = width_of_zigzag(numbers);
        if zigzag_cost < cost {
            Self { base: None, width: zigzag_width, cost: zigzag_cost }
        } else {
            Self { base: Some(base), width, cost }
        }
    }

    fn bits(self, number: i64) -> u64 {
        match self.base {
            Some(base) => number.wrapping_sub(base).cast_unsigned(),
            None => zigzag(number),
        }
    }
}

fn width_of_zigzag(numbers: &[i64]) -> (u32, u64) {
    width(numbers.iter().map(|n| zigzag(*n)), ZIGZAG_MAX)
}

/// The width, of at most `max`, that takes the fewest bits, and how many.
fn width(numbers: impl ExactSizeIterator<Item = u64>, max: u32) -> (u32, u64) {
    let count = u64::try_from(numbers.len()).unwrap_or(u64::MAX);
    // By length in bits: how many numbers. Few lengths occur.
    let mut lengths = [0u8; 65];
    let mut occurring = 0u128;
    for number in numbers {
        let length = 64 - number.leading_zeros();
        occurring |= 1 << length;
        if let Some(n) = lengths.get_mut(length as usize) {
            *n = n.saturating_add(1);
        }
    }
    let mut best = (max, u64::MAX);
    let mut widths = occurring | 1;
    while widths != 0 {
        let width = widths.trailing_zeros().min(max);
        widths &= widths - 1;
        // A patch has a byte for its place, and of the first one there is a byte for how many.
        let mut cost = 8 + (u64::from(width) * count).next_multiple_of(8);
        let mut beyond = occurring & !((2u128 << width) - 1);
        cost += if beyond == 0 { 0 } else { 8 };
        while beyond != 0 {
            let length = beyond.trailing_zeros();
            beyond &= beyond - 1;
            let n = lengths.get(length as usize).copied().unwrap_or_default();
            cost += u64::from(n) * u64::from(8 + 8 * (length - width).div_ceil(7));
        }
        if cost < best.1 {
            best = (width, cost);
        }
    }
    best
}

/// Bits that a block takes.
pub(super) fn cost(numbers: &[i64]) -> u64 {
    Plan::of(numbers).cost
}

/// Appends a block of at most [`BLOCK`] numbers.
pub(super) fn encode(numbers: &[i64], out: &mut Vec<u8>) {
    let plan = Plan::of(numbers);
    let width = u8::try_from(plan.width).unwrap_or_default();
    let head = out.len();
    match plan.base {
        Some(base) => {
            out.push(width);
            put_varint(zigzag(base), out);
        }
        None => out.push(width + ZIGZAG),
    }
    let mask = u64::MAX.checked_shr(64 - plan.width).unwrap_or(0);
    let (mut filled, mut free) = (0u64, 64);
    for number in numbers {
        let bits = plan.bits(*number) & mask;
        filled |= bits.checked_shl(64 - free).unwrap_or(0);
        if plan.width >= free {
            out.extend(filled.to_le_bytes());
            filled = bits.checked_shr(free).unwrap_or(0);
            free += 64;
        }
        free -= plan.width;
    }
    let bytes = usize::try_from((64 - free).div_ceil(8)).unwrap_or_default();
    out.extend(filled.to_le_bytes().iter().take(bytes));
    let beyond = |number: &i64| plan.bits(*number).checked_shr(plan.width).unwrap_or(0);
    let patches = numbers.iter().filter(|n| beyond(n) > 0).count();
    if patches > 0 {
        if let Some(head) = out.get_mut(head) {
            *head |= PATCHED;
        }
        out.push(u8::try_from(patches).unwrap_or_default());
        for (place, number) in (0u8..).zip(numbers).filter(|(_, n)| beyond(n) > 0) {
            out.push(place);
            put_varint(beyond(number), out);
        }
    }
}

/// Reads a block of `length` numbers, at most [`BLOCK`], into the first of `to`; returns the bytes
/// after it.
pub(super) fn decode<'a>(
    bytes: &'a [u8],
    length: usize,
    to: &mut [i64; BLOCK],
) -> Result<&'a [u8], ChunkError> {
    let mut rest = bytes;
    let head = take_byte(&mut rest)?;
    let width = head & !PATCHED;
    let (base, width) = match width.checked_sub(ZIGZAG) {
        None => (Some(unzigzag(take_varint(&mut rest)?)), width),
        Some(width) => (None, width),
    };
    let size = (usize::from(width) * length).div_ceil(8);
    let (packed, after) = rest.split_at_checked(size).ok_or(CUT_OFF)?;
    rest = after;
    let mut bits = [0u64; BLOCK];
    unpack(packed, width, &mut bits);
    if head & PATCHED != 0 {
        for _ in 0..take_byte(&mut rest)? {
            let place = take_byte(&mut rest)?;
            let beyond = take_varint(&mut rest)?.checked_shl(width.into()).unwrap_or(0);
            let slot = bits.get_mut(usize::from(place));
            let slot = slot.ok_or(ChunkError::Damaged("a patch has no place"))?;
            *slot = slot.wrapping_add(beyond);
        }
    }
    match base {
        Some(base) => {
            to.iter_mut().zip(bits).for_each(|(n, b)| *n = base.wrapping_add(b.cast_signed()));
        }
        None => to.iter_mut().zip(bits).for_each(|(n, b)| *n = unzigzag(b)),
    }
    Ok(rest)
}

/// The bytes after a block of `length` numbers, which is not looked into.
pub(super) fn pass(bytes: &[u8], length: usize) -> Result<&[u8], ChunkError> {
    let mut rest = bytes;
    let head = take_byte(&mut rest)?;
    let width = head & !PATCHED;
    let width = match width.checked_sub(ZIGZAG) {
        None => {
            take_varint(&mut rest)?;
            width
        }
        Some(width) => width,
    };
    let size = (usize::from(width) * length).div_ceil(8);
    let (_, mut rest) = rest.split_at_checked(size).ok_or(CUT_OFF)?;
    if head & PATCHED != 0 {
        for _ in 0..take_byte(&mut rest)? {
            take_byte(&mut rest)?;
            take_varint(&mut rest)?;
        }
    }
    Ok(rest)
}

/// Sets `to` to the numbers of `width` bits each in `packed`; zero where there are none.
fn unpack(packed: &[u8], width: u8, to: &mut [u64; BLOCK]) {
    // A width that the compiler knows makes every shift a constant.
    macro_rules! dispatch {
        ($($known:literal)*) => {
            match width {
                $($known => unpack_known::<$known>(packed, to),)*
                _ => {}
            }
        };
    }
    dispatch!(
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64
    );
}

fn unpack_known<const WIDTH: usize>(packed: &[u8], to: &mut [u64; BLOCK]) {
    let mut words = [0u64; WIDTH];
    let (whole, rest) = packed.as_chunks::<8>();
    words.iter_mut().zip(whole).for_each(|(word, bytes)| *word = u64::from_le_bytes(*bytes));
    if let Some(word) = words.get_mut(whole.len())
        && !rest.is_empty()
    {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        *word = u64::from_le_bytes(bytes);
    }
    let mask = u64::MAX >> (64 - WIDTH);
    for (i, number) in to.iter_mut().enumerate() {
        let (word, shift) = (i * WIDTH / 64, i * WIDTH % 64);
        let low = words.get(word).copied().unwrap_or(0) >> shift;
        let high = if shift + WIDTH > 64 {
            words.get(word + 1).copied().unwrap_or(0) << (64 - shift)
        } else {
            0
        };
        *number = (low | high) & mask;
    }
}
