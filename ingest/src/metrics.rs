//! Counters of the receiver, for the server's own `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the server started.
#[derive(Debug, Default)]
pub struct Metrics {
    batches: AtomicU64,
    repeated: AtomicU64,
    refused: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Metrics {
    pub(crate) fn stored(&self, rows: u64, bytes: u64) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn repeated(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Name, help and value of every counter, in the order of exposition.
    #[must_use]
    pub fn read(&self) -> [(&'static str, &'static str, u64); 5] {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            (
                "weir_ingest_batches_total",
                "Batches that were stored and acknowledged.",
                get(&self.batches),
            ),
            (
                "weir_ingest_repeated_batches_total",
                "Batches acknowledged without storing them, their sequence being known.",
                get(&self.repeated),
            ),
            (
                "weir_ingest_refused_batches_total",
                "Batches answered with an error.",
                get(&self.refused),
            ),
            ("weir_ingest_rows_total", "Flow rows in stored batches.", get(&self.rows)),
            ("weir_ingest_bytes_total", "Bytes of stored batches on the wire.", get(&self.bytes)),
        ]
    }
}
