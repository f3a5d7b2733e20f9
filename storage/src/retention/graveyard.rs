//! Files that are no longer part of a table and may still be read. No I/O.

use std::sync::Arc;
use std::time::Duration;

use crate::snapshot::DataFile;

/// Files that a commit removed and that may still be read.
#[derive(Debug, Default)]
pub(crate) struct Graveyard(Vec<(Arc<DataFile>, i64)>);

impl Graveyard {
    /// Enters files that were removed at `now` (microseconds).
    pub(crate) fn bury(&mut self, files: Vec<Arc<DataFile>>, now: i64) {
        self.0.extend(files.into_iter().map(|f| (f, now)));
    }

    /// Whether a file is in here.
    pub(crate) fn holds(&self, path: &object_store::path::Path) -> bool {
        self.0.iter().any(|(file, _)| file.path == *path)
    }

    /// Takes out the files that no snapshot holds and whose grace is over.
    pub(crate) fn take_unread(&mut self, grace: Duration, now: i64) -> Vec<Arc<DataFile>> {
        let grace = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
        let (go, stay) = self.0.drain(..).partition(|(file, at)| {
            // The graveyard's own reference is the last one: no new one can come about.
            Arc::strong_count(file) == 1 && file.pin.is_last() && now.saturating_sub(*at) >= grace
        });
        self.0 = stay;
        let go: Vec<(Arc<DataFile>, i64)> = go;
        go.into_iter().map(|(file, _)| file).collect()
    }
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::*;

    fn file(max_time: i64) -> Arc<DataFile> {
        Arc::new(DataFile { max_time, ..DataFile::unknown(Path::from("t/f"), 1) })
    }

    #[test]
    fn removed_files_wait_for_readers_and_grace() {
        let mut graveyard = Graveyard::default();
        let read = file(1);
        graveyard.bury(vec![read.clone(), file(2)], 0);
        let grace = Duration::from_secs(1);
        assert!(graveyard.take_unread(grace, 999_999).is_empty());
        assert_eq!(graveyard.take_unread(grace, 1_000_000).len(), 1);
        let shown_otherwise = DataFile::clone(&read);
        drop(read);
        assert!(graveyard.take_unread(grace, 1_000_000).is_empty(), "a clone is a reader too");
        drop(shown_otherwise);
        assert_eq!(graveyard.take_unread(grace, 1_000_000).len(), 1);
        assert!(graveyard.0.is_empty());
    }
}
