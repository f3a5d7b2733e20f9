//! Which files go when all of them together are too large.

use std::sync::Arc;

use crate::snapshot::DataFile;
use crate::window::Window;

/// A table and its files.
#[derive(Debug)]
pub(crate) struct Holding<'a> {
    pub(crate) table: &'static str,
    /// Windows of the table: the finer a tier, the shorter they are.
    pub(crate) window: Window,
    pub(crate) files: &'a [Arc<DataFile>],
}

/// The files to remove so that at most `max_bytes` stay: tier by tier from the finest, in each the
/// oldest first. The newest window of a table stays, even if that is too much.
pub(crate) fn surplus<'a>(
    holdings: &[Holding<'a>],
    max_bytes: u64,
) -> Vec<(&'static str, &'a Arc<DataFile>)> {
    let all = holdings.iter().flat_map(|h| h.files);
    let mut bytes = all.map(|file| file.size).fold(0, u64::saturating_add);
    if bytes <= max_bytes {
        return Vec::new();
    }
    let mut candidates: Vec<_> = holdings
        .iter()
        .flat_map(|h| {
            let known = |file: &&Arc<DataFile>| file.max_time != i64::MAX;
            let newest = h.files.iter().filter(known).map(|f| h.window.of(f.max_time)).max();
            h.files
                .iter()
                .filter(known)
                .filter(move |file| Some(h.window.of(file.max_time)) != newest)
                .map(move |file| (h.window.length(), file.max_time, h.table, file))
        })
        .collect();
    candidates.sort_by_key(|(tier, max_time, table, _)| (*tier, *max_time, *table));
    let mut gone = Vec::new();
    for (_, _, table, file) in candidates {
        if bytes <= max_bytes {
            break;
        }
        bytes = bytes.saturating_sub(file.size);
        gone.push((table, file));
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::age::tests::{file, sized};

    const HOUR: i64 = 3_600_000_000;

    fn gone(raw: &[Arc<DataFile>], hourly: &[Arc<DataFile>], max: u64) -> Vec<(&'static str, i64)> {
        let holdings = [
            Holding { table: "hourly", window: Window::THIRTY_DAYS, files: hourly },
            Holding { table: "raw", window: Window::TWO_HOURS, files: raw },
        ];
        surplus(&holdings, max).into_iter().map(|(t, f)| (t, f.max_time / HOUR)).collect()
    }

    #[test]
    fn the_oldest_of_the_finest_go_first_and_the_newest_window_stays() {
        let raw = [sized(5 * HOUR, 10), sized(HOUR, 10), sized(3 * HOUR, 10), sized(5 * HOUR, 10)];
        let hourly = [sized(HOUR, 10), sized(2000 * HOUR, 10)];
        assert_eq!(gone(&raw, &hourly, 60), []);
        assert_eq!(gone(&raw, &hourly, 59), [("raw", 1)]);
        assert_eq!(gone(&raw, &hourly, 50), [("raw", 1)]);
        assert_eq!(gone(&raw, &hourly, 35), [("raw", 1), ("raw", 3), ("hourly", 1)]);
        assert_eq!(gone(&raw, &hourly, 0).len(), 3, "the newest window of each table stays");
        let unknown = [file(i64::MAX), file(0), file(9 * HOUR)];
        assert_eq!(gone(&unknown, &[], 0), [("raw", 0)], "a file of unknown age stays");
    }
}
