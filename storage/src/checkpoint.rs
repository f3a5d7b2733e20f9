//! What the log no longer says: who sent what, how far the log was trimmed, and where the tables were
//! then.
//!
//! It is written before log segments are removed, so every acknowledged sequence is in it or in the
//! log. It also says what must be found at open: without it a log or a table that has lost its end
//! would look like one that never had more.
//!
//! ```text
//! wal/sources
//! magic    8  "WEIRSRC\n"
//! version u32  2
//! lsn     u64  every entry up to this one is accounted for; it was acknowledged
//! trimmed u64  entries up to this one may be missing from the log; at most `lsn`
//! tables  u16  number of them
//! table        name (text), LSN up to which its rows are in files (u64)
//! count   u32  number of sources
//! source       agent (text), boot (text), sequence (i64), last seen (i64, microseconds)
//! crc     u32  of everything before
//! text         length (u16), UTF-8
//! ```
//!
//! Version 1 has neither `trimmed` nor tables. It is read as if everything up to `lsn` may be missing.

use std::path::PathBuf;

use thiserror::Error;

use crate::durable::{self, FileError, Taken};
use crate::paths::DataDir;
use crate::sources::{Seen, Sources};
use crate::wal::format::{Cursor, FormatError};

const MAGIC: [u8; 8] = *b"WEIRSRC\n";
const VERSION: u32 = 2;
/// Version that says nothing of the log's trimming, nor of tables.
const BEFORE_POSITIONS: u32 = 1;

/// Why the checkpoint cannot be used.
#[derive(Debug, Error)]
pub(crate) enum CheckpointError {
    #[error(
        "{} is damaged: {reason}; restore it from a copy, or remove it, after which senders that repeat a batch may be stored twice",
        path.display()
    )]
    Damaged { path: PathBuf, reason: FormatError },
    #[error(transparent)]
    File(#[from] FileError),
}

/// The state after the entry `lsn`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) sources: Sources,
    /// Every entry up to this one is accounted for, and was acknowledged.
    pub(crate) lsn: u64,
    /// Entries up to this one may be missing from the log.
    pub(crate) trimmed: u64,
    /// LSN up to which the rows of each table were in files.
    pub(crate) tables: Vec<(String, u64)>,
}

/// What the log must have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Entries up to this LSN may be missing: they are in files.
    pub(crate) trimmed: u64,
    /// Entries up to this LSN were acknowledged.
    pub(crate) acknowledged: u64,
}

impl Known {
    /// From the checkpoint, if there is one, and the highest LSN that a table has committed.
    pub(crate) fn new(checkpoint: Option<&Checkpoint>, committed: u64) -> Self {
        match checkpoint {
            Some(found) => Self { trimmed: found.trimmed, acknowledged: found.lsn.max(committed) },
            // It is written before the log is trimmed, so without it the log should be whole. If
            // someone removed it, the commits still tell how far the log may have been trimmed.
            None => Self { trimmed: committed, acknowledged: committed },
        }
    }
}

