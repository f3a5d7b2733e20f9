//! Counters out of deltas.
//!
//! A delta says what a series grew by since the one before; what is stored is a counter, as everything
//! that reads PromQL expects it. Its sum so far is here, in memory: after a restart of the server it
//! begins at nothing again, which readers take for the reset of a counter. Series that have said
//! nothing for an hour are forgotten when room is short.
//!
//! A request changes nothing here until its samples are durable, and requests with deltas come one
//! after the other; so one that is sent again because its reply was lost is counted once: its times
//! are those of the last time.

use std::collections::HashMap;

/// Most series.
const SERIES: usize = 1 << 18;
/// Most bytes of their labels.
const BYTES: usize = 64 << 20;
/// A series is forgotten if the newest delta of all is this much newer than its last, milliseconds.
const IDLE_MS: i64 = 3_600_000;

/// How far a series has come.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Total {
    /// Time of its last delta, milliseconds.
    time: i64,
    value: f64,
}

/// Why a delta cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeltaError {
    /// It is not newer than the last one.
    Repeated,
    /// There are as many series as there may be.
    Full,
}

/// Sums of all deltas by series (canonical labels).
#[derive(Debug, Default)]
pub(crate) struct Deltas {
    totals: HashMap<Vec<u8>, Total>,
    bytes: usize,
}

/// What a request adds, until it is durable.
#[derive(Debug)]
pub(crate) struct Staged<'a> {
    base: &'a Deltas,
    changed: HashMap<Vec<u8>, Total>,
    bytes: usize,
}

/// What a request has added.
#[derive(Debug, Default)]
pub(crate) struct Changes(HashMap<Vec<u8>, Total>);

impl Deltas {
    /// Begins a request.
    pub(crate) fn stage(&self) -> Staged<'_> {
        Staged { base: self, changed: HashMap::new(), bytes: 0 }
    }

    /// Takes over what a request added.
    pub(crate) fn commit(&mut self, changes: Changes) {
        for (labels, total) in changes.0 {
            let length = labels.len();
            if self.totals.insert(labels, total).is_none() {
                self.bytes += length;
            }
        }
        if self.totals.len() > SERIES / 2 || self.bytes > BYTES / 2 {
            let newest = self.totals.values().map(|total| total.time).max().unwrap_or(0);
            let bytes = &mut self.bytes;
            self.totals.retain(|labels, total| {
                let stays = total.time > newest.saturating_sub(IDLE_MS);
                *bytes -= if stays { 0 } else { labels.len() };
                stays
            });
        }
    }
}

impl Staged<'_> {
    /// The sum of a series with this delta; `time` in milliseconds.
    pub(super) fn add(&mut self, labels: &[u8], time: i64, delta: f64) -> Result<f64, DeltaError> {
        let known = self.changed.get(labels).or_else(|| self.base.totals.get(labels)).copied();
        let value = match known {
            Some(total) if total.time >= time => return Err(DeltaError::Repeated),
            Some(total) => total.value + delta,
            None => {
                let series = self.base.totals.len() + self.changed.len();
                if series >= SERIES || self.base.bytes + self.bytes + labels.len() > BYTES {
                    return Err(DeltaError::Full);
                }
                self.bytes += labels.len();
                delta
            }
        };
        self.changed.insert(labels.to_vec(), Total { time, value });
        Ok(value)
    }

    /// What was added.
    pub(crate) fn changes(self) -> Changes {
        Changes(self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_add_up_once_they_are_durable() {
        let mut deltas = Deltas::default();
        let mut staged = deltas.stage();
        assert_eq!(staged.add(b"a", 1, 2.0), Ok(2.0));
        assert_eq!(staged.add(b"a", 2, 3.0), Ok(5.0));
        assert_eq!(staged.add(b"b", 2, 1.0), Ok(1.0));
        // The request failed; it comes again.
        drop(staged);
        let mut staged = deltas.stage();
        assert_eq!(staged.add(b"a", 1, 2.0), Ok(2.0));
        let changes = staged.changes();
        deltas.commit(changes);
        // Its reply was lost; it comes again.
        let mut staged = deltas.stage();
        assert_eq!(staged.add(b"a", 1, 2.0), Err(DeltaError::Repeated));
        assert_eq!(staged.add(b"a", 3, 2.0), Ok(4.0));
    }

    #[test]
    fn there_are_bounds_and_idle_series_make_room() {
        let mut deltas = Deltas::default();
        let mut staged = deltas.stage();
        for i in 0..SERIES {
            staged.add(&i.to_le_bytes(), 1, 1.0).unwrap();
        }
        assert_eq!(staged.add(b"one more", 1, 1.0), Err(DeltaError::Full));
        let changes = staged.changes();
        deltas.commit(changes);
        let mut staged = deltas.stage();
        staged.add(&0_usize.to_le_bytes(), IDLE_MS + 1, 1.0).unwrap();
        let changes = staged.changes();
        deltas.commit(changes);
        assert_eq!((deltas.totals.len(), deltas.bytes), (1, 8));
    }
}
