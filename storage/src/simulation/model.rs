//! What must be there. No I/O.

mod deletions;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::deletions::Erased;
pub(super) use self::deletions::Range;
use super::rows::{self, Cell, Row, SERIES, TABLES, TIERS, WINDOW, WORKLOADS};
use crate::window::Window;

/// How often each number is there, by table.
pub(super) type Counts = [BTreeMap<i64, usize>; TABLES.len()];

/// What is in files and memory, and what of it readers are shown.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) kept: Counts,
    pub(super) shown: Counts,
}

/// What is known of an entry, or of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was acknowledged, or a reader saw it.
    There,
    /// It was refused, or its sender never heard: the next start decides.
    Open,
    /// It was refused, and this program does not show it.
    Refused,
    /// A start went by without it.
    Absent,
}

#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) rows: [Vec<Row>; TABLES.len()],
    pub(super) fate: Fate,
}

/// All entries that were ever sent, and all deletions.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) entries: Vec<Sent>,
    /// By workload: rows before this may have expired, and those of series.
    horizons: [i64; WORKLOADS.len()],
    series_horizon: i64,
    /// Rows that were gone from disk when someone looked, by table.
    gone: [BTreeSet<i64>; TABLES.len()],
    erased: Vec<Erased>,
    /// Sums of tiers of which nothing can be said: a deletion may have reached them or not.
    vague: [BTreeSet<Cell>; TIERS.len()],
}

impl Default for Model {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            horizons: [i64::MIN; WORKLOADS.len()],
            series_horizon: i64::MIN,
            gone: Default::default(),
            erased: Vec::new(),
            vague: Default::default(),
        }
    }
}

impl Model {
    pub(super) fn send(&mut self, rows: [Vec<Row>; TABLES.len()]) -> usize {
        self.entries.push(Sent { rows, fate: Fate::Open });
        self.entries.len() - 1
    }

    /// What happened to an entry that was sent (again). A reply that cannot be is told.
    pub(super) fn acknowledged(&mut self, entry: usize, repeated: bool) -> Result<(), String> {
        let before = self.entries[entry].fate;
        let possible = match before {
            Fate::There => repeated,
            Fate::Refused | Fate::Absent => !repeated,
            Fate::Open => true,
        };
        self.entries[entry].fate = Fate::There;
        if possible {
            return Ok(());
        }
        Err(format!("entry {entry}, {before:?} before, was acknowledged as repeated: {repeated}"))
    }

    /// It was sent, and the program died.
    pub(super) fn unanswered(&mut self, entry: usize) {
        let fate = &mut self.entries[entry].fate;
        if *fate != Fate::There {
            *fate = Fate::Open;
        }
    }

    pub(super) fn refused(&mut self, entry: usize) {
        let fate = &mut self.entries[entry].fate;
        if *fate != Fate::There {
            *fate = Fate::Refused;
        }
    }

    /// The program ended: what it refused may still come back with the next start.
    pub(super) fn ended(&mut self) {
        let entries = self.entries.iter_mut().map(|sent| &mut sent.fate);
        for fate in entries.chain(self.erased.iter_mut().map(|erased| &mut erased.fate)) {
            if *fate == Fate::Refused {
                *fate = Fate::Open;
            }
        }
    }

    /// From now on rows of a workload before a time may be gone.
    pub(super) fn may_expire(&mut self, workload: usize, before: i64) {
        self.horizons[workload] = self.horizons[workload].max(before);
    }

    /// From now on rows of series before a time may be gone.
    pub(super) fn series_may_expire(&mut self, before: i64) {
        self.series_horizon = self.series_horizon.max(before);
    }

    /// So may all rows of windows before the newest one.
    pub(super) fn may_exceed(&mut self) {
        let there = self.entries.iter().filter(|sent| sent.fate == Fate::There);
        let times = there.flat_map(|sent| sent.rows.iter().flatten()).map(|row| row.time);
        // A point is a little younger than its row.
        if let Some(newest) = times.max().map(|time| time + 2_000_000) {
            self.series_may_expire(newest - newest.rem_euclid(WINDOW.micros()));
            let start = newest - newest.rem_euclid(WINDOW.micros());
            (0..WORKLOADS.len()).for_each(|workload| self.may_expire(workload, start));
        }
    }

    fn has_expired(&self, table: usize, row: &Row) -> bool {
        let of_series = TABLES[table] == SERIES;
        let horizon = self.horizons[rows::workload(row.n)];
        row.time < if of_series { self.series_horizon } else { horizon }
    }

