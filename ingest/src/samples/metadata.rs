//! What senders say of metrics: type, help text, unit.
//!
//! In memory alone: senders repeat it (Prometheus every minute in version 1.0 of remote write, with
//! every series in 2.0), so a server that starts anew knows it again soon. Bounded: metrics beyond the
//! bounds have none.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use super::decode::{Described, MetricType};

/// Most metrics.
const METRICS: usize = 1 << 16;
/// Most bytes of all of them.
const BYTES: usize = 32 << 20;
/// Bytes of one name, help text or unit.
const TEXT: usize = 4 << 10;
/// Bytes that an entry takes beside its texts, roughly.
const ENTRY: usize = 128;

/// What is known of one metric.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricMetadata {
    /// What kind of metric it is.
    pub metric_type: MetricType,
    /// What it measures; may be empty.
    pub help: String,
    /// Its unit; may be empty.
    pub unit: String,
}

/// What senders said of metrics, the latest by name of the family.
#[derive(Debug, Default)]
pub struct Metadata {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    metrics: BTreeMap<String, MetricMetadata>,
    bytes: usize,
}

impl Metadata {
    /// Calls `tell` with each metric in the order of names, or only with that of one name.
    pub fn each(&self, only: Option<&str>, mut tell: impl FnMut(&str, &MetricMetadata)) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match only {
            Some(name) => {
                if let Some(metadata) = known.metrics.get(name) {
                    tell(name, metadata);
                }
            }
            None => known.metrics.iter().for_each(|(name, metadata)| tell(name, metadata)),
        }
    }

    /// Number of metrics that something is known of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).metrics.len()
    }

    /// Whether nothing is known of any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in what one request says.
    pub(crate) fn learn(&self, described: &[Described<'_>]) {
        let news: Vec<_> = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            described.iter().filter(|d| !known.has(d)).collect()
        };
        if news.is_empty() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for described in news {
            known.insert(described);
        }
    }
}

impl Known {
    fn has(&self, described: &Described<'_>) -> bool {
        self.metrics.get(family(described)).is_some_and(|known| {
            known.metric_type == described.metric_type
                && known.help == described.help
                && known.unit == described.unit
        })
    }

    fn insert(&mut self, described: &Described<'_>) {
        let name = family(described);
        let texts = [name, described.help, described.unit];
        if name.is_empty() || texts.iter().any(|text| text.len() > TEXT) {
            return;
        }
        let before = self.metrics.get(name).map_or(0, |known| size(name, known));
        let metadata = MetricMetadata {
            metric_type: described.metric_type,
            help: described.help.to_owned(),
            unit: described.unit.to_owned(),
        };
        let bytes = self.bytes - before + size(name, &metadata);
        if bytes > BYTES || (before == 0 && self.metrics.len() >= METRICS) {
            return;
        }
        self.bytes = bytes;
        match self.metrics.get_mut(name) {
            Some(known) => *known = metadata,
            None => {
                self.metrics.insert(name.to_owned(), metadata);
            }
        }
    }
}

fn size(name: &str, metadata: &MetricMetadata) -> usize {
    ENTRY + name.len() + metadata.help.len() + metadata.unit.len()
}

/// The name of the family: version 2.0 tells it of each series, whose name may have a suffix more.
fn family<'a>(described: &Described<'a>) -> &'a str {
    let suffixes: &[&str] = match described.metric_type {
        MetricType::Histogram | MetricType::GaugeHistogram => &["_bucket", "_count", "_sum"],
        MetricType::Summary => &["_count", "_sum"],
        _ => &[],
    };
    let name = described.metric;
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described<'a>(metric: &'a str, metric_type: MetricType, help: &'a str) -> Described<'a> {
        Described { metric, metric_type, help, unit: "" }
    }

    #[test]
    fn the_latest_word_counts_and_series_of_a_family_are_one_metric() {
        let metadata = Metadata::default();
        metadata.learn(&[
            described("b_bucket", MetricType::Histogram, "old"),
            described("a_sum", MetricType::Counter, ""),
        ]);
        metadata.learn(&[described("b_count", MetricType::Histogram, "new")]);
        let mut found = Vec::new();
        metadata.each(None, |name, m| {
            found.push((name.to_owned(), m.metric_type.as_str(), m.help.clone()));
        });
        assert_eq!(
            found,
            [
                ("a_sum".to_owned(), "counter", String::new()),
                ("b".to_owned(), "histogram", "new".to_owned())
            ]
        );
        let mut one = 0;
        metadata.each(Some("b"), |_, _| one += 1);
        metadata.each(Some("c"), |_, _| one += 10);
        assert_eq!(one, 1);
    }

    #[test]
    fn there_are_bounds() {
        let metadata = Metadata::default();
        let long = "x".repeat(TEXT);
        let names: Vec<_> = (0..METRICS + 10).map(|i| format!("m{i}")).collect();
        let all = |help| -> Vec<_> {
            names.iter().map(|name| described(name, MetricType::Gauge, help)).collect()
        };
        metadata.learn(&all(&long));
        let bytes = metadata.known.read().unwrap().bytes;
        assert!(bytes <= BYTES && bytes > BYTES - 2 * TEXT, "{bytes}");
        let metadata = Metadata::default();
        metadata.learn(&all(""));
        assert_eq!(metadata.len(), METRICS);
    }
}
