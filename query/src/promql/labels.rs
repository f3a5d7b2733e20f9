//! Operations on label sets.

use std::fmt;
use std::sync::Arc;

use super::source::{Grouping, Labels};

/// The label that holds a series' metric name.
pub(crate) const METRIC_NAME: &str = "__name__";
/// The label that holds a classic histogram bucket's upper bound.
pub(crate) const BUCKET_BOUND: &str = "le";

impl Labels {
    /// The value of a label, if the series has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| &**n == name).map(|(_, value)| &**value)
    }

    /// The metric name, empty if there is none.
    pub(crate) fn metric(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    /// These labels without those that describe the metric itself: its name, and its type and unit.
    pub(crate) fn nameless(&self) -> Self {
        self.filtered(|name| !matches!(name, METRIC_NAME | "__type__" | "__unit__"))
    }

    /// These labels without the metric name and those in `names`: what is left to match by.
    pub(crate) fn ignoring(&self, names: &[Arc<str>]) -> Self {
        self.filtered(|name| name != METRIC_NAME && names.iter().all(|n| &**n != name))
    }

    /// The labels whose name is in `names`.
    pub(crate) fn only(&self, names: &[Arc<str>]) -> Self {
        self.filtered(|name| names.iter().any(|n| &**n == name))
    }

    /// The labels whose name is not in `names`.
    pub(crate) fn except(&self, names: &[Arc<str>]) -> Self {
        self.filtered(|name| names.iter().all(|n| &**n != name))
    }

    fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// The labels that survive an aggregation.
    pub(crate) fn grouped(&self, grouping: &Grouping) -> Self {
        match grouping {
            Grouping::Every => self.nameless(),
            Grouping::By(names) => self.only(names),
            Grouping::Without(names) => self.ignoring(names),
        }
    }

    /// Sets a label; an empty value removes it.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match (self.0.binary_search_by(|(n, _)| (**n).cmp(name)), value.is_empty()) {
            (Ok(at), true) => drop(self.0.remove(at)),
            (Err(_), true) => {}
            (Ok(at), false) => {
                if let Some(pair) = self.0.get_mut(at) {
                    pair.1 = value.into();
                }
            }
            (Err(at), false) => self.0.insert(at, (name.into(), value.into())),
        }
    }
}

/// The form of Prometheus' messages: `{__name__="up", job="x"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (name, value)) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels(pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect())
    }

    #[test]
    fn sets_in_order_and_removes_by_empty_value() {
        let mut some = labels(&[("a", "1"), ("c", "3")]);
        some.set("b", "2");
        some.set("a", "");
        some.set("c", "4");
        some.set("d", "");
        assert_eq!(some, labels(&[("b", "2"), ("c", "4")]));
        assert_eq!(some.to_string(), r#"{b="2", c="4"}"#);
    }

    #[test]
    fn grouping_drops_the_metric_name_unless_asked_for_it() {
        let some = labels(&[("__name__", "m"), ("a", "1"), ("b", "2")]);
        assert_eq!(some.grouped(&Grouping::Every), labels(&[("a", "1"), ("b", "2")]));
        let by = Grouping::By(vec!["b".into(), "__name__".into()]);
        assert_eq!(some.grouped(&by), labels(&[("__name__", "m"), ("b", "2")]));
        assert_eq!(some.grouped(&Grouping::Without(vec!["b".into()])), labels(&[("a", "1")]));
    }
}
