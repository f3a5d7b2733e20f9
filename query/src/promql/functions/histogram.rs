//! `histogram_quantile` and `histogram_fraction` over classic buckets.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::Scalars;
use crate::promql::aggregate::note_quantile;
use crate::promql::error::Error;
use crate::promql::eval::Notes;
use crate::promql::histogram::{self, Bucket};
use crate::promql::labels::{BUCKET_BOUND, METRIC_NAME};
use crate::promql::number::parse_bound;
use crate::promql::source::{Labels, StepSeries};
use crate::promql::vector;

/// `histogram_quantile`
///
/// # Errors
/// [`Error::Execution`] if histograms of different metrics become equal.
pub(super) fn quantile(
    series: Vec<StepSeries>,
    scalars: &Scalars,
    steps: usize,
    notes: &Mutex<Notes>,
) -> Result<Vec<StepSeries>, Error> {
    scalars.0.iter().flatten().for_each(|q| note_quantile(*q, notes));
    each(series, steps, notes, |metric, step, buckets| {
        let q = scalars.at(step).first().copied().unwrap_or(f64::NAN);
        let (value, repaired) = histogram::quantile(q, buckets);
        if repaired {
            notes.lock().infos.insert(format!(
                "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) \
                 for metric name {metric:?}"
            ));
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
    notes: &Mutex<Notes>,
) -> Result<Vec<StepSeries>, Error> {
    each(series, steps, notes, |_, step, buckets| match scalars.at(step).as_slice() {
        [lower, upper, ..] => histogram::fraction(*lower, *upper, buckets),
        _ => f64::NAN,
    })
}

/// Gathers the buckets of each histogram and applies `f` at each step at which it has any.
fn each(
    series: Vec<StepSeries>,
    steps: usize,
    notes: &Mutex<Notes>,
    f: impl Fn(&str, usize, Vec<Bucket>) -> f64,
) -> Result<Vec<StepSeries>, Error> {
    let mut index: HashMap<Labels, usize> = HashMap::new();
    let mut histograms: Vec<Histogram> = Vec::new();
    for one in series {
        let le = one.labels.get(BUCKET_BOUND).unwrap_or_default();
        let Some(bound) = parse_bound(le) else {
            notes.lock().warnings.insert(format!(
                "PromQL warning: bucket label \"le\" is missing or has a malformed value of {le:?} \
                 for metric name {:?}",
                one.labels.metric()
            ));
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
        let metric = histogram.labels.metric().to_owned();
        let values = (0..steps)
            .map(|step| {
                let buckets: Vec<Bucket> = histogram
                    .buckets
                    .iter()
                    .filter_map(|(bound, values)| {
                        let count = values.get(step).copied().flatten()?;
                        Some(Bucket { bound: *bound, count })
                    })
                    .collect();
                (!buckets.is_empty()).then(|| f(&metric, step, buckets))
            })
            .collect();
        let mut labels = histogram.labels;
        labels.set(METRIC_NAME, "");
        out.push(StepSeries { labels, values });
    }
    vector::drop_empty(&mut out);
    vector::joined(out)
}

/// The bucket series of one histogram.
#[derive(Debug)]
struct Histogram {
    labels: Labels,
    /// Upper bound and cumulative counts by step.
    buckets: Vec<(f64, Vec<Option<f64>>)>,
}
