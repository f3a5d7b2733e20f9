//! Data files in the bucket that no commit names. No I/O.
//!
//! They come from uploads whose commit never happened, and from files that were removed from a table
//! just before a stop. A file may be on its way into a commit, or still be read by someone who loaded
//! the table before, so one goes only after it was missing in the table for a grace, counted by this
//! process from when it first saw that: neither the clock of the store nor the age of the file says
//! when it left the table.
//!
//! Only files that are named as we name them are touched: another program may be about to commit its
//! own.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

/// How often to look.
pub(crate) const EVERY: Duration = Duration::from_secs(3600);

/// Files that were seen outside of their table, and since when.
#[derive(Debug, Default)]
pub(crate) struct Suspects(HashMap<String, Instant>);

impl Suspects {
    /// Takes in what a listing found of one table at `now`: paths below the tables, with whether the
    /// table names them. Returns those whose grace is over.
    pub(crate) fn look(
        &mut self,
        table: &str,
        found: impl Iterator<Item = (String, bool)>,
        grace: Duration,
        now: Instant,
    ) -> Vec<String> {
        let mut seen = HashSet::new();
        let mut gone = Vec::new();
        for (path, is_named) in found {
            if is_named || !is_ours(&path) {
                continue;
            }
            let since = *self.0.entry(path.clone()).or_insert(now);
            if now.saturating_duration_since(since) >= grace {
                self.0.remove(&path);
                gone.push(path);
            } else {
                seen.insert(path);
            }
        }
        let folder = format!("{table}/");
        self.0.retain(|path, _| !path.starts_with(&folder) || seen.contains(path));
        gone
    }
}

/// Whether a path is that of a data file as [`crate::paths::Partition`] names them.
fn is_ours(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some((start, id)) = name.strip_suffix(".parquet").and_then(|n| n.split_once('-')) else {
        return false;
    };
    path.contains("/date=")
        && start.len() == 4
        && start.bytes().all(|b| b.is_ascii_digit())
        && id.len() == 32
        && id.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_only_after_a_grace_outside_of_its_table() {
        let file = |n: u8| format!("t/date=2026-11-22/part=00/1200-{:032x}.parquet", n);
        let foreign = "t/date=2026-11-22/part=00/part-00000-x.snappy.parquet".to_owned();
        let other = file(9).replace("t/", "u/");
        let grace = Duration::from_secs(10);
        let start = Instant::now();
        let mut suspects = Suspects::default();
        let mut look = |table: &str, files: &[(String, bool)], seconds| {
            let now = start + Duration::from_secs(seconds);
            suspects.look(table, files.iter().cloned(), grace, now)
        };
        let listed = [(file(1), true), (file(2), false), (file(3), false), (foreign, false)];
        assert!(look("t", &listed, 0).is_empty());
        assert!(look("u", &[(other.clone(), false)], 5).is_empty());
        // The third got into the table after all, and leaves it again.
        let committed = [(file(1), true), (file(2), false), (file(3), true)];
        assert!(look("t", &committed, 9).is_empty());
        assert_eq!(look("t", &listed, 10), [file(2)]);
        assert!(look("t", &listed[2..], 19).is_empty(), "its time began anew");
        assert_eq!(look("t", &listed[2..], 20), [file(3)]);
        assert_eq!(look("u", &[(other.clone(), false)], 15), [other]);
    }

    #[test]
    fn names_are_recognised_as_they_are_made() {
        let dir = crate::paths::DataDir::new("/d".into());
        let part = crate::part::PartId::WHOLE;
        let partition = crate::paths::Partition { date: "2026-11-22".into(), part };
        assert!(is_ours(&format!("t/{}", partition.new_file(&dir, "1200"))));
        for other in ["t/_delta_log/00000000000000000010.checkpoint.parquet", "t/a.parquet"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
