//! Random well-typed expressions, and when they are asked.

use std::fmt;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use weir_query::promql::source::Steps;

use crate::data::{SPAN, START};

#[path = "grammar/calls.rs"]
mod calls;
#[path = "grammar/operators.rs"]
mod operators;
#[path = "grammar/selectors.rs"]
mod selectors;

/// What an expression yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar,
    Vector,
    Matrix,
    Text,
}

/// A node of an expression: `parts[0] children[0] parts[1] children[1] ... parts[n]`.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Function or operator.
    head: String,
    parts: Vec<String>,
    pub(crate) children: Vec<Node>,
    /// The same with less, for shrinking.
    pub(crate) simpler: Vec<Node>,
}

impl Node {
    pub(crate) fn leaf(kind: Kind, text: impl Into<String>) -> Self {
        Self::new(kind, "", [text.into()], [])
    }

    fn new<P: Into<String>>(
        kind: Kind,
        head: impl Into<String>,
        parts: impl IntoIterator<Item = P>,
        children: impl IntoIterator<Item = Node>,
    ) -> Self {
        Self {
            kind,
            head: head.into(),
            parts: parts.into_iter().map(Into::into).collect(),
            children: children.into_iter().collect(),
            simpler: Vec::new(),
        }
    }

    fn or_simpler(mut self, simpler: impl IntoIterator<Item = Node>) -> Self {
        self.simpler.extend(simpler);
        self
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut children = self.children.iter();
        for part in &self.parts {
            f.write_str(part)?;
            if let Some(child) = children.next() {
                write!(f, "{child}")?;
            }
        }
        Ok(())
    }
}

/// When an expression is evaluated, milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// An expression and when it is evaluated.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) node: Node,
    pub(crate) when: When,
}

/// What the language says of the order of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    None,
    /// By value; equal ones in any order.
    Values,
    Labels,
}

impl Question {
    pub(crate) fn expr(&self) -> String {
        self.node.to_string()
    }

    pub(crate) fn is_instant(&self) -> bool {
        matches!(self.when, When::Instant(_))
    }

    pub(crate) fn steps(&self) -> Steps {
        match self.when {
            When::Instant(time) => Steps { start: time, end: time, step: 1 },
            When::Range { start, end, step } => Steps { start, end, step },
        }
    }

    /// The place and fields of the request.
    pub(crate) fn form(&self) -> (&'static str, Vec<(&'static str, String)>) {
        let seconds = |ms: i64| format!("{:.3}", ms as f64 / 1000.0);
        let query = ("query", self.expr());
        match self.when {
            When::Instant(time) => ("/api/v1/query", vec![query, ("time", seconds(time))]),
            When::Range { start, end, step } => (
                "/api/v1/query_range",
                vec![
                    query,
                    ("start", seconds(start)),
                    ("end", seconds(end)),
                    ("step", seconds(step)),
                ],
            ),
        }
    }

    pub(crate) fn order(&self) -> Order {
        if !self.is_instant() || self.node.kind == Kind::Matrix {
            // Ranges and windows are sorted by labels; equal keys are told apart by nothing else.
            return if self.node.kind == Kind::Scalar { Order::None } else { Order::Labels };
        }
        match self.node.head.as_str() {
            "sort" | "sort_desc" | "topk" | "bottomk" => Order::Values,
            "sort_by_label" | "sort_by_label_desc" => Order::Labels,
            _ => Order::None,
        }
    }

    /// The labels that are sorted by.
    pub(crate) fn sorted_by(&self) -> Vec<String> {
        let names = self.node.children.iter().filter(|child| child.kind == Kind::Text);
        names.map(|name| name.to_string().trim_matches('"').to_owned()).collect()
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {:?}", self.node, self.when)
    }
}

/// Makes a question.
pub(crate) fn generate(rng: &mut StdRng) -> Question {
    loop {
        let question = attempt(rng);
        if !mixes_up_infos(&question) && !hangs_on_last_digits(&question.expr()) {
            return question;
        }
    }
}

/// At several steps Prometheus 3.5 takes the info series of one series for those of another as soon as
/// some series has no sample at a step.
fn mixes_up_infos(question: &Question) -> bool {
    fn in_subquery(node: &Node) -> bool {
        let is_subquery = node.kind == Kind::Matrix && !node.children.is_empty();
        is_subquery && node.to_string().contains("info(") || node.children.iter().any(in_subquery)
    }
    let has_info = question.expr().contains("info(");
    has_info && (!question.is_instant() || in_subquery(&question.node))
}

