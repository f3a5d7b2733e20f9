use std::convert::Infallible;
use std::fs;

use super::*;
use crate::wal::format::{Header, encode_entry, encode_frame, encode_header};

const SALT: u64 = 99;

fn dir() -> (tempfile::TempDir, DataDir) {
    let tmp = tempfile::tempdir().unwrap();
    let dir = DataDir::new(tmp.path().to_owned());
    fs::create_dir(dir.wal()).unwrap();
    (tmp, dir)
}

/// A segment with one frame for each number of entries; an entry's time is its LSN.
fn segment(first_lsn: u64, frames: &[u32]) -> Vec<u8> {
    let mut bytes = encode_header(Header { salt: SALT, first_lsn });
    let mut lsn = first_lsn;
    for entries in frames {
        let mut payload = Vec::new();
        for at in lsn..lsn + u64::from(*entries) {
            let arrived = i64::try_from(at).unwrap();
            let entry = StoredEntry { arrived, source: None, parts: Vec::new() };
            encode_entry(&mut payload, &entry).unwrap();
        }
        bytes.extend(encode_frame(SALT, lsn, *entries, &payload).unwrap());
        bytes.extend(payload);
        lsn += u64::from(*entries);
    }
    bytes
}

fn put(dir: &DataDir, first_lsn: u64, bytes: &[u8]) {
    fs::write(dir.segment(first_lsn), bytes).unwrap();
}

fn read(dir: &DataDir, trimmed: u64) -> Result<(Vec<u64>, Recovered), RecoveryError<Infallible>> {
    read_known(dir, Known { trimmed, acknowledged: trimmed })
}

fn read_known(
    dir: &DataDir,
    known: Known,
) -> Result<(Vec<u64>, Recovered), RecoveryError<Infallible>> {
    let mut lsns = Vec::new();
    let recovered = recover(dir, known, |entries| {
        for (lsn, entry) in entries {
            assert_eq!(entry.arrived, i64::try_from(*lsn).unwrap());
            lsns.push(*lsn);
        }
        Ok(())
    })?;
    Ok((lsns, recovered))
}

#[test]
fn entries_come_in_order_of_lsn() {
    let (_tmp, dir) = dir();
    put(&dir, 1, &segment(1, &[1, 3]));
    put(&dir, 5, &segment(5, &[2]));
    fs::write(dir.sources(), "not a segment").unwrap();
    let (lsns, recovered) = read(&dir, 0).unwrap();
    assert_eq!(lsns, [1, 2, 3, 4, 5, 6]);
    assert_eq!(recovered.end_lsn, Some(7));
    assert_eq!(recovered.segments.removable(7), [1, 5]);
}

#[test]
fn any_torn_tail_of_the_last_segment_is_cut() {
    let whole = segment(5, &[2, 1]);
    let first = segment(5, &[2]).len();
    for length in 0..whole.len() {
        let (_tmp, dir) = dir();
        put(&dir, 1, &segment(1, &[4]));
        put(&dir, 5, &whole[..length]);
        let (lsns, recovered) = read(&dir, 0).unwrap();
        if length < first {
            assert_eq!(lsns, [1, 2, 3, 4], "{length}");
            assert_eq!(recovered.end_lsn, Some(5));
            assert!(!dir.segment(5).exists(), "nothing is left in it");
        } else {
            assert_eq!(lsns, [1, 2, 3, 4, 5, 6], "{length}");
            let left = fs::metadata(dir.segment(5)).unwrap().len();
            assert_eq!(left, u64::try_from(first).unwrap());
        }
        assert_eq!(read(&dir, 0).unwrap().0, lsns, "twice the same");
    }
}

#[test]
fn any_flipped_bit_before_the_last_frame_stops_the_open() {
    let whole = segment(1, &[2, 1]);
    let first = segment(1, &[2]).len();
    for bit in 0..first * 8 {
        let (_tmp, dir) = dir();
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        put(&dir, 1, &damaged);
        let error = read(&dir, 0).unwrap_err();
        assert!(matches!(error, RecoveryError::Damaged { .. }), "bit {bit}: {error}");
    }
}

