//! Expressions as text again, in Prometheus' layout: on one line if it is short, else one line for each part.

use std::fmt::Write;

use super::syntax::{Binary, Body, Modifiers, Node, Selector};
use super::tree::label_op;
use crate::promql::expr::{Aggregator, At, BinaryOp, Many};
use crate::promql::labels::METRIC_NAME;
use crate::promql::number::format_plain;
use crate::promql::number::go::quoted;

/// Longest text that stays on one line, characters.
const MAX_LINE: usize = 100;

/// An expression that has been checked, laid out.
pub(super) fn layout(node: &Node) -> String {
    pretty(node, 0)
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn pretty(node: &Node, level: usize) -> String {
    let line = text(node);
    let before = indent(level);
    if line.len() <= MAX_LINE {
        return format!("{before}{line}");
    }
    match &node.body {
        Body::Aggregate { op, grouping, args, .. } => {
            let head = aggregate_head(*op, grouping.as_ref());
            format!("{before}{head}(\n{}\n{before})", arguments(args, level + 1))
        }
        Body::Call { name, args, .. } if !args.is_empty() => {
            format!("{before}{name}(\n{}\n{before})", arguments(args, level + 1))
        }
        Body::Binary(binary) => {
            let (lhs, rhs) = (pretty(&binary.lhs, level + 1), pretty(&binary.rhs, level + 1));
            format!("{lhs}\n{before}{}\n{rhs}", operation(binary))
        }
        Body::Paren(inner) => format!("{before}(\n{}\n{before})", pretty(inner, level + 1)),
        Body::Subquery { expr, range, step, when } => {
            format!("{}{}", pretty(expr, level), subquery_end(*range, *step, *when))
        }
        Body::Unary { negative, expr } => {
            let inner = pretty(expr, level);
            format!("{before}{}{}", sign(*negative), inner.trim())
        }
        _ => format!("{before}{line}"),
    }
}

fn arguments(args: &[Node], level: usize) -> String {
    args.iter().map(|arg| pretty(arg, level)).collect::<Vec<_>>().join(",\n")
}

/// On one line.
fn text(node: &Node) -> String {
    let list = |args: &[Node]| args.iter().map(text).collect::<Vec<_>>().join(", ");
    match &node.body {
        Body::Number(value) => format_plain(*value),
        Body::Text(value) => quoted(value),
        Body::Selector(vector) => format!("{}{}", selector(vector), modifiers(vector.when)),
        Body::Range(vector, range) => {
            format!("{}[{}]{}", selector(vector), duration(*range), modifiers(vector.when))
        }
        Body::Subquery { expr, range, step, when } => {
            format!("{}{}", text(expr), subquery_end(*range, *step, *when))
        }
        Body::Unary { negative, expr } => match expr.body {
            Body::Number(value) => format_plain(if *negative { -value } else { value }),
            _ => format!("{}{}", sign(*negative), text(expr)),
        },
        Body::Binary(binary) => {
            format!("{} {} {}", text(&binary.lhs), operation(binary), text(&binary.rhs))
        }
        Body::Aggregate { op, grouping, args, .. } => {
            format!("{}({})", aggregate_head(*op, grouping.as_ref()), list(args))
        }
        Body::Call { name, args, .. } => format!("{name}({})", list(args)),
        Body::Paren(inner) => format!("({})", text(inner)),
    }
}

fn sign(negative: bool) -> char {
    if negative { '-' } else { '+' }
}

fn aggregate_head(op: Aggregator, grouping: Option<&(bool, Vec<String>)>) -> String {
    let name = aggregator(op);
    match grouping {
        Some((true, labels)) => format!("{name} without ({}) ", names(labels)),
        Some((false, labels)) if !labels.is_empty() => format!("{name} by ({}) ", names(labels)),
        _ => name.to_owned(),
    }
}

fn names(labels: &[impl AsRef<str>]) -> String {
    labels.iter().map(|label| name(label.as_ref())).collect::<Vec<_>>().join(", ")
}

/// A label's name, in quotes if it needs them.
fn name(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { name.to_owned() } else { quoted(name) }
}

/// The operator and what follows it.
fn operation(binary: &Binary) -> String {
    let mut out = operator(binary.op).to_owned();
    if binary.returns_bool {
        out.push_str(" bool");
    }
    let matching = &binary.matching;
    if matching.on || !matching.labels.is_empty() {
        let word = if matching.on { "on" } else { "ignoring" };
        let _ = write!(out, " {word} ({})", names(&matching.labels));
    }
    let side = match matching.many {
        Many::Neither => return out,
        Many::Left => "left",
        Many::Right => "right",
    };
    let _ = write!(out, " group_{side} ({})", names(&matching.include));
    out
}

fn selector(selector: &Selector) -> String {
    let metric = selector.name.as_deref().unwrap_or_default();
    let mut matchers: Vec<String> = selector
        .matchers
        .iter()
        .map(|m| format!("{}{}{}", name(&m.name), label_op(m.op), quoted(&m.value)))
        .collect();
    let named = format!("{METRIC_NAME}={}", quoted(metric));
    matchers.retain(|matcher| metric.is_empty() || *matcher != named);
    if matchers.is_empty() {
        return metric.to_owned();
    }
    matchers.sort();
    format!("{metric}{{{}}}", matchers.join(","))
}

fn modifiers(when: Modifiers) -> String {
    let at = match when.at {
        None => String::new(),
        Some(At::Start) => " @ start()".to_owned(),
        Some(At::End) => " @ end()".to_owned(),
        Some(At::Time(ms)) => {
            let sign = if ms < 0 { "-" } else { "" };
            let ms = ms.unsigned_abs();
            format!(" @ {sign}{}.{:03}", ms / 1000, ms % 1000)
        }
    };
    let offset = match when.offset {
        0 => String::new(),
        ms if ms < 0 => format!(" offset -{}", duration(ms.saturating_neg())),
        ms => format!(" offset {}", duration(ms)),
    };
    format!("{at}{offset}")
}

fn subquery_end(range: i64, step: Option<i64>, when: Modifiers) -> String {
    let step = step.map(duration).unwrap_or_default();
    format!("[{}:{step}]{}", duration(range), modifiers(when))
}

/// A duration of whole milliseconds: weeks and years only where nothing is left over.
fn duration(ms: i64) -> String {
    const UNITS: [(&str, i64, bool); 7] = [
        ("y", 365 * 86_400_000, true),
        ("w", 7 * 86_400_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1000, false),
        ("ms", 1, false),
    ];
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    let mut rest = ms;
    for (unit, length, exact) in UNITS {
        if exact && rest % length != 0 {
            continue;
        }
        if rest >= length {
            let _ = write!(out, "{}{unit}", rest / length);
            rest %= length;
        }
    }
    out
}

/// How an operator is written.
pub(super) fn operator(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Mod => "%",
        BinaryOp::Pow => "^",
        BinaryOp::Atan2 => "atan2",
        BinaryOp::Equal => "==",
        BinaryOp::NotEqual => "!=",
        BinaryOp::Less => "<",
        BinaryOp::LessOrEqual => "<=",
        BinaryOp::Greater => ">",
        BinaryOp::GreaterOrEqual => ">=",
        BinaryOp::And => "and",
        BinaryOp::Or => "or",
        BinaryOp::Unless => "unless",
    }
}

/// How an aggregation is written.
pub(super) fn aggregator(op: Aggregator) -> &'static str {
    match op {
        Aggregator::Sum => "sum",
        Aggregator::Avg => "avg",
        Aggregator::Min => "min",
        Aggregator::Max => "max",
        Aggregator::Count => "count",
        Aggregator::Group => "group",
        Aggregator::Stddev => "stddev",
        Aggregator::Stdvar => "stdvar",
        Aggregator::Topk => "topk",
        Aggregator::Bottomk => "bottomk",
        Aggregator::Quantile => "quantile",
        Aggregator::CountValues => "count_values",
        Aggregator::Limitk => "limitk",
        Aggregator::LimitRatio => "limit_ratio",
    }
}
