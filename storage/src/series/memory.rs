//! Points of a table of series that are in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, UInt32Type};

use super::columns::all_match;
use super::registry::Registry;
use super::{SeriesPoints, settle};
use crate::hidden::Hidden;
use crate::window::Window;

/// Rows of memory that were numbered by one registry.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) registry: Arc<Registry>,
    pub(crate) batches: Vec<RecordBatch>,
}

impl Run {
    /// The columns of its batches: number of the series, time in milliseconds, value.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&[u32], &[i64], &[f64])> {
        self.batches.iter().filter_map(columns)
    }
}

/// The columns of a batch of points in memory.
pub(crate) fn columns(batch: &RecordBatch) -> Option<(&[u32], &[i64], &[f64])> {
    let [series, times, values] = batch.columns() else { return None };
    Some((
        series.as_primitive_opt::<UInt32Type>()?.values(),
        times.as_primitive_opt::<Int64Type>()?.values(),
        values.as_primitive_opt::<Float64Type>()?.values(),
    ))
}

/// First and last time of the points in each window, microseconds.
pub(crate) fn spans(window: Window, runs: &[Run]) -> Vec<(i64, i64)> {
    let mut spans = HashMap::new();
    for time in runs.iter().flat_map(Run::columns).flat_map(|(_, times, _)| times) {
        let time = time.saturating_mul(1000);
        let (min, max) = spans.entry(window.of(time)).or_insert((time, time));
        *min = time.min(*min);
        *max = time.max(*max);
    }
    spans.into_values().collect()
}

/// No place for a series that is not wanted.
const UNWANTED: u32 = u32::MAX;

/// The points of the series that `pick` wants, in a range of milliseconds.
pub(crate) fn read(
    runs: &[Run],
    range: &RangeInclusive<i64>,
    hidden: &[Arc<Hidden>],
    pick: &mut dyn FnMut(&[u8]) -> bool,
) -> Vec<SeriesPoints> {
    // Two registries may have the same series.
    let mut found: BTreeMap<Vec<u8>, SeriesPoints> = BTreeMap::new();
    for run in runs {
        let mut places = vec![UNWANTED; run.registry.len()];
        let mut wanted: Vec<SeriesPoints> = Vec::new();
        run.registry.range(0..places.len(), |number, labels| {
            if let Some(slot) = places.get_mut(number)
                && pick(labels)
            {
                *slot = u32::try_from(wanted.len()).unwrap_or(UNWANTED);
                wanted.push(SeriesPoints { labels: labels.to_vec(), ..SeriesPoints::default() });
            }
        });
        if wanted.is_empty() {
            continue;
        }
        for (series, times, values) in run.columns() {
            for ((series, time), value) in series.iter().zip(times).zip(values) {
                let place = usize::try_from(*series).ok().and_then(|n| places.get(n));
                if place.is_none_or(|place| *place == UNWANTED) || !range.contains(time) {
                    continue;
                }
                let place = place.and_then(|place| usize::try_from(*place).ok());
                if let Some(series) = place.and_then(|place| wanted.get_mut(place)) {
                    series.times.push(*time);
                    series.values.push(*value);
                }
            }
        }
        for series in wanted.into_iter().filter(|s| !s.times.is_empty()) {
            match found.get_mut(&series.labels) {
                Some(known) => {
                    known.times.extend(series.times);
                    known.values.extend(series.values);
                }
                None => {
                    found.insert(series.labels.clone(), series);
                }
            }
        }
    }
    let mut found: Vec<_> = found.into_values().collect();
    for series in &mut found {
        settle(&mut series.times, &mut series.values);
        for hidden in hidden {
            let hides = all_match(&hidden.matchers, &series.labels)
                && !hidden.unless.iter().any(|kept| all_match(kept, &series.labels));
            if hides {
                hide(hidden, &mut series.times, &mut series.values);
            }
        }
    }
    found.retain(|series| !series.times.is_empty());
    found
}

/// Removes the points in the range of time that is hidden.
pub(crate) fn hide(hidden: &Hidden, times: &mut Vec<i64>, values: &mut Vec<f64>) {
    let is_hidden = |time: i64| {
        let time = time.saturating_mul(1000);
        hidden.after < time && time <= hidden.until
    };
    // In order of time, what is hidden is one stretch.
    let start = times.partition_point(|t| t.saturating_mul(1000) <= hidden.after);
    let end = times.partition_point(|t| t.saturating_mul(1000) <= hidden.until);
    debug_assert!(times.iter().skip(start).take(end.saturating_sub(start)).all(|t| is_hidden(*t)));
    if start < end {
        times.drain(start..end);
        values.drain(start..end.min(values.len()));
    }
}
