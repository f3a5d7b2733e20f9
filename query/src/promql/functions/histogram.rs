//! `histogram_quantile` and `histogram_fraction` over classic buckets.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::Scalars;
use crate::promql::aggregate::note_quantile;
use crate::promql::error::Error;
use crate::promql::expr::{Call, Place};
use crate::promql::histogram::{self, Bucket};
use crate::promql::labels::BUCKET_BOUND;
use crate::promql::notes::Notes;
use crate::promql::number::{go, parse_bound};
use crate::promql::source::{Labels, StepSeries};
use crate::promql::values::Values;
use crate::promql::vector;

/// `histogram_quantile`
///
/// # Errors
/// [`Error::Execution`] if histograms of different metrics become equal.
pub(super) fn quantile(
    series: Vec<StepSeries>,
    scalars: &Scalars,
    steps: usize,
    call: &Call,
    notes: &Mutex<Notes>,
) -> Result<Vec<StepSeries>, Error> {
    scalars.0.iter().flatten().for_each(|q| note_quantile(*q, call.place(0), notes));
    each(series, steps, call.place(1), notes, |metric, step, buckets| {
        let q = scalars.at(step).first().copied().unwrap_or(f64::NAN);
        let (value, repaired) = histogram::quantile(q, buckets);
        if repaired {
            notes.lock().inform(
                call.place(1),
                format_args!(
                    "input to histogram_quantile needed to be fixed for monotonicity (see \
                     https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) \
                     for metric name {}",
                    go::quoted(metric)
                ),
            );
        }
        value
    })
}

/// `histogram_fraction`
///
/// # Errors
/// [`Error::Execution`] if histograms of different metrics become equal.
pub(super) fn fraction(
    series: Vec<StepSeries>,
    scalars: &Scalars,
    steps: usize,
    call: &Call,
    notes: &Mutex<Notes>,
) -> Result<Vec<StepSeries>, Error> {
    each(series, steps, call.place(2), notes, |_, step, buckets| {
        match scalars.at(step).as_slice() {
            [lower, upper, ..] => histogram::fraction(*lower, *upper, buckets),
            _ => f64::NAN,
        }
    })
}

/// Gathers the buckets of each histogram and applies `f` at each step at which it has any.
fn each(
    series: Vec<StepSeries>,
    steps: usize,
    place: Place,
    notes: &Mutex<Notes>,
    f: impl Fn(&str, usize, Vec<Bucket>) -> f64,
) -> Result<Vec<StepSeries>, Error> {
    let mut index: HashMap<Labels, usize> = HashMap::new();
    let mut histograms: Vec<Histogram> = Vec::new();
    for one in series {
        let le = one.labels.get(BUCKET_BOUND).unwrap_or_default();
        let Some(bound) = parse_bound(le) else {
            notes.lock().warn(
                place,
                format_args!(
                    "bucket label \"le\" is missing or has a malformed value of {} for metric name {}",
                    go::quoted(le),
                    go::quoted(one.labels.metric())
                ),
            );
            continue;
        };
        let mut key = one.labels;
        key.set(BUCKET_BOUND, "");
        let at = *index.entry(key).or_insert_with_key(|key| {
            histograms.push(Histogram { labels: key.clone(), buckets: Vec::new() });
            histograms.len() - 1
        });
        if let Some(histogram) = histograms.get_mut(at) {
            histogram.buckets.push((bound, one.values));
        }
    }
    let mut out = Vec::with_capacity(histograms.len());
    for histogram in histograms {
        // Prometheus forgets it after the first step.
        let mut metric = histogram.labels.metric();
        let values = (0..steps)
            .map(|step| {
                let buckets: Vec<Bucket> = histogram
                    .buckets
                    .iter()
                    .filter_map(|(bound, values)| {
                        let count = values.get(step)?;
                        Some(Bucket { bound: *bound, count })
                    })
                    .collect();
                (!buckets.is_empty()).then(|| f(std::mem::take(&mut metric), step, buckets))
            })
            .collect();
        out.push(StepSeries { labels: histogram.labels.nameless(), values });
    }
    vector::drop_empty(&mut out);
    vector::joined(out)
}

/// The bucket series of one histogram.
#[derive(Debug)]
struct Histogram {
    labels: Labels,
    /// Upper bound and cumulative counts by step.
    buckets: Vec<(f64, Values)>,
}
