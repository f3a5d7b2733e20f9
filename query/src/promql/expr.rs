//! The engine's own syntax tree: names resolved, patterns compiled, types checked.

use std::sync::Arc;

use super::functions::Function;
use super::source::{Grouping, Selector};

/// A PromQL expression. Parentheses leave no trace.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    /// A number.
    Number(f64),
    /// A string.
    Text(String),
    /// An instant vector selector.
    Instant(Pick),
    /// A range vector selector and its window, milliseconds.
    Range(Pick, i64),
    /// A subquery.
    Subquery(Box<Subquery>),
    /// Unary minus.
    Negate(Box<Expr>),
    /// Unary plus: what it stands before, but no longer a selector for functions that look at those.
    Keep(Box<Expr>),
    /// A binary operation.
    Binary(Box<Binary>),
    /// An aggregation.
    Aggregate(Box<Aggregate>),
    /// A function call.
    Call(Call),
}

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number at each evaluation time.
    Scalar,
    /// A string.
    Text,
    /// A value of each series at each evaluation time.
    Vector,
    /// A window of samples of each series.
    Matrix,
}

/// A selector with its time modifiers.
#[derive(Debug, Clone)]
pub(crate) struct Pick {
    /// Which series.
    pub(crate) selector: Selector,
    /// Seen from when.
    pub(crate) when: When,
}

/// The modifiers `offset` and `@`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When {
    /// Milliseconds back from the evaluation time; negative is ahead.
    pub(crate) offset: i64,
    /// The time that replaces the evaluation time.
    pub(crate) at: Option<At>,
}

/// The argument of `@`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    /// `start()`: the query's first evaluation time.
    Start,
    /// `end()`: the query's last evaluation time.
    End,
    /// Milliseconds since the Unix epoch.
    Time(i64),
}

/// `expr[range:step]`.
#[derive(Debug, Clone)]
pub(crate) struct Subquery {
    /// What is evaluated.
    pub(crate) expr: Expr,
    /// Window, milliseconds.
    pub(crate) range: i64,
    /// Resolution, milliseconds.
    pub(crate) step: Option<i64>,
    /// Seen from when.
    pub(crate) when: When,
}

/// `lhs op rhs`.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    /// Operator.
    pub(crate) op: BinaryOp,
    /// Left operand.
    pub(crate) lhs: Expr,
    /// Right operand.
    pub(crate) rhs: Expr,
    /// Whether a comparison answers 0 or 1 instead of filtering.
    pub(crate) returns_bool: bool,
    /// How series of two vectors find each other.
    pub(crate) matching: Matching,
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// Whether the operator filters, or yields 0 or 1.
    pub(crate) fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Less
                | Self::LessOrEqual
                | Self::Greater
                | Self::GreaterOrEqual
        )
    }

    /// Whether the operator combines sets of series and leaves values alone.
    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// How the series of two vectors find each other.
#[derive(Debug, Clone)]
pub(crate) struct Matching {
    /// `on`: exactly `labels` count; otherwise all labels but `labels` and the metric name.
    pub(crate) on: bool,
    /// The labels of `on` or `ignoring`.
    pub(crate) labels: Vec<Arc<str>>,
    /// Which side may have several series in a match group.
    pub(crate) many: Many,
    /// Labels that the result takes from the "one" side.
    pub(crate) include: Vec<Arc<str>>,
}

/// Which side of a binary operation may have several series in a match group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Many {
    /// None: one-to-one. Set operators do not look at it.
    Neither,
    /// `group_left`: many-to-one.
    Left,
    /// `group_right`: one-to-many.
    Right,
}

/// `op by (...) (param, expr)`.
#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    /// Operator.
    pub(crate) op: Aggregator,
    /// Which labels survive; never [`Grouping::Every`].
    pub(crate) grouping: Grouping,
    /// The operator's parameter, if it has one.
    pub(crate) param: Option<Expr>,
    /// Where the parameter stands.
    pub(crate) param_place: Place,
    /// What is aggregated.
    pub(crate) expr: Expr,
}

/// An aggregation operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregator {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
    LimitRatio,
}

/// `function(args...)`, with the right number and kinds of arguments.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Name, for messages.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) function: Function,
    /// Arguments.
    pub(crate) args: Vec<Expr>,
    /// Where each stands.
    pub(crate) places: Vec<Place>,
}

/// Where an argument stands in the text, in bytes from its start: what remarks refer to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// Where it begins.
    pub(crate) start: usize,
    /// Where the call ends that it is an argument of. What ends later is evaluated later.
    pub(crate) end: usize,
}

impl Call {
    /// Where an argument stands.
    pub(crate) fn place(&self, arg: usize) -> Place {
        self.places.get(arg).copied().unwrap_or_default()
    }
}

impl Expr {
    /// What the expression evaluates to.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Number(_) => Kind::Scalar,
            Self::Text(_) => Kind::Text,
            Self::Instant(_) | Self::Aggregate(_) => Kind::Vector,
            Self::Range(..) | Self::Subquery(_) => Kind::Matrix,
            Self::Negate(inner) | Self::Keep(inner) => inner.kind(),
            Self::Binary(binary) => match (binary.lhs.kind(), binary.rhs.kind()) {
                (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
                _ => Kind::Vector,
            },
            Self::Call(call) => call.function.kind(),
        }
    }

    /// Whether the value is the same at every evaluation time, so that it is computed once.
    pub(crate) fn is_constant(&self) -> bool {
        match self {
            Self::Number(_) | Self::Text(_) => true,
            Self::Instant(pick) | Self::Range(pick, _) => pick.when.at.is_some(),
            Self::Subquery(subquery) => subquery.when.at.is_some(),
            Self::Negate(inner) | Self::Keep(inner) => inner.is_constant(),
            Self::Binary(binary) => binary.lhs.is_constant() && binary.rhs.is_constant(),
            // As in Prometheus, whatever its parameter is.
            Self::Aggregate(aggregate) => aggregate.expr.is_constant(),
            Self::Call(call) => {
                !call.function.reads_clock(call.args.len())
                    && call.args.iter().all(Self::is_constant)
            }
        }
    }
}
