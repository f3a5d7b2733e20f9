//! How many series there are, and which labels make them many.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

/// Counts of series by their labels.
#[derive(Debug, Default)]
pub(crate) struct Cardinality {
    series: u64,
    /// Chunks of samples, and rows of flows.
    pub(crate) chunks: u64,
    /// First and last time, milliseconds since the Unix epoch.
    times: Option<(i64, i64)>,
    /// Series of each label value, the metric's name among them.
    pairs: HashMap<Arc<str>, HashMap<Arc<str>, u64>>,
}

impl Cardinality {
    /// Counts series that have these labels.
    pub(crate) fn add<'a>(
        &mut self,
        series: u64,
        labels: impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)>,
    ) {
        self.series += series;
        for (name, value) in labels {
            self.add_label(name, value, series);
        }
    }

    /// Counts a label of series that are counted already.
    pub(crate) fn add_label(&mut self, name: &Arc<str>, value: &Arc<str>, series: u64) {
        if !self.pairs.contains_key(name) {
            self.pairs.insert(name.clone(), HashMap::new());
        }
        if let Some(values) = self.pairs.get_mut(name) {
            match values.get_mut(value) {
                Some(count) => *count += series,
                None => drop(values.insert(value.clone(), series)),
            }
        }
    }

    /// Widens the time that the series span.
    pub(crate) fn span(&mut self, first: i64, last: i64) {
        self.times = Some(match self.times {
            None => (first, last),
            Some((min, max)) => (min.min(first), max.max(last)),
        });
    }

    /// The counts in the form of `/api/v1/status/tsdb`, the `limit` largest of each kind.
    pub(crate) fn status(&self, limit: usize) -> Value {
        let none = HashMap::new();
        let names = self.pairs.get("__name__").unwrap_or(&none);
        let of_labels = |f: fn(&HashMap<Arc<str>, u64>) -> u64| {
            self.pairs.iter().map(|(name, values)| (name.to_string(), f(values))).collect()
        };
        let pairs = self.pairs.iter().flat_map(|(name, values)| {
            values.iter().map(move |(value, count)| (format!("{name}={value}"), *count))
        });
        let distinct: usize = self.pairs.values().map(HashMap::len).sum();
        // Prometheus' words for no time at all.
        let (first, last) = self.times.unwrap_or((i64::MAX, i64::MIN));
        json!({
            "headStats": {
                "numSeries": self.series,
                "numLabelPairs": distinct,
                "chunkCount": self.chunks,
                "minTime": first,
                "maxTime": last,
            },
            "seriesCountByMetricName":
                largest(names.iter().map(|(name, n)| (name.to_string(), *n)).collect(), limit),
            "labelValueCountByLabelName": largest(of_labels(|values| count(values.len())), limit),
            "memoryInBytesByLabelName": largest(
                of_labels(|values| values.iter().map(|(v, n)| count(v.len()) * n).sum()),
                limit,
            ),
            "seriesCountByLabelValuePair": largest(pairs.collect(), limit),
        })
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The largest counts, by name where they are equal.
fn largest(mut counts: Vec<(String, u64)>, limit: usize) -> Vec<Value> {
    counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let largest = counts.into_iter().take(limit);
    largest.map(|(name, value)| json!({ "name": name, "value": value })).collect()
}
