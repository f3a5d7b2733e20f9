//! Selectors as matchers of the store: what a retention rule or a deletion means.

use weir_storage::{MatchOp as Op, Matcher};

use crate::error::Error;
use crate::promql::parse_selector;
use crate::promql::source::{MatchOp, Selector};

/// Reads a selector of rows, such as `{namespace="dev", workload=~"test-.*"}`.
///
/// # Errors
/// [`crate::ErrorKind::BadData`] when it is no selector, or selects by the metric's name.
pub fn row_matchers(text: &str) -> Result<Vec<Matcher>, Error> {
    let selector = parse_selector(text).map_err(|e| Error::bad(e.to_string()))?;
    of_selector(&selector)
}

/// The matchers of a selector.
pub(crate) fn of_selector(selector: &Selector) -> Result<Vec<Matcher>, Error> {
    if selector.metric.is_some() || !selector.name_matchers.is_empty() {
        return Err(Error::bad(
            "a metric's name cannot be matched here: all metrics of a flow are columns of one row, \
             which is kept or removed as a whole; match labels alone, as in {namespace=\"dev\"}",
        ));
    }
    let matchers = selector.matchers.iter().map(|matcher| {
        let (op, value) = match &matcher.op {
            MatchOp::Equal(value) => (Op::Equal, &**value),
            MatchOp::NotEqual(value) => (Op::NotEqual, &**value),
            MatchOp::Matches(regex) => (Op::Regex, body(regex.as_str())),
            MatchOp::NotMatches(regex) => (Op::NotRegex, body(regex.as_str())),
        };
        Matcher::new(&*matcher.name, op, value).map_err(|e| Error::bad(e.to_string()))
    });
    matchers.collect()
}

/// A pattern without the anchors that the parser put around it; the store's matcher puts its own.
fn body(pattern: &str) -> &str {
    pattern.strip_prefix("^(?s:").and_then(|p| p.strip_suffix(")$")).unwrap_or(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_become_matchers_with_the_same_meaning() {
        let matchers =
            row_matchers(r#"{namespace="dev", pod!="", workload=~"a|b{x", zone!~"eu-.*"}"#)
                .unwrap();
        let shown: Vec<_> = matchers.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [r#"namespace="dev""#, r#"pod!="""#, r#"workload=~"a|b\\{x""#, r#"zone!~"eu-.*""#]
        );
        let matches = |i: usize, text| matchers[i].matches(Some(text));
        assert!(matches(2, "a") && matches(2, "b{x") && !matches(2, "ab") && matches(3, "us-1"));
    }

    #[test]
    fn names_of_metrics_are_refused() {
        for text in ["flow_tx_bytes_total", r#"{__name__=~"flow_.*", namespace="dev"}"#] {
            let error = row_matchers(text).unwrap_err().to_string();
            assert!(error.contains("columns of one row"), "{error}");
        }
        for text in ["", "{", "{}", "rate(x[5m])", "1"] {
            row_matchers(text).unwrap_err();
        }
    }
}
