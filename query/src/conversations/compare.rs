//! What has changed between two periods.

use std::collections::BTreeSet;

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Described, Number, describe, seconds, text};
use super::gather::Gather;
use super::groups::{Group, Total};
use super::measure::{Measure, Sums};
use super::question::Question;
use crate::error::Error;
use crate::flows::catalog::Period;
use crate::flows::tiers::Span;

/// The measures of a group in both periods, in the order of the columns.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    /// In the period that is asked for.
    now: Vec<Option<Number>>,
    /// In the other one.
    before: Vec<Option<Number>>,
    /// How much more there is now.
    change: Vec<Option<Number>>,
}

/// A group in both periods.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangedRow {
    /// In the order of the columns; null where a label is absent.
    labels: Vec<Option<String>>,
    #[serde(flatten)]
    changed: Changed,
}

/// What has changed between two periods, as the API gives it, without what it stands on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Comparison {
    /// Begin of the other period, seconds since 1970; not included.
    before_start: f64,
    /// End of the other period, seconds since 1970; included.
    before_end: f64,
    columns: Vec<Described>,
    /// Those first that have changed most.
    rows: Vec<ChangedRow>,
    /// Of all groups.
    total: Changed,
    /// How many groups there are in either period.
    groups: usize,
}

/// The change of a measure, most of it first.
pub(crate) struct Compared {
    pub(crate) answer: Comparison,
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

fn changed(measure: &Measure, now: &impl Sums, before: &impl Sums) -> Option<Number> {
    if measure.is_whole() {
        return match (measure.whole(now), measure.whole(before)) {
            (None, None) => None,
            (now, before) => {
                Some(Number::Whole(now.unwrap_or(0).saturating_sub(before.unwrap_or(0))))
            }
        };
    }
    change(measure, now, before).filter(|n| n.is_finite()).map(Number::Fraction)
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
    let (now, mut spans) = gather.groups(question, &[], &mut notes).await?;
    let asked = Question { period: before, ..question.clone() };
    let (then, spans_then) = gather.groups(&asked, &[], &mut notes).await?;
    spans.extend(spans_then);
    let mut rows: Vec<Pair<'_>> = Vec::new();
    for group in now.all() {
        let labels: Vec<&str> = group.labels().collect();
        let other = then.find(labels.iter().copied());
        let moved = match other {
            Some(other) => change(by, &group, &then.get(other)),
            None => change(by, &group, &Absent),
        };
        rows.push((moved.unwrap_or(0.0), labels, Some(group.number()), other));
    }
    for group in then.all() {
        let labels: Vec<&str> = group.labels().collect();
        if now.find(labels.iter().copied()).is_none() {
            let moved = change(by, &Absent, &group).unwrap_or(0.0);
            rows.push((moved, labels, None, Some(group.number())));
        }
    }
    let groups = rows.len();
    rows.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()).then_with(|| a.1.cmp(&b.1)));
    rows.truncate(limit);
    let measures = &question.measures;
    let values = |of: &dyn Fn(&'static Measure) -> Option<Number>| -> Vec<Option<Number>> {
        measures.iter().map(|measure| of(measure)).collect()
    };
    let rows: Vec<ChangedRow> = rows
        .into_iter()
        .map(|(_, labels, at, other)| {
            let group = at.map(|at| now.get(at));
            let before = other.map(|other| then.get(other));
            let one = |group: &Option<Group<'_>>, measure: &'static Measure| {
                group.and_then(|group| measure.number(&group))
            };
            let changed = Changed {
                now: values(&|measure| one(&group, measure)),
                before: values(&|measure| one(&before, measure)),
                change: values(&|measure| match (&group, &before) {
                    (Some(now), Some(then)) => changed(measure, now, then),
                    (Some(now), None) => changed(measure, now, &Absent),
                    (None, Some(then)) => changed(measure, &Absent, then),
                    (None, None) => None,
                }),
            };
            ChangedRow { labels: labels.into_iter().map(text).collect(), changed }
        })
        .collect();
    let (total, total_then): (Total, Total) = (now.total(|_| true), then.total(|_| true));
    let answer = Comparison {
        before_start: seconds(before.after),
        before_end: seconds(before.until),
        columns: describe(&question.columns()),
        rows,
        total: Changed {
            now: values(&|measure| measure.number(&total)),
            before: values(&|measure| measure.number(&total_then)),
            change: values(&|measure| changed(measure, &total, &total_then)),
        },
        groups,
    };
    Ok(Compared { answer, spans, notes })
}
