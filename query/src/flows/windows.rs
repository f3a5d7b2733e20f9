//! Windows over time as runs of buckets.
//!
//! The windows of a range query are `(t - range, t]` for `t = first, first + step, ...`. Their edges
//! repeat with the step, and there are at most two of them in each step: where a window begins, and
//! where one ends. Cutting time at exactly these edges gives at most two buckets a step, however odd
//! step and range are to each other, and each window is a run of whole buckets:
//!
//! ```text
//! range = m * step + r
//! r == 0            buckets of one step;          window i is buckets i .. i+m
//! r > 0             first r, then step-r;         window i is buckets 2i .. 2(i+m)+1
//! r > 0 and m == 0  windows do not touch: rows in the gaps are not read at all
//! ```
//!
//! A row belongs to a bucket by its exact end in microseconds; edges are left-open as in Prometheus.

use std::ops::Range;

/// How a query's windows cut time. All times in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Exclusive start of the first window.
    pub(crate) origin: i64,
    /// Inclusive end of the last window.
    pub(crate) end: i64,
    /// Distance between windows.
    pub(crate) step: i64,
    /// Number of windows.
    pub(crate) count: usize,
    /// Whole steps in a window.
    whole: usize,
    /// What is left of a window after its whole steps.
    pub(crate) rest: i64,
}

impl Windows {
    /// Windows `(t - range, t]` for `count` times `t = first, first + step, ...`, milliseconds. `None`
    /// when they lie outside of what microseconds in 64 bits can express.
    pub(crate) fn new(first: i64, step: i64, count: usize, range: i64) -> Option<Self> {
        let micros = |ms: i64| ms.checked_mul(1000);
        let (first, range) = (micros(first)?, micros(range)?);
        // One window has no step of its own; its range makes it one bucket.
        let step = if count > 1 { micros(step)? } else { range };
        let last = i64::try_from(count.checked_sub(1)?).ok()?.checked_mul(step)?;
        Some(Self {
            origin: first.checked_sub(range)?,
            end: first.checked_add(last)?,
            step,
            count,
            whole: usize::try_from(range.checked_div(step)?).ok()?,
            rest: range.checked_rem(step)?,
        })
    }

    /// Whether each step has two buckets, cut [`Windows::rest`] after its start.
    pub(crate) fn is_cut(&self) -> bool {
        self.rest > 0 && self.whole > 0
    }

    /// Whether rows that end more than [`Windows::rest`] after the start of a step lie in no window.
    pub(crate) fn has_gaps(&self) -> bool {
        self.rest > 0 && self.whole == 0
    }

    /// The buckets that window `i` consists of.
    pub(crate) fn buckets(&self, i: usize) -> Range<usize> {
        if self.is_cut() {
            2 * i..2 * (i + self.whole) + 1
        } else if self.has_gaps() {
            i..i + 1
        } else {
            i..i + self.whole
        }
    }

    /// The bucket of a row by its end: the same arithmetic that `sums` hands to DataFusion.
    #[cfg(test)]
    pub(crate) fn bucket_of(&self, end: i64) -> Option<usize> {
        let x = end - self.origin - 1;
        if x < 0 || end > self.end || (self.has_gaps() && x % self.step >= self.rest) {
            return None;
        }
        let whole = x / self.step;
        let bucket =
            if self.is_cut() { 2 * whole + i64::from(x % self.step >= self.rest) } else { whole };
        usize::try_from(bucket).ok()
    }

    /// Slides over the buckets of one group, given in order of time: calls `emit(i, sums)` for each
    /// window that has at least one bucket. `width` is the number of values in a bucket.
    pub(crate) fn slide<'a>(
        &self,
        buckets: &'a [(usize, Vec<i64>)],
        width: usize,
        mut emit: impl FnMut(usize, &[i64]),
    ) {
        let mut sums = vec![0i64; width];
        let mut entering = buckets.iter().peekable();
        let mut leaving = buckets.iter().peekable();
        let mut inside = 0usize;
        let add = |sums: &mut [i64], values: &'a [i64], sign: i64| {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = sum.wrapping_add(sign.wrapping_mul(*value));
            }
        };
        for i in 0..self.count {
            let run = self.buckets(i);
            while let Some((_, values)) = entering.next_if(|(b, _)| *b < run.end) {
                add(&mut sums, values, 1);
                inside += 1;
            }
            while let Some((_, values)) = leaving.next_if(|(b, _)| *b < run.start) {
                add(&mut sums, values, -1);
                inside = inside.saturating_sub(1);
            }
            if inside > 0 {
                emit(i, &sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A row's bucket lies in a window's run exactly if the row ends in the window.
        #[test]
        fn runs_of_buckets_are_the_windows(
            first in -5_000i64..5_000,
            step in 1i64..40,
            count in 1usize..30,
            range in 1i64..200,
            end in -300_000i64..7_000_000,
        ) {
            let windows = Windows::new(first, step, count, range).expect("small numbers");
            let bucket = windows.bucket_of(end);
            for i in 0..count {
                let t = (first + i as i64 * step) * 1000;
                let inside = end > t - range * 1000 && end <= t;
                let found = bucket.is_some_and(|b| windows.buckets(i).contains(&b));
                prop_assert_eq!(inside, found, "window {} of {:?}", i, windows);
            }
        }

        #[test]
        fn sliding_equals_adding_up(
            step in 1i64..20,
            count in 1usize..20,
            range in 1i64..100,
            values in prop::collection::btree_map(0usize..60, -50i64..50, 0..30),
        ) {
            let windows = Windows::new(0, step, count, range).expect("small numbers");
            let buckets: Vec<_> = values.iter().map(|(b, v)| (*b, vec![*v])).collect();
            let mut found = vec![None; count];
            windows.slide(&buckets, 1, |i, sums| found[i] = Some(sums[0]));
            for (i, found) in found.into_iter().enumerate() {
                let inside: Vec<i64> = values.range(windows.buckets(i)).map(|(_, v)| *v).collect();
                prop_assert_eq!(found, (!inside.is_empty()).then(|| inside.iter().sum()));
            }
        }
    }

    #[test]
    fn times_beyond_microseconds_are_refused() {
        assert_eq!(Windows::new(i64::MAX / 500, 1, 2, 1), None);
        assert_eq!(Windows::new(i64::MIN / 1000, 1, 2, 1000), None);
    }
}
