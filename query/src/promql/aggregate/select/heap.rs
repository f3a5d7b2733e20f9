//! The `k` best of many values. Among equal ones those are kept that Prometheus keeps, so this is Go's
//! `container/heap` step by step.

/// A heap with the worst of the chosen at its root.
#[derive(Debug)]
pub(super) struct Best<F> {
    /// Member and value.
    items: Vec<(usize, f64)>,
    /// Whether the first of two values ranks below the second.
    below: F,
}

impl<F: Fn(f64, f64) -> bool> Best<F> {
    /// The best `most` of some candidates, in order of rank; NaN ranks last.
    pub(super) fn of(
        most: usize,
        below: F,
        candidates: impl Iterator<Item = (usize, f64)>,
    ) -> Vec<(usize, f64)> {
        if most == 0 {
            return Vec::new();
        }
        let mut best = Self { items: Vec::new(), below };
        for candidate in candidates {
            if best.items.len() < most {
                best.items.push(candidate);
                best.rise(best.items.len() - 1);
            } else {
                best.replace(candidate);
            }
        }
        best.sorted()
    }

    /// All candidates in the order of a heap, which is how Prometheus leaves what it picks by other rules.
    pub(super) fn heaped(
        below: F,
        candidates: impl Iterator<Item = (usize, f64)>,
    ) -> Vec<(usize, f64)> {
        let mut heap = Self { items: Vec::new(), below };
        for candidate in candidates {
            heap.items.push(candidate);
            heap.rise(heap.items.len() - 1);
        }
        heap.items
    }

    fn less(&self, a: usize, b: usize) -> bool {
        match (self.items.get(a), self.items.get(b)) {
            (Some((_, a)), Some((_, b))) => a.is_nan() || (self.below)(*a, *b),
            _ => false,
        }
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.less(at, parent) {
                return;
            }
            self.items.swap(at, parent);
            at = parent;
        }
    }

    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= self.items.len() {
                return;
            }
            let right = left + 1;
            let child =
                if right < self.items.len() && self.less(right, left) { right } else { left };
            if !self.less(child, at) {
                return;
            }
            self.items.swap(at, child);
            at = child;
        }
    }

    /// Puts a candidate in the place of the worst if it ranks above it.
    fn replace(&mut self, candidate: (usize, f64)) {
        let Some(worst) = self.items.first_mut() else { return };
        let is_better =
            (self.below)(worst.1, candidate.1) || (worst.1.is_nan() && !candidate.1.is_nan());
        if is_better {
            *worst = candidate;
            self.sink();
        }
    }

    /// In order of rank. An insertion sort, because NaN ranks below itself here.
    fn sorted(mut self) -> Vec<(usize, f64)> {
        for end in 1..self.items.len() {
            let mut at = end;
            while at > 0 && self.less(at - 1, at) {
                self.items.swap(at, at - 1);
                at -= 1;
            }
        }
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_in_order_and_nan_last() {
        let values = [3.0, f64::NAN, 1.0, 5.0, 2.0, f64::NAN, 4.0];
        let members = |most, below: fn(f64, f64) -> bool| {
            let all = values.iter().copied().enumerate();
            Best::of(most, below, all).into_iter().map(|(m, _)| m).collect::<Vec<_>>()
        };
        assert_eq!(members(3, |a, b| a < b), [3, 6, 0]);
        assert_eq!(members(2, |a, b| a > b), [2, 4]);
        assert_eq!(members(6, |a, b| a < b)[..5], [3, 6, 0, 4, 2]);
        assert!(members(0, |a, b| a < b).is_empty());
        let heap = Best::heaped(|a, b| a < b, [3.0, 1.0, 2.0].into_iter().enumerate());
        assert_eq!(heap, [(1, 1.0), (0, 3.0), (2, 2.0)]);
    }
}
