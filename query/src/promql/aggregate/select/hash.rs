//! The place of a label set between 0 and 1 by which `limit_ratio` picks: its 64-bit xxHash, as
//! Prometheus computes it over its own encoding of label sets.

use crate::promql::source::Labels;

const PRIMES: [u64; 5] = [
    0x9e37_79b1_85eb_ca87,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0x85eb_ca77_c2b2_ae63,
    0x27d4_eb2f_1656_67c5,
];

/// A number in 0 to 1, evenly spread over label sets.
#[expect(clippy::cast_precision_loss, reason = "Prometheus loses the same bits")]
pub(super) fn fraction(labels: &Labels) -> f64 {
    xxhash(&encoded(labels)) as f64 / u64::MAX as f64
}

/// Names and values, each after its length: one byte, or 255 and three bytes from the lowest.
fn encoded(labels: &Labels) -> Vec<u8> {
    let mut out = Vec::new();
    for text in labels.0.iter().flat_map(|(name, value)| [name, value]) {
        match u8::try_from(text.len()) {
            Ok(short) if short < 255 => out.push(short),
            _ => {
                out.push(255);
                out.extend(text.len().to_le_bytes().iter().take(3));
            }
        }
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn round(sum: u64, input: u64) -> u64 {
    sum.wrapping_add(input.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

/// 64-bit xxHash with seed 0 (github.com/Cyan4973/xxHash, `doc/xxhash_spec.md`).
fn xxhash(bytes: &[u8]) -> u64 {
    let mut rest = bytes;
    let mut hash = if bytes.len() >= 32 {
        let mut sums =
            [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, 0_u64.wrapping_sub(PRIMES[0])];
        while let Some((stripe, tail)) = rest.split_first_chunk::<32>() {
            for (sum, lane) in sums.iter_mut().zip(stripe.as_chunks::<8>().0) {
                *sum = round(*sum, u64::from_le_bytes(*lane));
            }
            rest = tail;
        }
        let turned = [1, 7, 12, 18];
        let mut hash = sums
            .iter()
            .zip(turned)
            .fold(0_u64, |hash, (sum, by)| hash.wrapping_add(sum.rotate_left(by)));
        for sum in sums {
            hash = (hash ^ round(0, sum)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
        }
        hash
    } else {
        PRIMES[4]
    };
    hash = hash.wrapping_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    while let Some((lane, tail)) = rest.split_first_chunk::<8>() {
        hash = (hash ^ round(0, u64::from_le_bytes(*lane)))
            .rotate_left(27)
            .wrapping_mul(PRIMES[0])
            .wrapping_add(PRIMES[3]);
        rest = tail;
    }
    if let Some((lane, tail)) = rest.split_first_chunk::<4>() {
        hash = (hash ^ u64::from(u32::from_le_bytes(*lane)).wrapping_mul(PRIMES[0]))
            .rotate_left(23)
            .wrapping_mul(PRIMES[1])
            .wrapping_add(PRIMES[2]);
        rest = tail;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(PRIMES[4]))
            .rotate_left(11)
            .wrapping_mul(PRIMES[0]);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(PRIMES[1]);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(PRIMES[2]);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_reference() {
        // Values of the reference implementation, `xxhsum -H64`.
        for (text, hash) in [
            ("", 0xef46_db37_51d8_e999),
            ("a", 0xd24e_c4f1_a98c_6e5b),
            ("abc", 0x44bc_2cf5_ad77_0999),
            ("Nobody inspects the spammish repetition", 0xfbce_a83c_8a37_8bf1),
        ] {
            assert_eq!(xxhash(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn lengths_stand_before_texts() {
        let labels = Labels(vec![("a".into(), "b".repeat(300).as_str().into())]);
        let bytes = encoded(&labels);
        assert_eq!(bytes.get(..7), Some(&[1, b'a', 255, 44, 1, 0, b'b'][..]));
        assert_eq!(bytes.len(), 2 + 4 + 300);
    }
}