impl Checkpoint {
    /// The LSN up to which a table's rows were in files when this was written.
    pub(crate) fn of(&self, table: &str) -> u64 {
        self.tables.iter().find(|(name, _)| name == table).map_or(0, |(_, lsn)| *lsn)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 * self.sources.0.len() + 128);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.lsn.to_le_bytes());
        out.extend(self.trimmed.to_le_bytes());
        // Names of tables are our own: few and short.
        let tables = u16::try_from(self.tables.len()).unwrap_or(u16::MAX);
        out.extend(tables.to_le_bytes());
        for (name, lsn) in self.tables.iter().take(usize::from(tables)) {
            let length = u16::try_from(name.len()).unwrap_or(0);
            out.extend(length.to_le_bytes());
            out.extend(name.as_bytes().iter().take(usize::from(length)));
            out.extend(lsn.to_le_bytes());
        }
        let mut kept: Vec<_> = self.sources.0.iter().filter(|(key, _)| fits(key)).collect();
        kept.sort_unstable_by_key(|(key, _)| *key);
        out.extend(u32::try_from(kept.len()).unwrap_or(u32::MAX).to_le_bytes());
        for ((agent, boot), seen) in kept {
            for text in [agent, boot] {
                out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
                out.extend(text.as_bytes());
            }
            out.extend(seen.sequence.to_le_bytes());
            out.extend(seen.at.to_le_bytes());
        }
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "the list of sources";
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(FormatError::Short(WHAT))?;
        let mut cursor = Cursor { rest: body, what: WHAT };
        if cursor.array::<8>()? != MAGIC {
            return Err(FormatError::Malformed(WHAT));
        }
        let version = cursor.u32()?;
        if ![BEFORE_POSITIONS, VERSION].contains(&version) {
            return Err(FormatError::Version(version));
        }
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(FormatError::Checksum(WHAT));
        }
        let lsn = cursor.u64()?;
        let mut found = Self { lsn, trimmed: lsn, ..Self::default() };
        if version == VERSION {
            found.trimmed = cursor.u64()?;
            for _ in 0..u16::from_le_bytes(cursor.array()?) {
                found.tables.push((cursor.text()?.to_owned(), cursor.u64()?));
            }
        }
        for _ in 0..cursor.u32()? {
            let key = (cursor.text()?.to_owned(), cursor.text()?.to_owned());
            found.sources.0.insert(key, Seen { sequence: cursor.i64()?, at: cursor.i64()? });
        }
        if cursor.rest.is_empty() && found.trimmed <= lsn {
            Ok(found)
        } else {
            Err(FormatError::Malformed(WHAT))
        }
    }

    /// Makes it durable in the place of the one before.
    pub(crate) fn save(&self, dir: &DataDir) -> Result<(), FileError> {
        let bytes = self.encode();
        let disk = dir.disk().as_ref();
        durable::write(disk, &dir.new_tmp(), &dir.sources(), Taken::Replace, [bytes.as_slice()])
    }

    /// Reads the checkpoint, if there is one.
    pub(crate) fn load(dir: &DataDir) -> Result<Option<Self>, CheckpointError> {
        let path = dir.sources();
        match dir.disk().read(&path) {
            Ok(bytes) => Self::decode(&bytes)
                .map(Some)
                .map_err(|reason| CheckpointError::Damaged { path, reason }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FileError { action: "read", path, source }.into()),
        }
    }
}

/// Whether the ids of a source can be written. Longer ones do not get past the log either.
fn fits((agent, boot): &(String, String)) -> bool {
    u16::try_from(agent.len()).is_ok() && u16::try_from(boot.len()).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::Source;

    fn checkpoint() -> Checkpoint {
        let mut sources = Sources::default();
        for (agent, sequence, at) in [("host-1", 7, 1_795_305_600_000_000), ("é", -1, 2)] {
            let source = Source { agent: agent.into(), boot: "b".into(), sequence };
            sources.record(&source, at);
        }
        let tables = vec![("flows".to_owned(), 39), ("flows_5m".to_owned(), 40)];
        Checkpoint { sources, lsn: 41, trimmed: 38, tables }
    }

    #[test]
    fn version_2_is_read_for_ever() {
        let frozen = include_bytes!("../tests/fixtures/sources-v2");
        assert_eq!(Checkpoint::decode(frozen).unwrap(), checkpoint());
        assert_eq!(checkpoint().encode(), frozen, "and still written so");
    }

    #[test]
    fn version_1_is_read_for_ever() {
        let frozen = include_bytes!("../tests/fixtures/sources-v1");
        let wanted = Checkpoint { trimmed: 41, tables: Vec::new(), ..checkpoint() };
        assert_eq!(Checkpoint::decode(frozen).unwrap(), wanted);
    }

    /// `WEIR_WRITE_FIXTURE=DIR cargo test -p weir-storage checkpoint` writes the fixture anew.
    #[test]
    fn write_fixture() {
        let Some(to) = std::env::var_os("WEIR_WRITE_FIXTURE") else { return };
        std::fs::write(PathBuf::from(to).join("sources-v2"), checkpoint().encode()).unwrap();
    }

    proptest! {
        #[test]
        fn it_survives_and_damage_is_refused(
            list in prop::collection::vec((".{0,9}", ".{0,9}", any::<i64>(), any::<i64>()), 0..20),
            tables in prop::collection::vec((".{0,9}", any::<u64>()), 0..4),
            lsn: u64, trimmed: u64, at: prop::sample::Index, bit in 0u32..8,
        ) {
            let mut sources = Sources::default();
            for (agent, boot, sequence, seen) in list {
                sources.record(&Source { agent, boot, sequence }, seen);
            }
            let written = Checkpoint { sources, lsn, trimmed: trimmed.min(lsn), tables };
            let mut bytes = written.encode();
            prop_assert_eq!(Checkpoint::decode(&bytes).unwrap(), written);
            let at = at.index(bytes.len());
            prop_assert!(Checkpoint::decode(&bytes[..at]).is_err());
            bytes[at] ^= 1u8 << bit;
            prop_assert!(Checkpoint::decode(&bytes).is_err());
        }
    }
}
