//! Numbers for keys of several small numbers.
//!
//! Files are sorted alike, so that rows come in runs of one key, and the runs of one file in the order of those of the
//! file before. So the key of the last row is tried first, then the one that came after it at first sight; only what is
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
    last: usize,
}

impl Keys {
    /// No keys yet, of so many numbers each.
    pub(super) fn new(width: usize) -> Self {
        let (table, hasher) = (HashTable::new(), RandomState::default());
        Self { width, all: Vec::new(), count: 0, table, hasher, last: 0 }
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

    /// The number of a key, a new one if need be.
    pub(super) fn number(&mut self, wanted: &[u32]) -> usize {
        if let Some(number) = self.find_near(wanted, self.last) {
            self.last = number;
            return number;
        }
        let (all, width, hasher) = (&self.all, self.width, &self.hasher);
        let hash = hasher.hash_one(wanted);
        let is = |number: &u32| are_same(key(all, width, *number as usize), wanted);
        let number = if let Some(number) = self.table.find(hash, is) {
            *number as usize
        } else {
            let hash_of = |number: &u32| hasher.hash_one(key(all, width, *number as usize));
            self.table.insert_unique(hash, u32::try_from(self.count).unwrap_or(u32::MAX), hash_of);
            self.all.extend_from_slice(wanted);
            self.count += 1;
            self.count - 1
        };
        self.last = number;
        number
    }

    /// The number of a key, if it has one.
    pub(super) fn find(&self, wanted: &[u32]) -> Option<usize> {
        let is = |number: &u32| are_same(self.get(*number as usize), wanted);
        self.table.find(self.hasher.hash_one(wanted), is).map(|number| *number as usize)
    }

    /// The same for one of many keys that come in about the same order as they did at first: `last` is the number of the one
    /// before.
    pub(super) fn find_after(&self, last: &mut usize, wanted: &[u32]) -> Option<usize> {
        let found = self.find_near(wanted, *last).or_else(|| self.find(wanted))?;
        *last = found;
        Some(found)
    }

    fn find_near(&self, wanted: &[u32], last: usize) -> Option<usize> {
        let near = [last, last + 1];
        near.into_iter().find(|number| *number < self.count && are_same(self.get(*number), wanted))
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
        let mut keys = Keys::new(2);
        let all: Vec<[u32; 2]> = (0..1000).map(|n| [n % 40, n / 40]).collect();
        for (number, key) in all.iter().enumerate() {
            assert_eq!(keys.number(key), number);
            assert_eq!(keys.number(key), number, "the last one");
        }
        for (number, key) in all.iter().enumerate() {
            assert_eq!(keys.number(key), number, "the one after the last one");
        }
        for (number, key) in all.iter().enumerate().rev() {
            assert_eq!((keys.number(key), keys.find(key)), (number, Some(number)));
            assert_eq!(keys.get(number), key);
        }
        assert_eq!(keys.find(&[40, 0]), None);
        assert_eq!(keys.len(), 1000);
        assert_eq!(keys.get(1000), [0; 0]);
    }

    #[test]
    fn without_numbers_there_is_one_key() {
        let mut keys = Keys::new(0);
        assert_eq!((keys.find(&[]), keys.len()), (None, 0));
        assert_eq!((keys.number(&[]), keys.number(&[]), keys.len()), (0, 0, 1));
        assert_eq!(keys.find(&[]), Some(0));
    }
}
