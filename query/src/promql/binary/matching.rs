//! Arithmetic and comparison between two vectors: series find each other by their match labels.

use std::collections::HashMap;

use super::{drops_name, element};
use crate::promql::error::Error;
use crate::promql::expr::{Binary, Many, Matching};
use crate::promql::source::{Labels, StepSeries};
use crate::promql::vector::Collector;

impl Matching {
    /// The labels by which a series is matched.
    pub(super) fn key(&self, labels: &Labels) -> Labels {
        if self.on { labels.only(&self.labels) } else { labels.ignoring(&self.labels) }
    }
}

/// Applies an operation that is not a set operator.
///
/// # Errors
/// [`Error::Execution`] when a match group has more series on a side than the operation allows.
pub(super) fn apply(
    operation: &Binary,
    lhs: &[StepSeries],
    rhs: &[StepSeries],
    steps: usize,
) -> Result<Vec<StepSeries>, Error> {
    let matching = &operation.matching;
    let swapped = matching.many == Many::Right;
    let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
    let mut groups: HashMap<Labels, Group<'_>> = HashMap::new();
    for series in one {
        groups.entry(matching.key(&series.labels)).or_default().one.push(series);
    }
    let mut matters = vec![false; steps];
    for series in many {
        for (step, _) in series.values.present() {
            if let Some(matters) = matters.get_mut(step) {
                *matters = true;
            }
        }
    }
    for (key, group) in &mut groups {
        group.choose(key, &matters, if swapped { "left" } else { "right" })?;
    }
    let mut out = Collector::new(steps);
    for series in many {
        let Some(group) = groups.get_mut(&matching.key(&series.labels)) else { continue };
        // The result's place for each partner that this series meets over time.
        let mut slots: Vec<Option<usize>> = vec![None; group.one.len()];
        for (step, value) in series.values.present() {
            let Some((partner, other)) = group.at(step) else { continue };
            let (l, r) = if swapped { (other, value) } else { (value, other) };
            let Some(result) = element(operation, l, r) else { continue };
            if matching.many == Many::Neither && group.is_taken(step) {
                return Err(Error::Execution(
                    "multiple matches for labels: many-to-one matching must be explicit \
                     (group_left/group_right)"
                        .to_owned(),
                ));
            }
            let slot = match slots.get(partner).copied().flatten() {
                Some(slot) => slot,
                None => {
                    let partner_labels = group.one.get(partner).map(|series| &series.labels);
                    let labels = result_labels(operation, &series.labels, partner_labels);
                    let slot = out.slot(labels);
                    if let Some(place) = slots.get_mut(partner) {
                        *place = Some(slot);
                    }
                    slot
                }
            };
            if !out.put(slot, step, result) {
                return Err(Error::Execution(if matching.many == Many::Neither {
                    "vector cannot contain metrics with the same labelset".to_owned()
                } else {
                    "multiple matches for labels: grouping labels must ensure unique matches"
                        .to_owned()
                }));
            }
        }
    }
    Ok(out.finish())
}

/// The "one" side of a match group.
#[derive(Debug, Default)]
struct Group<'a> {
    one: Vec<&'a StepSeries>,
    /// At each step the series that has a value.
    present: Vec<Option<usize>>,
    /// At each step whether a series of the other side has met it.
    taken: Vec<bool>,
}

impl Group<'_> {
    /// Finds the one series that has a value at each step. More than one are wrong where it matters:
    /// where the other side has any value.
    fn choose(&mut self, key: &Labels, matters: &[bool], side: &str) -> Result<(), Error> {
        self.present = vec![None; matters.len()];
        self.taken = vec![false; matters.len()];
        for (index, series) in self.one.iter().enumerate() {
            for (step, _) in series.values.present() {
                let places = (self.present.get_mut(step), matters.get(step));
                let (Some(place), Some(matters)) = places else { continue };
                if let (Some(first), true) = (*place, *matters) {
                    let first = self.one.get(first).map_or(&series.labels, |first| &first.labels);
                    return Err(Error::Execution(format!(
                        "found duplicate series for the match group {key} on the {side} hand-side \
                         of the operation: [{}, {first}];many-to-many matching not allowed: matching \
                         labels must be unique on one side",
                        series.labels
                    )));
                }
                *place = Some(index);
            }
        }
        Ok(())
    }

    /// The series that has a value at a step, and the value.
    fn at(&self, step: usize) -> Option<(usize, f64)> {
        let index = self.present.get(step).copied().flatten()?;
        let value = self.one.get(index)?.values.get(step)?;
        Some((index, value))
    }

    /// Marks a step as met; true if it was already.
    fn is_taken(&mut self, step: usize) -> bool {
        self.taken.get_mut(step).is_some_and(|taken| std::mem::replace(taken, true))
    }
}

/// The labels of a result: those of the "many" side, reduced to the match labels when neither side is
/// many, with the labels that `group_left` or `group_right` name taken from the other side.
fn result_labels(operation: &Binary, many: &Labels, one: Option<&Labels>) -> Labels {
    let matching = &operation.matching;
    // With `bool` the name goes once more, after labels were included.
    let mut labels = if drops_name(operation) { many.nameless() } else { many.clone() };
    if matching.many == Many::Neither {
        labels = if matching.on {
            labels.only(&matching.labels)
        } else {
            labels.except(&matching.labels)
        };
    }
    for name in &matching.include {
        labels.set(name, one.and_then(|one| one.get(name)).unwrap_or_default());
    }
    if operation.returns_bool { labels.nameless() } else { labels }
}
