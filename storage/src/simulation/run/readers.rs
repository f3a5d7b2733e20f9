//! Readers, and what they must see.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use object_store::ObjectStoreExt;
use rand::Rng;

use super::super::model::Seen;
use super::super::rows::{self, Cell, TABLES};
use super::{DATA, Done, Mode, Run};
use crate::part::PartId;
use crate::snapshot::Snapshot;

/// How often each number is there.
type Rows = BTreeMap<i64, usize>;

/// A snapshot that someone keeps.
#[derive(Debug)]
pub(super) struct Held {
    table: usize,
    snapshot: Snapshot,
    /// As they are kept, and as they are shown.
    rows: (Rows, Rows),
}

impl Run {
    pub(super) fn snapshot(&self, table: &str) -> Result<Snapshot, String> {
        self.running().snapshot(table).map_err(|e| e.to_string())
    }

    /// The rows of a snapshot, batch by batch: as they are kept, and as they are shown.
    fn batches(&mut self, snapshot: &Snapshot) -> Result<Vec<(RecordBatch, RecordBatch)>, String> {
        let mut batches = Vec::new();
        for file in snapshot.files.iter() {
            let path = Path::new(DATA).join("tables").join(file.path.as_ref());
            let bytes = self.machine.peek(&path);
            let bytes = bytes.map_err(|e| format!("{} is listed, and: {e}", path.display()))?;
            let digest = crc32fast::hash(&bytes);
            if self.files.get(&path).is_none_or(|(known, _)| *known != digest) {
                let rows = rows::rows_of_file(bytes)
                    .map_err(|e| format!("{} is listed, and: {e}", path.display()))?;
                self.files.insert(path.clone(), (digest, rows));
            }
            for batch in &self.files[&path].1 {
                batches.push((batch.clone(), rows::seen(batch, &file.hidden)?));
            }
        }
        for batch in snapshot.memory.batches().map_err(|e| e.to_string())? {
            batches.push((batch.clone(), rows::seen(batch, &snapshot.hidden_in_memory)?));
        }
        Ok(batches)
    }

    /// How often each number is in a snapshot, as it is kept and as it is shown.
    fn rows(&mut self, snapshot: &Snapshot) -> Result<(Rows, Rows), String> {
        let (mut kept, mut shown) = (BTreeMap::new(), BTreeMap::new());
        for (all, seen) in self.batches(snapshot)? {
            for (counts, batch) in [(&mut kept, all), (&mut shown, seen)] {
                rows::numbers(&batch).into_iter().for_each(|n| *counts.entry(n).or_default() += 1);
            }
        }
        Ok((kept, shown))
    }

    /// The sums of a tier, as they are shown.
    fn sums(&mut self, snapshot: &Snapshot) -> Result<BTreeMap<Cell, i64>, String> {
        let mut sums = BTreeMap::new();
        let mut folded = false;
        for (_, batch) in self.batches(snapshot)? {
            rows::add_cells(&batch, &mut sums);
            folded |= rows::is_folded(&batch);
        }
        self.outcome.folded += u64::from(folded);
        Ok(sums)
    }

    /// Compares everything that is there with the model; after a start also what is on disk.
    pub(super) async fn read_all(&mut self, started: bool) -> Done {
        self.outcome.checks += 1;
        if self.mode == Mode::Together {
            self.expired();
        }
        let mut seen = Seen::default();
        let mut listed = BTreeSet::new();
        let mut divided = false;
        let mut tiers = Vec::new();
        for (table, name) in TABLES.into_iter().enumerate() {
            let snapshot = self.snapshot(name)?;
            (seen.kept[table], seen.shown[table]) = self.rows(&snapshot)?;
            self.look_at_files(&snapshot, started, &mut listed).await?;
            divided |= snapshot.files.iter().any(|f| f.part != Some(PartId::WHOLE));
        }
        for (tier, name) in self.tiers() {
            let snapshot = self.snapshot(name)?;
            tiers.push((tier, self.sums(&snapshot)?, snapshot.complete_after));
            self.look_at_files(&snapshot, started, &mut listed).await?;
        }
        self.outcome.divided += u64::from(divided);
        self.note(|| format!("read: {} and {} rows", seen.shown[0].len(), seen.shown[1].len()));
        self.model.check(&seen)?;
        for (tier, sums, complete_after) in tiers {
            self.model.check_tier(tier, &sums, complete_after)?;
        }
        if started && self.mode == Mode::Alone {
            let on_disk: BTreeSet<PathBuf> = self
                .machine
                .peek_files(&Path::new(DATA).join("tables"))
                .into_iter()
                .filter(|p| p.components().any(|c| c.as_os_str().to_string_lossy().contains('=')))
                .collect();
            if let Some(orphan) = on_disk.difference(&listed).next() {
                return Err(format!("{} is named by no commit", orphan.display()));
            }
            if let Some(left) = self.machine.peek_files(&Path::new(DATA).join("tmp")).first() {
                return Err(format!("{} is left over", left.display()));
            }
        }
        Ok(())
    }

    /// Notes the files of a snapshot, and reads one as readers do.
    async fn look_at_files(
        &self,
        snapshot: &Snapshot,
        started: bool,
        listed: &mut BTreeSet<PathBuf>,
    ) -> Done {
        let tables = Path::new(DATA).join("tables");
        listed.extend(snapshot.files.iter().map(|f| tables.join(f.path.as_ref())));
        if let Some(file) = snapshot.files.first().filter(|_| !started && !self.troubled) {
            let read = snapshot.object_store.get(&file.path).await;
            let read = read.map_err(|e| format!("{} does not read: {e}", file.path))?;
            if read.meta.size != file.size {
                return Err(format!("{} has another size than its commit says", file.path));
            }
        }
        Ok(())
    }

    /// While others are at work: what was there before is there, once.
    pub(super) fn read_meanwhile(&mut self) -> Done {
        self.expired();
        let mut seen = Seen::default();
        for (table, name) in TABLES.into_iter().enumerate() {
            let snapshot = self.snapshot(name)?;
            (seen.kept[table], seen.shown[table]) = self.rows(&snapshot)?;
        }
        self.model.check_known(&seen)
    }

    pub(super) fn hold(&mut self) -> Done {
        let table = self.random.random_range(0..TABLES.len());
        self.note(|| format!("hold a snapshot of {}", TABLES[table]));
        let snapshot = self.snapshot(TABLES[table])?;
        let rows = self.rows(&snapshot)?;
        self.held.push(Held { table, snapshot, rows });
        Ok(())
    }

    pub(super) async fn read_held(&mut self) -> Done {
        for held in std::mem::take(&mut self.held) {
            if self.rows(&held.snapshot)? != held.rows {
                return Err(format!("a held snapshot of `{}` changed", TABLES[held.table]));
            }
            if self.random.random() {
                self.held.push(held);
            }
        }
        Ok(())
    }
}
