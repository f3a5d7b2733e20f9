//! Which blocks are in the cache, and which go when it is full. No I/O.

use std::collections::{BTreeMap, HashMap};

/// What is known of a block's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Bytes of the file.
    pub(crate) size: u64,
    /// Bytes of the object that the block is of, once the file's checksum was found right in this
    /// process; what was not written or checked since the start may be torn.
    pub(crate) checked: Option<u64>,
}

/// Names of blocks in the order of their last use, within a bound of bytes.
#[derive(Debug)]
pub(crate) struct Lru {
    limit: u64,
    used: u64,
    clock: u64,
    entries: HashMap<String, (Entry, u64)>,
    order: BTreeMap<u64, String>,
}

impl Lru {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: 0, clock: 0, entries: HashMap::new(), order: BTreeMap::new() }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Enters a block as the last one used. Returns the names that have to go for it; the block's own
    /// if it is larger than everything.
    pub(crate) fn insert(&mut self, name: &str, entry: Entry) -> Vec<String> {
        self.remove(name);
        if entry.size > self.limit {
            return vec![name.to_owned()];
        }
        let mut gone = Vec::new();
        while self.used + entry.size > self.limit {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some((old, _)) = self.entries.remove(&oldest) {
                self.used -= old.size;
            }
            gone.push(oldest);
        }
        self.clock += 1;
        self.used += entry.size;
        self.order.insert(self.clock, name.to_owned());
        self.entries.insert(name.to_owned(), (entry, self.clock));
        gone
    }

    /// Looks a block up, as its last use.
    pub(crate) fn touch(&mut self, name: &str) -> Option<Entry> {
        let (entry, at) = self.entries.get_mut(name)?;
        self.clock += 1;
        if let Some(name) = self.order.remove(at) {
            self.order.insert(self.clock, name);
        }
        *at = self.clock;
        Some(*entry)
    }

    /// Notes that a block's checksum is right.
    pub(crate) fn check(&mut self, name: &str, object_size: u64) {
        if let Some((entry, _)) = self.entries.get_mut(name) {
            entry.checked = Some(object_size);
        }
    }

    /// Takes a block out; returns if it was there.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let Some((entry, at)) = self.entries.remove(name) else { return false };
        self.order.remove(&at);
        self.used -= entry.size;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(size: u64) -> Entry {
        Entry { size, checked: None }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut lru = Lru::new(10);
        assert!(lru.insert("a", entry(4)).is_empty());
        assert!(lru.insert("b", entry(4)).is_empty());
        lru.touch("a").unwrap();
        assert_eq!(lru.insert("c", entry(4)), ["b"]);
        assert_eq!(lru.insert("d", entry(10)), ["a", "c"]);
        assert_eq!(lru.insert("e", entry(11)), ["e"], "what is larger than all is not kept");
        assert!(lru.touch("d").is_some() && lru.touch("e").is_none());
        lru.check("d", 99);
        assert_eq!(lru.touch("d").unwrap().checked, Some(99));
        assert!(lru.remove("d") && !lru.remove("d"));
        assert_eq!(lru.used(), 0);
    }

    proptest! {
        #[test]
        fn the_bound_holds_whatever_happens(
            steps in proptest::collection::vec((0u8..3, 0u8..20, 0u64..40), 0..200),
        ) {
            let mut lru = Lru::new(100);
            let mut files = HashMap::<String, u64>::new();
            for (what, name, size) in steps {
                let name = name.to_string();
                match what {
                    0 => {
                        files.insert(name.clone(), size);
                        for gone in lru.insert(&name, entry(size)) {
                            prop_assert!(files.remove(&gone).is_some());
                        }
                    }
                    1 => prop_assert_eq!(lru.touch(&name).map(|e| e.size), files.get(&name).copied()),
                    _ => prop_assert_eq!(lru.remove(&name), files.remove(&name).is_some()),
                }
                prop_assert_eq!(lru.used(), files.values().sum::<u64>());
                prop_assert!(lru.used() <= 100);
                prop_assert_eq!(lru.order.len(), lru.entries.len());
            }
        }
    }
}
