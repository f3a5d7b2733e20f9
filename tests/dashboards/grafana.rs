//! What Grafana does with a dashboard before it asks: variables become text, by the rules of its Prometheus
//! data source (`packages/grafana-prometheus/src/datasource.ts`: `interpolateQueryExpr`, `getRateIntervalScopedVariable`).

use std::collections::BTreeMap;

use serde_json::Value;

/// What is chosen for a variable.
#[derive(Debug, Clone)]
pub(crate) enum Choice {
    /// `All`, where the dashboard says what that is.
    All,
    /// Values of a variable that takes several: a regular expression.
    Several(Vec<&'static str>),
    /// The value of one that takes one.
    One(&'static str),
}

/// The time that a dashboard shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    /// Seconds since the Unix epoch.
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// `$__interval`, seconds.
    pub(crate) step: i64,
}

/// Seconds between samples, as the provisioned data source has them (`timeInterval`).
const SCRAPE: i64 = 10;

impl Range {
    fn built_in(self) -> [(&'static str, String); 4] {
        let range = self.end - self.start;
        let rate = (self.step + SCRAPE).max(4 * SCRAPE);
        [
            ("__rate_interval", format!("{rate}s")),
            ("__range_s", range.to_string()),
            ("__range", format!("{range}s")),
            ("__interval", format!("{}s", self.step)),
        ]
    }
}

/// Replaces all variables. Panics for one that is not defined.
pub(crate) fn interpolate(text: &str, range: Range, choices: &BTreeMap<String, Choice>) -> String {
    let mut names: Vec<(&str, String)> = range.built_in().into();
    names.extend(choices.iter().map(|(name, choice)| (name.as_str(), choice.text())));
    // The longest first: `$namespace` is not `$name`.
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let mut text = text.to_owned();
    for (name, value) in names {
        text = text.replace(&format!("${{{name}}}"), &value).replace(&format!("${name}"), &value);
    }
    assert!(!text.contains('$'), "a variable is not defined: {text}");
    text
}

impl Choice {
    fn text(&self) -> String {
        match self {
            Self::All => ".*".into(),
            Self::One(value) => value.replace('\\', r"\\").replace('\'', r"\'"),
            Self::Several(values) => {
                let escaped: Vec<String> = values.iter().map(|v| escape(v)).collect();
                match escaped.as_slice() {
                    [one] => one.clone(),
                    all => format!("({})", all.join("|")),
                }
            }
        }
    }
}

/// `prometheusSpecialRegexEscape`: for a regular expression within a string of PromQL.
fn escape(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        match c {
            '\\' => out.push_str(r"\\\\"),
            '$' | '^' | '*' | '{' | '}' | '[' | ']' | '\'' | '+' | '?' | '.' | '(' | ')' | '|' => {
                out.push_str(r"\\");
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// The parts of `label_values(selector, label)`.
pub(crate) fn label_values(query: &str) -> Option<(&str, &str)> {
    let inner = query.strip_prefix("label_values(")?.strip_suffix(')')?;
    let (selector, label) = inner.rsplit_once(',')?;
    Some((selector.trim(), label.trim()))
}

/// All dashboards: name of the file and content.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grafana/dashboards");
    let mut all: Vec<(String, Value)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).unwrap())
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The items of a list.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
