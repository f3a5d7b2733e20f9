//! Function calls.

use rand::Rng;

use super::{Kind, Maker, Node};

/// Functions of a window alone.
const OVER_TIME: &[&str] = &[
    "absent_over_time",
    "avg_over_time",
    "changes",
    "count_over_time",
    "delta",
    "deriv",
    "idelta",
    "increase",
    "irate",
    "last_over_time",
    "mad_over_time",
    "max_over_time",
    "min_over_time",
    "present_over_time",
    "rate",
    "resets",
    "stddev_over_time",
    "stdvar_over_time",
    "sum_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
    "rate",
    "increase",
    "rate",
];

/// Functions of a vector alone.
const OF_VECTOR: &[&str] = &[
    "abs",
    "absent",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "deg",
    "exp",
    "floor",
    "histogram_avg",
    "histogram_count",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "hour",
    "ln",
    "log10",
    "log2",
    "minute",
    "month",
    "rad",
    "sgn",
    "sin",
    "sinh",
    "sort",
    "sort_desc",
    "sqrt",
    "tan",
    "tanh",
    "timestamp",
    "year",
    "round",
    "absent",
    "timestamp",
    "sort",
];

impl Maker<'_> {
    pub(super) fn over_time(&mut self, depth: u32) -> Node {
        let windows = self.matrix(depth);
        match self.rng.random_range(0..12) {
            0 => {
                let q =
                    self.scalar_of(&["0", "0.5", "0.99", "1", "-1", "2", "NaN", "(0.5)", "(7)"]);
                call("quantile_over_time", [q, windows])
            }
            1 => {
                let ahead = self.scalar_of(&["0", "60", "-3600", "1h", "NaN", "time() / 1e6"]);
                call("predict_linear", [windows, ahead])
            }
            2 => {
                let [level, trend] = [0, 1].map(|_| {
                    self.scalar_of(&[
                        "0.5",
                        "0.1",
                        "0.9",
                        "0.001",
                        "0",
                        "1",
                        "2",
                        "NaN",
                        "scalar(lonely)",
                    ])
                });
                call("double_exponential_smoothing", [windows, level, trend])
            }
            _ => {
                let name = self.pick(OVER_TIME);
                call(name, [windows])
            }
        }
    }

    pub(super) fn call(&mut self, depth: u32) -> Node {
        match self.rng.random_range(0..30) {
            0 => {
                let (low, high) = (self.scalar(1), self.scalar(1));
                call("clamp", [self.vector(depth), low, high])
            }
            1 => {
                let name = self.pick(&["clamp_max", "clamp_min", "round"]);
                let bound = self.scalar(1);
                call(name, [self.vector(depth), bound])
            }
            2 => call("vector", [self.scalar(depth)]),
            3..6 => self.histogram(depth),
            6 | 7 => self.label_replace(depth),
            8 => self.label_join(depth),
            9 => {
                let name = self.pick(&["sort_by_label", "sort_by_label_desc"]);
                let mut args = vec![self.vector(depth)];
                for _ in 0..self.rng.random_range(0..3) {
                    let label =
                        self.pick(&["\"n\"", "\"job\"", "\"instance\"", "\"path\"", "\"x\""]);
                    args.push(Node::leaf(Kind::Text, label));
                }
                call(name, args)
            }
            10..13 => self.info(depth),
            13 => {
                let name = self.pick(&[
                    "year",
                    "month",
                    "hour",
                    "minute",
                    "day_of_week",
                    "day_of_month",
                    "day_of_year",
                    "days_in_month",
                ]);
                match self.rng.random_range(0..3) {
                    0 => Node::leaf(Kind::Vector, format!("{name}()")),
                    _ => call(name, [Node::leaf(Kind::Vector, "when")]),
                }
            }
            _ => {
                let name = self.pick(OF_VECTOR);
                call(name, [self.vector(depth)])
            }
        }
    }

    fn scalar_of(&mut self, options: &[&str]) -> Node {
        if self.chance(0.1) { self.scalar(1) } else { Node::leaf(Kind::Scalar, self.pick(options)) }
    }

    fn histogram(&mut self, depth: u32) -> Node {
        let buckets = match self.rng.random_range(0..6) {
            0 => Node::leaf(Kind::Vector, "lat_bucket"),
            1 => Node::leaf(Kind::Vector, "rate(lat_bucket[5m])"),
            2 => Node::leaf(Kind::Vector, "sum by (le, job) (rate(lat_bucket[10m]))"),
            3 => Node::leaf(Kind::Vector, "sum by (le) (lat_bucket)"),
            4 => Node::leaf(Kind::Vector, "lat_bucket{job=\"db\"} - lat_bucket offset 5m"),
            _ => self.vector(depth),
        };
        if self.chance(0.6) {
            let q = self.scalar_of(&["0", "0.5", "0.9", "0.99", "1", "-1", "1.1", "NaN", "(2)"]);
            return call("histogram_quantile", [q, buckets]);
        }
        let bounds = ["-Inf", "0", "0.2", "0.5", "1", "2", "Inf", "NaN", "-1.5"];
        let (low, high) = (self.scalar_of(&bounds), self.scalar_of(&bounds));
        call("histogram_fraction", [low, high, buckets])
    }

    fn label_replace(&mut self, depth: u32) -> Node {
        let texts = [
            self.pick(&["\"job\"", "\"x\"", "\"__name__\"", "'a b'", "\"\"", "\"instance\""]),
            self.pick(&[
                "\"$1\"",
                "\"new\"",
                "\"\"",
                "\"$1-$2\"",
                "\"${1}x$$\"",
                "\"$x\"",
                "\"$name\"",
            ]),
            self.pick(&[
                "\"instance\"",
                "\"job\"",
                "\"n\"",
                "\"none\"",
                "\"__name__\"",
                "\"path\"",
            ]),
            self.pick(&[
                "\"(.*):(.*)\"",
                "\".*\"",
                "\"(.+)\"",
                "\"\"",
                "\"a.*\"",
                "`(\\w+):\\d`",
                "\"(?P<name>.*)\"",
                "\"(\"",
                "\"(a|b).*|(c).*\"",
            ]),
        ];
        let texts = texts.map(|text| Node::leaf(Kind::Text, text));
        call("label_replace", [self.vector(depth)].into_iter().chain(texts))
    }

    fn label_join(&mut self, depth: u32) -> Node {
        let target = self.pick(&["\"job\"", "\"x\"", "\"__name__\"", "\"\"", "\"n\""]);
        let separator = self.pick(&["\"\"", "\"-\"", "\",\""]);
        let mut args = vec![self.vector(depth)];
        args.extend([target, separator].map(|text| Node::leaf(Kind::Text, text)));
        for _ in 0..self.rng.random_range(0..3) {
            let source =
                self.pick(&["\"job\"", "\"instance\"", "\"none\"", "\"__name__\"", "\"\""]);
            args.push(Node::leaf(Kind::Text, source));
        }
        call("label_join", args)
    }

    fn info(&mut self, depth: u32) -> Node {
        let base = match self.rng.random_range(0..4) {
            0 => self.vector(depth),
            1 => Node::leaf(Kind::Vector, "http_requests_total{instance!=\"b:2\"} offset 3m"),
            _ => Node::leaf(
                Kind::Vector,
                self.pick(&[
                    "lat_sum",
                    "rate(http_requests_total{method=\"GET\"}[5m])",
                    "cpu_seconds{instance=~\"a.*|c.*\"}",
                    "lat_count{job=\"api\"}",
                    "lonely",
                    "{job=\"api\",instance=\"a:1\"}",
                ]),
            ),
        };
        if self.chance(0.4) {
            return call("info", [base]);
        }
        let labels = self.pick(&[
            "{version=~\".+\"}",
            "{region=\"eu\"}",
            "{__name__=\"build_info\"}",
            "{__name__=~\".+_info\"}",
            "{__name__=\"build_info\", commit=~\".*\"}",
            "{version!=\"3\"}",
            "{none=\"\"}",
            "{none=\"x\"}",
            "{\"build_info\", region=~\"e.*\"}",
            "{}",
            "{code=\"x\"}",
        ]);
        call("info", [base, Node::leaf(Kind::Vector, labels)])
    }
}

fn call(name: &str, args: impl IntoIterator<Item = Node>) -> Node {
    let args: Vec<Node> = args.into_iter().collect();
    let mut parts = vec![format!("{name}(")];
    parts.extend(args.iter().skip(1).map(|_| ", ".to_owned()));
    parts.push(")".to_owned());
    Node::new(Kind::Vector, name, parts, args)
}
