//! Which part a row belongs to.
//!
//! ```text
//! part = FNV-1a-64(value of the 1st workload column, 0, value of the 2nd, 0, ...) mod count
//! ```
//!
//! A null value counts as the empty text. The count is a power of two and belongs to the table, so
//! that doubling it splits each part into two. Files carry the outcome in their path: neither the
//! function nor the order of the columns may ever change. FNV-1a: Fowler, Noll, Vo,
//! draft-eastlake-fnv, section 2.

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Number of parts of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartCount(u32);

impl PartCount {
    /// What a new table has.
    pub(crate) const ONE: Self = Self(1);

    /// A power of two from 1 to 1024.
    pub(crate) fn new(count: u32) -> Option<Self> {
        (count.is_power_of_two() && count <= 1024).then_some(Self(count))
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }

    /// The part of a row with these workload values.
    pub(crate) fn part_of<'a>(self, values: impl IntoIterator<Item = &'a str>) -> u32 {
        let mut hash = OFFSET;
        for value in values {
            for byte in value.bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
            }
        }
        let masked = hash & u64::from(self.0 - 1);
        u32::try_from(masked).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_never_changes() {
        let count = PartCount::new(1024).unwrap();
        for (values, part) in [
            (["", ""], 1005),
            (["default", "web"], 212),
            (["kube-system", "dns"], 807),
            (["", "sshd"], 923),
        ] {
            assert_eq!(count.part_of(values), part, "{values:?}");
        }
    }

    #[test]
    fn doubling_splits_parts_in_two() {
        for i in 0..1000 {
            let name = format!("w{i}");
            let small = PartCount::new(8).unwrap().part_of(["ns", &name]);
            let large = PartCount::new(16).unwrap().part_of(["ns", &name]);
            assert!(large == small || large == small + 8);
            assert_eq!(PartCount::ONE.part_of(["ns", &name]), 0);
        }
        for bad in [0, 3, 2048] {
            assert_eq!(PartCount::new(bad), None);
        }
    }
}
