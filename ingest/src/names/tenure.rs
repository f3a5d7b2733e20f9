//! Who had something when: addresses and ports change hands within seconds.

use std::sync::Arc;

/// A row that lies after the last tenure, by at most this much, is still of its holder: packets to somebody who
/// has just gone. Microseconds.
const AFTER: i64 = 300_000_000;
/// A row that lies before the first tenure, by at most this much, is of its holder: clocks differ, and Kubernetes
/// gives times in whole seconds.
const BEFORE: i64 = 5_000_000;

/// Tenures before the last one that are kept, at most: two that take turns at something would make ever more.
const MAX_BEFORE: usize = 1_000;

/// The tenure has not ended.
pub(super) const OPEN: i64 = i64::MAX;

/// Since when somebody has something, microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) at: i64,
    /// It had it then; otherwise, it had it no earlier.
    pub(super) exact: bool,
}

#[derive(Debug, Clone)]
struct Tenure<T> {
    from: i64,
    until: i64,
    whose: Arc<T>,
}

/// All tenures of one thing, in order of time and without overlap.
#[derive(Debug, Clone)]
pub(super) struct Tenures<T> {
    /// Nearly always the only one.
    last: Tenure<T>,
    before: Vec<Tenure<T>>,
}

impl<T> Tenures<T> {
    /// The first.
    pub(super) fn new(whose: Arc<T>, since: Since) -> Self {
        Self { last: Tenure { from: since.at, until: OPEN, whose }, before: Vec::new() }
    }

    /// A tenure begins; who had it before has it no longer. `now` is the time of the observation.
    pub(super) fn begin(&mut self, whose: Arc<T>, since: Since, now: i64) {
        let last = &mut self.last;
        if last.until == OPEN && Arc::ptr_eq(&last.whose, &whose) {
            return;
        }
        let at = since.at.min(now).max(last.from);
        let from = if last.until == OPEN || since.exact { at } else { at.max(last.until) };
        // What has ended already is no longer for that.
        last.until = last.until.min(from);
        let before = std::mem::replace(last, Tenure { from, until: OPEN, whose });
        // One that never was.
        if before.from < before.until {
            self.before.push(before);
        }
        if self.before.len() > MAX_BEFORE {
            self.before.remove(0);
        }
    }

    /// The holder has it no longer; nothing if it is somebody else by now.
    pub(super) fn end(&mut self, whose: &Arc<T>, at: i64) {
        if self.last.until == OPEN && Arc::ptr_eq(&self.last.whose, whose) {
            self.last.until = at.max(self.last.from);
        }
    }

    /// Another description of the same holder.
    pub(super) fn describe(&mut self, before: &Arc<T>, now: &Arc<T>) {
        for tenure in self.before.iter_mut().chain([&mut self.last]) {
            if Arc::ptr_eq(&tenure.whose, before) {
                tenure.whose = Arc::clone(now);
            }
        }
    }

    /// Forgets the tenures of somebody; true if there are none left.
    pub(super) fn forget(&mut self, whose: &Arc<T>) -> bool {
        self.before.retain(|tenure| !Arc::ptr_eq(&tenure.whose, whose));
        if Arc::ptr_eq(&self.last.whose, whose) {
            match self.before.pop() {
                Some(before) => self.last = before,
                None => return true,
            }
        }
        false
    }

    /// Who had it for most of `[start, end)`.
    pub(super) fn at(&self, start: i64, end: i64) -> Option<&Arc<T>> {
        let last = &self.last;
        if last.from <= start {
            return (start < last.until || start - last.until <= AFTER).then_some(&last.whose);
        }
        let shared = |tenure: &Tenure<T>| tenure.until.min(end) - tenure.from.max(start);
        let all = self.before.iter().chain([last]);
        if let Some(tenure) =
            all.clone().filter(|tenure| shared(tenure) > 0).max_by_key(|t| shared(t))
        {
            return Some(&tenure.whose);
        }
        // It lies between two tenures, or before the first.
        let ended = all.clone().rev().find(|tenure| tenure.until <= start);
        if let Some(tenure) = ended.filter(|tenure| start - tenure.until <= AFTER) {
            return Some(&tenure.whose);
        }
        let next = all.clone().find(|tenure| end <= tenure.from);
        next.filter(|tenure| tenure.from - end <= BEFORE).map(|tenure| &tenure.whose)
    }

