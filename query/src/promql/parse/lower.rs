//! Lowering of everything but selectors.

use std::sync::Arc;

use promql_parser::parser::token::{self, TokenType};
use promql_parser::parser::{self as syntax, VectorMatchCardinality as Cardinality};

use super::selector;
use crate::promql::error::Error;
use crate::promql::expr::{
    Aggregate, Aggregator, Binary, BinaryOp, Call, Expr, Kind, Many, Matching, Subquery,
};
use crate::promql::functions;
use crate::promql::source::Grouping;

/// Turns the parser's tree into the engine's.
pub(super) fn lower(expr: &syntax::Expr) -> Result<Expr, Error> {
    match expr {
        syntax::Expr::Paren(paren) => lower(&paren.expr),
        syntax::Expr::NumberLiteral(number) => Ok(Expr::Number(number.val)),
        syntax::Expr::StringLiteral(text) => Ok(Expr::Text(text.val.clone())),
        syntax::Expr::VectorSelector(vector) => Ok(Expr::Instant(selector::pick(vector)?)),
        syntax::Expr::MatrixSelector(matrix) => {
            let range = positive(selector::milliseconds(matrix.range)?)?;
            Ok(Expr::Range(selector::pick(&matrix.vs)?, range))
        }
        syntax::Expr::Subquery(subquery) => {
            let step = subquery.step.map(selector::milliseconds).transpose()?;
            Ok(Expr::Subquery(Box::new(Subquery {
                expr: lower(&subquery.expr)?,
                range: positive(selector::milliseconds(subquery.range)?)?,
                step: step.map(positive).transpose()?,
                when: selector::when(subquery.offset.as_ref(), subquery.at.as_ref())?,
            })))
        }
        syntax::Expr::Unary(unary) => Ok(Expr::Negate(Box::new(lower(&unary.expr)?))),
        syntax::Expr::Binary(binary) => lower_binary(binary),
        syntax::Expr::Aggregate(aggregate) => lower_aggregate(aggregate),
        syntax::Expr::Call(call) => lower_call(call),
        syntax::Expr::Extension(_) => Err(Error::BadData("unknown syntax".to_owned())),
    }
}

fn positive(ms: i64) -> Result<i64, Error> {
    if ms > 0 { Ok(ms) } else { Err(Error::BadData("duration must be greater than 0".to_owned())) }
}

fn names(labels: &[String]) -> Vec<Arc<str>> {
    labels.iter().map(|name| name.as_str().into()).collect()
}

fn lower_binary(binary: &syntax::BinaryExpr) -> Result<Expr, Error> {
    let op = operator(binary.op)?;
    let mut matching =
        Matching { on: false, labels: Vec::new(), many: Many::Neither, include: Vec::new() };
    let mut returns_bool = false;
    if let Some(modifier) = &binary.modifier {
        returns_bool = modifier.return_bool;
        let fill = &modifier.fill_values;
        if fill.lhs.is_some() || fill.rhs.is_some() {
            return Err(Error::BadData("fill modifiers are not supported".to_owned()));
        }
        match &modifier.matching {
            None => {}
            Some(syntax::LabelModifier::Include(labels)) => {
                matching.on = true;
                matching.labels = names(&labels.labels);
            }
            Some(syntax::LabelModifier::Exclude(labels)) => {
                matching.labels = names(&labels.labels);
            }
        }
        match &modifier.card {
            Cardinality::OneToOne | Cardinality::ManyToMany => {}
            Cardinality::ManyToOne(include) => {
                matching.many = Many::Left;
                matching.include = names(&include.labels);
            }
            Cardinality::OneToMany(include) => {
                matching.many = Many::Right;
                matching.include = names(&include.labels);
            }
        }
    }
    Ok(Expr::Binary(Box::new(Binary {
        op,
        lhs: lower(&binary.lhs)?,
        rhs: lower(&binary.rhs)?,
        returns_bool,
        matching,
    })))
}

