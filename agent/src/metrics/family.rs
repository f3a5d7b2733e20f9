//! Metric families, and the two formats that scrapers read.
//!
//! OpenMetrics 1.0 (<https://prometheus.io/docs/specs/om/open_metrics_spec/>) and the Prometheus text format
//! 0.0.4 differ here in the names of counters' families, which lack `_total` in the first, and in `# EOF`.

use std::fmt::Write as _;

/// What a value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows; the names of its samples end in `_total`.
    Counter,
    /// It is what it is.
    Gauge,
    /// It is 1, and its labels say something.
    Info,
    /// Its samples are of buckets, a sum and a count.
    Histogram,
}

/// A metric with all its samples.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// Without `_total` or `_info`.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    pub(crate) samples: Vec<Sample>,
}

/// A value and its labels.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// What follows the family's name: of counters and infos, and of the parts of histograms.
    pub(crate) suffix: &'static str,
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) value: f64,
}

impl Family {
    pub(crate) fn new(name: &str, kind: Kind, help: &'static str) -> Self {
        Self { name: name.to_owned(), kind, help, samples: Vec::new() }
    }

    /// The same with one value, without labels.
    pub(crate) fn of(mut self, value: u64) -> Self {
        self.add(Vec::new(), value);
        self
    }

    pub(crate) fn add(&mut self, labels: Vec<(&'static str, String)>, value: u64) {
        let value = value as f64;
        self.samples.push(Sample { suffix: self.suffix(), labels, value });
    }

    /// Adds a histogram: counts of what lies between `bounds`, with one more beyond the last.
    pub(crate) fn add_histogram(
        &mut self,
        labels: &[(&'static str, String)],
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        let mut all = 0;
        let ends = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (end, count) in ends.zip(counts) {
            all += count;
            let mut labels = labels.to_vec();
            labels.push(("le", end));
            self.samples.push(Sample { suffix: "_bucket", labels, value: all as f64 });
        }
        for (suffix, value) in [("_sum", sum), ("_count", all as f64)] {
            self.samples.push(Sample { suffix, labels: labels.to_vec(), value });
        }
    }

    /// The name of its samples; of a histogram its own.
    pub(crate) fn full_name(&self) -> String {
        format!("{}{}", self.name, self.suffix())
    }

    fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
            Kind::Info => "_info",
        }
    }
}

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format.
    Text,
}

impl Format {
    /// What a scraper's `Accept` asks for.
    pub(crate) fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes families down.
pub(crate) fn render(families: &[Family], format: Format) -> String {
    let mut out = String::new();
    for family in families {
        let full = family.full_name();
        let (name, kind) = match (format, family.kind) {
            (Format::OpenMetrics, Kind::Counter) => (&family.name, "counter"),
            (Format::OpenMetrics, Kind::Info) => (&family.name, "info"),
            (Format::Text, Kind::Counter) => (&full, "counter"),
            (_, Kind::Gauge | Kind::Info) => (&full, "gauge"),
            (_, Kind::Histogram) => (&full, "histogram"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {}", family.help);
        for sample in &family.samples {
            out.push_str(&family.name);
            out.push_str(sample.suffix);
            for (i, (label, value)) in sample.labels.iter().enumerate() {
                let begin = if i == 0 { '{' } else { ',' };
                let _ = write!(out, "{begin}{label}=\"{}\"", escaped(value));
            }
            if !sample.labels.is_empty() {
                out.push('}');
            }
            let _ = writeln!(out, " {}", sample.value);
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> Vec<Family> {
        let mut counter = Family::new("a_bytes", Kind::Counter, "Bytes.");
        counter.add(vec![("to", "x\"\\\n".into()), ("by", "y".into())], 7);
        counter.add(vec![("to", "z".into())], 1 << 40);
        let mut info = Family::new("a_build", Kind::Info, "What it is.");
        info.add(vec![("version", "1".into())], 1);
        vec![counter, info, Family::new("a_level", Kind::Gauge, "A level.").of(3)]
    }

    #[test]
    fn both_formats() {
        let samples = "a_bytes_total{to=\"x\\\"\\\\\\n\",by=\"y\"} 7\na_bytes_total{to=\"z\"} 1099511627776\n";
        assert_eq!(
            render(&families(), Format::OpenMetrics),
            format!(
                "# TYPE a_bytes counter\n# HELP a_bytes Bytes.\n{samples}# TYPE a_build info\n\
                 # HELP a_build What it is.\na_build_info{{version=\"1\"}} 1\n# TYPE a_level gauge\n\
                 # HELP a_level A level.\na_level 3\n# EOF\n"
            )
        );
        let text = render(&families(), Format::Text);
        assert!(text.starts_with("# TYPE a_bytes_total counter\n"), "{text}");
        assert!(text.contains("# TYPE a_build_info gauge\n") && !text.contains("EOF"), "{text}");
    }

    #[test]
    fn a_histogram_counts_up() {
        let mut family = Family::new("a_seconds", Kind::Histogram, "Time.");
        family.add_histogram(&[("of", "x".into())], &[0.5, 1.0], &[2, 0, 3], 7.25);
        assert_eq!(
            render(&[family], Format::Text),
            "# TYPE a_seconds histogram\n# HELP a_seconds Time.\n\
             a_seconds_bucket{of=\"x\",le=\"0.5\"} 2\na_seconds_bucket{of=\"x\",le=\"1\"} 2\n\
             a_seconds_bucket{of=\"x\",le=\"+Inf\"} 5\na_seconds_sum{of=\"x\"} 7.25\n\
             a_seconds_count{of=\"x\"} 5\n"
        );
    }

    #[test]
    fn the_scraper_chooses() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
        assert_eq!(Format::of(prometheus), Format::OpenMetrics);
        assert_eq!(Format::of("text/plain"), Format::Text);
        assert_eq!(Format::of(""), Format::Text);
    }
}
