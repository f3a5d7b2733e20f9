//! Which part a row belongs to.
//!
//! ```text
//! part = FNV-1a-64(value of the 1st workload column, 0, value of the 2nd, 0, ...) mod count
//! ```
//!
//! A null value counts as the empty text. The count is a power of two, so that doubling it splits
//! each part into two. It grows with a table's volume, and files of the counts before stay as they
//! are: the number that a file carries, in the partition column `part`, says count and part in one.
//!
//! ```text
//! number = count - 1 + part          0 | 1 2 | 3 4 5 6 | 7 8 9 10 11 12 13 14 | ...
//!                             count  1     2         4                       8
//! ```
//!
//! So files of different counts never share a partition, in any reader's eyes. Neither the function
//! nor the order of the columns may ever change. FNV-1a: Fowler, Noll, Vo, draft-eastlake-fnv,
//! section 2.

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Most parts that a table can have.
const MAX: u32 = 1024;

/// Number of parts of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartCount(u32);

impl PartCount {
    /// What a new table has.
    pub(crate) const ONE: Self = Self(1);

    /// A power of two from 1 to 1024.
    pub(crate) fn new(count: u32) -> Option<Self> {
        (count.is_power_of_two() && count <= MAX).then_some(Self(count))
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }

    /// Twice as many; `None` if that is more than a table can have.
    pub(crate) fn doubled(self) -> Option<Self> {
        Self::new(self.0.checked_mul(2)?)
    }

    /// The part of a row with these workload values.
    pub(crate) fn part_of<'a>(self, values: impl IntoIterator<Item = &'a str>) -> PartId {
        let mut hash = OFFSET;
        for value in values {
            for byte in value.bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
            }
        }
        let masked = hash & u64::from(self.0 - 1);
        PartId(self.0 - 1 + u32::try_from(masked).unwrap_or(0))
    }
}

/// One part out of a count of parts: a share of all workloads, by hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(u32);

impl PartId {
    /// The one part of a table that is not divided.
    #[cfg(test)]
    pub(crate) const WHOLE: Self = Self(0);

    /// The part that a file carries this number of; `None` if no table has so many parts.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        (number < 2 * MAX - 1).then_some(Self(number))
    }

    /// The number that files carry: count and part in one.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// How many parts there were when the file was written.
    pub(crate) fn count(self) -> PartCount {
        PartCount(1 << (self.0 + 1).ilog2())
    }

    /// Whether rows with these workload values, in the order of [`crate::TableSpec::workload`], are
    /// in this part. Null is the empty text.
    pub(crate) fn holds<'a>(self, values: impl IntoIterator<Item = &'a str>) -> bool {
        self.count().part_of(values) == self
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
            assert_eq!(count.part_of(values).number(), 1023 + part, "{values:?}");
        }
    }

    #[test]
    fn doubling_splits_parts_in_two() {
        for i in 0..1000 {
            let name = format!("w{i}");
            let small = PartCount::new(8).unwrap().part_of(["ns", &name]).number() - 7;
            let large = PartCount::new(16).unwrap().part_of(["ns", &name]).number() - 15;
            assert!(large == small || large == small + 8);
            assert_eq!(PartCount::ONE.part_of(["ns", &name]), PartId::WHOLE);
        }
        for bad in [0, 3, 2048] {
            assert_eq!(PartCount::new(bad), None);
        }
    }

    #[test]
    fn a_number_says_part_and_count() {
        let mut count = PartCount::ONE;
        let mut next = 0;
        while let Some(doubled) = PartCount::new(count.get() * 2) {
            for _ in 0..count.get() {
                assert_eq!(PartId::from_number(next).unwrap().count(), count, "{next}");
                next += 1;
            }
            let part = count.part_of(["ns", "w"]);
            assert!(part.holds(["ns", "w"]) && part.count() == count);
            assert_eq!(part.holds(["ns", "other"]), count.part_of(["ns", "other"]) == part);
            count = doubled;
        }
        assert_eq!(PartId::from_number(2047), None);
        assert_eq!(PartId::from_number(u32::MAX), None);
    }
}
