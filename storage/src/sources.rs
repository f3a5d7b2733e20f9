//! The highest sequence of each sender, so that repeated entries are recognised.
//!
//! It is kept in memory, rebuilt at open from a checkpoint file ([`crate::checkpoint`]) and the log
//! above it.
//!
//! Each run of a sender is a source of its own, so the list would grow for ever: sources that were
//! silent for [`FORGET_AFTER`] are dropped, and beyond [`MAX`] of them the longest silent ones. Only a
//! sender that repeats an entry after such a silence could be stored twice. The silence is measured by
//! the present that retention goes by ([`crate::retention::trust`]): a clock that jumps ahead drops
//! nobody.

use std::collections::HashMap;
use std::time::Duration;

use crate::entry::Source;

/// Silence after which a source is dropped.
const FORGET_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most sources that are kept.
const MAX: usize = 1 << 18;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) sequence: i64,
    /// When it was last heard of, microseconds since the Unix epoch.
    pub(crate) at: i64,
}

/// Highest acknowledged sequence by (agent, boot).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sources(pub(crate) HashMap<(String, String), Seen>);

impl Sources {
    /// Whether the source's sequence is at or below the highest one recorded.
    pub(crate) fn is_repeated(&self, source: &Source) -> bool {
        let key = (source.agent.clone(), source.boot.clone());
        self.0.get(&key).is_some_and(|seen| source.sequence <= seen.sequence)
    }

    /// Records a sequence; `at` in microseconds since the Unix epoch.
    pub(crate) fn record(&mut self, source: &Source, at: i64) {
        let seen = self
            .0
            .entry((source.agent.clone(), source.boot.clone()))
            .or_insert(Seen { sequence: source.sequence, at });
        seen.sequence = seen.sequence.max(source.sequence);
        seen.at = seen.at.max(at);
    }

    /// Drops what is too old at `now` (microseconds) or too much to keep.
    pub(crate) fn forget(&mut self, now: i64) {
        self.forget_beyond(now, MAX);
    }

    fn forget_beyond(&mut self, now: i64, max: usize) {
        let age = i64::try_from(FORGET_AFTER.as_micros()).unwrap_or(i64::MAX);
        self.0.retain(|_, seen| seen.at >= now.saturating_sub(age));
        if self.0.len() > max {
            let mut times: Vec<i64> = self.0.values().map(|seen| seen.at).collect();
            let excess = self.0.len() - max;
            let (_, newest_dropped, _) = times.select_nth_unstable(excess - 1);
            let bound = *newest_dropped;
            self.0.retain(|_, seen| seen.at > bound);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(agent: &str, sequence: i64) -> Source {
        Source { agent: agent.into(), boot: "b".into(), sequence }
    }

    #[test]
    fn at_or_below_the_highest_is_repeated() {
        let mut sources = Sources::default();
        assert!(!sources.is_repeated(&source("a", 0)));
        sources.record(&source("a", 5), 1);
        for (sequence, repeated) in [(4, true), (5, true), (6, false)] {
            assert_eq!(sources.is_repeated(&source("a", sequence)), repeated, "{sequence}");
        }
        assert!(!sources.is_repeated(&source("b", 0)));
        sources.record(&source("a", 3), 2);
        assert!(sources.is_repeated(&source("a", 5)), "the highest stays the highest");
    }

    #[test]
    fn growth_is_bounded() {
        let day = 24 * 3_600_000_000;
        let mut sources = Sources::default();
        for i in 0..40 {
            sources.record(&source(&format!("a{i}"), 1), i * day);
        }
        sources.forget(40 * day);
        assert_eq!(sources.0.len(), 30);
        assert!(!sources.is_repeated(&source("a9", 1)));
        sources.forget_beyond(40 * day, 10);
        assert_eq!(sources.0.len(), 10);
        assert!(sources.is_repeated(&source("a30", 1)));
        assert!(!sources.is_repeated(&source("a29", 1)));
    }
}