    /// Who has it now.
    pub(super) fn current(&self) -> Option<&Arc<T>> {
        (self.last.until == OPEN).then_some(&self.last.whose)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn since(at: i64) -> Since {
        Since { at: at * SECOND, exact: true }
    }

    fn at(tenures: &Tenures<&'static str>, start: i64, end: i64) -> Option<&'static str> {
        tenures.at(start * SECOND, end * SECOND).map(|whose| **whose)
    }

    #[test]
    fn the_interval_decides_not_the_present() {
        let (a, b) = (Arc::new("a"), Arc::new("b"));
        let mut tenures = Tenures::new(Arc::clone(&a), since(100));
        assert_eq!(at(&tenures, 150, 160), Some("a"));
        tenures.end(&a, 200 * SECOND);
        assert_eq!(tenures.current(), None);
        assert_eq!(at(&tenures, 205, 215), Some("a"), "packets to one that is gone");
        tenures.begin(Arc::clone(&b), since(210), 211 * SECOND);
        assert_eq!(at(&tenures, 150, 160), Some("a"), "late rows");
        assert_eq!(at(&tenures, 195, 205), Some("a"));
        assert_eq!(at(&tenures, 198, 212), Some("b"), "two seconds of each");
        assert_eq!(at(&tenures, 205, 215), Some("b"));
        assert_eq!(at(&tenures, 201, 206), Some("a"), "between the two");
        assert_eq!(at(&tenures, 900, 910), Some("b"));
        assert_eq!(at(&tenures, 92, 97), Some("a"), "clocks differ");
        assert_eq!(at(&tenures, 80, 90), None);
        assert_eq!(tenures.current(), Some(&b));
        tenures.end(&b, 300 * SECOND);
        assert_eq!(at(&tenures, 600, 610), Some("b"));
        assert_eq!(at(&tenures, 601, 611), None, "long gone");
    }

    #[test]
    fn whoever_has_it_now_ends_the_tenure_before() {
        let (a, b) = (Arc::new("a"), Arc::new("b"));
        let mut tenures = Tenures::new(Arc::clone(&a), since(100));
        // The end of the first is seen after the begin of the second.
        tenures.begin(Arc::clone(&b), since(200), 203 * SECOND);
        tenures.end(&a, 205 * SECOND);
        assert_eq!(at(&tenures, 198, 199), Some("a"));
        assert_eq!(at(&tenures, 200, 201), Some("b"));
        // A begin of which only the earliest time is known does not shorten what has ended.
        let mut tenures = Tenures::new(Arc::clone(&a), since(100));
        tenures.end(&a, 205 * SECOND);
        tenures.begin(b, Since { at: 200 * SECOND, exact: false }, 206 * SECOND);
        assert_eq!(at(&tenures, 202, 203), Some("a"));
        assert!(!tenures.forget(&a));
        assert_eq!(at(&tenures, 206, 207), Some("b"));
    }

    #[test]
    fn those_who_take_turns_do_not_fill_the_memory() {
        let (a, b) = (Arc::new("a"), Arc::new("b"));
        let mut tenures = Tenures::new(Arc::clone(&a), since(0));
        for turn in 1..3 * MAX_BEFORE as i64 {
            let whose = if turn % 2 == 0 { &a } else { &b };
            tenures.begin(Arc::clone(whose), since(turn), turn * SECOND);
        }
        assert_eq!(tenures.before.len(), MAX_BEFORE);
        let last = 3 * MAX_BEFORE as i64 - 1;
        assert_eq!(at(&tenures, last - 1, last), Some(if last % 2 == 1 { "a" } else { "b" }));
    }

    proptest! {
        #[test]
        fn tenures_never_overlap_and_the_last_to_begin_has_it(
            steps in prop::collection::vec((0usize..4, 0i64..50, any::<bool>()), 1..40)
        ) {
            let names = ["a", "b", "c", "d"].map(Arc::new);
            let mut tenures = Tenures::new(Arc::clone(&names[0]), since(0));
            let mut now = 1;
            for (who, back, ends) in steps {
                now += 7;
                if ends {
                    tenures.end(&names[who], now * SECOND);
                } else {
                    let begun = Since { at: (now - back) * SECOND, exact: back % 2 == 0 };
                    tenures.begin(Arc::clone(&names[who]), begun, now * SECOND);
                    prop_assert_eq!(tenures.current(), Some(&names[who]));
                }
                let all: Vec<_> = tenures.before.iter().chain([&tenures.last]).collect();
                for pair in all.windows(2) {
                    prop_assert!(pair[0].from < pair[0].until && pair[0].until <= pair[1].from);
                }
            }
        }
    }
}
