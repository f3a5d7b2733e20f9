//! Which series a selector wants, asked of labels as they are stored.

use weir_storage::Hidden;
use weir_storage::series::label_of;
use weir_storage::series::labels::{self, METRIC_NAME, text_labels};

use crate::promql::source::{MatchOp, Matcher, Selector};

/// A selector made ready to be asked of many series.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    selector: Selector,
    /// Whether a series without the label passes, for each matcher.
    accepts_none: Vec<bool>,
}

impl Wanted {
    pub(crate) fn new(selector: &Selector) -> Self {
        let accepts_none = selector.matchers.iter().map(|m| m.op.accepts("")).collect();
        Self { selector: selector.clone(), accepts_none }
    }

    /// The metric's name, if only one can be meant.
    pub(crate) fn metric(&self) -> Option<&str> {
        self.selector.metric.as_deref()
    }

    /// Matchers of labels other than the name.
    pub(crate) fn matchers(&self) -> &[Matcher] {
        &self.selector.matchers
    }

    /// Whether a metric's name passes.
    pub(crate) fn name(&self, name: &str) -> bool {
        self.selector.metric.as_ref().is_none_or(|metric| &**metric == name)
            && self.selector.name_matchers.iter().all(|op: &MatchOp| op.accepts(name))
    }

    /// Whether labels as text, the name aside, pass. Text that is none does not.
    pub(crate) fn labels(&self, text: &str) -> bool {
        if self.selector.matchers.is_empty() {
            return true;
        }
        let mut none = self.accepts_none.clone();
        for label in text_labels(text) {
            let Ok((name, value)) = label else { return false };
            if !self.label(&name, &value, &mut none) {
                return false;
            }
        }
        none.into_iter().all(|passes| passes)
    }

    /// Whether canonical labels pass.
    pub(crate) fn canonical(&self, canonical: &[u8]) -> bool {
        let mut none = self.accepts_none.clone();
        let mut metric = "";
        for (name, value) in labels::iter(canonical) {
            if name == METRIC_NAME {
                metric = value;
            } else if !self.label(name, value, &mut none) {
                return false;
            }
        }
        self.name(metric) && none.into_iter().all(|passes| passes)
    }

    /// Asks the matchers of one label; those that were asked need not accept its absence any more.
    fn label(&self, name: &str, value: &str, none: &mut [bool]) -> bool {
        self.selector.matchers.iter().zip(none).filter(|(m, _)| &*m.name == name).all(
            |(matcher, none)| {
                *none = true;
                matcher.op.accepts(value)
            },
        )
    }
}

/// Whether a series of these labels has points that are hidden: if so, those with times in
/// `(after, until]`, microseconds.
pub(crate) fn hides(hidden: &Hidden, name: &str, text: &str) -> bool {
    let value = |column: &str| -> String {
        // A column that stands for no label is one that every series lacks.
        let Some(label) = label_of(column) else { return String::new() };
        if label == METRIC_NAME {
            return name.to_owned();
        }
        let mut labels = text_labels(text).filter_map(Result::ok);
        labels.find(|(name, _)| *name == label).map_or(String::new(), |(_, v)| v.into_owned())
    };
    let all = |matchers: &[weir_storage::Matcher]| {
        matchers.iter().all(|m| m.matches(Some(&value(m.label()))))
    };
    all(&hidden.matchers) && !hidden.unless.iter().any(|kept| all(kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::parse_selector;

    #[test]
    fn text_and_canonical_labels_are_asked_the_same() {
        let series: [&[(&str, &str)]; 4] = [
            &[("__name__", "up"), ("job", "a"), ("zone", "x")],
            &[("__name__", "up"), ("job", "b")],
            &[("__name__", "down"), ("job", "a")],
            &[("job", "a")],
        ];
        for (selector, wanted) in [
            ("up", vec![0, 1]),
            (r#"up{job="a"}"#, vec![0]),
            (r#"{job="a"}"#, vec![0, 2, 3]),
            (r#"{job=~".+", zone=""}"#, vec![1, 2, 3]),
            (r#"{__name__=~"up|", job=~"a|c"}"#, vec![0, 3]),
            (r#"{job="a", job!~"a"}"#, vec![]),
            (r#"up{none!="x"}"#, vec![0, 1]),
        ] {
            let asked = Wanted::new(&parse_selector(selector).unwrap());
            let passing = (0..series.len()).filter(|i| {
                let mut canonical = Vec::new();
                labels::write_canonical(series[*i].iter().copied(), &mut canonical).unwrap();
                let mut text = String::new();
                labels::write_text(&canonical, &mut text);
                let by_text = asked.name(labels::metric_name(&canonical)) && asked.labels(&text);
                assert_eq!(by_text, asked.canonical(&canonical), "{selector} {text}");
                by_text
            });
            assert_eq!(passing.collect::<Vec<_>>(), wanted, "{selector}");
        }
    }
}
