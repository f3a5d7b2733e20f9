//! Which table of flows answers: the rows as they came, or sums over windows.
//!
//! A tier answers exactly what the rows would if
//!
//! - it has every label that the query groups by or matches, as it was (not folded into `other`);
//! - every edge of the query's windows is a multiple of its width: then the rows that end in a window
//!   are those of its sums that do;
//! - it is whole for all of the query's time, and has not lost rows to retention that a finer table
//!   still has, whether by age or by a rule ([`removed`]).
//!
//! The coarsest such tier is taken, and the rows themselves if there is none. Where every table has
//! lost rows that another has, age counts more than a rule, and the answer says what it lacks.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::prelude::SessionContext;
use jiff::Timestamp;
use weir_storage::{Hidden, Snapshot, Window};

use super::catalog::Period;
use super::metrics::{Columns, Metric};
use crate::database::FLOWS;

mod removed;

/// One table of flows at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Tier {
    /// Name of the table.
    pub(crate) table: &'static str,
    /// Its name for people: `raw`, `5m`, `1h`.
    pub(crate) name: &'static str,
    /// Width of its windows; nothing for rows as they came.
    width: Option<Window>,
    /// Columns that hold what the rows held.
    columns: BTreeSet<String>,
    /// Windows that end later than this are whole, microseconds.
    complete_after: i64,
    /// Time of the oldest row in files, if there is one.
    oldest: Option<i64>,
    /// What the rules of retention hide in it now, if it has any: of rows in memory, in files, and of
    /// those that are in no file any more for that reason.
    hidden: Arc<[Arc<Hidden>]>,
}

/// The tables of flows of one session, finest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tiers(Vec<Tier>);

/// Times beyond this are none, microseconds: the year 9999.
const MAX_TIME: i64 = 253_402_300_799_000_000;

/// A part of a period, and the table that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Name of the table.
    pub(crate) table: &'static str,
    /// Its rows end later than this, microseconds,
    pub(crate) after: i64,
    /// and not later than this.
    pub(crate) until: i64,
}

/// What a query asks of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need<'a> {
    /// Columns that it reads beside the time.
    pub(crate) columns: &'a BTreeSet<&'a str>,
    /// It reads rows that end later than this, microseconds.
    pub(crate) after: i64,
    /// And not later than this.
    pub(crate) until: i64,
    /// Distances between the edges of its windows, microseconds; `after` is one.
    pub(crate) strides: &'a [i64],
}

impl Tier {
    fn new(snapshot: &Snapshot) -> Self {
        let spec = &snapshot.spec;
        let mut columns: BTreeSet<String> =
            spec.schema.fields().iter().map(|f| f.name().clone()).collect();
        if let Some(rollup) = &spec.rollup {
            for detail in &rollup.detail {
                columns.remove(detail.column);
            }
            for name in rollup.fold.iter().flat_map(|f| f.about.iter().chain([&f.column])) {
                columns.remove(*name);
            }
        }
        Self {
            table: spec.name,
            name: spec.name.strip_prefix("flows_").unwrap_or("raw"),
            width: spec.rollup.as_ref().map(|rollup| rollup.width),
            columns,
            complete_after: snapshot.complete_after,
            oldest: snapshot.files.iter().map(|f| f.min_time).min(),
            hidden: snapshot.hidden_in_memory.clone(),
        }
    }

    /// Width of its windows, microseconds; 1 for rows as they came.
    pub(crate) fn micros(&self) -> i64 {
        self.width.map_or(1, Window::micros)
    }

    /// Whether it gives what rows as they came would.
    fn fits(&self, need: &Need<'_>) -> bool {
        let edge = |time: i64| time % self.micros() == 0;
        edge(need.after) && need.strides.iter().all(|stride| edge(*stride)) && self.covers(need)
    }

    /// Whether it has the columns, and is whole for the time.
    fn covers(&self, need: &Need<'_>) -> bool {
        need.after >= self.complete_after
            && need.columns.iter().all(|column| self.columns.contains(*column))
    }

    /// Whether a coarser tier has sums of rows that this one has lost.
    fn has_lost(&self, coarser: &Self, need: &Need<'_>) -> bool {
        let ours = self.oldest.unwrap_or(i64::MAX);
        let older = coarser.oldest.is_some_and(|theirs| theirs < ours && theirs <= need.until);
        (older && need.after < ours) || self.removed_but_in(coarser, need).is_some()
    }

    /// Whether rows of `finer` that the query reads are not in this tier (any more).
    fn lacks(&self, finer: &Self, need: &Need<'_>) -> bool {
        let (Some(width), Some(theirs)) = (self.width, finer.oldest) else { return false };
        let ours = self.oldest.unwrap_or(i64::MAX);
        width.end_of(theirs) < ours && need.after.saturating_add(width.micros()) < ours
    }
}

impl Tiers {
    /// The tables of flows among these.
    pub(crate) fn new(snapshots: &[Snapshot]) -> Self {
        let of_flows = |s: &&Snapshot| {
            s.spec.name == FLOWS || s.spec.rollup.as_ref().is_some_and(|r| r.source == FLOWS)
        };
        let mut tiers: Vec<_> = snapshots.iter().filter(of_flows).map(Tier::new).collect();
        tiers.sort_by_key(Tier::micros);
        Self(tiers)
    }

    /// Those of a session.
    pub(crate) fn of(session: &SessionContext) -> Arc<Self> {
        session.state_ref().read().config().get_extension().unwrap_or_default()
    }

    /// Rows as they came.
    pub(crate) fn rows(&self) -> Option<&Tier> {
        self.0.first().filter(|tier| tier.width.is_none())
    }

