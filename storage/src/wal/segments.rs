//! Which segments there are, and which of them nobody needs any more. No I/O.

use std::collections::BTreeMap;

/// The segments on disk, by first LSN.
#[derive(Debug, Default)]
pub(crate) struct Segments(BTreeMap<u64, Segment>);

#[derive(Debug, Clone, Copy)]
struct Segment {
    /// LSN after the last entry.
    end_lsn: u64,
    bytes: u64,
    /// Nothing will be written to it any more.
    sealed: bool,
}

impl Segments {
    /// Enters a segment, or what became of one.
    pub(crate) fn set(&mut self, first_lsn: u64, end_lsn: u64, bytes: u64, sealed: bool) {
        self.0.insert(first_lsn, Segment { end_lsn, bytes, sealed });
    }

    /// No more writes to this one.
    pub(crate) fn seal(&mut self, first_lsn: u64) {
        if let Some(segment) = self.0.get_mut(&first_lsn) {
            segment.sealed = true;
        }
    }

    pub(crate) fn forget(&mut self, first_lsn: u64) {
        self.0.remove(&first_lsn);
    }

    /// Sealed segments with no entry at or above `needed`, oldest first: a gap would stop recovery,
    /// so none goes before its elders.
    pub(crate) fn removable(&self, needed: u64) -> Vec<u64> {
        self.0
            .iter()
            .take_while(|(_, s)| s.sealed && s.end_lsn <= needed)
            .map(|(lsn, _)| *lsn)
            .collect()
    }

    /// The last entry of a segment.
    pub(crate) fn last_lsn(&self, first_lsn: u64) -> Option<u64> {
        self.0.get(&first_lsn).map(|s| s.end_lsn.saturating_sub(1))
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.values().map(|s| s.bytes).sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_covered_sealed_segments_go_and_in_order() {
        let mut segments = Segments::default();
        segments.set(1, 10, 100, true);
        segments.set(10, 20, 100, true);
        segments.set(20, 30, 50, false);
        assert_eq!(segments.removable(9), Vec::<u64>::new());
        assert_eq!(segments.removable(10), [1]);
        assert_eq!(segments.removable(19), [1]);
        assert_eq!(segments.removable(100), [1, 10], "the open one stays");
        segments.seal(20);
        assert_eq!(segments.removable(30), [1, 10, 20]);
        assert_eq!(segments.bytes(), 250);
        assert_eq!((segments.last_lsn(10), segments.last_lsn(11)), (Some(19), None));

        let mut segments = Segments::default();
        segments.set(1, 10, 1, false);
        segments.set(10, 20, 1, true);
        assert!(segments.removable(20).is_empty(), "an elder is still open");
    }
}