#[test]
fn a_torn_tail_of_an_earlier_segment_is_damage() {
    let (_tmp, dir) = dir();
    let whole = segment(1, &[2, 2]);
    put(&dir, 1, &whole[..whole.len() - 1]);
    put(&dir, 5, &segment(5, &[1]));
    let error = read(&dir, 0).unwrap_err();
    let RecoveryError::Damaged { offset, path, .. } = error else { panic!("{error}") };
    assert_eq!((offset, path), (segment(1, &[2]).len(), dir.segment(1)));
}

#[test]
fn what_an_abandoned_segment_holds_beyond_the_next_is_ignored() {
    let (_tmp, dir) = dir();
    // Its second frame was written, its sync failed, and the entries were refused.
    put(&dir, 1, &segment(1, &[2, 3]));
    put(&dir, 3, &segment(3, &[1]));
    let (lsns, recovered) = read(&dir, 0).unwrap();
    assert_eq!(lsns, [1, 2, 3]);
    assert_eq!(recovered.end_lsn, Some(4));
    let mut torn = segment(1, &[2, 3]);
    torn.pop();
    put(&dir, 1, &torn);
    assert_eq!(read(&dir, 0).unwrap().0, [1, 2, 3]);
}

#[test]
fn a_missing_segment_is_a_loss_only_above_what_is_covered() {
    let (_tmp, dir) = dir();
    put(&dir, 5, &segment(5, &[1]));
    assert!(matches!(read(&dir, 0), Err(RecoveryError::Gap { from: 1, to: 4, .. })));
    assert!(matches!(read(&dir, 3), Err(RecoveryError::Gap { from: 4, to: 4, .. })));
    assert_eq!(read(&dir, 4).unwrap().0, [5]);
    put(&dir, 1, &segment(1, &[3]));
    assert!(matches!(read(&dir, 0), Err(RecoveryError::Gap { from: 4, to: 4, .. })));
}

#[test]
fn the_log_reaches_what_was_acknowledged() {
    let (_tmp, dir) = dir();
    let known = |trimmed, acknowledged| Known { trimmed, acknowledged };
    assert_eq!(read_known(&dir, known(4, 4)).unwrap().0, [0; 0], "trimmed to its end");
    let error = read_known(&dir, known(4, 5)).unwrap_err();
    assert!(matches!(error, RecoveryError::Short { end: 4, acknowledged: 5, .. }), "{error}");
    put(&dir, 5, &segment(5, &[2]));
    assert_eq!(read_known(&dir, known(4, 6)).unwrap().0, [5, 6]);
    let error = read_known(&dir, known(4, 7)).unwrap_err();
    assert!(matches!(error, RecoveryError::Short { end: 6, acknowledged: 7, .. }), "{error}");
    put(&dir, 1, &segment(1, &[3]));
    assert_eq!(read_known(&dir, known(4, 6)).unwrap().0, [1, 2, 3, 5, 6], "4 is in files");
}

#[test]
fn no_tail_is_torn_that_was_acknowledged() {
    let whole = segment(5, &[2, 1]);
    let first = segment(5, &[2]).len();
    for length in 0..whole.len() {
        let (_tmp, dir) = dir();
        put(&dir, 1, &segment(1, &[4]));
        put(&dir, 5, &whole[..length]);
        read_known(&dir, Known { trimmed: 0, acknowledged: 7 }).unwrap_err();
        let left = fs::read(dir.segment(5));
        assert!(left.is_ok_and(|left| left == whole[..length]), "it is not touched: {length}");
        let six = read_known(&dir, Known { trimmed: 0, acknowledged: 6 });
        assert_eq!(six.is_ok(), length >= first, "{length}");
    }
}

#[test]
fn another_version_is_named() {
    let (_tmp, dir) = dir();
    let mut bytes = segment(1, &[1]);
    bytes[8] = 2;
    put(&dir, 1, &bytes);
    let text = read(&dir, 0).unwrap_err().to_string();
    assert!(text.contains("version 2"), "{text}");
}
