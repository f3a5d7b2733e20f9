//! The series of one memtable: canonical labels and a number for each.
//!
//! A registry only grows, and begins anew with each memtable: nothing has to find out which series
//! are gone. Whoever holds numbers holds the registry too. Known series are looked up under a lock
//! that readers share; series that are new take it alone.

use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::RwLock;

use super::labels::{LabelsError, check};
use crate::memory::{Budget, Reservation};

/// What a series takes besides its labels.
const OVERHEAD: usize = 48;
/// Bytes of labels that are allocated at a time.
const SLAB: usize = 1 << 18;
/// Series that are looked at under one lock.
const STRIDE: usize = 1024;

/// Why a series cannot be taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RegistryError {
    Labels(LabelsError),
    /// No memory is left, or no number.
    Full,
}

/// Numbers of series, from 0 on.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    hasher: RandomState,
    series: RwLock<Series>,
}

#[derive(Debug, Default)]
struct Series {
    /// Upper half of the hash, and number.
    numbers: HashTable<(u32, u32)>,
    places: Vec<Place>,
    slabs: Vec<Vec<u8>>,
    reserved: Option<Reservation>,
}

/// Where the labels of a series are.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    slab: u32,
    start: u32,
    length: u32,
}

impl Series {
    fn find(&self, hash: u64, labels: &[u8]) -> Option<u32> {
        let same = |(upper, number): &(u32, u32)| {
            *upper == upper_half(hash) && self.labels(*number) == Some(labels)
        };
        self.numbers.find(hash, same).map(|(_, number)| *number)
    }

    fn labels(&self, number: u32) -> Option<&[u8]> {
        let place = self.places.get(usize::try_from(number).ok()?)?;
        let slab = self.slabs.get(usize::try_from(place.slab).ok()?)?;
        let start = usize::try_from(place.start).ok()?;
        slab.get(start..)?.get(..usize::try_from(place.length).ok()?)
    }

    fn insert(&mut self, hash: u64, labels: &[u8]) -> Option<u32> {
        let number = u32::try_from(self.places.len()).ok().filter(|n| *n < u32::MAX)?;
        let length = u32::try_from(labels.len()).ok()?;
        let fits = |slab: &Vec<u8>| slab.capacity() - slab.len() >= labels.len();
        if !self.slabs.last().is_some_and(fits) {
            self.slabs.push(Vec::with_capacity(SLAB.max(labels.len())));
        }
        let slab = u32::try_from(self.slabs.len() - 1).ok()?;
        let bytes = self.slabs.last_mut()?;
        let start = u32::try_from(bytes.len()).ok()?;
        bytes.extend_from_slice(labels);
        self.places.push(Place { hash, slab, start, length });
        let places = &self.places;
        let rehash = |(_, number): &(u32, u32)| {
            usize::try_from(*number).ok().and_then(|n| places.get(n)).map_or(0, |p| p.hash)
        };
        self.numbers.insert_unique(hash, (upper_half(hash), number), rehash);
        Some(number)
    }
}

fn upper_half(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default()
}

