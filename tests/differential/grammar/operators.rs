//! Operators and aggregations.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::{Kind, Maker, Node};

const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "%", "^", "atan2"];
const COMPARISONS: &[&str] = &["==", "!=", "<", ">", "<=", ">="];
const LABELS: &[&str] = &[
    "job",
    "instance",
    "method",
    "code",
    "n",
    "site",
    "room",
    "cpu",
    "kind",
    "le",
    "team",
    "half",
    "version",
    "__name__",
    "\"service.name\"",
    "by",
    "sum",
];

impl Maker<'_> {
    fn operator(&mut self) -> String {
        if self.chance(0.5) {
            return self.pick(ARITHMETIC).to_owned();
        }
        let op = self.pick(COMPARISONS);
        if self.chance(0.5) { format!("{op} bool") } else { op.to_owned() }
    }

    fn labels(&mut self, most: usize) -> String {
        let count = self.rng.random_range(0..=most);
        let labels: Vec<&str> = LABELS.choose_multiple(self.rng, count).copied().collect();
        let comma = if !labels.is_empty() && self.chance(0.05) { "," } else { "" };
        format!("({}{comma})", labels.join(", "))
    }

    pub(super) fn vector_and_scalar(&mut self, depth: u32) -> Node {
        let (vector, scalar) = (self.vector(depth), self.scalar(depth.min(1)));
        let op = self.operator();
        let pair = if self.chance(0.7) { [vector, scalar] } else { [scalar, vector] };
        Node::new(Kind::Vector, "", ["", &format!(" {op} "), ""], pair)
    }

    /// Arithmetic and comparison of two vectors. Most pairs match somehow: both sides come from the
    /// same metric, or one has been reduced to the labels that are matched by.
    pub(super) fn vectors(&mut self, depth: u32) -> Node {
        let op = self.operator();
        let (middle, lhs, rhs) = match self.rng.random_range(0..8) {
            0 | 1 => {
                let side = self.vector(depth);
                (op.clone(), side.clone(), side)
            }
            2 => {
                let many = self.pick(&["http_requests_total", "cpu_seconds", "lat_bucket"]);
                let include = self.pick(&["", "(team)", "(team, n)", "()", "(__name__)"]);
                let many = Node::leaf(Kind::Vector, many);
                let one = Node::leaf(Kind::Vector, "owner");
                let grouping = "on (instance) group_";
                if self.chance(0.5) {
                    (format!("{op} {grouping}left {include}"), many, one)
                } else {
                    (format!("{op} {grouping}right {include}"), one, many)
                }
            }
            3 | 4 => {
                let label = self.pick(LABELS);
                let many = self.vector(depth);
                let one = self.vector(depth);
                let aggregate = self.pick(&["sum", "max", "count", "avg"]);
                let one = Node::new(
                    Kind::Vector,
                    aggregate,
                    [format!("{aggregate} by ({label}) ("), ")".to_owned()],
                    [one],
                );
                let include = self.pick(&["", "", "(team)", "(job)"]);
                (format!("{op} on ({label}) group_left {include}"), many, one)
            }
            5 => {
                let (lhs, rhs) = (self.vector(depth), self.vector(depth));
                (op.clone(), lhs, rhs)
            }
            6 => {
                let (lhs, rhs) = (self.vector(depth), self.vector(depth));
                (format!("{op} ignoring {}", self.labels(3)), lhs, rhs)
            }
            _ => {
                let (lhs, rhs) = (self.vector(depth), self.vector(depth));
                let side = self.pick(&["", "", "group_left", "group_right", "group_left (job)"]);
                (format!("{op} on {} {side}", self.labels(2)), lhs, rhs)
            }
        };
        let plain =
            Node::new(Kind::Vector, "", ["", &format!(" {op} "), ""], [lhs.clone(), rhs.clone()]);
        Node::new(Kind::Vector, "", ["", &format!(" {middle} "), ""], [lhs, rhs])
            .or_simpler([plain])
    }

    pub(super) fn sets(&mut self, depth: u32) -> Node {
        let (lhs, rhs) = (self.vector(depth), self.vector(depth));
        let op = self.pick(&["and", "or", "unless", "AND"]);
        let matching = match self.rng.random_range(0..4) {
            0 => format!(" on {}", self.labels(2)),
            1 => format!(" ignoring {}", self.labels(3)),
            _ => String::new(),
        };
        Node::new(Kind::Vector, "", ["", &format!(" {op}{matching} "), ""], [lhs, rhs])
    }

    pub(super) fn aggregation(&mut self, depth: u32) -> Node {
        let op = self.pick(&[
            "sum",
            "avg",
            "min",
            "max",
            "count",
            "group",
            "stddev",
            "stdvar",
            "topk",
            "bottomk",
            "quantile",
            "count_values",
            "limitk",
            "limit_ratio",
            "SUM",
        ]);
        let param = match op {
            "topk" | "bottomk" | "limitk" => Some(
                self.param(&["1", "2", "3", "5", "0", "-1", "2.9", "100", "NaN", "Inf", "1e300"]),
            ),
            "quantile" => {
                Some(self.param(&["0", "0.5", "0.9", "1", "0.123", "-1", "1.5", "NaN", "Inf"]))
            }
            "limit_ratio" => {
                Some(self.param(&["0.5", "-0.5", "0.3", "1", "-1", "0", "2", "-7", "NaN"]))
            }
            "count_values" => {
                let label = self.pick(&["\"value\"", "\"n\"", "'a b'", "\"job\"", "\"\""]);
                Some(Node::leaf(Kind::Text, label))
            }
            _ => None,
        };
        let inner = self.vector(depth);
        let grouping = match self.rng.random_range(0..4) {
            0 => String::new(),
            1 => format!("without {}", self.labels(3)),
            _ => format!("by {}", self.labels(2)),
        };
        let (before, after) =
            if self.chance(0.7) { (grouping, String::new()) } else { (String::new(), grouping) };
        let make = |before: &str, after: &str| {
            let start = format!("{op} {before} (");
            let end = format!(") {after}");
            match &param {
                Some(param) => Node::new(
                    Kind::Vector,
                    "",
                    [start, ", ".to_owned(), end],
                    [param.clone(), inner.clone()],
                ),
                None => Node::new(Kind::Vector, "", [start, end], [inner.clone()]),
            }
        };
        let mut node = make(&before, &after);
        if before.is_empty() && after.is_empty() {
            node.head = op.to_owned();
        }
        node.or_simpler([make("", "")])
    }

    /// The parameter of an aggregation. Prometheus does not prepare `@` within one, so there is none.
    fn param(&mut self, numbers: &[&str]) -> Node {
        let text = if self.chance(0.85) {
            self.pick(numbers)
        } else {
            self.pick(&["scalar(constant{n=\"1\"}) - 5", "scalar(lonely)", "(0.5)", "time() % 4"])
        };
        Node::leaf(Kind::Scalar, text)
    }
}