/// Mathematical functions agree but for the last digit. That can decide the value of trigonometric functions
/// far from zero, and shows in labels.
fn hangs_on_last_digits(expr: &str) -> bool {
    let has = |names: &[&str]| names.iter().any(|name| expr.contains(&format!("{name}(")));
    let growing = has(&["exp", "cosh", "sinh"]) || expr.contains('^');
    let inexact = has(&["sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "ln", "log2", "log10"])
        || has(&["deg", "rad", "stddev", "stdvar", "deriv", "rate", "avg", "atan", "acos"])
        || expr.contains(" atan2 ");
    growing && has(&["sin", "cos", "tan"]) || expr.contains("count_values") && inexact
}

fn attempt(rng: &mut StdRng) -> Question {
    let is_instant = rng.random_bool(0.5);
    let depth = *[1, 2, 2, 3, 3, 4].choose(rng).unwrap();
    let mut maker = Maker { rng };
    let node = match maker.rng.random_range(0..40) {
        0 if is_instant => maker.matrix(depth),
        1 if is_instant => maker.text(),
        2 | 3 => maker.scalar(depth),
        _ => maker.vector(depth),
    };
    Question { node, when: maker.when(is_instant) }
}

/// Makes parts of expressions.
struct Maker<'a> {
    rng: &'a mut StdRng,
}

impl Maker<'_> {
    fn pick<'b>(&mut self, options: &[&'b str]) -> &'b str {
        options.choose(self.rng).unwrap()
    }

    fn chance(&mut self, p: f64) -> bool {
        self.rng.random_bool(p)
    }

    fn time(&mut self) -> i64 {
        let time = START + self.rng.random_range(-300_000..SPAN + 600_000);
        // Whole seconds and minutes meet samples and steps of subqueries exactly.
        match self.rng.random_range(0..3) {
            0 => time,
            1 => time / 1000 * 1000,
            _ => time / 60_000 * 60_000,
        }
    }

    fn when(&mut self, is_instant: bool) -> When {
        let start = self.time();
        if is_instant {
            return When::Instant(start);
        }
        let steps = [1000, 7_300, 15_000, 60_000, 100_001, 300_000, 900_000];
        let step = *steps.choose(self.rng).unwrap();
        let count = self.rng.random_range(0..25);
        When::Range { start, end: start + count * step + self.rng.random_range(0..step), step }
    }

    fn text(&mut self) -> Node {
        let text =
            self.pick(&["\"text\"", "'a\"b'", "`raw\\n`", "\"\\u00e9\\x41\\101\\n\"", "\"\""]);
        Node::leaf(Kind::Text, text)
    }

    fn scalar(&mut self, depth: u32) -> Node {
        if depth == 0 || self.chance(0.5) {
            let text = self.pick(&[
                "0", "1", "2", "-1", "0.5", "1e3", "1e-3", "0x1f", "017", "1_000", "Inf", "-Inf",
                "NaN", ".5", "5m", "1h30m", "100ms", "3.7", "-0.25", "10", "+3", "time()", "pi()",
            ]);
            return Node::leaf(Kind::Scalar, text);
        }
        match self.rng.random_range(0..6) {
            0 | 1 => {
                let inner = self.vector(depth - 1);
                Node::new(Kind::Scalar, "scalar", ["scalar(", ")"], [inner])
            }
            2 => {
                let inner = self.scalar(depth - 1);
                Node::new(Kind::Scalar, "", ["(", ")"], [inner])
            }
            3 => {
                let inner = self.scalar(depth - 1);
                Node::new(Kind::Scalar, "", ["-(", ")"], [inner])
            }
            _ => {
                let (lhs, rhs) = (self.scalar(depth - 1), self.scalar(depth - 1));
                let op = self.pick(&[
                    "+", "-", "*", "/", "%", "^", "atan2", "== bool", "!= bool", "< bool",
                    "> bool", "<= bool", ">= bool",
                ]);
                Node::new(Kind::Scalar, "", ["", &format!(" {op} "), ""], [lhs, rhs])
            }
        }
    }

    fn vector(&mut self, depth: u32) -> Node {
        if depth == 0 {
            return self.selector();
        }
        match self.rng.random_range(0..100) {
            0..8 => self.selector(),
            8..30 => self.over_time(depth - 1),
            30..48 => self.aggregation(depth - 1),
            48..58 => self.vector_and_scalar(depth - 1),
            58..70 => self.vectors(depth - 1),
            70..76 => self.sets(depth - 1),
            76..98 => self.call(depth - 1),
            _ => {
                let inner = self.vector(depth - 1);
                let (open, close) =
                    *[("(", ")"), ("-(", ")"), ("+(", ")"), ("-", ""), ("((", "))")]
                        .choose(self.rng)
                        .unwrap();
                Node::new(Kind::Vector, "", [open, close], [inner])
            }
        }
    }
}
