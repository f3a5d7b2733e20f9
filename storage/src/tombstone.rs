//! Deletions: rows of files that must not be seen, until the files are rewritten without them.
//!
//! A tombstone names the files that may hold such rows: those that there were when it was made, so
//! that it means exactly the rows that there were. It is durable before a deletion is acknowledged.
//! Compaction puts a file without the rows in the place of each; a path that no table lists any more
//! is dropped from the tombstone, and with the last path the tombstone goes. Names of files are never
//! used twice, so a path that is dropped too late hides nothing.
//!
//! With an object store the list is there, since whoever takes the tables over has to have it:
//! [`crate::objects::tombstones`].
//!
//! ```text
//! DIR/tombstones
//! magic      8  "WEIRTMB\n"
//! version  u32  1
//! count    u32
//! tombstone     created (i64), after (i64), until (i64), all in microseconds since the Unix epoch;
//!               matchers: count (u16), each label (text), operator (u8), value (text);
//!               files: count (u32), each path below `tables` (text)
//! crc      u32  of everything before
//! text          length (u16), UTF-8
//! operator      0 `=`, 1 `!=`, 2 `=~`, 3 `!~`
//! ```

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::path::Path;
use thiserror::Error;

use crate::durable::{self, FileError, Taken};
use crate::hidden::Hidden;
use crate::matcher::{MatchOp, Matcher};
use crate::objects::CheckError;
use crate::paths::DataDir;
use crate::wal::format::{Cursor, FormatError};

const MAGIC: [u8; 8] = *b"WEIRTMB\n";
const VERSION: u32 = 1;

/// Why the file of tombstones cannot be used.
#[derive(Debug, Error)]
pub(crate) enum TombstoneError {
    #[error(
        "{} is damaged: {reason}; restore it from a copy, or move it away, after which rows that were deleted and not yet rewritten are seen again",
        path.display()
    )]
    Damaged { path: PathBuf, reason: FormatError },
    #[error("a text of the deletion is too long to be kept, or there are too many")]
    TooLarge,
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Bucket(#[from] CheckError),
    #[error("the work was cut short: {0}")]
    CutShort(#[from] tokio::task::JoinError),
}

/// A deletion that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tombstone {
    /// When it was made, microseconds.
    pub(crate) created: i64,
    pub(crate) hidden: Arc<Hidden>,
    /// Files that may hold such rows.
    pub(crate) files: HashSet<Path>,
}

/// All deletions that are not over, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tombstones(pub(crate) Vec<Tombstone>);

impl Tombstones {
    /// What is deleted in a file.
    pub(crate) fn of<'a>(&'a self, file: &'a Path) -> impl Iterator<Item = &'a Arc<Hidden>> {
        self.0.iter().filter(|t| t.files.contains(file)).map(|t| &t.hidden)
    }

    /// Without the files that are not listed any more, and what is over then.
    pub(crate) fn pruned(&self, listed: &HashSet<Path>) -> Self {
        let kept = self.0.iter().filter_map(|tombstone| {
            let files: HashSet<_> = tombstone.files.intersection(listed).cloned().collect();
            (!files.is_empty()).then(|| Tombstone { files, ..tombstone.clone() })
        });
        Self(kept.collect())
    }