    /// Whether what is seen is what must be. Entries and deletions whose fate was open are decided by
    /// it.
    pub(super) fn check(&mut self, seen: &Seen) -> Result<(), String> {
        self.decide_deletions(seen)?;
        let mut known = [0; TABLES.len()];
        for number in 0..self.entries.len() {
            let sent = self.entries[number].clone();
            let (mut required, mut present) = (0, 0);
            let mut missing = None;
            for (table, rows) in sent.rows.iter().enumerate() {
                for row in rows {
                    let kept = seen.kept[table].get(&row.n).copied().unwrap_or(0);
                    let shown = seen.shown[table].get(&row.n).copied().unwrap_or(0);
                    let (n, name) = (row.n, TABLES[table]);
                    if kept > 1 {
                        return Err(format!(
                            "row {n} of entry {number} is {kept} times in `{name}`"
                        ));
                    }
                    known[table] += kept;
                    let is_deleted = self.is_deleted(table, row.n);
                    let may_lack = self.has_expired(table, row) || is_deleted;
                    if kept == 1 {
                        if self.gone[table].contains(&row.n) {
                            return Err(format!("row {n} of entry {number} came back"));
                        }
                        present += 1;
                    } else if may_lack && sent.fate == Fate::There {
                        self.gone[table].insert(row.n);
                    }
                    if is_deleted && shown > 0 {
                        return Err(format!("row {n} of `{name}` was deleted, and is seen"));
                    }
                    if !may_lack {
                        required += 1;
                        if shown == 0 {
                            missing = Some((row.n, TABLES[table]));
                        }
                    }
                }
            }
            let fate = &mut self.entries[number].fate;
            let wrong = match (sent.fate, missing) {
                (Fate::There, None) => None,
                (Fate::There, Some((n, table))) => {
                    Some(format!("is lost: row {n} is not in `{table}`"))
                }
                (Fate::Open, None) => {
                    if required > 0 || present > 0 {
                        *fate = Fate::There;
                    }
                    None
                }
                (Fate::Open, Some(_)) if present == 0 => {
                    *fate = Fate::Absent;
                    None
                }
                (Fate::Open, Some((n, table))) => {
                    Some(format!("is there in part: row {n} is not in `{table}`"))
                }
                (Fate::Refused | Fate::Absent, _) if present > 0 => {
                    Some("is there though it was refused".to_owned())
                }
                (Fate::Refused | Fate::Absent, _) => None,
            };
            if let Some(wrong) = wrong {
                return Err(format!("entry {number} ({:?}) {wrong}", sent.fate));
            }
        }
        for (table, known) in known.iter().enumerate() {
            let all: usize = seen.kept[table].values().sum();
            if all != *known {
                let name = TABLES[table];
                return Err(format!("`{name}` has {} rows that nobody sent", all - known));
            }
        }
        Ok(())
    }

    /// Whether the rows that are known to be there are, whatever else is.
    pub(super) fn check_known(&self, seen: &Seen) -> Result<(), String> {
        for (number, sent) in self.entries.iter().enumerate() {
            for (table, rows) in sent.rows.iter().enumerate() {
                for row in rows {
                    let kept = seen.kept[table].get(&row.n).copied().unwrap_or(0);
                    let shown = seen.shown[table].get(&row.n).copied().unwrap_or(0);
                    let required = sent.fate == Fate::There
                        && !self.has_expired(table, row)
                        && !self.may_be_deleted(table, row.n);
                    if kept > 1 || (required && shown == 0) {
                        let (n, table) = (row.n, TABLES[table]);
                        return Err(format!(
                            "row {n} of entry {number} is {kept} times in `{table}`, {shown} shown"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a tier's sums are those of what is there.
    pub(super) fn check_tier(
        &self,
        tier: usize,
        seen: &BTreeMap<Cell, i64>,
        complete_after: i64,
    ) -> Result<(), String> {
        let (name, width) = TIERS[tier];
        let mut wanted: BTreeMap<Cell, i64> = BTreeMap::new();
        for sent in self.entries.iter().filter(|sent| sent.fate == Fate::There) {
            for row in &sent.rows[0] {
                if !self.is_deleted(TABLES.len() + tier, row.n) {
                    *wanted.entry(rows::cell(width, row)).or_default() += row.n;
                }
            }
        }
        for cell in wanted.keys().chain(seen.keys()) {
            if !self.lasts(width, cell, complete_after) || self.vague[tier].contains(cell) {
                continue;
            }
            let (wanted, found) = (wanted.get(cell), seen.get(cell));
            if wanted != found {
                return Err(format!(
                    "`{name}` has {found:?} for {cell:?}, rows add up to {wanted:?}"
                ));
            }
        }
        Ok(())
    }

    /// Of windows that have expired in part nothing can be said.
    fn lasts(&self, width: Window, (end, workload): &Cell, complete_after: i64) -> bool {
        let workload = WORKLOADS.iter().position(|w| w == workload);
        let horizon = workload.map_or(i64::MAX, |w| self.horizons[w]);
        end - width.micros() >= horizon && *end > complete_after
    }
}
