//! Selectors, windows, subqueries, and their modifiers.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::{Kind, Maker, Node};
use crate::data::{SPAN, START};

/// Metrics, and labels of theirs.
const METRICS: &[(&str, &[&str])] = &[
    ("http_requests_total", &["job", "instance", "method", "code"]),
    ("cpu_seconds", &["job", "instance", "cpu"]),
    ("temp", &["site", "room"]),
    ("rank", &["n", "half"]),
    ("constant", &["n"]),
    ("dense", &["n"]),
    ("lonely", &[]),
    ("owner", &["instance", "team"]),
    ("weird", &["kind"]),
    ("when", &["n"]),
    ("lat_bucket", &["job", "instance", "le"]),
    ("lat_sum", &["job", "instance"]),
    ("lat_count", &["job", "instance"]),
    ("gap", &["n"]),
    ("sparse", &["n"]),
    ("target_info", &["job", "instance", "version", "region"]),
    ("build_info", &["job", "instance", "commit"]),
    ("{\"http.server.requests\"", &["\"service.name\"", "'région'", "n"]),
    ("tricky", &["n", "path"]),
    ("job:temp:avg", &["job"]),
    ("typed_total", &["n", "__type__"]),
    ("typed", &["n"]),
    ("nothing", &["n"]),
];

/// Matchers that stand for a metric's name.
const NAMELESS: &[&str] = &[
    "{__name__=~\"lat_.*\"",
    "{__name__=~\"(?i)HTTP.*\"",
    "{__name__=~\"temp|rank|lonely\"",
    "{n=\"1\"",
    "{job=~\".+\"",
    "{__name__!=\"temp\",site=\"x\"",
    "{__name__!~\"t.*\",n=~\"[12]\"",
    "{instance=~\"a.*\",job!=\"\"",
    "{\"temp\"",
];

const VALUES: &[&str] = &[
    "=\"1\"",
    "=\"api\"",
    "=\"a:1\"",
    "=\"\"",
    "!=\"\"",
    "!=\"1\"",
    "!=\"GET\"",
    "=~\"a.*\"",
    "=~\"[a-c]:[12]\"",
    "=~\"\\\\d+\"",
    "=~\"1|2|GET|api|x\"",
    "=~\"(?i)get|API|X\"",
    "=~\".*0.*\"",
    "=~\".*\"",
    "=~\".+\"",
    "=~\"\"",
    "!~\"\"",
    "!~\"a.*|x\"",
    "!~\".*2\"",
    "=~\"\\\\w\"",
    "=~'[[:digit:]]+'",
    "=~`\\d|[^\\d]+`",
    "!~`[\\[/].*`",
    "=~\"a{2}|[x]|a\\\\{2\\\\}\"",
    "=~\"^(api|web)$\"",
    "=~\"(a|b):.*|nan|inf|.inf\"",
    "=\"é\"",
    "=~\"s.d|nord|c.d\"",
    "=~\"0.5|\\\\+Inf|1|2.5\"",
];

const DURATIONS: &[&str] = &[
    "15s", "17s", "1m", "90s", "5m", "7m30s", "10m", "30m", "1h", "300", "0.5", "1500ms",
    "2m1s1ms", "20s", "61s", "1h40m", "2m",
];

impl Maker<'_> {
    /// An instant vector selector.
    pub(super) fn selector(&mut self) -> Node {
        let text = self.matched();
        let plain = Node::leaf(Kind::Vector, text.clone());
        let modifiers = self.modifiers(0.15);
        if modifiers.is_empty() {
            return plain;
        }
        Node::leaf(Kind::Vector, text + &modifiers).or_simpler([plain])
    }

    /// Name and matchers.
    fn matched(&mut self) -> String {
        let (mut text, labels) = if self.chance(0.1) {
            let start = self.pick(NAMELESS);
            (start.to_owned(), ["n", "job", "instance", "site"].as_slice())
        } else {
            let (name, labels) = *METRICS.choose(self.rng).unwrap();
            (name.to_owned(), labels)
        };
        let mut open = text.starts_with('{');
        while self.chance(0.3) && !labels.is_empty() {
            text.push_str(if open { "," } else { "{" });
            open = true;
            let label = labels.choose(self.rng).unwrap();
            text.push_str(label);
            text.push_str(self.pick(VALUES));
        }
        if open {
            text.push_str(if self.chance(0.05) { ",}" } else { "}" });
        }
        text
    }

    fn modifiers(&mut self, p: f64) -> String {
        let mut all = Vec::new();
        if self.chance(p) {
            let sign = self.pick(&["", "", "-", "+"]);
            let duration = self.pick(DURATIONS);
            all.push(format!(" offset {sign}{duration}"));
        }
        if self.chance(p) {
            let at = START + self.rng.random_range(-300_000..SPAN + 600_000);
            all.push(match self.rng.random_range(0..5) {
                0 => " @ start()".to_owned(),
                1 => " @ end()".to_owned(),
                2 => format!(" @ {}", at / 1000),
                3 => format!(" @{:.3}", at as f64 / 1000.0),
                _ => format!(" @ {:.1e}", (at / 1000) as f64),
            });
        }
        if self.chance(0.5) {
            all.reverse();
        }
        all.concat()
    }

    /// A range vector.
    pub(super) fn matrix(&mut self, depth: u32) -> Node {
        if depth > 0 && self.chance(0.3) {
            return self.subquery(depth - 1);
        }
        let (text, range) = (self.matched(), self.pick(DURATIONS));
        let modifiers = self.modifiers(0.15);
        let plain = Node::leaf(Kind::Matrix, format!("{text}[{range}]"));
        if modifiers.is_empty() {
            return plain;
        }
        Node::leaf(Kind::Matrix, format!("{text}[{range}]{modifiers}")).or_simpler([plain])
    }

    fn subquery(&mut self, depth: u32) -> Node {
        let inner = self.vector(depth);
        let range = self.pick(&["1m", "5m", "10m", "90s", "1h", "7m30s", "600"]);
        let step = self.pick(&["", "", "15s", "1m", "17s", "30", "2m", "6m", "10s"]);
        let modifiers = self.modifiers(0.15);
        let make = |modifiers: &str, step: &str, inner: &Node| {
            let end = format!(")[{range}:{step}]{modifiers}");
            Node::new(Kind::Matrix, "", ["(", &end], [inner.clone()])
        };
        let full = make(&modifiers, step, &inner);
        if modifiers.is_empty() && step.is_empty() {
            return full;
        }
        full.or_simpler([make("", step, &inner), make("", "", &inner)])
    }
}
