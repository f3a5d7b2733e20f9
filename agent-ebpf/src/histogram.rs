//! The slot of a duration, computed with what BPF has: no loops, no floating point.

use core::hint::black_box;

/// Number of slots; equals `weir_wire::histogram::BUCKETS`.
pub const SLOTS: usize = 64;

/// Slot of a duration in microseconds: `weir_wire::histogram::index_of(us)` minus the first index
/// (-1). Always below [`SLOTS`].
#[inline(always)]
#[must_use]
pub fn histogram_slot(us: u64) -> usize {
    if us <= 1 {
        return 0;
    }
    let octave = 63 - (us - 1).leading_zeros();
    if octave >= 31 {
        return SLOTS - 1;
    }
    // us <= 2^31 here, so the square fits.
    let upper_half = us * us > 1u64 << (2 * octave + 1);
    let slot = 2 * octave as usize + usize::from(upper_half) + 1;
    // The mask changes nothing, but it is what lets the verifier see the bound; without the black
    // box the optimiser would know better and drop it.
    black_box(slot) & (SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_wire::histogram::{BUCKETS, FIRST_INDEX, index_of};

    fn wire_slot(us: u64) -> usize {
        usize::try_from(index_of(us) - FIRST_INDEX).unwrap()
    }

    #[test]
    fn agrees_with_the_wire_around_every_bound() {
        assert_eq!(SLOTS, BUCKETS);
        for us in 0..100_000 {
            assert_eq!(histogram_slot(us), wire_slot(us), "{us} us");
        }
        for half_octave in 0..64 {
            let bound = 2f64.powf(f64::from(half_octave) / 2.0) as u64;
            for us in bound.saturating_sub(2)..=bound + 2 {
                assert_eq!(histogram_slot(us), wire_slot(us), "{us} us");
            }
        }
        for us in [u64::from(u32::MAX), 1 << 62, u64::MAX - 1, u64::MAX] {
            assert_eq!(histogram_slot(us), wire_slot(us), "{us} us");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_wire(us in any::<u64>(), shift in 0u32..64) {
            let us = us >> shift;
            prop_assert_eq!(histogram_slot(us), wire_slot(us));
        }
    }
}
