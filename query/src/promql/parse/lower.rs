//! Lowering: resolves names and checks types.

use std::sync::Arc;

use super::syntax::{self, Body, Node};
use super::{Failure, selector};
use crate::promql::expr::{
    Aggregate, Aggregator, Binary, BinaryOp, Call, Expr, Kind, Many, Place, Subquery,
};
use crate::promql::functions::{self, Signature};
use crate::promql::source::Grouping;

/// Turns the syntax tree into the engine's.
pub(super) fn lower(node: &Node) -> Result<Expr, Failure> {
    match &node.body {
        Body::Paren(inner) => lower(inner),
        Body::Number(value) => Ok(Expr::Number(*value)),
        Body::Text(value) => Ok(Expr::Text(value.clone())),
        Body::Selector(selector) => Ok(Expr::Instant(selector::pick(node.start, selector)?)),
        Body::Range(selector, range) => {
            Ok(Expr::Range(selector::pick(node.start, selector)?, *range))
        }
        Body::Subquery { expr, range, step, when } => {
            let expr = lower(expr)?;
            if expr.kind() != Kind::Vector {
                let got = type_name(expr.kind());
                return Err(Failure::new(
                    node.start,
                    format!("subquery is only allowed on instant vector, got {got} instead"),
                ));
            }
            let when = selector::when(*when);
            Ok(Expr::Subquery(Box::new(Subquery { expr, range: *range, step: *step, when })))
        }
        Body::Unary { negative, expr } => {
            let expr = lower(expr)?;
            if !matches!(expr.kind(), Kind::Scalar | Kind::Vector) {
                let got = kind_name(expr.kind());
                return Err(Failure::new(
                    node.start,
                    format!(
                        "unary expression only allowed on expressions of type scalar or instant \
                         vector, got {got:?}"
                    ),
                ));
            }
            let expr = Box::new(expr);
            Ok(if *negative { Expr::Negate(expr) } else { Expr::Keep(expr) })
        }
        Body::Binary(binary) => lower_binary(node.start, binary),
        Body::Aggregate { op, grouping, args, end } => {
            let span = Place { start: node.start, end: *end };
            lower_aggregate(span, *op, grouping.as_ref(), args)
        }
        Body::Call { name, args, end } => {
            lower_call(Place { start: node.start, end: *end }, name, args)
        }
    }
}

fn lower_binary(start: usize, binary: &syntax::Binary) -> Result<Expr, Failure> {
    let (lhs, rhs) = (lower(&binary.lhs)?, lower(&binary.rhs)?);
    let (op, matching) = (binary.op, binary.matching.clone());
    let at_operator = |message: String| Err(Failure::new(binary.at, message));
    if binary.returns_bool && !op.is_comparison() {
        return at_operator("bool modifier can only be used on comparison operators".to_owned());
    }
    let both_are = |kind: Kind| lhs.kind() == kind && rhs.kind() == kind;
    if op.is_comparison() && !binary.returns_bool && both_are(Kind::Scalar) {
        return at_operator("comparisons between scalars must use BOOL modifier".to_owned());
    }
    if matching.on
        && let Some(label) = matching.labels.iter().find(|label| matching.include.contains(label))
    {
        return at_operator(format!(
            "label {label:?} must not occur in ON and GROUP clause at once"
        ));
    }
    for (side, expr) in [(&binary.lhs, &lhs), (&binary.rhs, &rhs)] {
        if !matches!(expr.kind(), Kind::Scalar | Kind::Vector) {
            return Err(Failure::new(
                side.start,
                "binary expression must contain only scalar and instant vector types",
            ));
        }
    }
    let both_vectors = both_are(Kind::Vector);
    if !both_vectors && !matching.labels.is_empty() {
        return Err(Failure::new(start, "vector matching only allowed between instant vectors"));
    }
    if op.is_set() && !both_vectors {
        let name = set_name(op);
        return Err(Failure::new(
            start,
            format!("set operator {name:?} not allowed in binary scalar expression"),
        ));
    }
    if op.is_set() && matching.many != Many::Neither {
        let name = set_name(op);
        return Err(Failure::new(start, format!("no grouping allowed for {name:?} operation")));
    }
    let returns_bool = binary.returns_bool;
    Ok(Expr::Binary(Box::new(Binary { op, lhs, rhs, returns_bool, matching })))
}

fn set_name(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::And => "and",
        BinaryOp::Or => "or",
        _ => "unless",
    }
}

