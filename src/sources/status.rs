//! What became of each source, for the server's own metrics.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::own_metrics::family;

/// Of what kind a source is, and which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    kind: &'static str,
    source: String,
}

impl Subject {
    pub(super) fn new(kind: &'static str, source: impl fmt::Display) -> Self {
        Self { kind, source: source.to_string() }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.source)
    }
}

/// Of one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in use.
    Taken,
    /// The server says that it is what is in use already.
    Unchanged,
    /// It could not be got.
    Failed,
    /// It was got and cannot be used.
    Refused,
}

const OUTCOMES: [(Outcome, &str); 4] = [
    (Outcome::Taken, "taken"),
    (Outcome::Unchanged, "unchanged"),
    (Outcome::Failed, "failed"),
    (Outcome::Refused, "refused"),
];

#[derive(Debug, Default)]
struct Told {
    counts: [u64; OUTCOMES.len()],
    good: Option<Timestamp>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Status(Mutex<BTreeMap<Subject, Told>>);

impl Status {
    /// What is in use is as it was at this time.
    pub(super) fn good_since(&self, subject: &Subject, at: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(subject.clone()).or_default().good = Some(at);
    }

    /// Counts one reading.
    pub(super) fn tell(&self, subject: &Subject, outcome: Outcome) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = all.entry(subject.clone()).or_default();
        let counts = told.counts.iter_mut().zip(OUTCOMES);
        counts.filter(|(_, (of, _))| *of == outcome).for_each(|(count, _)| *count += 1);
        if matches!(outcome, Outcome::Taken | Outcome::Unchanged) {
            told.good = Some(Timestamp::now());
        }
    }

    /// A source is known, of which nothing has been read yet.
    pub(super) fn begin(&self, subject: &Subject) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(subject.clone()).or_default();
    }

    /// In the Prometheus text format.
    pub(crate) fn render(&self, out: &mut String) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return;
        }
        let label = |subject: &Subject| {
            let source = subject.source.replace('\\', r"\\").replace('"', r#"\""#);
            format!("kind=\"{}\",source=\"{}\"", subject.kind, source.replace('\n', r"\n"))
        };
        let name = "weir_source_reads_total";
        let help = "Times that a file or URL that is followed was read, by what came of it.";
        family(out, name, "counter", help);
        for (subject, told) in all.iter() {
            for (count, (_, outcome)) in told.counts.iter().zip(OUTCOMES) {
                let label = label(subject);
                let _ = writeln!(out, "{name}{{{label},outcome=\"{outcome}\"}} {count}");
            }
        }
        let name = "weir_source_good_timestamp_seconds";
        let help = "When what is in use of a file or URL was last known to be what there is.";
        family(out, name, "gauge", help);
        for (subject, told) in all.iter() {
            let Some(good) = told.good else { continue };
            let _ = writeln!(out, "{name}{{{}}} {}", label(subject), good.as_second());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_counted_and_only_good_ones_renew_the_time() {
        let status = Status::default();
        let mut none = String::new();
        status.render(&mut none);
        assert_eq!(none, "");
        let subject = Subject::new("cloud-ranges", "a\"b");
        status.begin(&subject);
        status.tell(&subject, Outcome::Failed);
        let told = |status: &Status| {
            let mut text = String::new();
            status.render(&mut text);
            text
        };
        let failed =
            r#"weir_source_reads_total{kind="cloud-ranges",source="a\"b",outcome="failed"} 1"#;
        assert!(told(&status).contains(failed), "{}", told(&status));
        assert!(!told(&status).contains("good_timestamp_seconds{"));
        status.good_since(&subject, Timestamp::from_second(1_000).unwrap());
        status.tell(&subject, Outcome::Refused);
        let good = r#"weir_source_good_timestamp_seconds{kind="cloud-ranges",source="a\"b"} "#;
        assert!(told(&status).contains(&format!("{good}1000\n")), "{}", told(&status));
        status.tell(&subject, Outcome::Unchanged);
        assert!(!told(&status).contains(&format!("{good}1000\n")));
    }
}
