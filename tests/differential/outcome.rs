//! What a side answers, and how two answers differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::grammar::{Order, Question};

pub(crate) type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Answer(Answer),
    /// `errorType` and `error`.
    Refusal(String, String),
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// `resultType`
    pub(crate) kind: String,
    /// Milliseconds and values.
    pub(crate) series: Vec<(Labels, Vec<(i64, f64)>)>,
    /// Of a string.
    pub(crate) text: Option<String>,
    pub(crate) warnings: BTreeSet<String>,
    pub(crate) infos: BTreeSet<String>,
}

impl Outcome {
    /// Reads an answer of the HTTP API.
    pub(crate) fn of_json(value: &Value) -> Self {
        if value["status"] != "success" {
            let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            return Self::Refusal(text("errorType"), text("error"));
        }
        let data = &value["data"];
        let kind = data["resultType"].as_str().unwrap().to_owned();
        let result = &data["result"];
        let mut text = None;
        let series = match kind.as_str() {
            "scalar" => vec![(Labels::new(), vec![point(result)])],
            "string" => {
                text = Some(result[1].as_str().unwrap().to_owned());
                Vec::new()
            }
            _ => result.as_array().unwrap().iter().map(one).collect(),
        };
        let notes = |name: &str| {
            let list = value[name].as_array();
            list.into_iter().flatten().map(|note| note.as_str().unwrap().to_owned()).collect()
        };
        let (warnings, infos) = (notes("warnings"), notes("infos"));
        Self::Answer(Answer { kind, series, text, warnings, infos })
    }
}

fn one(value: &Value) -> (Labels, Vec<(i64, f64)>) {
    let labels = serde_json::from_value(value["metric"].clone()).unwrap();
    let points = match value["values"].as_array() {
        Some(points) => points.iter().map(point).collect(),
        None => vec![point(&value["value"])],
    };
    (labels, points)
}

fn point(value: &Value) -> (i64, f64) {
    let time = (value[0].as_f64().unwrap() * 1000.0).round() as i64;
    (time, value[1].as_str().unwrap().parse().unwrap())
}

/// Equal up to the last digits, in which mathematical functions and orders of summation differ.
fn is_close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// How two outcomes differ, if they do.
pub(crate) fn differences(a: &Outcome, b: &Outcome, question: &Question) -> Option<String> {
    let difference = match (a, b) {
        (Outcome::Refusal(a, text), Outcome::Refusal(b, other)) => {
            // Which of several conflicts is found first depends on the order of maps.
            let same = a == b && (a != "bad_data" || complaint(text) == complaint(other));
            return (!same).then(|| format!("  expected: {a}: {text}\n  got:      {b}: {other}"));
        }
        (Outcome::Answer(a), Outcome::Answer(b)) => {
            values(a, b).or_else(|| order(a, b, question)).or_else(|| notes(a, b))?
        }
        _ => "one is refused".to_owned(),
    };
    Some(format!("  {difference}\n  expected: {}\n  got:      {}", shown(a), shown(b)))
}

/// What a parse error is about, without its place: with parentheses of groupings before it, Prometheus
/// takes the wrong one for the end of a call.
fn complaint(message: &str) -> &str {
    message.split_once(": parse error: ").map_or("", |(_, complaint)| complaint)
}

fn shown(outcome: &Outcome) -> String {
    let text = format!("{outcome:?}");
    text.chars().take(1500).collect()
}

fn values(a: &Answer, b: &Answer) -> Option<String> {
    if a.kind != b.kind || a.text != b.text {
        return Some(format!("kind {} {:?}, not {} {:?}", a.kind, a.text, b.kind, b.text));
    }
    let map = |answer: &Answer| answer.series.iter().cloned().collect::<BTreeMap<_, _>>();
    let (left, right) = (map(a), map(b));
    if left.len() != a.series.len() || right.len() != b.series.len() {
        return Some("a series twice".to_owned());
    }
    for labels in left.keys().chain(right.keys()) {
        let (Some(x), Some(y)) = (left.get(labels), right.get(labels)) else {
            return Some(format!("only one has {labels:?}"));
        };
        if x.len() != y.len() || x.iter().zip(y).any(|(x, y)| x.0 != y.0) {
            let times = |points: &[(i64, f64)]| points.iter().map(|p| p.0).collect::<Vec<_>>();
            return Some(format!("times of {labels:?}: {:?} and {:?}", times(x), times(y)));
        }
        if let Some((x, y)) = x.iter().zip(y).find(|(x, y)| !is_close(x.1, y.1)) {
            return Some(format!("value of {labels:?} at {}: {} and {}", x.0, x.1, y.1));
        }
    }
    None
}

/// Where the language defines an order, it must be the same; equal values may change places. A label that is
/// missing is neither before nor behind others.
fn order(a: &Answer, b: &Answer, question: &Question) -> Option<String> {
    let sorted_by = question.sorted_by();
    let has_all = |labels: &Labels| sorted_by.iter().all(|name| labels.contains_key(name));
    if question.order() == Order::Labels && a.series.iter().any(|(labels, _)| !has_all(labels)) {
        return None;
    }
    let keys = |answer: &Answer| -> Vec<String> {
        answer
            .series
            .iter()
            .map(|(labels, points)| match question.order() {
                Order::None => String::new(),
                Order::Values => points.first().map(|p| format!("{:.8e}", p.1)).unwrap_or_default(),
                Order::Labels => format!("{labels:?}"),
            })
            .collect()
    };
    (keys(a) != keys(b)).then(|| format!("order: {:?} and {:?}", keys(a), keys(b)))
}

/// Prometheus lists ten remarks of a kind, in any order.
fn notes(a: &Answer, b: &Answer) -> Option<String> {
    for (x, y) in [(&a.warnings, &b.warnings), (&a.infos, &b.infos)] {
        if x != y && x.len() < 10 && y.len() < 10 {
            return Some(format!("remarks: {x:?} and {y:?}"));
        }
    }
    None
}
