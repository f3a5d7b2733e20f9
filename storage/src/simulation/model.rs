//! What must be there. No I/O.

use std::collections::BTreeMap;

use super::rows::{self, Cell, Row, TABLES, TIER, WIDTH};

/// How often each number is there, by table.
pub(super) type Seen = [BTreeMap<i64, usize>; TABLES.len()];

/// What is known of an entry.
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

/// All entries that were ever sent.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) entries: Vec<Sent>,
    /// Rows before this may have expired.
    pub(super) horizon: i64,
    /// Rows that had expired when someone looked, by table.
    pub(super) gone: [std::collections::BTreeSet<i64>; TABLES.len()],
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
        for sent in &mut self.entries {
            if sent.fate == Fate::Refused {
                sent.fate = Fate::Open;
            }
        }
    }

    /// Whether what is seen is what must be. Entries whose fate was open are decided by it.
    pub(super) fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let mut known = [0; TABLES.len()];
        for (number, sent) in self.entries.iter_mut().enumerate() {
            let (mut required, mut present) = (0, 0);
            let mut missing = None;
            for (table, rows) in sent.rows.iter().enumerate() {
                for row in rows {
                    let count = seen[table].get(&row.n).copied().unwrap_or(0);
                    if count > 1 {
                        return Err(format!(
                            "row {} of entry {number} is {count} times in `{}`",
                            row.n, TABLES[table]
                        ));
                    }
                    known[table] += count;
                    let may_expire = row.time < self.horizon;
                    if count == 1 {
                        if self.gone[table].contains(&row.n) {
                            return Err(format!("row {} of entry {number} came back", row.n));
                        }
                        present += 1;
                    } else if may_expire && sent.fate == Fate::There {
                        self.gone[table].insert(row.n);
                    }
                    if !may_expire {
                        required += 1;
                        if count == 0 {
                            missing = Some((row.n, TABLES[table]));
                        }
                    }
                }
            }
            let wrong = match (sent.fate, missing) {
                (Fate::There, None) => None,
                (Fate::There, Some((n, table))) => {
                    Some(format!("is lost: row {n} is not in `{table}`"))
                }
                (Fate::Open, None) => {
                    if required > 0 || present > 0 {
                        sent.fate = Fate::There;
                    }
                    None
                }
                (Fate::Open, Some(_)) if present == 0 => {
                    sent.fate = Fate::Absent;
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
            let all: usize = seen[table].values().sum();
            if all != *known {
                return Err(format!(
                    "`{}` has {} rows that nobody sent",
                    TABLES[table],
                    all - known
                ));
            }
        }
        Ok(())
    }

    /// Whether the rows that are known to be there are, whatever else is.
    pub(super) fn check_known(&self, seen: &Seen) -> Result<(), String> {
        for (number, sent) in self.entries.iter().enumerate() {
            for (rows, (seen, table)) in sent.rows.iter().zip(seen.iter().zip(TABLES)) {
                for row in rows {
                    let count = seen.get(&row.n).copied().unwrap_or(0);
                    let required = sent.fate == Fate::There && row.time >= self.horizon;
                    if count > 1 || (required && count == 0) {
                        let n = row.n;
                        return Err(format!(
                            "row {n} of entry {number} is {count} times in `{table}`"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the tier's sums are those of what is there.
    pub(super) fn check_tier(
        &self,
        seen: &BTreeMap<Cell, i64>,
        complete_after: i64,
    ) -> Result<(), String> {
        let width = i64::try_from(WIDTH.length().as_micros()).unwrap();
        // Of windows that have expired in part nothing can be said.
        let lasts = |end: i64| end - width >= self.horizon && end > complete_after;
        let mut wanted: BTreeMap<Cell, i64> = BTreeMap::new();
        for sent in self.entries.iter().filter(|sent| sent.fate == Fate::There) {
            for row in &sent.rows[0] {
                *wanted.entry(rows::cell(row)).or_default() += row.n;
            }
        }
        for cell in wanted.keys().chain(seen.keys()).filter(|cell| lasts(cell.0)) {
            let (wanted, found) = (wanted.get(cell), seen.get(cell));
            if wanted != found {
                return Err(format!(
                    "`{TIER}` has {found:?} for {cell:?}, rows add up to {wanted:?}"
                ));
            }
        }
        Ok(())
    }
}
