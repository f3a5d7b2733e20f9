//! Quantiles and fractions of classic histograms: cumulative bucket counts by upper bound (`le`).
//!
//! The algorithms are those of Prometheus' `promql/quantile.go`, so that the same buckets give the
//! same number.

/// A bucket: everything observed up to `bound`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    /// Upper bound, inclusive.
    pub(crate) bound: f64,
    /// Cumulative count.
    pub(crate) count: f64,
}

/// Relative difference below which a shrinking count is taken for rounding.
const TOLERANCE: f64 = 1e-12;

/// The `q`-quantile, and whether counts had to be repaired because they shrank from a bucket to a
/// larger one. NaN when the buckets hold no observation or do not end at `+Inf`.
pub(crate) fn quantile(q: f64, mut buckets: Vec<Bucket>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if q > 1.0 {
        return (f64::INFINITY, false);
    }
    if !prepare(&mut buckets) {
        return (f64::NAN, false);
    }
    let repaired = make_monotonic(&mut buckets);
    // Without an answer nothing is said of the repair either.
    let [below @ .., last] = buckets.as_slice() else { return (f64::NAN, false) };
    let Some(highest) = below.last() else { return (f64::NAN, false) };
    if last.count == 0.0 {
        return (f64::NAN, false);
    }
    let rank = q * last.count;
    let at = first_reaching(rank, below);
    let Some(bucket) = below.get(at) else { return (highest.bound, repaired) };
    let (start, before) = match at.checked_sub(1).and_then(|at| below.get(at)) {
        Some(previous) => (previous.bound, previous.count),
        None if bucket.bound <= 0.0 => return (bucket.bound, repaired),
        None => (0.0, 0.0),
    };
    let share = (rank - before) / (bucket.count - before);
    (start + (bucket.bound - start) * share, repaired)
}

/// The first bucket whose count reaches a rank, by the binary search of Go's `sort.Search`: counts that are
/// NaN reach none, wherever the search meets them.
fn first_reaching(rank: f64, buckets: &[Bucket]) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = low.midpoint(high);
        match buckets.get(middle) {
            Some(bucket) if bucket.count >= rank => high = middle,
            _ => low = middle + 1,
        }
    }
    low
}

/// The share of observations in `(lower, upper]`, by linear interpolation within buckets. Unlike
/// [`quantile`] it takes the first bucket to begin at `-Inf`, so that within it the answer is NaN.
pub(crate) fn fraction(lower: f64, upper: f64, mut buckets: Vec<Bucket>) -> f64 {
    if !prepare(&mut buckets) {
        return f64::NAN;
    }
    let count = buckets.last().map_or(0.0, |bucket| bucket.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, &buckets, count) - rank_of(lower, &buckets, count)) / count
}

/// How many observations lie at or below `value`.
fn rank_of(value: f64, buckets: &[Bucket], count: f64) -> f64 {
    let mut rank = 0.0;
    let mut start = f64::NEG_INFINITY;
    for bucket in buckets {
        let found = if start >= value {
            Some(rank)
        } else if bucket.bound > value {
            Some(rank + (bucket.count - rank) * (value - start) / (bucket.bound - start))
        } else {
            None
        };
        if let Some(found) = found {
            return if found > count { count } else { found };
        }
        rank = bucket.count;
        start = bucket.bound;
    }
    count
}

/// Sorts, joins equal bounds; false unless the last bound is `+Inf`.
fn prepare(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    buckets.dedup_by(|next, kept| {
        let same = next.bound.partial_cmp(&kept.bound) == Some(std::cmp::Ordering::Equal);
        if same {
            kept.count += next.count;
        }
        same
    });
    buckets.last().is_some_and(|last| last.bound == f64::INFINITY)
}

/// Raises counts that are smaller than those of a smaller bound; true if the difference was more than
/// rounding.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let mut repaired = false;
    let mut previous = f64::NAN;
    for bucket in buckets {
        let is_rounding = almost_equal(previous, bucket.count);
        if is_rounding || bucket.count < previous {
            repaired |= !is_rounding;
            bucket.count = previous;
        } else {
            previous = bucket.count;
        }
    }
    repaired
}

fn almost_equal(a: f64, b: f64) -> bool {
    let difference = (a - b).abs();
    if difference == 0.0 {
        return true;
    }
    let size = a.abs() + b.abs();
    if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / size.min(f64::MAX) < TOLERANCE
}

#[cfg(test)]
mod tests;
