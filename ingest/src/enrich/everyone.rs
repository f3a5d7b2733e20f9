//! Those whose names the rows of a batch get.
//!
//! Most of them share their workload and their node with others, so the texts of those are looked at once for each workload
//! and node, not for each pod.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::column::{Number, Over};
use crate::names::{Seat, Spot, Who};

/// Whose name a row gets; 0 stands for nobody's.
pub(super) type Whose = u32;

/// Things by their places in memory, of which each has one.
struct Distinct<'a, T> {
    all: Vec<&'a T>,
    numbers: HashMap<usize, u32, RandomState>,
    /// Of each of those that were added.
    of: Vec<u32>,
}

impl<'a, T> Distinct<'a, T> {
    fn new() -> Self {
        Self { all: Vec::new(), numbers: HashMap::default(), of: Vec::new() }
    }

    fn add(&mut self, thing: &'a T) {
        let all = &mut self.all;
        let number = *self.numbers.entry(std::ptr::from_ref(thing).addr()).or_insert_with(|| {
            all.push(thing);
            u32::try_from(all.len() - 1).unwrap_or(u32::MAX)
        });
        self.of.push(number);
    }

    fn numbers(&self, number: impl FnMut(&'a T) -> Number) -> Vec<Number> {
        let numbers: Vec<Number> = self.all.iter().copied().map(number).collect();
        let of = self.of.iter().map(|of| numbers.get(*of as usize).copied());
        let of = of.map(|number| number.unwrap_or(Number::NOTHING));
        std::iter::once(Number::NOTHING).chain(of).collect()
    }
}

/// See the module's text.
pub(super) struct Everyone<'a> {
    pods: Vec<&'a str>,
    seats: Distinct<'a, Seat>,
    spots: Distinct<'a, Spot>,
    /// Their names count only where the agent has none.
    weak: Vec<bool>,
}

impl<'a> Everyone<'a> {
    pub(super) fn new() -> Self {
        let (seats, spots) = (Distinct::new(), Distinct::new());
        Self { pods: Vec::new(), seats, spots, weak: Vec::new() }
    }

    pub(super) fn add(&mut self, who: Who<'a>, weak: bool) -> Whose {
        self.pods.push(who.pod);
        self.seats.add(who.seat);
        self.spots.add(who.spot);
        self.weak.push(weak);
        Whose::try_from(self.pods.len()).unwrap_or(0)
    }

    pub(super) fn is_nobody(&self) -> bool {
        self.pods.is_empty()
    }

    pub(super) fn is_weak(&self, whose: Whose) -> bool {
        let at = (whose as usize).checked_sub(1);
        at.and_then(|at| self.weak.get(at)).is_some_and(|weak| *weak)
    }

    /// Numbers of their pods' names, by [`Whose`].
    pub(super) fn pods(&self, over: &mut Over<'a>) -> Vec<Number> {
        over.reserve(self.pods.len());
        let numbers = self.pods.iter().map(|pod| over.number(pod));
        std::iter::once(Number::NOTHING).chain(numbers).collect()
    }

    /// Numbers of a text of their workloads, by [`Whose`].
    pub(super) fn seats(
        &self,
        over: &mut Over<'a>,
        text: impl Fn(&'a Seat) -> &'a str,
    ) -> Vec<Number> {
        self.seats.numbers(|seat| over.number(text(seat)))
    }

    /// Numbers of a text of where they are, by [`Whose`].
    pub(super) fn spots(&self, over: &mut Over<'a>, text: fn(&Spot) -> &str) -> Vec<Number> {
        self.spots.numbers(|spot| over.number(text(spot)))
    }
}
