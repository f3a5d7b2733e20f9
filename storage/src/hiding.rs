//! Which rows of which files are hidden now. No I/O.
//!
//! What readers are shown is made here from what the tables' logs list. Whoever changes either shows
//! the table again, holding the tables' lock, so that files and what is hidden in them agree.
//!
//! A file whose hidden rows will never be seen again is worth rewriting without them, but only if it
//! has such rows: statistics tell what a file may hold, its columns what it does hold. Files are looked
//! into once ([`Hiding::unchecked`]); what was found is kept in memory and found anew after a restart.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use object_store::path::Path;

use crate::hidden::Hidden;
use crate::retention::policy::TablePolicy;
use crate::snapshot::DataFile;
use crate::tombstone::Tombstones;

/// What is hidden, and what was found out about it.
#[derive(Debug, Default)]
pub(crate) struct Hiding {
    policies: HashMap<&'static str, TablePolicy>,
    /// The present that retention goes by, microseconds.
    pub(crate) present: i64,
    pub(crate) tombstones: Tombstones,
    /// The clock runs ahead of the rows, and that was said.
    pub(crate) doubtful: bool,
    /// By file: what hides nothing in it, though its statistics did not tell.
    idle: HashMap<Path, Vec<Arc<Hidden>>>,
    /// Files that hold rows that go for good.
    wanted: HashSet<Path>,
}

impl Hiding {
    pub(crate) fn new(
        policies: HashMap<&'static str, TablePolicy>,
        tombstones: Tombstones,
    ) -> Self {
        Self { policies, tombstones, ..Self::default() }
    }

    pub(crate) fn policy(&self, table: &str) -> Option<&TablePolicy> {
        self.policies.get(table)
    }

    /// The files with what is hidden in them now.
    pub(crate) fn shown(&self, table: &str, files: &[Arc<DataFile>]) -> Arc<[Arc<DataFile>]> {
        let shown = files.iter().map(|file| {
            let hidden = self.hidden(table, file);
            if *hidden == *file.hidden {
                return file.clone();
            }
            Arc::new(DataFile { hidden: hidden.into(), ..DataFile::clone(file) })
        });
        shown.collect()
    }

    /// What is hidden of a table's rows in memory.
    pub(crate) fn in_memory(&self, table: &str) -> Arc<[Arc<Hidden>]> {
        let policy = self.policies.get(table);
        policy.map(|p| p.hidden_in_memory(self.present)).unwrap_or_default().into()
    }

    fn hidden(&self, table: &str, file: &DataFile) -> Vec<Arc<Hidden>> {
        let by_age = self.policies.get(table).map(|policy| policy.hidden(file, self.present));
        let mut hidden = by_age.unwrap_or_default();
        for hidden in &mut hidden {
            if hidden.spans(file.min_time, file.max_time) {
                // The same at any later time, so that nobody takes the file for another.
                let hidden = Arc::make_mut(hidden);
                (hidden.after, hidden.until) = (i64::MIN, i64::MAX);
            }
        }
        hidden.extend(self.tombstones.of(&file.path).cloned());
        if let Some(idle) = self.idle.get(&file.path) {
            hidden.retain(|h| !idle.iter().any(|i| includes(i, h)));
        }
        hidden
    }

    /// Those of the files, as they are shown, that nobody has looked into yet: what in them hides rows
    /// for good, if it hides any.
    pub(crate) fn unchecked(&self, shown: &[Arc<DataFile>]) -> Vec<(Arc<DataFile>, Arc<Hidden>)> {
        let files = shown.iter().filter(|file| !self.wanted.contains(&file.path));
        files.filter_map(|file| Some((file.clone(), self.ripe(file).next()?.clone()))).collect()
    }

    /// What hides rows of a file that no later time brings back, and no other of its class follows.
    fn ripe<'a>(&self, file: &'a DataFile) -> impl Iterator<Item = &'a Arc<Hidden>> {
        let deleted = |h: &Hidden| self.tombstones.of(&file.path).any(|t| **t == *h);
        let for_good =
            move |h: &&'a Arc<Hidden>| h.spans(file.min_time, file.max_time) || deleted(h.as_ref());
        file.hidden.iter().filter(for_good)
    }

    /// Notes what was found in a file.
    pub(crate) fn checked(&mut self, file: &DataFile, hidden: &Arc<Hidden>, has_rows: bool) {
        if has_rows {
            self.wanted.insert(file.path.clone());
        } else {
            self.idle.entry(file.path.clone()).or_default().push(hidden.clone());
        }
    }

    /// Whether a file holds rows that go for good.
    pub(crate) fn wants_rewrite(&self, file: &DataFile) -> bool {
        self.wanted.contains(&file.path)
    }

    /// The tombstones without files that are in no table any more, and without those in which they
    /// were found to delete nothing; `None` when nothing changes.
    pub(crate) fn outlived(&self, listed: &HashSet<Path>) -> Option<Tombstones> {
        let mut left = self.tombstones.pruned(listed);
        for (path, idle) in &self.idle {
            for hidden in idle {
                left = left.without(path, hidden);
            }
        }
        (left != self.tombstones).then_some(left)
    }

    /// Forgets files that are in no table any more.
    pub(crate) fn forget(&mut self, listed: &HashSet<Path>) {
        self.idle.retain(|path, _| listed.contains(path));
        self.wanted.retain(|path| listed.contains(path));
    }
}

/// Whether the first hides all that the second does, as far as their form tells.
fn includes(a: &Hidden, b: &Hidden) -> bool {
    a.matchers == b.matchers && a.unless == b.unless && a.after <= b.after && b.until <= a.until
}
