//! The JSON of a large answer, written part by part while it is sent.
//!
//! Nothing can fail any more when the first part leaves: what is left to do is to write down values that are
//! there. Series are let go of as they are written, so that beside the values of an answer there is one part
//! of its text at a time, however slowly the client takes it.

use std::collections::{BTreeSet, btree_set};
use std::convert::Infallible;
use std::io::Write;
use std::vec;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;

use crate::promql::source::{Labels, Series, StepSeries, Steps};
use crate::promql::{Query, Value, Values, format_plain, write_value};

/// Bytes that make a part full.
const PART: usize = 64 << 10;

/// An answer's text that is still to be written.
pub(super) struct Parts {
    /// Written and not taken.
    text: Vec<u8>,
    rest: Rest,
    /// The series that is being written, and how many points of it are.
    begun: Option<(Points, usize)>,
    /// Whether something stands before the next item.
    follows: bool,
    /// Evaluation times as they begin a point; empty for an instant query.
    times: Vec<String>,
    /// What follows the items; `None` once that is written.
    tail: Option<String>,
}

/// Items that have not been begun.
enum Rest {
    Vector(vec::IntoIter<StepSeries>),
    Instant(vec::IntoIter<StepSeries>, i64),
    Matrix(vec::IntoIter<Series>),
    Labels(std::iter::Take<btree_set::IntoIter<Labels>>),
    Nothing,
}

enum Points {
    Steps(Values),
    Samples(Vec<(i64, f64)>),
}

impl Parts {
    /// The `data` of a query's answer, of at most `limit` series.
    pub(super) fn answer(
        value: Value,
        query: &Query,
        limit: usize,
        stats: Option<&serde_json::Value>,
    ) -> Self {
        let steps = query.steps;
        let kind = match &value {
            Value::Str(_) => "string",
            Value::Scalar(_) if query.instant => "scalar",
            Value::Vector(_) if query.instant => "vector",
            _ => "matrix",
        };
        let mut text = format!("{{\"resultType\":\"{kind}\",\"result\":[").into_bytes();
        let mut times = Vec::new();
        let rest = match value {
            Value::Str(string) => {
                seconds(steps.start, &mut text);
                text.push(b',');
                json(&string, &mut text);
                Rest::Nothing
            }
            Value::Scalar(values) if query.instant => {
                let value = values.first().copied().unwrap_or(f64::NAN);
                seconds(steps.start, &mut text);
                // Never with an exponent, unlike the values of series.
                text.extend_from_slice(format!(",\"{}\"", format_plain(value)).as_bytes());
                Rest::Nothing
            }
            Value::Scalar(values) => {
                times = beginnings(steps);
                let values = values.into_iter().map(Some).collect();
                let one = StepSeries { labels: Labels::default(), values };
                Rest::Vector(vec![one].into_iter())
            }
            Value::Vector(mut all) => {
                all.retain(|one| one.values.any());
                all.truncate(limit);
                if query.instant {
                    Rest::Instant(all.into_iter(), steps.start)
                } else {
                    times = beginnings(steps);
                    Rest::Vector(all.into_iter())
                }
            }
            Value::Matrix(mut all) => {
                all.truncate(limit);
                Rest::Matrix(all.into_iter())
            }
        };
        let tail = match stats {
            Some(stats) => format!("],\"stats\":{stats}}}"),
            None => "]}".to_owned(),
        };
        Self { text, rest, begun: None, follows: false, times, tail: Some(tail) }
    }

    /// A list of at most `limit` label sets.
    pub(super) fn label_sets(all: BTreeSet<Labels>, limit: usize) -> Self {
        Self {
            text: b"[".to_vec(),
            rest: Rest::Labels(all.into_iter().take(limit)),
            begun: None,
            follows: false,
            times: Vec::new(),
            tail: Some("]".to_owned()),
        }
    }

    /// The same with text around it.
    pub(super) fn between(mut self, head: &str, tail: &str) -> Self {
        self.text.splice(..0, head.bytes());
        if let Some(own) = &mut self.tail {
            own.push_str(tail);
        }
        self
    }

    /// The body of a response. One that is short has a length.
    pub(super) fn into_body(mut self) -> Body {
        let first = self.next().unwrap_or_default();
        if self.tail.is_none() {
            return Body::from(first);
        }
        let parts = std::iter::once(first).chain(self).map(Ok::<_, Infallible>);
        Body::from_stream(stream::iter(parts))
    }