    /// Without a file in which something deletes nothing.
    pub(crate) fn without(&self, file: &Path, hidden: &Hidden) -> Self {
        let mut left = self.clone();
        for tombstone in &mut left.0 {
            if *tombstone.hidden == *hidden {
                tombstone.files.remove(file);
            }
        }
        left.0.retain(|tombstone| !tombstone.files.is_empty());
        left
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, TombstoneError> {
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(count::<u32>(self.0.len())?.to_le_bytes());
        for Tombstone { created, hidden, files } in &self.0 {
            for time in [*created, hidden.after, hidden.until] {
                out.extend(time.to_le_bytes());
            }
            out.extend(count::<u16>(hidden.matchers.len())?.to_le_bytes());
            for matcher in hidden.matchers.iter() {
                put(&mut out, matcher.label())?;
                out.push(code(matcher.op()));
                put(&mut out, matcher.value())?;
            }
            out.extend(count::<u32>(files.len())?.to_le_bytes());
            let mut files: Vec<&str> = files.iter().map(Path::as_ref).collect();
            files.sort_unstable();
            for file in files {
                put(&mut out, file)?;
            }
        }
        out.extend(crc32fast::hash(&out).to_le_bytes());
        Ok(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "the list of tombstones";
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
        let mut tombstones = Vec::new();
        for _ in 0..cursor.u32()? {
            let (created, after, until) = (cursor.i64()?, cursor.i64()?, cursor.i64()?);
            let mut matchers = Vec::new();
            for _ in 0..u16::from_le_bytes(cursor.array()?) {
                let label = cursor.text()?;
                let op = op(cursor.array::<1>()?).ok_or(FormatError::Malformed(WHAT))?;
                let matcher = Matcher::new(label, op, cursor.text()?);
                matchers.push(matcher.map_err(|_| FormatError::Malformed(WHAT))?);
            }
            let hidden = Hidden { matchers: matchers.into(), unless: Arc::default(), after, until };
            let mut files = HashSet::new();
            for _ in 0..cursor.u32()? {
                let path = Path::parse(cursor.text()?);
                files.insert(path.map_err(|_| FormatError::Malformed(WHAT))?);
            }
            tombstones.push(Tombstone { created, hidden: Arc::new(hidden), files });
        }
        if cursor.rest.is_empty() {
            Ok(Self(tombstones))
        } else {
            Err(FormatError::Malformed(WHAT))
        }
    }

    /// Makes the list durable in the place of the one before.
    pub(crate) fn save(&self, dir: &DataDir) -> Result<(), TombstoneError> {
        let bytes = self.encode()?;
        let tmp = dir.new_tmp();
        let disk = dir.disk().as_ref();
        Ok(durable::write(disk, &tmp, &dir.tombstones(), Taken::Replace, [bytes.as_slice()])?)
    }

    /// Reads the list; empty if nothing was ever deleted.
    pub(crate) fn load(dir: &DataDir) -> Result<Self, TombstoneError> {
        let path = dir.tombstones();
        match dir.disk().read(&path) {
            Ok(bytes) => {
                Self::decode(&bytes).map_err(|reason| TombstoneError::Damaged { path, reason })
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(FileError { action: "read", path, source }.into()),
        }
    }
}

fn count<T: TryFrom<usize>>(count: usize) -> Result<T, TombstoneError> {
    T::try_from(count).map_err(|_| TombstoneError::TooLarge)
}

fn put(out: &mut Vec<u8>, text: &str) -> Result<(), TombstoneError> {
    out.extend(count::<u16>(text.len())?.to_le_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

const OPS: [MatchOp; 4] = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];

fn code(op: MatchOp) -> u8 {
    match op {
        MatchOp::Equal => 0,
        MatchOp::NotEqual => 1,
        MatchOp::Regex => 2,
        MatchOp::NotRegex => 3,
    }
}

fn op([code]: [u8; 1]) -> Option<MatchOp> {
    OPS.get(usize::from(code)).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tombstones() -> Tombstones {
        let matcher = |op, value: &str| Matcher::new("namespace", op, value).unwrap();
        let hidden = |matchers: Vec<Matcher>, after, until| {
            Arc::new(Hidden { matchers: matchers.into(), unless: Arc::default(), after, until })
        };
        let files = |names: &[&str]| names.iter().map(|n| Path::from(*n)).collect();
        Tombstones(vec![
            Tombstone {
                created: 1_795_305_600_000_000,
                hidden: hidden(vec![matcher(MatchOp::Equal, "dev")], i64::MIN, i64::MAX),
                files: files(&["flows/date=2026-11-22/part=00/a.parquet", "flows_1h/b.parquet"]),
            },
            Tombstone {
                created: 1_795_305_600_000_001,
                hidden: hidden(
                    OPS.iter().map(|op| matcher(*op, "é|x")).collect(),
                    1_795_302_000_000_000,
                    1_795_305_600_000_000,
                ),
                files: files(&["flows/date=2026-11-22/part=00/a.parquet"]),
            },
        ])
    }

    #[test]
    fn version_1_is_read_for_ever() {
        let frozen = include_bytes!("../tests/fixtures/tombstones-v1");
        assert_eq!(Tombstones::decode(frozen).unwrap(), tombstones());
        assert_eq!(tombstones().encode().unwrap(), frozen, "and still written so");
    }

    #[test]
    fn files_that_are_gone_leave_and_the_last_takes_the_tombstone_along() {
        let all = tombstones();
        let a = Path::from("flows/date=2026-11-22/part=00/a.parquet");
        assert_eq!(all.of(&a).count(), 2);
        assert_eq!(all.pruned(&HashSet::from([Path::from("flows_1h/b.parquet")])).0.len(), 1);
        assert_eq!(all.pruned(&HashSet::new()).0.len(), 0);
        let second = all.0.last().unwrap().hidden.clone();
        assert_eq!(all.without(&a, &second).0.len(), 1);
        assert_eq!(all.without(&Path::from("x"), &second), all);
    }

    proptest! {
        #[test]
        fn damage_is_refused(at: prop::sample::Index, bit in 0u32..8) {
            let mut bytes = tombstones().encode().unwrap();
            let at = at.index(bytes.len());
            prop_assert!(Tombstones::decode(&bytes[..at]).is_err());
            bytes[at] ^= 1u8 << bit;
            prop_assert!(Tombstones::decode(&bytes).is_err());
        }
    }
}
