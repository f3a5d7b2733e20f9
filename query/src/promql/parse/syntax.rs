//! The syntax tree: what was written, with places and parentheses, before types are checked.

use crate::promql::expr::{Aggregator, At, BinaryOp, Matching};

/// An expression and where it begins.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Bytes from the start of the text.
    pub(super) start: usize,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Number(f64),
    Text(String),
    Selector(Selector),
    /// A range selector; the window in milliseconds.
    Range(Selector, i64),
    Subquery {
        expr: Box<Node>,
        range: i64,
        step: Option<i64>,
        when: Modifiers,
    },
    Unary {
        negative: bool,
        expr: Box<Node>,
    },
    Binary(Box<Binary>),
    Aggregate {
        op: Aggregator,
        /// `without`, and the labels.
        grouping: Option<(bool, Vec<String>)>,
        args: Vec<Node>,
        /// Where the parenthesis closes.
        end: usize,
    },
    Call {
        name: String,
        args: Vec<Node>,
        /// Where the parenthesis closes.
        end: usize,
    },
    Paren(Box<Node>),
}

#[derive(Debug, Clone)]
pub(super) struct Binary {
    pub(super) op: BinaryOp,
    /// Where the operator stands.
    pub(super) at: usize,
    pub(super) lhs: Node,
    pub(super) rhs: Node,
    pub(super) returns_bool: bool,
    pub(super) matching: Matching,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    /// The name in front of the braces.
    pub(super) name: Option<String>,
    pub(super) matchers: Vec<LabelMatcher>,
    pub(super) when: Modifiers,
}

#[derive(Debug, Clone)]
pub(super) struct LabelMatcher {
    pub(super) start: usize,
    pub(super) name: String,
    pub(super) op: LabelOp,
    pub(super) value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LabelOp {
    Equal,
    NotEqual,
    Matches,
    NotMatches,
}

/// `offset` and `@`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Modifiers {
    /// Milliseconds.
    pub(super) offset: i64,
    pub(super) at: Option<At>,
}
