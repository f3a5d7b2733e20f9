//! What was deleted.

use std::collections::BTreeSet;

use super::{Fate, Model, Seen};
use crate::simulation::rows::{self, Cell, Row, TABLES, TIERS};

/// A deletion that was asked for.
#[derive(Debug, Clone)]
pub(super) struct Erased {
    /// Numbers of the rows, by table; those of the tiers follow.
    rows: [BTreeSet<i64>; TABLES.len() + TIERS.len()],
    /// Sums of tiers that it reaches.
    cells: [BTreeSet<Cell>; TIERS.len()],
    pub(super) fate: Fate,
}

/// Rows of a workload with times in `(after, until]`.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulation) struct Range {
    pub(in crate::simulation) workload: usize,
    pub(in crate::simulation) after: i64,
    pub(in crate::simulation) until: i64,
}

impl Range {
    fn has(&self, row: &Row) -> bool {
        rows::workload(row.n) == self.workload && self.after < row.time && row.time <= self.until
    }
}

impl Model {
    /// What a deletion from tables (numbered, the tiers last) is to reach: what is there now.
    pub(in crate::simulation) fn erase(&mut self, tables: &[usize], range: Range) -> usize {
        let mut erased =
            Erased { rows: Default::default(), cells: Default::default(), fate: Fate::Open };
        for sent in self.entries.iter().filter(|sent| sent.fate == Fate::There) {
            for table in tables {
                // Tiers sum up the first table. Ranges begin and end where their windows do.
                let source = if *table < TABLES.len() { *table } else { 0 };
                for row in sent.rows[source].iter().filter(|row| range.has(row)) {
                    erased.rows[*table].insert(row.n);
                    if let Some(tier) = table.checked_sub(TABLES.len()) {
                        erased.cells[tier].insert(rows::cell(TIERS[tier].1, row));
                    }
                }
            }
        }
        self.erased.push(erased);
        self.erased.len() - 1
    }

    /// What became of a deletion.
    pub(in crate::simulation) fn erasure(&mut self, deletion: usize, fate: Fate) {
        self.erased[deletion].fate = fate;
    }

    fn holds(&self, table: usize, n: i64, fates: &[Fate]) -> bool {
        let mut erased = self.erased.iter().filter(|e| fates.contains(&e.fate));
        erased.any(|e| e.rows[table].contains(&n))
    }

    pub(super) fn is_deleted(&self, table: usize, n: i64) -> bool {
        self.holds(table, n, &[Fate::There])
    }

    pub(super) fn may_be_deleted(&self, table: usize, n: i64) -> bool {
        self.holds(table, n, &[Fate::There, Fate::Open])
    }

    /// Finds out what became of deletions that nobody heard of: each happened as a whole, or not at
    /// all. At most the last one can be open.
    pub(super) fn decide_deletions(&mut self, seen: &Seen) -> Result<(), String> {
        for number in 0..self.erased.len() {
            if self.erased[number].fate != Fate::Open {
                continue;
            }
            let (mut hidden, mut shown) = (None, None);
            for sent in self.entries.iter().filter(|sent| sent.fate == Fate::There) {
                for (table, rows) in sent.rows.iter().enumerate() {
                    for row in rows {
                        let meant = self.erased[number].rows[table].contains(&row.n);
                        if !meant || self.has_expired(table, row) || self.is_deleted(table, row.n) {
                            continue;
                        }
                        match seen.shown[table].get(&row.n) {
                            Some(_) => shown = Some((row.n, TABLES[table])),
                            None => hidden = Some((row.n, TABLES[table])),
                        }
                    }
                }
            }
            let erased = &mut self.erased[number];
            erased.fate = match (hidden, shown) {
                (Some(hidden), Some(shown)) => {
                    return Err(format!(
                        "deletion {number} happened in part: {hidden:?} is gone, {shown:?} is there"
                    ));
                }
                (Some(_), None) => Fate::There,
                (None, Some(_)) => Fate::Absent,
                (None, None) => {
                    // No row tells. Of the sums that it would have reached nothing is known.
                    for (vague, cells) in self.vague.iter_mut().zip(&erased.cells) {
                        vague.extend(cells.iter().cloned());
                    }
                    Fate::Absent
                }
            };
        }
        Ok(())
    }
}
