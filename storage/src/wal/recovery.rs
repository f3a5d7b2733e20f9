//! Reading the log back at open.
//!
//! 1. The segments are read in order of their first LSN.
//! 2. A segment counts up to the first LSN of the next one: what an abandoned segment holds beyond
//!    that was never acknowledged (its write or sync failed, and the entries moved on).
//! 3. In the last segment, a torn tail is cut off: that is what a crash leaves of a frame that was
//!    not acknowledged. Everything else that does not check out stops the open, and so does a log
//!    that ends before an entry which is known to have been acknowledged ([`Known`]).
//! 4. What is left of the last segment is written over itself and synced: its last frame may be one
//!    whose writer died, or was refused by the disk, before it was durable. From here on it counts,
//!    and a power failure must not take it back. A sync alone would not do after one that failed:
//!    the system may hold the pages for clean though the disk never got them.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::format::{self, FormatError, HEADER, StoredEntry};
use super::segments::Segments;
use crate::checkpoint::Known;
use crate::disk::{Disk, Mode};
use crate::durable::{self, At, FileError};
use crate::paths::DataDir;

/// Why the log cannot be read.
#[derive(Debug, Error)]
pub(crate) enum RecoveryError<E: std::error::Error> {
    #[error(
        "{} is damaged at byte {offset}: {reason}; acknowledged rows are in it, so it is not skipped: restore the file from a copy, or move the files of the wal folder away to go on without their rows",
        path.display()
    )]
    Damaged { path: PathBuf, offset: usize, reason: FormatError },
    #[error(
        "log segments with entries {from} to {to} are missing before {}; restore them from a copy, or move the files of the wal folder away to go on without their rows",
        path.display()
    )]
    Gap { path: PathBuf, from: u64, to: u64 },
    #[error(
        "the log in {} ends with entry {end}, and entries up to {acknowledged} were acknowledged; restore its segments from a copy, or move the files of the wal folder away to go on without their rows",
        folder.display()
    )]
    Short { folder: PathBuf, end: u64, acknowledged: u64 },
    #[error("cannot replay entry {lsn} of {}: {source}", path.display())]
    Entry { path: PathBuf, lsn: u64, source: E },
    #[error(transparent)]
    File(#[from] FileError),
}

/// What the log held.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) segments: Segments,
    /// LSN after the last entry; `None` when there is no segment.
    pub(crate) end_lsn: Option<u64>,
}

/// Bytes of entries that are replayed together: enough for each processor to make large batches.
const GROUP_BYTES: usize = 16 << 20;

