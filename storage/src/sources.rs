//! The highest sequence of each sender, so that repeated entries are recognised.
//!
//! It is kept in memory, rebuilt at open from a checkpoint file and the log above it. A checkpoint
//! is written before log segments are removed, so every acknowledged sequence is in one of the two.
//!
//! ```text
//! wal/sources
//! magic    8  "WEIRSRC\n"
//! version u32  1
//! lsn     u64  every entry up to this one is accounted for
//! count   u32
//! source       agent (text), boot (text), sequence (i64), last seen (i64, microseconds)
//! crc     u32  of everything before
//! text         length (u16), UTF-8
//! ```
//!
//! Each run of a sender is a source of its own, so the list would grow for ever: sources that were
//! silent for [`FORGET_AFTER`] are dropped, and beyond [`MAX`] of them the longest silent ones. Only a
//! sender that repeats an entry after such a silence could be stored twice.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::durable::{self, FileError, Taken};
use crate::entry::Source;
use crate::paths::DataDir;
use crate::wal::format::{Cursor, FormatError};

/// Silence after which a source is dropped.
const FORGET_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most sources that are kept.
const MAX: usize = 1 << 18;

const MAGIC: [u8; 8] = *b"WEIRSRC\n";
const VERSION: u32 = 1;

/// Why the checkpoint cannot be used.
#[derive(Debug, Error)]
pub(crate) enum SourcesError {
    #[error(
        "{} is damaged: {reason}; restore it from a copy, or remove it, after which senders that repeat a batch may be stored twice",
        path.display()
    )]
    Damaged { path: PathBuf, reason: FormatError },
    #[error(transparent)]
    File(#[from] FileError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    sequence: i64,
    at: i64,
}

/// Highest acknowledged sequence by (agent, boot).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sources(HashMap<(String, String), Seen>);

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

    /// Drops what is too old or too much to keep.
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

    fn encode(&self, lsn: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 * self.0.len() + 32);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(lsn.to_le_bytes());
        let count_at = out.len();
        out.extend([0; 4]);
        let mut count = 0u32;
        for ((agent, boot), seen) in &self.0 {
            // Longer ids do not get past the log either.
            let (Ok(a), Ok(b)) = (u16::try_from(agent.len()), u16::try_from(boot.len())) else {
                continue;
            };
            out.extend(a.to_le_bytes());
            out.extend(agent.as_bytes());
            out.extend(b.to_le_bytes());
            out.extend(boot.as_bytes());
            out.extend(seen.sequence.to_le_bytes());
            out.extend(seen.at.to_le_bytes());
            count += 1;
        }
        if let Some(place) = out.get_mut(count_at..count_at + 4) {
            place.copy_from_slice(&count.to_le_bytes());
        }
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<(Self, u64), FormatError> {
        const WHAT: &str = "the list of sources";
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(FormatError::Short(WHAT))?;
        let mut cursor = Cursor { rest: body, what: WHAT };
        if cursor.array::<8>()? != MAGIC {
            return Err(FormatError::Malformed(WHAT));
        }
        let version = cursor.u32()?;
        if version != VERSION {
            return Err(FormatError::Version(version));
        }
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(FormatError::Checksum(WHAT));
        }
        let lsn = cursor.u64()?;
        let count = cursor.u32()?;
        let mut sources = HashMap::new();
        for _ in 0..count {
            let key = (cursor.text()?.to_owned(), cursor.text()?.to_owned());
            sources.insert(key, Seen { sequence: cursor.i64()?, at: cursor.i64()? });
        }
        if cursor.rest.is_empty() {
            Ok((Self(sources), lsn))
        } else {
            Err(FormatError::Malformed(WHAT))
        }
    }

    /// Writes the checkpoint: the state after the entry `lsn`.
    pub(crate) fn save(&self, dir: &DataDir, lsn: u64) -> Result<(), FileError> {
        let bytes = self.encode(lsn);
        let disk = dir.disk().as_ref();
        durable::write(disk, &dir.new_tmp(), &dir.sources(), Taken::Replace, [bytes.as_slice()])
    }

    /// Reads the checkpoint and its LSN, if there is one.
    pub(crate) fn load(dir: &DataDir) -> Result<Option<(Self, u64)>, SourcesError> {
        let path = dir.sources();
        match dir.disk().read(&path) {
            Ok(bytes) => Self::decode(&bytes)
                .map(Some)
                .map_err(|reason| SourcesError::Damaged { path, reason }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FileError { action: "read", path, source }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn checkpoint_survives_and_refuses_damage(
            list in prop::collection::vec((".{0,9}", ".{0,9}", any::<i64>(), any::<i64>()), 0..20),
            lsn: u64, at: prop::sample::Index, bit in 0u32..8,
        ) {
            let mut sources = Sources::default();
            for (agent, boot, sequence, seen) in list {
                sources.record(&Source { agent, boot, sequence }, seen);
            }
            let mut bytes = sources.encode(lsn);
            prop_assert_eq!(Sources::decode(&bytes).unwrap(), (sources, lsn));
            let at = at.index(bytes.len());
            prop_assert!(Sources::decode(&bytes[..at]).is_err());
            bytes[at] ^= 1u8 << bit;
            prop_assert!(Sources::decode(&bytes).is_err());
        }
    }
}
