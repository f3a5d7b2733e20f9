//! Names for the labels of series, where others have names of columns.
//!
//! `name` is the metric's name; `labels["job"]` is the label `job` in the column `labels`. A label
//! is quoted there as in the text of labels. So a label that is called like a column is no column.

use std::borrow::Cow;

use super::labels::{METRIC_NAME, quote, text_labels, unquote, value};
use crate::matcher::Matcher;

/// The column of the metric's name.
pub(crate) const NAME: &str = "name";
/// The column of all other labels.
pub(crate) const LABELS: &str = "labels";

/// What the matchers of a deletion or a retention rule call a label of a series.
#[must_use]
pub fn column_of(label: &str) -> String {
    if label == METRIC_NAME {
        return NAME.to_owned();
    }
    let mut column = String::from("labels[");
    quote(label, &mut column);
    column.push(']');
    column
}

/// The label that such a column stands for; `None` if it stands for none.
#[must_use]
pub fn label_of(column: &str) -> Option<Cow<'_, str>> {
    if column == NAME {
        return Some(METRIC_NAME.into());
    }
    unquote(column.strip_prefix("labels[")?.strip_suffix(']')?)
}

/// The column of a file that has such a column's values.
pub(crate) fn stored_in(column: &str) -> &str {
    if column.starts_with("labels[") { LABELS } else { column }
}

/// A matcher on a label of series as one on such a column.
pub(crate) fn on_column(matcher: &Matcher) -> Matcher {
    matcher.on(column_of(matcher.label()))
}

/// The value of a label in the text of labels; the empty text if there is none.
pub(crate) fn value_in_text<'a>(text: &'a str, label: &str) -> Cow<'a, str> {
    let labels = text_labels(text).map_while(Result::ok);
    labels.into_iter().find(|(name, _)| name == label).map_or(Cow::Borrowed(""), |(_, value)| value)
}

/// Whether a series passes all matchers on such columns. One on anything else is one on a label that is
/// absent.
pub(crate) fn all_match(matchers: &[Matcher], canonical: &[u8]) -> bool {
    matchers.iter().all(|matcher| {
        let label = label_of(matcher.label());
        matcher.matches(Some(label.map_or("", |label| value(canonical, &label))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::MatchOp;

    #[test]
    fn a_label_has_a_column_and_back() {
        for (label, column) in [
            ("__name__", "name"),
            ("name", "labels[\"name\"]"),
            ("job", "labels[\"job\"]"),
            ("a\"]", "labels[\"a\\\"]\"]"),
        ] {
            assert_eq!(column_of(label), column);
            assert_eq!(label_of(column).unwrap(), label);
        }
        for other in ["end", "labels", "labels[job]", "labels[\"a\"b\"]", "labels[\"a\""] {
            assert_eq!(label_of(other), None, "{other}");
        }
    }

    #[test]
    fn series_are_matched_by_their_labels() {
        let mut canonical = Vec::new();
        let labels = [("__name__", "up"), ("job", "a"), ("name", "x")];
        super::super::labels::write_canonical(labels, &mut canonical).unwrap();
        let passes = |label: &str, op, value: &str| {
            let matcher = on_column(&Matcher::new(label, op, value).unwrap());
            all_match(&[matcher], &canonical)
        };
        assert!(passes("__name__", MatchOp::Equal, "up") && passes("name", MatchOp::Equal, "x"));
        assert!(passes("job", MatchOp::Regex, "a|b") && passes("zone", MatchOp::Equal, ""));
        assert!(!passes("job", MatchOp::NotEqual, "a") && !passes("zone", MatchOp::NotEqual, ""));
        assert_eq!(value_in_text("{job=\"a\\\"b\",x=\"y\"}", "job"), "a\"b");
        assert_eq!(value_in_text("{job=\"a\"}", "x"), "");
    }
}
