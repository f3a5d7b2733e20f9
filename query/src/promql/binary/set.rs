//! `and`, `or`, `unless`.

use std::collections::HashMap;

use crate::promql::error::Error;
use crate::promql::expr::{BinaryOp, Matching};
use crate::promql::source::{Labels, StepSeries};
use crate::promql::vector;

/// Applies a set operator, at each evaluation time on its own.
///
/// # Errors
/// [`Error::Execution`] if `or` puts two series of the same labels together.
pub(super) fn apply(
    op: BinaryOp,
    matching: &Matching,
    mut lhs: Vec<StepSeries>,
    mut rhs: Vec<StepSeries>,
    steps: usize,
) -> Result<Vec<StepSeries>, Error> {
    if op == BinaryOp::Or {
        let present = presence(matching, &lhs, steps);
        for series in &mut rhs {
            mask(matching, series, &present, false);
        }
        // Both sides may hold a series of the same labels, at different times.
        lhs.extend(rhs);
        vector::drop_empty(&mut lhs);
        return vector::joined(lhs);
    }
    let present = presence(matching, &rhs, steps);
    for series in &mut lhs {
        mask(matching, series, &present, op == BinaryOp::And);
    }
    vector::drop_empty(&mut lhs);
    Ok(lhs)
}

/// For each match group the steps at which some series has a value.
fn presence(matching: &Matching, side: &[StepSeries], steps: usize) -> HashMap<Labels, Vec<bool>> {
    let mut groups: HashMap<Labels, Vec<bool>> = HashMap::new();
    for series in side {
        let group =
            groups.entry(matching.key(&series.labels)).or_insert_with(|| vec![false; steps]);
        for (step, _) in series.values.present() {
            if let Some(present) = group.get_mut(step) {
                *present = true;
            }
        }
    }
    groups
}

/// Keeps a series' values only where the presence of its group is `wanted`.
fn mask(
    matching: &Matching,
    series: &mut StepSeries,
    present: &HashMap<Labels, Vec<bool>>,
    wanted: bool,
) {
    let group = present.get(&matching.key(&series.labels));
    series.values.update(|step, value| {
        let is_present = group.and_then(|group| group.get(step)).copied().unwrap_or(false);
        (is_present == wanted).then_some(value)
    });
}
