//! Rows that a rule of retention has taken out of one table and not out of another.
//!
//! A table's rules divide its rows into classes: those that the first rule matches, those that the
//! second matches and the first does not, and so on; what no rule matches is one more. A class is kept
//! for some time, or for ever. So a row that is hidden here is hidden there too if all classes that it
//! can be in there are kept for no longer.

use std::sync::Arc;

use jiff::Timestamp;
use weir_storage::{Hidden, Matcher};

use super::{Need, Tier, Tiers};

impl Tier {
    /// A class of rows that a rule hides here, that the query reads, and that `other` still shows.
    pub(super) fn removed_but_in(&self, other: &Self, need: &Need<'_>) -> Option<&Hidden> {
        let gone = |hidden: &&Hidden| {
            hidden.until > need.after
                && other.oldest.is_some_and(|oldest| oldest <= hidden.until.min(need.until))
                && !covers(&other.hidden, hidden, hidden.until.min(need.until))
        };
        self.hidden.iter().map(Arc::as_ref).find(gone)
    }
}

impl Tiers {
    /// Says so when a rule has taken rows out of `chosen` that another table still has.
    pub(crate) fn removed(&self, chosen: &Tier, need: &Need<'_>) -> Option<String> {
        let others = self.0.iter().rev().filter(|tier| tier.table != chosen.table);
        let (hidden, tier) =
            others.filter_map(|t| Some((chosen.removed_but_in(t, need)?, t))).next()?;
        let rows = match hidden.matchers.as_ref() {
            [] => "flows that no rule of retention matches".to_owned(),
            matchers => {
                let matchers: Vec<_> = matchers.iter().map(ToString::to_string).collect();
                format!("flows that match {{{}}}", matchers.join(","))
            }
        };
        let until = match Timestamp::from_microsecond(hidden.until) {
            Ok(time) => format!("until {time:.0}"),
            Err(_) => "of this time".to_owned(),
        };
        let missing: Vec<_> =
            need.columns.iter().filter(|c| !tier.columns.contains(**c)).copied().collect();
        let way = if tier.micros() > chosen.micros() {
            tier.way(&missing)
        } else {
            format!("a start, step or range that is no multiple of {} reads those", chosen.name)
        };
        Some(format!(
            "{rows} {until} are in the tier {} only, by a rule of retention, and this answer lacks them: {way}",
            tier.name
        ))
    }
}

/// Whether what is hidden elsewhere has all rows of `one` up to a time.
fn covers(elsewhere: &[Arc<Hidden>], one: &Hidden, until: i64) -> bool {
    let long_enough = |class: &Hidden| class.after <= one.after && class.until >= until;
    // Rows of another class there are hidden if that class is, and do not count if they stay here.
    let excepted = |list: &Arc<[Matcher]>| {
        one.unless.iter().any(|stays| includes(stays, list))
            || elsewhere.iter().any(|class| class.matchers == *list && long_enough(class))
    };
    elsewhere.iter().any(|class| {
        long_enough(class)
            && includes(&class.matchers, &one.matchers)
            && class.unless.iter().all(excepted)
    })
}

/// Whether all rows that pass `narrow` pass `wide`, as far as their form tells.
fn includes(wide: &[Matcher], narrow: &[Matcher]) -> bool {
    wide.iter().all(|matcher| narrow.contains(matcher))
}

#[cfg(test)]
mod tests;
