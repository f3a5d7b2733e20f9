//! What has changed between two periods.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::gather::Gather;
use super::groups::{Group, Total};
use super::measure::{Measure, Sums};
use super::question::Question;
use super::table::{describe, text};
use crate::error::Error;
use crate::flows::catalog::Period;
use crate::flows::tiers::Span;

/// The change of a measure, most of it first.
pub(crate) struct Compared {
    /// As the API gives it, without what it stands on.
    pub(crate) json: Value,
    pub(crate) spans: Vec<Span>,
    pub(crate) notes: BTreeSet<String>,
}

/// How much a group has changed, its labels, and its numbers now and before.
type Pair<'a> = (f64, Vec<&'a str>, Option<usize>, Option<usize>);

/// What a group had, which may have had nothing.
struct Absent;

impl Sums for Absent {
    fn get(&self, _: super::measure::Input) -> Option<i64> {
        None
    }

    fn slots(&self, _: super::measure::Histogram) -> Option<&super::measure::Slots> {
        None
    }
}

fn change(measure: &Measure, now: &impl Sums, before: &impl Sums) -> Option<f64> {
    match (measure.value(now), measure.value(before)) {
        (None, None) => None,
        // Nothing of a sum is zero; of a ratio or a duration it is not known.
        (now, before) if measure.is_whole() => Some(now.unwrap_or(0.0) - before.unwrap_or(0.0)),
        (now, before) => Some(now? - before?),
    }
}

fn change_json(measure: &Measure, now: &impl Sums, before: &impl Sums) -> Value {
    if measure.is_whole() {
        return match (measure.whole(now), measure.whole(before)) {
            (None, None) => Value::Null,
            (now, before) => json!(now.unwrap_or(0).saturating_sub(before.unwrap_or(0))),
        };
    }
    change(measure, now, before).map_or(Value::Null, Value::from)
}

/// Asks the same of both periods, and puts the groups in the order of how much `by` has changed.
///
/// # Errors
/// A query fails, or a measure of quantiles is asked for.
pub(crate) async fn compare(
    gather: &Gather<'_>,
    question: &Question,
    before: Period,
    by: &'static Measure,
    limit: usize,
) -> Result<Compared, Error> {
    if let Some(measure) = question.measures.iter().find(|m| m.histogram().is_some()) {
        return Err(Error::bad(format!(
            "invalid parameter \"measures\": {} cannot be compared; averages (rtt_avg) can",
            measure.name
        )));
    }
    let mut notes = BTreeSet::new();
    let (now, spans) = gather.groups(question, &mut notes).await?;
    let asked = Question { period: before, ..question.clone() };
    let (then, _) = gather.groups(&asked, &mut notes).await?;
    let mut rows: Vec<Pair<'_>> = Vec::new();
    for group in now.all() {
        let labels: Vec<&str> = group.labels().collect();
        let other = then.find(labels.iter().copied());
        let changed = match other {
            Some(other) => change(by, &group, &then.get(other)),
            None => change(by, &group, &Absent),
        };
        rows.push((changed.unwrap_or(0.0), labels, Some(group.number()), other));
    }
    for group in then.all() {
        let labels: Vec<&str> = group.labels().collect();
        if now.find(labels.iter().copied()).is_none() {
            let changed = change(by, &Absent, &group).unwrap_or(0.0);
            rows.push((changed, labels, None, Some(group.number())));
        }
    }
    let groups = rows.len();
    rows.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()).then_with(|| a.1.cmp(&b.1)));
    rows.truncate(limit);
    let measures = &question.measures;
    let values = |sums: &dyn Fn(&'static Measure) -> Value| -> Vec<Value> {
        measures.iter().map(|measure| sums(measure)).collect()
    };
    let rows: Vec<Value> = rows
        .into_iter()
        .map(|(_, labels, at, other)| {
            let group = at.map(|at| now.get(at));
            let before = other.map(|other| then.get(other));
            let one = |group: &Option<Group<'_>>, measure: &'static Measure| {
                group.map_or(Value::Null, |group| measure.json(&group))
            };
            json!({
                "labels": labels.into_iter().map(text).collect::<Vec<_>>(),
                "now": values(&|measure| one(&group, measure)),
                "before": values(&|measure| one(&before, measure)),
                "change": values(&|measure| match (&group, &before) {
                    (Some(now), Some(then)) => change_json(measure, now, then),
                    (Some(now), None) => change_json(measure, now, &Absent),
                    (None, Some(then)) => change_json(measure, &Absent, then),
                    (None, None) => Value::Null,
                }),
            })
        })
        .collect();
    let (total, total_then): (Total, Total) = (now.total(|_| true), then.total(|_| true));
    let micros = |at: i64| at as f64 / 1e6;
    let json = json!({
        "before_start": micros(before.after),
        "before_end": micros(before.until),
        "columns": describe(&question.columns()),
        "rows": rows,
        "total": {
            "now": values(&|measure| measure.json(&total)),
            "before": values(&|measure| measure.json(&total_then)),
            "change": values(&|measure| change_json(measure, &total, &total_then)),
        },
        "groups": groups,
    });
    Ok(Compared { json, spans, notes })
}
