//! Whether the log reads back.

use std::io;
use std::path::PathBuf;

use super::{Damage, Depth, Inspection, Kind, SegmentReport};
use crate::checkpoint::Known;
use crate::paths::DataDir;
use crate::wal::format::{self, HEADER};

/// Lists the segments and, from [`Depth::Verify`] on, reads them. `known` says what must be there.
pub(super) fn look(
    dir: &DataDir,
    known: Known,
    depth: Depth,
    found: &mut Inspection,
) -> io::Result<()> {
    let mut paths: Vec<(u64, PathBuf)> = Vec::new();
    for entry in dir.disk().read_dir(&dir.wal())? {
        let path = dir.wal().join(&entry.name);
        if let Some(lsn) = DataDir::segment_lsn(&path) {
            paths.push((lsn, path));
        }
    }
    paths.sort_unstable();
    let mut reached = known.trimmed.saturating_add(1);
    let mut damaged = false;
    for (i, (first_lsn, path)) in paths.iter().enumerate() {
        let later: Vec<PathBuf> = paths.iter().skip(i + 1).map(|(_, p)| p.clone()).collect();
        let next = paths.get(i + 1).map(|(lsn, _)| *lsn);
        let bytes = dir.disk().metadata(path)?.length;
        let mut report =
            SegmentReport { path: path.clone(), first_lsn: *first_lsn, bytes, entries: None };
        if damaged {
            // What follows goes with the damage.
            found.segments.push(report);
            continue;
        }
        if *first_lsn > reached {
            let what = format!("entries {reached} to {} before it are missing", first_lsn - 1);
            let kind = Kind::Missing { up_to: first_lsn - 1 };
            found.damage.push(Damage::new(path.clone(), None, what, kind));
            reached = *first_lsn;
        }
        if depth >= Depth::Verify {
            let bytes = dir.disk().read(path)?;
            let (end, wrong) = read(&bytes, *first_lsn, next, known.acknowledged);
            report.entries = Some(end - first_lsn);
            reached = reached.max(end);
            if let Some((offset, what)) = wrong {
                let offset = u64::try_from(offset).unwrap_or(u64::MAX);
                let kind = Kind::Wal { offset, later };
                found.damage.push(Damage::new(path.clone(), Some(offset), what, kind));
                damaged = true;
            }
        } else {
            reached = reached.max(next.unwrap_or(u64::MAX));
        }
        found.segments.push(report);
    }
    if reached <= known.acknowledged && !damaged {
        let what = format!(
            "entries up to {} were acknowledged, and the log ends with {}",
            known.acknowledged,
            reached - 1
        );
        let kind = Kind::Missing { up_to: known.acknowledged };
        found.damage.push(Damage::new(dir.wal(), None, what, kind));
    }
    Ok(())
}

/// The LSN after the last sound entry, and where and why reading ended before the segment did.
/// A last frame that is broken is no damage if it is behind `acknowledged`.
fn read(
    bytes: &[u8],
    first_lsn: u64,
    next: Option<u64>,
    acknowledged: u64,
) -> (u64, Option<(usize, String)>) {
    let may_be_torn = |lsn| next.is_none() && lsn > acknowledged;
    let header = match format::decode_header(bytes) {
        Ok(header) if header.first_lsn == first_lsn => header,
        // A crash before the first frame leaves this; nothing can be lost.
        Err(_) if may_be_torn(first_lsn) && bytes.len() <= HEADER => return (first_lsn, None),
        Ok(_) => return (first_lsn, Some((0, "its first LSN is not that of its name".to_owned()))),
        Err(e) => return (first_lsn, Some((0, e.to_string()))),
    };
    let (mut offset, mut lsn) = (HEADER, first_lsn);
    while offset < bytes.len() && next.is_none_or(|next| lsn < next) {
        let rest = bytes.get(offset..).unwrap_or(&[]);
        let frame = match format::decode_frame(header.salt, rest) {
            Ok(frame) if frame.lsn == lsn => frame,
            Ok(_) => return (lsn, Some((offset, "LSNs are out of order".to_owned()))),
            // What a crash leaves, and the next start cuts off.
            Err(_) if may_be_torn(lsn) && format::is_torn_tail(header.salt, rest) => break,
            Err(e) => return (lsn, Some((offset, e.to_string()))),
        };
        if let Err(e) = format::decode_entries(&frame) {
            return (lsn, Some((offset, e.to_string())));
        }
        lsn += u64::from(frame.entries);
        offset += frame.size();
    }
    (lsn, None)
}
