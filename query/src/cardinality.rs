//! How many series there are, and which labels make them many.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

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

/// How many there are.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeadStats {
    num_series: u64,
    num_label_pairs: usize,
    /// Chunks of samples, and rows of flows.
    chunk_count: u64,
    /// First time, milliseconds since 1970.
    min_time: i64,
    /// Last time, milliseconds since 1970.
    max_time: i64,
}

/// A number of something.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NamedCount {
    name: String,
    value: u64,
}

/// Which labels make series many.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TsdbStatus {
    head_stats: HeadStats,
    series_count_by_metric_name: Vec<NamedCount>,
    label_value_count_by_label_name: Vec<NamedCount>,
    memory_in_bytes_by_label_name: Vec<NamedCount>,
    series_count_by_label_value_pair: Vec<NamedCount>,
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
    pub(crate) fn status(&self, limit: usize) -> TsdbStatus {
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
        let of_metrics = names.iter().map(|(name, n)| (name.to_string(), *n)).collect();
        let bytes =
            of_labels(|values| values.iter().map(|(v, n)| count(v.len()).saturating_mul(*n)).sum());
        TsdbStatus {
            head_stats: HeadStats {
                num_series: self.series,
                num_label_pairs: distinct,
                chunk_count: self.chunks,
                min_time: first,
                max_time: last,
            },
            series_count_by_metric_name: largest(of_metrics, limit),
            label_value_count_by_label_name: largest(
                of_labels(|values| count(values.len())),
                limit,
            ),
            memory_in_bytes_by_label_name: largest(bytes, limit),
            series_count_by_label_value_pair: largest(pairs.collect(), limit),
        }
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The largest counts, by name where they are equal.
fn largest(mut counts: Vec<(String, u64)>, limit: usize) -> Vec<NamedCount> {
    counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let largest = counts.into_iter().take(limit);
    largest.map(|(name, value)| NamedCount { name, value }).collect()
}