fn operator(op: TokenType) -> Result<BinaryOp, Error> {
    Ok(match op.id() {
        token::T_ADD => BinaryOp::Add,
        token::T_SUB => BinaryOp::Sub,
        token::T_MUL => BinaryOp::Mul,
        token::T_DIV => BinaryOp::Div,
        token::T_MOD => BinaryOp::Mod,
        token::T_POW => BinaryOp::Pow,
        token::T_ATAN2 => BinaryOp::Atan2,
        token::T_EQLC => BinaryOp::Equal,
        token::T_NEQ => BinaryOp::NotEqual,
        token::T_LSS => BinaryOp::Less,
        token::T_LTE => BinaryOp::LessOrEqual,
        token::T_GTR => BinaryOp::Greater,
        token::T_GTE => BinaryOp::GreaterOrEqual,
        token::T_LAND => BinaryOp::And,
        token::T_LOR => BinaryOp::Or,
        token::T_LUNLESS => BinaryOp::Unless,
        _ => return Err(Error::BadData(format!("unknown operator \"{op}\""))),
    })
}

fn lower_aggregate(aggregate: &syntax::AggregateExpr) -> Result<Expr, Error> {
    let op = match aggregate.op.id() {
        token::T_SUM => Aggregator::Sum,
        token::T_AVG => Aggregator::Avg,
        token::T_MIN => Aggregator::Min,
        token::T_MAX => Aggregator::Max,
        token::T_COUNT => Aggregator::Count,
        token::T_GROUP => Aggregator::Group,
        token::T_STDDEV => Aggregator::Stddev,
        token::T_STDVAR => Aggregator::Stdvar,
        token::T_TOPK => Aggregator::Topk,
        token::T_BOTTOMK => Aggregator::Bottomk,
        token::T_QUANTILE => Aggregator::Quantile,
        token::T_COUNT_VALUES => Aggregator::CountValues,
        token::T_LIMITK => Aggregator::Limitk,
        token::T_LIMIT_RATIO => Aggregator::LimitRatio,
        _ => return Err(Error::BadData(format!("unknown aggregation \"{}\"", aggregate.op))),
    };
    let expr = lower(&aggregate.expr)?;
    expect_kind(&expr, Kind::Vector, "aggregation expression")?;
    let param = aggregate.param.as_ref().map(|param| lower(param)).transpose()?;
    let wanted = match op {
        Aggregator::Topk
        | Aggregator::Bottomk
        | Aggregator::Quantile
        | Aggregator::Limitk
        | Aggregator::LimitRatio => Some(Kind::Scalar),
        Aggregator::CountValues => Some(Kind::Text),
        _ => None,
    };
    match (&param, wanted) {
        (Some(param), Some(kind)) => expect_kind(param, kind, "aggregation parameter")?,
        (None, None) => {}
        _ => {
            return Err(Error::BadData(
                "wrong number of arguments for aggregate expression provided".to_owned(),
            ));
        }
    }
    let grouping = match &aggregate.modifier {
        None => Grouping::By(Vec::new()),
        Some(syntax::LabelModifier::Include(labels)) => Grouping::By(names(&labels.labels)),
        Some(syntax::LabelModifier::Exclude(labels)) => Grouping::Without(names(&labels.labels)),
    };
    Ok(Expr::Aggregate(Box::new(Aggregate { op, grouping, param, expr })))
}

fn lower_call(call: &syntax::Call) -> Result<Expr, Error> {
    let name = call.func.name;
    let Some((name, function)) = functions::lookup(name) else {
        return Err(Error::Execution(format!("function \"{name}\" is not supported")));
    };
    let mut args = Vec::with_capacity(call.args.args.len());
    for (at, arg) in call.args.args.iter().enumerate() {
        let arg = lower(arg)?;
        // The parser has checked the count; its last type stands for all that follow.
        let wanted = call.func.arg_types.get(at).or(call.func.arg_types.last());
        let kind = match wanted {
            Some(syntax::value::ValueType::Scalar) => Kind::Scalar,
            Some(syntax::value::ValueType::String) => Kind::Text,
            Some(syntax::value::ValueType::Matrix) => Kind::Matrix,
            Some(syntax::value::ValueType::Vector) | None => Kind::Vector,
        };
        expect_kind(&arg, kind, &format!("call to function \"{name}\""))?;
        args.push(arg);
    }
    Ok(Expr::Call(Call { name, function, args }))
}

fn expect_kind(expr: &Expr, wanted: Kind, place: &str) -> Result<(), Error> {
    let got = expr.kind();
    if got == wanted {
        return Ok(());
    }
    let (wanted, got) = (kind_name(wanted), kind_name(got));
    Err(Error::BadData(format!("expected type {wanted} in {place}, got {got}")))
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Scalar => "scalar",
        Kind::Text => "string",
        Kind::Vector => "instant vector",
        Kind::Matrix => "range vector",
    }
}
