//! Answers that a Prometheus 3.5 gave.

use serde_json::Value;

use crate::promql::{formatted, syntax_tree};

/// Expressions whose layout differs: a duration in place of a number has become that number.
const LAYOUT_DIFFERS: &[&str] = &["5m"];

#[test]
fn trees_and_layouts_are_those_of_prometheus() {
    let recorded: Vec<Value> =
        serde_json::from_str(include_str!("prometheus_3_5.json")).expect("JSON");
    let mut wrong = Vec::new();
    for one in &recorded {
        let query = one["query"].as_str().expect("a query");
        match syntax_tree(query) {
            Ok(tree) if tree == one["tree"] => {}
            other => wrong.push(format!("{query}: {}\n  {other:?}", one["tree"])),
        }
        match formatted(query) {
            Ok(text) if (text == one["formatted"]) != LAYOUT_DIFFERS.contains(&query) => {}
            other => wrong.push(format!("{query}: {}\n  {other:?}", one["formatted"])),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_no_expression_has_no_tree() {
    for text in ["", "sum(", "m{", "nosuch(m)", "rate(m)"] {
        assert!(syntax_tree(text).is_err() && formatted(text).is_err(), "{text}");
    }
}
