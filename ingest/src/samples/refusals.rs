//! What of a request was not stored, and what to say of it.

use std::fmt::{self, Write};

use jiff::Timestamp;
use thiserror::Error;

use super::labels::describe;

/// Why the label set of a series is none.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum LabelsError {
    /// No label `__name__`.
    #[error("it has no metric name (label `__name__`)")]
    NoName,
    /// A label without a name.
    #[error("it has a label without a name")]
    EmptyName,
    /// One label name twice.
    #[error("label `{0}` is there twice")]
    Twice(String),
    /// More labels than allowed.
    #[error("it has more than {0} labels")]
    TooMany(usize),
    /// A long name.
    #[error("a label name has more than {0} bytes")]
    LongName(usize),
    /// A long value.
    #[error("a label value has more than {0} bytes")]
    LongValue(usize),
    /// Bytes that are not text.
    #[error("a label is not UTF-8")]
    NotText,
}

/// Times that samples may have, milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// The first.
    pub(crate) earliest: i64,
    /// The last.
    pub(crate) latest: i64,
}

impl Times {
    /// Any.
    pub(crate) const ALL: Self = Self { earliest: i64::MIN, latest: i64::MAX };
}

/// A reason to store something not, why, and the first that it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// How many samples, histograms or series.
    pub count: u64,
    /// The first of them: a series, and more if there is more to say.
    pub first: String,
}

impl Refused {
    fn add(&mut self, count: u64, first: impl FnOnce() -> String) {
        if self.count == 0 && count > 0 {
            self.first = first();
        }
        self.count = self.count.saturating_add(count);
    }
}

/// What of a request was refused, by reason. Everything else of it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Native (exponential) histograms.
    pub histograms: Refused,
    /// Samples before the window that is accepted.
    pub old: Refused,
    /// Samples ahead of the server's clock.
    pub ahead: Refused,
    /// Series whose label set is none.
    pub labels: Refused,
    /// Data points that say nothing that can be stored (OTLP).
    pub points: Refused,
}

impl Refusals {
    /// Whether everything was stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reasons().iter().all(|(_, refused, ..)| refused.count == 0)
    }

    /// Name (for metrics), what was refused, its noun, and why and what to do about it.
    pub(crate) fn reasons(&self) -> [(&'static str, &Refused, &'static str, &'static str); 5] {
        [
            (
                "histogram",
                &self.histograms,
                "native histogram",
                "are not supported yet; send classic ones (Prometheus: `send_native_histograms: \
                 false` in remote_write; OpenTelemetry: explicit buckets)",
            ),
            (
                "old",
                &self.old,
                "sample",
                "older than this server accepts; a longer `--samples-window` or `--retention` lets \
                 them in",
            ),
            (
                "ahead",
                &self.ahead,
                "sample",
                "more than 10 minutes ahead of this server's clock; set the clock of the sending \
                 host (or of this one)",
            ),
            (
                "labels",
                &self.labels,
                "series",
                "with labels that cannot be; mend them at the source or drop them (Prometheus: \
                 `write_relabel_configs`)",
            ),
            ("point", &self.points, "data point", "that cannot be stored"),
        ]
    }

    /// Samples, histograms, data points or series that were refused.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.reasons().iter().fold(0, |sum, (_, refused, ..)| sum.saturating_add(refused.count))
    }

    pub(crate) fn histogram(&mut self, count: u64, labels: &[u8]) {
        self.histograms.add(count, || format!("`{}`", describe(labels)));
    }

    /// `time` is of the first, milliseconds.
    pub(crate) fn old(&mut self, count: u64, labels: &[u8], time: i64) {
        self.old.add(count, || at(labels, time));
    }

    /// `time` is of the first, milliseconds.
    pub(crate) fn ahead(&mut self, count: u64, labels: &[u8], time: i64) {
        self.ahead.add(count, || at(labels, time));
    }

    pub(crate) fn labels(&mut self, labels: &[u8], why: &LabelsError) {
        self.labels.add(1, || format!("`{}`: {why}", describe(labels)));
    }

    pub(crate) fn point(&mut self, count: u64, first: impl FnOnce() -> String) {
        self.points.add(count, first);
    }
}

fn at(labels: &[u8], time: i64) -> String {
    let series = describe(labels);
    match Timestamp::from_millisecond(time) {
        Ok(time) => format!("`{series}` at {time}"),
        Err(_) => format!("`{series}` at {time} ms"),
    }
}

impl fmt::Display for Refusals {
    /// One line: senders log the first line of a refusal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused (everything else of the request is stored): ")?;
        let mut first = true;
        for (_, refused, noun, why) in self.reasons() {
            if refused.count == 0 {
                continue;
            }
            if !std::mem::take(&mut first) {
                f.write_str("; ")?;
            }
            let plural = if refused.count == 1 || noun == "series" { "" } else { "s" };
            write!(f, "{} {noun}{plural} {why}", refused.count)?;
            f.write_str(" (first: ")?;
            for c in refused.first.chars() {
                f.write_char(if c.is_control() { ' ' } else { c })?;
            }
            f.write_char(')')?;
        }
        Ok(())
    }
}