/// Reads all segments and gives their entries to `replay`, in order of LSN, many at a time. It names
/// the one that it cannot replay.
///
/// `known` says what must be there.
pub(crate) fn recover<E: std::error::Error>(
    dir: &DataDir,
    known: Known,
    mut replay: impl FnMut(&[(u64, StoredEntry<'_>)]) -> Result<(), (u64, E)>,
) -> Result<Recovered, RecoveryError<E>> {
    let mut paths = Vec::new();
    let folder = dir.wal();
    let disk = dir.disk().as_ref();
    for entry in disk.read_dir(&folder).at("read folder", &folder)? {
        let path = folder.join(entry.name);
        if let Some(lsn) = DataDir::segment_lsn(&path) {
            paths.push((lsn, path));
        }
    }
    paths.sort_unstable();
    let mut segments = Segments::default();
    let mut reached = known.trimmed.saturating_add(1);
    let mut end_lsn = None;
    let mut rest = paths.iter().peekable();
    let mut buffer = Vec::new();
    while let Some((first_lsn, path)) = rest.next() {
        let next = rest.peek().map(|(lsn, _)| *lsn);
        if *first_lsn > reached {
            return Err(RecoveryError::Gap {
                path: path.clone(),
                from: reached,
                to: *first_lsn - 1,
            });
        }
        let part = Part { path, first_lsn: *first_lsn, next, known };
        disk.read_into(path, &mut buffer).at("read", path)?;
        let Some(end) = read_segment(disk, part, &buffer, &mut segments, &mut replay)? else {
            continue;
        };
        end_lsn = Some(end);
        reached = reached.max(end);
    }
    if reached <= known.acknowledged {
        let (end, acknowledged) = (reached - 1, known.acknowledged);
        return Err(RecoveryError::Short { folder, end, acknowledged });
    }
    Ok(Recovered { segments, end_lsn })
}

/// A segment to be read.
#[derive(Clone, Copy)]
struct Part<'a> {
    path: &'a Path,
    first_lsn: u64,
    /// First LSN of the next segment; `None` for the last one.
    next: Option<u64>,
    known: Known,
}

impl Part<'_> {
    /// Whether what does not read from an LSN on can be what a crash left: nothing comes after it,
    /// and nobody was told that it is stored.
    fn may_be_torn(&self, lsn: u64) -> bool {
        self.next.is_none() && lsn > self.known.acknowledged
    }
}

/// Reads one segment, given its bytes; returns the LSN after its last valid entry, or `None` if it had none and was
/// removed.
fn read_segment<E: std::error::Error>(
    disk: &dyn Disk,
    part: Part<'_>,
    bytes: &[u8],
    segments: &mut Segments,
    replay: &mut impl FnMut(&[(u64, StoredEntry<'_>)]) -> Result<(), (u64, E)>,
) -> Result<Option<u64>, RecoveryError<E>> {
    let Part { path, first_lsn, next, known } = part;
    let damaged = |offset, reason| RecoveryError::Damaged { path: path.to_owned(), offset, reason };
    let header = match format::decode_header(bytes) {
        Ok(header) if header.first_lsn == first_lsn => header,
        // The header is synced before the first frame: without frames nothing can be lost.
        Err(_) if part.may_be_torn(first_lsn) && bytes.len() <= HEADER => {
            tracing::warn!(path = %path.display(), "removed a log segment that was never begun");
            durable::remove(disk, path)?;
            return Ok(None);
        }
        Ok(_) => return Err(damaged(0, FormatError::Malformed("the segment's first LSN"))),
        Err(reason) => return Err(damaged(0, reason)),
    };
    let mut replay = |group: &mut Vec<(u64, StoredEntry<'_>)>| {
        let outcome = replay(group);
        group.clear();
        outcome.map_err(|(lsn, source)| RecoveryError::Entry { path: path.to_owned(), lsn, source })
    };
    let mut offset = HEADER;
    let mut lsn = first_lsn;
    let (mut group, mut group_bytes) = (Vec::new(), 0);
    while offset < bytes.len() && next.is_none_or(|next| lsn < next) {
        let rest = bytes.get(offset..).unwrap_or(&[]);
        let frame = match format::decode_frame(header.salt, rest) {
            Ok(frame) if frame.lsn == lsn => frame,
            Ok(_) => return Err(damaged(offset, FormatError::Malformed("the order of LSNs"))),
            Err(_) if part.may_be_torn(lsn) && format::is_torn_tail(header.salt, rest) => {
                tracing::warn!(
                    path = %path.display(), offset, bytes = rest.len(),
                    "cut a torn tail off the log: a write that was never acknowledged"
                );
                break;
            }
            Err(reason) => return Err(damaged(offset, reason)),
        };
        for entry in format::decode_entries(&frame).map_err(|reason| damaged(offset, reason))? {
            group.push((lsn, entry));
            lsn += 1;
        }
        group_bytes += frame.size();
        if group_bytes >= GROUP_BYTES {
            replay(&mut group)?;
            group_bytes = 0;
        }
        offset += frame.size();
    }
    replay(&mut group)?;
    if lsn == first_lsn {
        // One that had entries is a loss, which the caller finds.
        if first_lsn > known.acknowledged || first_lsn <= known.trimmed {
            durable::remove(disk, path)?;
        }
        return Ok(None);
    }
    if next.is_none() {
        settle(disk, path, bytes.get(..offset).unwrap_or(bytes))?;
    }
    let bytes = u64::try_from(offset).unwrap_or(u64::MAX);
    segments.set(first_lsn, lsn, bytes, true);
    Ok(Some(lsn))
}

/// Makes a segment durable as it was read.
fn settle(disk: &dyn Disk, path: &Path, good: &[u8]) -> Result<(), FileError> {
    let mut file = disk.open(path, Mode::Write).at("open", path)?;
    let length = u64::try_from(good.len()).unwrap_or(u64::MAX);
    file.write_all(good)
        .and_then(|()| file.set_length(length))
        .and_then(|()| file.sync_all())
        .at("write", path)
}

#[cfg(test)]
mod tests;