impl Registry {
    /// Numbers of series by their canonical labels, in order. Those that are new are taken in, if
    /// they are such labels and `budget` has room for them, or by force.
    pub(crate) fn numbers<'a>(
        &self,
        labels: impl ExactSizeIterator<Item = &'a [u8]>,
        budget: &Arc<Budget>,
        by_force: bool,
    ) -> Result<Vec<u32>, RegistryError> {
        let mut numbers = Vec::with_capacity(labels.len());
        let mut unknown = Vec::new();
        {
            let series = self.series.read();
            for labels in labels {
                let hash = self.hasher.hash_one(labels);
                let number = series.find(hash, labels);
                if number.is_none() {
                    unknown.push((numbers.len(), hash, labels));
                }
                numbers.push(number.unwrap_or_default());
            }
        }
        if unknown.is_empty() {
            return Ok(numbers);
        }
        let mut bytes = 0;
        for (_, _, labels) in &unknown {
            check(labels).map_err(RegistryError::Labels)?;
            bytes += labels.len() + OVERHEAD;
        }
        let reserved = if by_force { Some(budget.force(bytes)) } else { budget.reserve(bytes) };
        let mut reserved = reserved.ok_or(RegistryError::Full)?;
        let mut series = self.series.write();
        let mut taken = 0;
        for (at, hash, labels) in unknown {
            // Another request may have brought it meanwhile, or this one twice.
            let number = match series.find(hash, labels) {
                Some(number) => number,
                None => {
                    taken += labels.len() + OVERHEAD;
                    series.insert(hash, labels).ok_or(RegistryError::Full)?
                }
            };
            if let Some(slot) = numbers.get_mut(at) {
                *slot = number;
            }
        }
        reserved.release(bytes - taken);
        match &mut series.reserved {
            Some(all) => all.absorb(reserved),
            none => *none = Some(reserved),
        }
        Ok(numbers)
    }

    /// Number of series.
    pub(crate) fn len(&self) -> usize {
        self.series.read().places.len()
    }

    /// Calls `each` with the number and the labels of the series in a range of numbers. It must not ask
    /// the registry for anything.
    pub(crate) fn range(&self, numbers: Range<usize>, mut each: impl FnMut(usize, &[u8])) {
        let Range { start, end } = numbers;
        for start in (start..end).step_by(STRIDE) {
            // New series need not wait until all are looked at.
            let series = self.series.read();
            for number in start..end.min(start + STRIDE) {
                if let Some(labels) = u32::try_from(number).ok().and_then(|n| series.labels(n)) {
                    each(number, labels);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(n: u32) -> Vec<u8> {
        let mut out = Vec::new();
        super::super::labels::write_canonical([("n", n.to_string().as_str())], &mut out).unwrap();
        out
    }

    fn numbers(
        registry: &Registry,
        series: &[Vec<u8>],
        budget: &Arc<Budget>,
    ) -> Result<Vec<u32>, RegistryError> {
        registry.numbers(series.iter().map(Vec::as_slice), budget, false)
    }

    #[test]
    fn a_series_has_one_number() {
        let (registry, budget) = (Registry::default(), Budget::new(1 << 30));
        let first: Vec<_> = (0..5000).map(labels).collect();
        let got = numbers(&registry, &first, &budget).unwrap();
        assert_eq!(got, (0..5000).collect::<Vec<u32>>());
        let again = [labels(7), labels(5000), labels(4999), labels(5000)];
        assert_eq!(numbers(&registry, &again, &budget).unwrap(), [7, 5000, 4999, 5000]);
        assert_eq!(registry.len(), 5001);
        let mut seen = Vec::new();
        registry.range(0..6000, |number, labels| seen.push((number, labels.to_vec())));
        assert_eq!(seen.len(), 5001);
        assert!(seen.iter().all(|(n, l)| *l == labels(u32::try_from(*n).unwrap())));
    }

    #[test]
    fn its_bytes_count_and_are_given_back() {
        let budget = Budget::new(1000);
        let registry = Registry::default();
        numbers(&registry, &[labels(1), labels(1), labels(2)], &budget).unwrap();
        assert_eq!(budget.used(), 2 * (4 + OVERHEAD));
        let many: Vec<_> = (0..100).map(labels).collect();
        numbers(&registry, &many, &budget).expect("less than half was used");
        let more: Vec<_> = (100..110).map(labels).collect();
        assert_eq!(numbers(&registry, &more, &budget), Err(RegistryError::Full));
        assert_eq!(
            registry.numbers(more.iter().map(Vec::as_slice), &budget, true).unwrap().len(),
            10
        );
        drop(registry);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_no_label_set_is_not_taken_in() {
        let (registry, budget) = (Registry::default(), Budget::new(1 << 20));
        let refused = numbers(&registry, &[labels(1), b"\x01b\x01".to_vec()], &budget);
        assert!(matches!(refused, Err(RegistryError::Labels(_))), "{refused:?}");
        assert_eq!((registry.len(), budget.used()), (0, 0));
    }
}
