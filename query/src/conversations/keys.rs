//! Numbers for keys of several small numbers.
//!
//! Files are sorted alike, so that rows come in runs of one key, and the runs of one file in the order of those of the
//! file before. So the key of the last row is tried first, then the one that came after it the last time; only what is
//! neither is looked for in a table.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Bytes of a key beside its own: its place in the table, at half load.
const OVERHEAD: usize = 10;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Keys {
    width: usize,
    /// Of each key its numbers, one after the other.
    all: Vec<u32>,
    count: usize,
    table: HashTable<u32>,
    hasher: RandomState,
}

/// How far one way through the keys has come, and which came after which on it.
#[derive(Debug, Default)]
pub(super) struct Walk {
    last: usize,
    after: Vec<u32>,
}

impl Walk {
    fn go(&mut self, number: usize) -> usize {
        if number != self.last {
            if self.after.len() <= self.last {
                self.after.resize(self.last + 1, u32::MAX);
            }
            if let Some(after) = self.after.get_mut(self.last) {
                *after = u32::try_from(number).unwrap_or(u32::MAX);
            }
            self.last = number;
        }
        number
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.after.len() * size_of::<u32>()
    }
}

impl Keys {
    /// No keys yet, of so many numbers each.
    pub(super) fn new(width: usize) -> Self {
        let (table, hasher) = (HashTable::new(), RandomState::default());
        Self { width, all: Vec::new(), count: 0, table, hasher }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Numbers of each key.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// A key by its number; empty for one that there is not.
    pub(super) fn get(&self, number: usize) -> &[u32] {
        key(&self.all, self.width, number)
    }

    /// The number of the next key on a way, a new one if need be.
    pub(super) fn number(&mut self, walk: &mut Walk, wanted: &[u32]) -> usize {
        if let Some(number) = self.find_near(walk, wanted) {
            return walk.go(number);
        }
        let (all, width, hasher) = (&self.all, self.width, &self.hasher);
        let hash = hasher.hash_one(wanted);
        let is = |number: &u32| are_same(key(all, width, *number as usize), wanted);
        if let Some(number) = self.table.find(hash, is) {
            return walk.go(*number as usize);
        }
        let hash_of = |number: &u32| hasher.hash_one(key(all, width, *number as usize));
        self.table.insert_unique(hash, u32::try_from(self.count).unwrap_or(u32::MAX), hash_of);
        self.all.extend_from_slice(wanted);
        self.count += 1;
        walk.go(self.count - 1)
    }

    /// The number of a key, if it has one.
    pub(super) fn find(&self, wanted: &[u32]) -> Option<usize> {
        let is = |number: &u32| are_same(self.get(*number as usize), wanted);
        self.table.find(self.hasher.hash_one(wanted), is).map(|number| *number as usize)
    }

    /// The number of the next key on a way, if it has one.
    pub(super) fn find_next(&self, walk: &mut Walk, wanted: &[u32]) -> Option<usize> {
        let found = self.find_near(walk, wanted).or_else(|| self.find(wanted))?;
        Some(walk.go(found))
    }

    fn find_near(&self, walk: &Walk, wanted: &[u32]) -> Option<usize> {
        let is = |number: &usize| *number < self.count && are_same(self.get(*number), wanted);
        let next = || walk.after.get(walk.last).map(|number| *number as usize);
        Some(walk.last).filter(is).or_else(|| next().filter(is))
    }

    /// Bytes that they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.count * (self.width * size_of::<u32>() + OVERHEAD)
    }
}

fn key(all: &[u32], width: usize, number: usize) -> &[u32] {
    all.get(number * width..(number + 1) * width).unwrap_or(&[])
}

/// Keys are short: a loop ends sooner than a comparison of memory begins.
#[inline]
fn are_same(a: &[u32], b: &[u32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_one_number_in_whatever_order_they_come() {
        let (mut keys, mut walk) = (Keys::new(2), Walk::default());
        let all: Vec<[u32; 2]> = (0..1000).map(|n| [n % 40, n / 40]).collect();
        for (number, key) in all.iter().enumerate() {
            assert_eq!(keys.number(&mut walk, key), number);
            assert_eq!(keys.number(&mut walk, key), number, "the last one");
        }
        for _ in 0..2 {
            for (number, key) in all.iter().enumerate() {
                assert_eq!(keys.number(&mut walk, key), number, "the one after the last one");
            }
        }
        let mut back = Walk::default();
        for _ in 0..2 {
            for (number, key) in all.iter().enumerate().rev() {
                assert_eq!(keys.find_next(&mut back, key), Some(number));
                assert_eq!(keys.find(key), Some(number));
                assert_eq!(keys.get(number), key);
            }
        }
        assert_eq!((keys.find(&[40, 0]), keys.find_next(&mut back, &[40, 0])), (None, None));
        assert_eq!(keys.len(), 1000);
        assert_eq!(keys.get(1000), [0; 0]);
    }

    #[test]
    fn without_numbers_there_is_one_key() {
        let (mut keys, mut walk) = (Keys::new(0), Walk::default());
        assert_eq!((keys.find(&[]), keys.len()), (None, 0));
        let again = keys.number(&mut walk, &[]);
        assert_eq!((keys.number(&mut walk, &[]), again, keys.len()), (0, 0, 1));
        assert_eq!(keys.find(&[]), Some(0));
    }
}