    /// The coarsest table that answers exactly.
    pub(crate) fn choose(&self, need: &Need<'_>) -> Option<&Tier> {
        let sums = self.sums().find(|tier| tier.fits(need) && self.has_all(tier, need));
        sums.or_else(|| self.0.first())
    }

    /// Tiers, coarsest first.
    fn sums(&self) -> impl Iterator<Item = &Tier> {
        self.0.iter().skip(1).rev()
    }

    fn has_all(&self, tier: &Tier, need: &Need<'_>) -> bool {
        let mut finer = self.0.iter().take_while(|finer| finer.micros() < tier.micros());
        !finer.any(|finer| {
            let removed = || tier.removed_but_in(finer, need).is_some();
            // A finer table that has lost rows of its own is no better.
            tier.lacks(finer, need) || (removed() && !finer.has_lost(tier, need))
        })
    }

    /// Cuts a period into parts, each with the coarsest table that answers it exactly: sums over hours in the middle, over
    /// minutes towards its ends, and the rows at its ragged edges. With `stride`, every part lies within multiples of
    /// it or is one of rows whose time is known.
    pub(crate) fn split(
        &self,
        columns: &BTreeSet<&str>,
        period: Period,
        stride: Option<i64>,
    ) -> Vec<Span> {
        let mut spans = Vec::new();
        let period =
            Period { after: period.after.max(-MAX_TIME), until: period.until.min(MAX_TIME) };
        self.split_among(self.0.len(), columns, period, stride, &mut spans);
        spans
    }

    /// The same by the finest `tiers` tables.
    fn split_among(
        &self,
        tiers: usize,
        columns: &BTreeSet<&str>,
        Period { after, until }: Period,
        stride: Option<i64>,
        spans: &mut Vec<Span>,
    ) {
        if after >= until {
            return;
        }
        for (at, tier) in self.0.iter().enumerate().take(tiers).skip(1).rev() {
            let width = tier.micros();
            if stride.is_some_and(|stride| stride % width != 0) {
                continue;
            }
            let whole = after.max(tier.complete_after.max(-MAX_TIME));
            let begin = whole.saturating_add(width - 1).div_euclid(width) * width;
            let end = until.div_euclid(width) * width;
            let need = Need { columns, after: begin, until: end, strides: &[] };
            if begin < end && tier.fits(&need) && self.has_all(tier, &need) {
                self.split_among(at, columns, Period { after, until: begin }, stride, spans);
                spans.push(Span { table: tier.table, after: begin, until: end });
                self.split_among(at, columns, Period { after: end, until }, stride, spans);
                return;
            }
        }
        spans.push(Span { table: FLOWS, after, until });
    }

    /// What an answer by these parts lacks because of retention.
    pub(crate) fn lost_in(&self, spans: &[Span], columns: &BTreeSet<&str>) -> BTreeSet<String> {
        let mut notes = BTreeSet::new();
        for span in spans {
            let Some(tier) = self.0.iter().find(|tier| tier.table == span.table) else { continue };
            let need = Need { columns, after: span.after, until: span.until, strides: &[] };
            notes.extend(self.lost(tier, &need));
            notes.extend(self.removed(tier, &need));
        }
        notes
    }

    /// The coarsest table that says which labels there were in a period, and the period widened to
    /// whole windows of it: by less than a twelfth.
    pub(crate) fn choose_around(
        &self,
        columns: &BTreeSet<&str>,
        period: Period,
    ) -> (&'static str, Period) {
        for tier in self.sums() {
            let width = tier.micros();
            let Some(window) = tier.width else { continue };
            let length = period.until.saturating_sub(period.after);
            let after = period.after.saturating_sub(period.after.rem_euclid(width));
            let need = Need { columns, after, until: period.until, strides: &[] };
            if length >= width.saturating_mul(24) && tier.covers(&need) && self.has_all(tier, &need)
            {
                return (tier.table, Period { after, until: window.end_of(period.until) });
            }
        }
        (FLOWS, period)
    }

    /// Says so when `chosen` has lost rows to retention that a coarser tier still has sums of.
    pub(crate) fn lost(&self, chosen: &Tier, need: &Need<'_>) -> Option<String> {
        let ours = chosen.oldest.unwrap_or(i64::MAX);
        let older = self.0.iter().rev().find(|tier| {
            tier.micros() > chosen.micros()
                && tier.oldest.is_some_and(|theirs| theirs < ours && theirs <= need.until)
        })?;
        if need.after >= ours {
            return None;
        }
        let since = match Timestamp::from_microsecond(ours) {
            Ok(time) if chosen.oldest.is_some() => format!("before {time:.0}"),
            _ => "of this time".to_owned(),
        };
        let missing: Vec<_> =
            need.columns.iter().filter(|c| !older.columns.contains(**c)).copied().collect();
        let way = older.way(&missing);
        Some(format!(
            "flows {since} are kept as sums over {} only, and this answer lacks them: {way}",
            older.name
        ))
    }
}

impl Tier {
    /// How a query gets to read this tier that asked for columns which it has not.
    fn way(&self, missing: &[&str]) -> String {
        if missing.is_empty() {
            format!(
                "start, step, range and offset that are multiples of {} would bring them back",
                self.name
            )
        } else {
            format!("a query without {} can read those", missing.join(", "))
        }
    }
}

/// The columns that hold a metric's values.
pub(crate) fn value_columns(metric: &Metric) -> Vec<&'static str> {
    match metric.columns {
        Columns::Counter(column) | Columns::Level(column) => vec![column],
        Columns::Parted(parted) => parted.columns().collect(),
        Columns::Bucket(h) => vec![h.offset, h.buckets],
        Columns::Sum(h) => vec![h.sum_us],
        Columns::Count(h) => vec![h.count],
        Columns::Cost(columns) => columns.to_vec(),
    }
}

#[cfg(test)]
mod tests;
