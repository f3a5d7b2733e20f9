//! How many parts a table should have. No I/O.
//!
//! More parts make a query for one workload read less, and smaller pieces for compaction to take one
//! at a time. They also cut each flush into more files. So the count grows when both hold:
//!
//! - a part of a window is more than [`Growth::part_bytes`], in the third largest window of the table:
//!   an outage that is made up for, or a window that was filled twice, does not count for ever;
//! - a flush still gives each part [`Growth::part_rows`] rows.
//!
//! It never shrinks: files keep the count that they were written with, so it would save nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::part::PartCount;
use crate::snapshot::DataFile;
use crate::window::Window;

/// Windows that must be large before the count grows.
const WITNESSES: usize = 3;

/// When the number of parts grows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth {
    /// Most bytes of one part of a window.
    pub(crate) part_bytes: u64,
    /// Fewest rows of a flush for one part.
    pub(crate) part_rows: u64,
}

impl Growth {
    /// The count for a table that has `current`, given the bytes of its windows and the rows of a
    /// flush.
    pub(crate) fn count(self, current: PartCount, windows: &[u64], flush_rows: u64) -> PartCount {
        let mut windows = windows.to_vec();
        windows.sort_unstable_by(|a, b| b.cmp(a));
        let Some(bytes) = windows.get(WITNESSES - 1) else { return current };
        let mut count = current;
        while bytes / u64::from(count.get()) > self.part_bytes
            && let Some(doubled) = count.doubled()
            && flush_rows / u64::from(doubled.get()) >= self.part_rows
        {
            count = doubled;
        }
        count
    }
}

/// Bytes of each window that files are of. A file of unknown age is of none.
pub(crate) fn volumes(files: &[Arc<DataFile>], window: Window) -> Vec<u64> {
    let mut volumes: BTreeMap<i64, u64> = BTreeMap::new();
    for file in files.iter().filter(|file| file.min_time != i64::MIN) {
        let volume = volumes.entry(window.of(file.min_time)).or_default();
        *volume = volume.saturating_add(file.size);
    }
    volumes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::*;

    const GROWTH: Growth = Growth { part_bytes: 100, part_rows: 10 };

    #[test]
    fn the_count_follows_the_volume_and_never_shrinks() {
        let count = |current: u32, windows: &[u64], rows| {
            GROWTH.count(PartCount::new(current).unwrap(), windows, rows).get()
        };
        assert_eq!(count(1, &[], 1000), 1);
        assert_eq!(count(1, &[100, 100, 100], 1000), 1, "full, not more");
        assert_eq!(count(1, &[101, 101, 101], 1000), 2);
        assert_eq!(count(1, &[9, 700, 701, 8, 702], 1000), 8, "several steps at once");
        assert_eq!(count(1, &[5000, 5000, 9], 1000), 1, "two windows may be an exception");
        assert_eq!(count(8, &[9, 9, 9], 1000), 8);
        assert_eq!(count(1, &[700, 700, 700], 45), 4, "a flush has rows for four parts");
        assert_eq!(count(1, &[700, 700, 700], 9), 1);
        assert_eq!(count(512, &[u64::MAX; 3], u64::MAX), 1024, "there are no more");
    }

    #[test]
    fn files_add_up_to_windows() {
        let hour = 3_600_000_000;
        let file = |min_time, size| {
            Arc::new(DataFile { min_time, ..DataFile::unknown(Path::from("f"), size) })
        };
        let files = [file(0, 1), file(hour, 2), file(2 * hour, 4), file(i64::MIN, 8)];
        assert_eq!(volumes(&files, Window::TWO_HOURS), [3, 4]);
    }
}
