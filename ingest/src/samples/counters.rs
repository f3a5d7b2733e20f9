//! Counters of the receiver of samples, for the server's own `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::refusals::Refusals;

/// Reasons of refusals, in the order of [`Refusals::reasons`].
const REASONS: usize = 5;

/// Counters since the server started.
#[derive(Debug, Default)]
pub struct SampleMetrics {
    requests: AtomicU64,
    failures: AtomicU64,
    samples: AtomicU64,
    bytes: AtomicU64,
    exemplars: AtomicU64,
    refused: [AtomicU64; REASONS],
}

/// One counter: its name, its help text, and its values by label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// Name, with `_total`.
    pub name: &'static str,
    /// Help text.
    pub help: &'static str,
    /// Labels as the text format has them, empty for none, and the value.
    pub values: Vec<(String, u64)>,
}

impl SampleMetrics {
    pub(crate) fn stored(&self, samples: u64, exemplars: u64, bytes: u64, refusals: &Refusals) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.samples.fetch_add(samples, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.exemplars.fetch_add(exemplars, Ordering::Relaxed);
        for (counter, (_, refused, ..)) in self.refused.iter().zip(refusals.reasons()) {
            counter.fetch_add(refused.count, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Every counter, in the order of exposition.
    #[must_use]
    pub fn read(&self) -> Vec<Counter> {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let one = |name, help, counter: &AtomicU64| Counter {
            name,
            help,
            values: vec![(String::new(), get(counter))],
        };
        let reasons = Refusals::default();
        let refused = self.refused.iter().zip(reasons.reasons());
        vec![
            one(
                "weir_ingest_sample_requests_total",
                "Requests with samples that were stored, as a whole or but for some refusals.",
                &self.requests,
            ),
            one(
                "weir_ingest_sample_request_failures_total",
                "Requests with samples of which nothing was stored.",
                &self.failures,
            ),
            one("weir_ingest_samples_total", "Samples that were stored.", &self.samples),
            one(
                "weir_ingest_sample_bytes_total",
                "Bytes of stored requests with samples, as they came.",
                &self.bytes,
            ),
            one(
                "weir_ingest_exemplars_dropped_total",
                "Exemplars that were passed over; they are not stored.",
                &self.exemplars,
            ),
            Counter {
                name: "weir_ingest_refused_samples_total",
                help: "Samples, histograms and series that were refused while the rest was stored.",
                values: refused
                    .map(|(counter, (reason, ..))| (format!("reason=\"{reason}\""), get(counter)))
                    .collect(),
            },
        ]
    }
}