    /// Writes on; false at the end.
    fn write(&mut self) -> bool {
        if let Some((points, written)) = self.begun.take() {
            self.points(points, written);
            return true;
        }
        let out = &mut self.text;
        let begun = match &mut self.rest {
            Rest::Nothing => None,
            Rest::Labels(all) => all.next().map(|labels| {
                separate(&mut self.follows, out);
                metric(&labels, out);
                None
            }),
            Rest::Instant(all, time) => all.next().map(|one| {
                separate(&mut self.follows, out);
                series(&one.labels, "value", out);
                point(*time, one.values.first().unwrap_or(f64::NAN), out);
                out.extend_from_slice(b"]}");
                None
            }),
            Rest::Vector(all) => all.next().map(|one| {
                separate(&mut self.follows, out);
                series(&one.labels, "values", out);
                Some((Points::Steps(one.values), 0))
            }),
            Rest::Matrix(all) => all.next().map(|one| {
                separate(&mut self.follows, out);
                series(&one.labels, "values", out);
                Some((Points::Samples(one.samples), 0))
            }),
        };
        match begun {
            Some(begun) => {
                self.begun = begun;
                true
            }
            None => {
                self.text.extend_from_slice(self.tail.take().unwrap_or_default().as_bytes());
                false
            }
        }
    }

    /// Writes the points of a series after the first `written`, as many as find room.
    fn points(&mut self, points: Points, written: usize) {
        let (out, times) = (&mut self.text, &self.times);
        let now = match &points {
            Points::Steps(values) => written + steps(values, times, written, out),
            Points::Samples(all) => written + samples(all, written, out),
        };
        let all = match &points {
            Points::Steps(values) => values.present().nth(now).is_none(),
            Points::Samples(samples) => now >= samples.len(),
        };
        if all {
            out.extend_from_slice(b"]}");
        } else {
            self.begun = Some((points, now));
        }
    }
}

/// Writes values after the first `written` until a part is full; returns how many.
fn steps(values: &Values, times: &[String], written: usize, out: &mut Vec<u8>) -> usize {
    let mut count = 0;
    for (step, value) in values.present().skip(written) {
        if out.len() >= PART {
            break;
        }
        let beginning = times.get(step).map(String::as_bytes).unwrap_or_default();
        // All but the first begin with a comma.
        let comma = usize::from(written + count == 0);
        out.extend_from_slice(beginning.get(comma..).unwrap_or_default());
        write_value(value, out);
        out.extend_from_slice(b"\"]");
        count += 1;
    }
    count
}

/// Writes samples after the first `written` until a part is full; returns how many.
fn samples(samples: &[(i64, f64)], written: usize, out: &mut Vec<u8>) -> usize {
    let mut count = 0;
    for (time, value) in samples.iter().skip(written) {
        if out.len() >= PART {
            break;
        }
        out.extend_from_slice(if written + count == 0 { b"[" } else { b",[" });
        point(*time, *value, out);
        out.push(b']');
        count += 1;
    }
    count
}

/// The text in parts of about [`PART`] bytes.
impl Iterator for Parts {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.tail.as_ref()?;
        if self.text.is_empty() {
            // Not the first one: it will be full.
            self.text.reserve(PART + PART / 8);
        }
        while self.text.len() < PART && self.write() {}
        Some(std::mem::take(&mut self.text).into())
    }
}

/// How points at the evaluation times begin: `,[1435781430,"`.
fn beginnings(steps: Steps) -> Vec<String> {
    let beginning = |time| {
        let mut text = b",[".to_vec();
        seconds(time, &mut text);
        text.extend_from_slice(b",\"");
        String::from_utf8_lossy(&text).into_owned()
    };
    steps.iter().map(beginning).collect()
}

/// A comma, unless nothing stands before.
fn separate(follows: &mut bool, out: &mut Vec<u8>) {
    if std::mem::replace(follows, true) {
        out.push(b',');
    }
}

/// The beginning of a series.
fn series(labels: &Labels, values: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"metric\":");
    metric(labels, out);
    out.extend_from_slice(b",\"");
    out.extend_from_slice(values.as_bytes());
    out.extend_from_slice(b"\":[");
}

/// Labels as a JSON object.
fn metric(Labels(labels): &Labels, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (name, value)) in labels.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json(name, out);
        out.push(b':');
        json(value, out);
    }
    out.push(b'}');
}

/// `1435781430.781,"1.5"`
fn point(time: i64, value: f64, out: &mut Vec<u8>) {
    seconds(time, out);
    out.extend_from_slice(b",\"");
    write_value(value, out);
    out.push(b'"');
}

/// Milliseconds as a JSON number of seconds, without a fraction where there is none.
fn seconds(ms: i64, out: &mut Vec<u8>) {
    let sign = if ms < 0 { "-" } else { "" };
    let (whole, rest) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    // Writing to memory does not fail.
    let _ = write!(out, "{sign}{whole}");
    if rest > 0 {
        let _ = write!(out, ".{rest:03}");
    }
}

fn json(text: &str, out: &mut Vec<u8>) {
    // Writing text to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests;
