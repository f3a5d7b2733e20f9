//! What one request may hold.

/// Bounds of one request, each met before memory is allocated for what it bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes after decompression.
    pub(crate) expanded: u64,
    /// Series, or data points of OTLP.
    pub(crate) series: usize,
    /// Samples of all series together.
    pub(crate) samples: usize,
    /// Strings of a symbol table (remote write 2.0).
    pub(crate) symbols: usize,
    /// Bytes of the labels of all series together. Series of remote write 2.0 refer to a table, so
    /// that few bytes can stand for many.
    pub(crate) label_bytes: usize,
    /// Labels of one series.
    pub(crate) labels: usize,
    /// Bytes of the name of a label.
    pub(crate) name: usize,
    /// Bytes of the value of a label.
    pub(crate) value: usize,
}

impl Default for Limits {
    /// Far beyond what Prometheus sends (2,000 samples a request, unless told otherwise).
    fn default() -> Self {
        Self {
            expanded: 64 << 20,
            series: 1 << 19,
            samples: 1 << 21,
            symbols: 1 << 20,
            label_bytes: 128 << 20,
            labels: 256,
            name: 1 << 10,
            value: 16 << 10,
        }
    }
}

impl Limits {
    /// For what was within the limits of its time when it arrived.
    pub(crate) const LOGGED: Self = Self {
        expanded: u64::MAX,
        series: usize::MAX,
        samples: usize::MAX,
        symbols: usize::MAX,
        label_bytes: usize::MAX,
        labels: usize::MAX,
        name: usize::MAX,
        value: usize::MAX,
    };
}