fn lower_aggregate(
    Place { start, end }: Place,
    op: Aggregator,
    grouping: Option<&(bool, Vec<String>)>,
    args: &[Node],
) -> Result<Expr, Failure> {
    let wanted = match op {
        Aggregator::Topk
        | Aggregator::Bottomk
        | Aggregator::Quantile
        | Aggregator::Limitk
        | Aggregator::LimitRatio => Some(Kind::Scalar),
        Aggregator::CountValues => Some(Kind::Text),
        _ => None,
    };
    let (param, expr) = match (wanted, args) {
        (None, [expr]) => (None, expr),
        (Some(_), [param, expr]) => (Some(param), expr),
        (_, []) => {
            return Err(Failure::new(start, "no arguments for aggregate expression provided"));
        }
        (wanted, args) => {
            let (expected, got) = (1 + usize::from(wanted.is_some()), args.len());
            return Err(Failure::new(
                start,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected \
                     {expected}, got {got}"
                ),
            ));
        }
    };
    let input = lower(expr)?;
    expect_kind(expr.start, &input, Kind::Vector, "aggregation expression")?;
    let mut param_place = Place { start, end };
    let param = match (param, wanted) {
        (Some(node), Some(kind)) => {
            let param = lower(node)?;
            expect_kind(node.start, &param, kind, "aggregation parameter")?;
            param_place.start = inner_start(node);
            Some(param)
        }
        _ => None,
    };
    let names = |labels: &[String]| labels.iter().map(|name| Arc::from(name.as_str())).collect();
    let grouping = match grouping {
        None => Grouping::By(Vec::new()),
        Some((false, labels)) => Grouping::By(names(labels)),
        Some((true, labels)) => Grouping::Without(names(labels)),
    };
    Ok(Expr::Aggregate(Box::new(Aggregate { op, grouping, param, param_place, expr: input })))
}

fn lower_call(Place { start, end }: Place, name: &str, nodes: &[Node]) -> Result<Expr, Failure> {
    let Some((name, function)) = functions::lookup(name) else {
        return Err(Failure::new(start, format!("unknown function with name {name:?}")));
    };
    let Signature { kinds, optional, repeats } = functions::signature(name, function);
    let (least, most) = (kinds.len() - usize::from(optional || repeats), kinds.len());
    let count = nodes.len();
    let problem = if count < least || (count > most && !repeats) {
        Some(match (optional || repeats, count < least) {
            (false, _) => format!("expected {most} argument(s)"),
            (true, true) => format!("expected at least {least} argument(s)"),
            (true, false) => format!("expected at most {most} argument(s)"),
        })
    } else {
        None
    };
    if let Some(expected) = problem {
        return Err(Failure::new(start, format!("{expected} in call to {name:?}, got {count}")));
    }
    let mut args = Vec::with_capacity(count);
    for (at, node) in nodes.iter().enumerate() {
        let labels = match &node.body {
            Body::Selector(labels) if name == "info" && at == 1 => Some(labels),
            _ => None,
        };
        let arg = match labels {
            Some(labels) => Expr::Instant(selector::info_labels(node.start, labels)?),
            None => lower(node)?,
        };
        let wanted = kinds.get(at).or(kinds.last()).copied().unwrap_or(Kind::Vector);
        expect_kind(node.start, &arg, wanted, &format!("call to function {name:?}"))?;
        if name == "info" && at == 1 && labels.is_none() {
            return Err(Failure::new(
                node.start,
                "expected label selectors only, got an expression instead",
            ));
        }
        args.push(arg);
    }
    // Places of arguments are without parentheses, but not those of arguments that are evaluated once
    // for a call that is not. Prometheus loses the place of a subquery.
    let call_once = !function.reads_clock(count) && args.iter().all(Expr::is_constant);
    let places = nodes
        .iter()
        .zip(&args)
        .map(|(node, arg)| {
            let start = if matches!(arg, Expr::Subquery(_)) {
                0
            } else if arg.is_constant() && !call_once {
                node.start
            } else {
                inner_start(node)
            };
            Place { start, end }
        })
        .collect();
    Ok(Expr::Call(Call { name, function, args, places }))
}

/// Where an expression begins without the parentheses around it.
fn inner_start(node: &Node) -> usize {
    match &node.body {
        Body::Paren(inner) => inner_start(inner),
        _ => node.start,
    }
}

fn expect_kind(start: usize, expr: &Expr, wanted: Kind, place: &str) -> Result<(), Failure> {
    let got = expr.kind();
    if got == wanted {
        return Ok(());
    }
    let (wanted, got) = (kind_name(wanted), kind_name(got));
    Err(Failure::new(start, format!("expected type {wanted} in {place}, got {got}")))
}

/// A kind in the words of the documentation.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Scalar => "scalar",
        Kind::Text => "string",
        Kind::Vector => "instant vector",
        Kind::Matrix => "range vector",
    }
}

/// A kind in the words of the HTTP API.
fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Scalar => "scalar",
        Kind::Text => "string",
        Kind::Vector => "vector",
        Kind::Matrix => "matrix",
    }
}
