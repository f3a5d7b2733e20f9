//! Selectors as matchers of the store: what a retention rule or a deletion means.
//!
//! A flow metric is no row of its own: all metrics of a flow are columns of one row, which is kept or
//! removed as a whole. So no selector may name one. The name of any other metric is a label of the
//! rows of `samples`, and a selector by it means those rows alone.

use weir_storage::{MatchOp as Op, Matcher};

use crate::error::Error;
use crate::flows::metrics_of;
use crate::promql::parse_selector;
use crate::promql::source::{MatchOp, Selector};

/// The label of `samples` that has a metric's name.
const METRIC: &str = "name";

/// Reads a selector of rows, such as `{namespace="dev", workload=~"test-.*"}` or `node_load1`.
///
/// # Errors
/// [`crate::ErrorKind::BadData`] when it is no selector, or selects flows by the metric's name.
pub fn row_matchers(text: &str) -> Result<Vec<Matcher>, Error> {
    let selector = parse_selector(text).map_err(|e| Error::bad(e.to_string()))?;
    of_selector(&selector)
}

/// Whether a selector is one by the metric's name, which flow rows have not.
pub(crate) fn is_of_samples(selector: &Selector) -> bool {
    selector.metric.is_some() || !selector.name_matchers.is_empty()
}

/// The matchers of a selector.
pub(crate) fn of_selector(selector: &Selector) -> Result<Vec<Matcher>, Error> {
    if is_of_samples(selector)
        && let Some(flow) = metrics_of(selector).first()
    {
        return Err(Error::bad(format!(
            "{} cannot be matched by name: all metrics of a flow are columns of one row, which is \
             kept or removed as a whole; match labels alone, as in {{namespace=\"dev\"}}, or leave \
             flow metrics out with __name__!~\"flow_.*\"",
            flow.name
        )));
    }
    if selector.matchers.iter().any(|matcher| &*matcher.name == METRIC) {
        return Err(Error::bad(
            "rows cannot be told by a label `name`; the name of a metric is matched as __name__",
        ));
    }
    let named = selector.metric.iter().map(|name| matcher(METRIC, &MatchOp::Equal(name.clone())));
    let by_name = selector.name_matchers.iter().map(|op| matcher(METRIC, op));
    let by_label = selector.matchers.iter().map(|m| matcher(&m.name, &m.op));
    named.chain(by_name).chain(by_label).collect()
}

fn matcher(label: &str, op: &MatchOp) -> Result<Matcher, Error> {
    let (op, value) = match op {
        MatchOp::Equal(value) => (Op::Equal, &**value),
        MatchOp::NotEqual(value) => (Op::NotEqual, &**value),
        MatchOp::Matches(regex) => (Op::Regex, body(regex.as_str())),
        MatchOp::NotMatches(regex) => (Op::NotRegex, body(regex.as_str())),
    };
    Matcher::new(label, op, value).map_err(|e| Error::bad(e.to_string()))
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
    fn a_metric_is_a_label_of_samples() {
        let shown = |text| -> Vec<_> {
            row_matchers(text).expect(text).iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown("node_load1"), [r#"name="node_load1""#]);
        assert_eq!(shown(r#"up{namespace="dev"}"#), [r#"name="up""#, r#"namespace="dev""#]);
        assert_eq!(
            shown(r#"{__name__=~"go_.*", __name__!="go_info"}"#),
            [r#"name=~"go_.*""#, r#"name!="go_info""#]
        );
    }

    #[test]
    fn flow_metrics_are_refused() {
        for text in [
            "flow_tx_bytes_total",
            r#"{__name__=~"flow_.*", namespace="dev"}"#,
            r#"{__name__!="up", job="x"}"#,
        ] {
            let error = row_matchers(text).unwrap_err().to_string();
            assert!(error.contains("flow_") && error.contains("columns of one row"), "{error}");
        }
        row_matchers(r#"{__name__!~"flow_.*", job="x"}"#).unwrap();
        let error = row_matchers(r#"{name="web"}"#).unwrap_err().to_string();
        assert!(error.contains("__name__"), "{error}");
        for text in ["", "{", "{}", "rate(x[5m])", "1"] {
            row_matchers(text).unwrap_err();
        }
    }
}
