//! The syntax tree as JSON, in the form of Prometheus' `/api/v1/parse_query`.

use serde_json::{Value, json};

use super::layout::{aggregator, operator};
use super::syntax::{Binary, Body, LabelOp, Modifiers, Node, Selector};
use crate::promql::expr::{At, Kind, Many};
use crate::promql::functions::{self, Signature};
use crate::promql::labels::METRIC_NAME;
use crate::promql::number::format_plain;

/// The tree of an expression that has been checked.
pub(super) fn tree(node: &Node) -> Value {
    match &node.body {
        Body::Aggregate { op, grouping, args, .. } => {
            let (without, labels) = grouping.clone().unwrap_or_default();
            let (param, expr) = match args.as_slice() {
                [param, expr] => (Some(tree(param)), Some(tree(expr))),
                args => (None, args.first().map(tree)),
            };
            json!({
                "type": "aggregation",
                "op": aggregator(*op),
                "expr": expr,
                "param": param,
                "grouping": labels,
                "without": without,
            })
        }
        Body::Binary(binary) => json!({
            "type": "binaryExpr",
            "op": operator(binary.op),
            "lhs": tree(&binary.lhs),
            "rhs": tree(&binary.rhs),
            "matching": matching(binary),
            "bool": binary.returns_bool,
        }),
        Body::Call { name, args, .. } => json!({
            "type": "call",
            "func": function(name),
            "args": args.iter().map(tree).collect::<Vec<_>>(),
        }),
        Body::Range(vector, range) => {
            let mut value = selector(vector, "matrixSelector");
            if let Value::Object(fields) = &mut value {
                fields.insert("range".to_owned(), json!(range));
            }
            value
        }
        Body::Subquery { expr, range, step, when } => json!({
            "type": "subquery",
            "expr": tree(expr),
            "range": range,
            "offset": when.offset,
            "step": step.unwrap_or_default(),
            "timestamp": timestamp(*when),
            "startOrEnd": start_or_end(*when),
        }),
        Body::Number(value) => number(*value),
        Body::Paren(inner) => json!({ "type": "parenExpr", "expr": tree(inner) }),
        Body::Text(text) => json!({ "type": "stringLiteral", "val": text }),
        Body::Unary { negative, expr } => match expr.body {
            // A sign before a number is part of it.
            Body::Number(value) => number(if *negative { -value } else { value }),
            _ => {
                let op = if *negative { "-" } else { "+" };
                json!({ "type": "unaryExpr", "op": op, "expr": tree(expr) })
            }
        },
        Body::Selector(vector) => selector(vector, "vectorSelector"),
    }
}

fn number(value: f64) -> Value {
    json!({ "type": "numberLiteral", "val": format_plain(value) })
}

fn function(name: &str) -> Value {
    let Some((name, function)) = functions::lookup(name) else { return Value::Null };
    let Signature { kinds, optional, repeats } = functions::signature(name, function);
    let types: Vec<&str> = kinds.iter().map(|kind| type_name(*kind)).collect();
    let variadic = match (repeats, optional) {
        (true, _) => -1,
        (false, true) => 1,
        (false, false) => 0,
    };
    json!({
        "name": name,
        "argTypes": types,
        "variadic": variadic,
        "returnType": type_name(function.kind()),
    })
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Scalar => "scalar",
        Kind::Text => "string",
        Kind::Vector => "vector",
        Kind::Matrix => "matrix",
    }
}

fn selector(selector: &Selector, kind: &str) -> Value {
    let matchers = selector.matchers.iter().map(|matcher| {
        json!({ "name": matcher.name, "type": label_op(matcher.op), "value": matcher.value })
    });
    // The name in front of the braces comes last.
    let name =
        selector.name.iter().map(|name| json!({ "name": METRIC_NAME, "type": "=", "value": name }));
    json!({
        "type": kind,
        "name": selector.name.as_deref().unwrap_or_default(),
        "offset": selector.when.offset,
        "matchers": matchers.chain(name).collect::<Vec<_>>(),
        "timestamp": timestamp(selector.when),
        "startOrEnd": start_or_end(selector.when),
    })
}

/// How a matcher is written.
pub(super) fn label_op(op: LabelOp) -> &'static str {
    match op {
        LabelOp::Equal => "=",
        LabelOp::NotEqual => "!=",
        LabelOp::Matches => "=~",
        LabelOp::NotMatches => "!~",
    }
}

/// Nothing where an operand is a scalar.
fn matching(binary: &Binary) -> Value {
    if !is_vector(&binary.lhs) || !is_vector(&binary.rhs) {
        return Value::Null;
    }
    let matching = &binary.matching;
    let card = match matching.many {
        _ if binary.op.is_set() => "many-to-many",
        Many::Neither => "one-to-one",
        Many::Left => "many-to-one",
        Many::Right => "one-to-many",
    };
    let names = |labels: &[std::sync::Arc<str>]| -> Vec<String> {
        labels.iter().map(ToString::to_string).collect()
    };
    json!({
        "card": card,
        "labels": names(&matching.labels),
        "on": matching.on,
        "include": names(&matching.include),
    })
}

fn is_vector(node: &Node) -> bool {
    match &node.body {
        Body::Selector(_) | Body::Aggregate { .. } => true,
        Body::Number(_) | Body::Text(_) | Body::Range(..) | Body::Subquery { .. } => false,
        Body::Unary { expr, .. } | Body::Paren(expr) => is_vector(expr),
        Body::Binary(binary) => is_vector(&binary.lhs) || is_vector(&binary.rhs),
        Body::Call { name, .. } => {
            functions::lookup(name).is_none_or(|(_, function)| function.kind() == Kind::Vector)
        }
    }
}

fn timestamp(when: Modifiers) -> Option<i64> {
    match when.at {
        Some(At::Time(time)) => Some(time),
        _ => None,
    }
}

fn start_or_end(when: Modifiers) -> Option<&'static str> {
    match when.at {
        Some(At::Start) => Some("start"),
        Some(At::End) => Some("end"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
