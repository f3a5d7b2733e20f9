//! What readers see and the log writer changes, under one lock.
//!
//! A row enters with its log entry (durable by then) and moves from memory to a file in one step,
//! so every moment shows it exactly once. Nothing here does I/O.
//!
//! The rows of a table are also those of every tier that sums it up. One memtable holds them for all
//! of these tables; it goes when the last of them has committed them.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::coalesce::coalesce;
use crate::memory::{Memtable, Reservation};
use crate::series::{Registry, Run};
use crate::snapshot::DataFile;
use crate::sources::Sources;
use crate::spec::TableSpec;

/// One table at one moment.
#[derive(Debug)]
pub(crate) struct TableState {
    pub(crate) spec: Arc<TableSpec>,
    pub(crate) files: Arc<[Arc<DataFile>]>,
    /// See [`crate::Snapshot::complete_after`].
    pub(crate) complete_after: i64,
    frozen: Vec<Arc<Memtable>>,
    /// Numbers the series of points that come in from now on; only for a table of series.
    registry: Option<Arc<Registry>>,
}

impl TableState {
    pub(crate) fn new(
        spec: Arc<TableSpec>,
        files: Arc<[Arc<DataFile>]>,
        complete_after: i64,
    ) -> Self {
        let registry = spec.series.then(Arc::default);
        Self { spec, files, complete_after, frozen: Vec::new(), registry }
    }

    /// What the next flush has to write, in the schema of the table that the rows came in for.
    pub(crate) fn frozen(&self) -> Vec<Arc<Memtable>> {
        self.frozen.clone()
    }

    /// What numbers the series of points on their way in.
    pub(crate) fn registry(&self) -> Option<Arc<Registry>> {
        self.registry.clone()
    }

    /// The table that this one's rows come in for: itself, or what it sums up.
    fn source(&self) -> &'static str {
        self.spec.rollup.as_ref().map_or(self.spec.name, |rollup| rollup.source)
    }

    /// Shows `files` in place of the files before and of every frozen memtable up to `lsn`.
    pub(crate) fn committed(&mut self, files: Arc<[Arc<DataFile>]>, lsn: u64) {
        self.files = files;
        self.frozen.retain(|m| m.last_lsn > lsn);
    }
}

/// Rows of one table on their way in.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) table: &'static str,
    pub(crate) batches: Vec<RecordBatch>,
    /// Numbers the series in the batches, if the table is one of series.
    pub(crate) registry: Option<Arc<Registry>>,
    pub(crate) reserved: Reservation,
}

/// The newest batches of a memtable that should become one.
#[derive(Debug)]
pub(crate) struct Crowd {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    table: &'static str,
    /// Of the memtable.
    first_lsn: u64,
    /// Where they begin in it.
    at: usize,
}

/// The memtable that rows for one table enter.
#[derive(Debug)]
struct Active {
    memtable: Memtable,
    /// The tables that have its rows.
    tables: Vec<&'static str>,
}

/// Whether two memtables have one registry, or none.
fn same(a: Option<&Arc<Registry>>, b: Option<&Arc<Registry>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// All tables, and who sent what.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) tables: HashMap<&'static str, TableState>,
    /// By the table that rows come in for.
    active: HashMap<&'static str, Active>,
    pub(crate) sources: Sources,
    /// LSN of the last entry that is visible.
    pub(crate) last_lsn: u64,
}

impl State {
    /// Shows the rows of a durable entry, in the tables they came in for and in their tiers.
    pub(crate) fn apply(&mut self, lsn: u64, parts: Vec<Incoming>) {
        self.last_lsn = self.last_lsn.max(lsn);
        for incoming in parts {
            let tables = self.takers(incoming.table);
            self.enter(lsn..=lsn, incoming, tables);
        }
    }

    /// Shows rows that come from consecutive entries of the log in some of the tables that take them.
    pub(crate) fn replay(
        &mut self,
        lsns: RangeInclusive<u64>,
        rows: Incoming,
        tables: Vec<&'static str>,
    ) {
        self.last_lsn = self.last_lsn.max(*lsns.end());
        self.enter(lsns, rows, tables);
    }

    /// The tables that take the rows which come in for one: itself and its tiers, sorted.
    pub(crate) fn takers(&self, table: &str) -> Vec<&'static str> {
        let mut takers: Vec<_> =
            self.tables.values().filter(|t| t.source() == table).map(|t| t.spec.name).collect();
        takers.sort_unstable();
        takers
    }

    fn enter(&mut self, lsns: RangeInclusive<u64>, incoming: Incoming, tables: Vec<&'static str>) {
        let Incoming { table, batches, registry, reserved } = incoming;
        if tables.is_empty() || batches.iter().all(|b| b.num_rows() == 0) {
            return;
        }
        // Points may have been numbered before the last freeze.
        let other = |active: &Active| {
            active.tables != tables || !same(active.memtable.registry.as_ref(), registry.as_ref())
        };
        if self.active.get(table).is_some_and(other)
            && let Some(before) = self.active.remove(table)
        {
            self.close(before);
        }
        let active = self
            .active
            .entry(table)
            .or_insert_with(|| Active { memtable: Memtable::new(*lsns.start(), registry), tables });
        active.memtable.push(*lsns.end(), batches, reserved);
    }

    fn close(&mut self, active: Active) {
        let memtable = Arc::new(active.memtable);
        for table in active.tables {
            if let Some(table) = self.tables.get_mut(table) {
                table.frozen.push(memtable.clone());
            }
        }
    }

    /// Small batches that should be put together, if any.
    pub(crate) fn crowd(&self) -> Option<Crowd> {
        self.active.iter().find_map(|(table, active)| {
            let at = active.memtable.crowd()?;
            Some(Crowd {
                schema: self.tables.get(table)?.spec.memory_schema(),
                batches: active.memtable.batches.get(at..)?.to_vec(),
                table,
                first_lsn: active.memtable.first_lsn,
                at,
            })
        })
    }

    /// Shows one batch in place of a crowd, unless the crowd has been frozen meanwhile: what is to be
    /// written to files stays as it is.
    pub(crate) fn replace(&mut self, crowd: &Crowd, one: RecordBatch) {
        if let Some(Active { memtable, .. }) = self.active.get_mut(crowd.table)
            && memtable.first_lsn == crowd.first_lsn
            && memtable.batches.len() == crowd.at + crowd.batches.len()
        {
            memtable.replace(crowd.at, one);
        }
    }

    /// Rows that came in for a table and are in memory.
    pub(crate) fn in_memory(&self, table: &str) -> Vec<RecordBatch> {
        self.tables.get(table).map(|table| self.memory(table)).unwrap_or_default()
    }

    /// Puts batches in place of others with the same rows, in the table that they came in for and in all that have
    /// them. Only while nothing is being written to files. Returns how many were still there.
    pub(crate) fn revise(&mut self, table: &str, revised: &[(RecordBatch, RecordBatch)]) -> usize {
        let active = self.active.get_mut(table);
        let mut count = active.map_or(0, |active| active.memtable.revise(revised));
        let frozen = self.tables.get(table).map(TableState::frozen).unwrap_or_default();
        for before in frozen {
            let mut after = before.copy();
            let here = after.revise(revised);
            if here == 0 {
                continue;
            }
            count += here;
            let after = Arc::new(after);
            let all = self.tables.values_mut().flat_map(|table| &mut table.frozen);
            for memtable in all.filter(|memtable| Arc::ptr_eq(memtable, &before)) {
                *memtable = Arc::clone(&after);
            }
        }
        count
    }

    /// Puts small batches together while nobody else looks on.
    pub(crate) fn put_together(&mut self) {
        while let Some(crowd) = self.crowd() {
            match coalesce(&crowd.schema, &crowd.batches) {
                Ok(one) => self.replace(&crowd, one),
                Err(_) => return,
            }
        }
    }

    /// Closes the active memtables; returns if there is anything to flush.
    pub(crate) fn freeze(&mut self) -> bool {
        for mut active in std::mem::take(&mut self.active).into_values() {
            // It holds all of its tables' rows up to here, entries without any included: the
            // commit then covers every entry of the segments that are removed after it.
            active.memtable.last_lsn = active.memtable.last_lsn.max(self.last_lsn);
            for table in &active.tables {
                if let Some(table) = self.tables.get_mut(table) {
                    // What is numbered from here on belongs to the next memtable.
                    table.registry = table.spec.series.then(Arc::default);
                }
            }
            self.close(active);
        }
        self.tables.values().any(|t| !t.frozen.is_empty())
    }

    /// Rows of a table that are not in files, in the schema of the table that they came in for.
    pub(crate) fn memory(&self, table: &TableState) -> Vec<RecordBatch> {
        self.memtables_of(table).flat_map(|m| m.batches.iter().cloned()).collect()
    }

    /// Points of a table of series that are not in files.
    pub(crate) fn runs(&self, table: &TableState) -> Vec<Run> {
        self.memtables_of(table).filter_map(Memtable::run).collect()
    }

    fn memtables_of<'a>(&'a self, table: &'a TableState) -> impl Iterator<Item = &'a Memtable> {
        let active = self
            .active
            .get(table.source())
            .filter(|active| active.tables.contains(&table.spec.name))
            .map(|active| &active.memtable);
        table.frozen.iter().map(AsRef::as_ref).chain(active)
    }

    /// Every memtable; one that several tables have comes as often.
    fn memtables(&self) -> impl Iterator<Item = &Memtable> {
        let frozen = self.tables.values().flat_map(|t| &t.frozen).map(AsRef::as_ref);
        frozen.chain(self.active.values().map(|a| &a.memtable))
    }

    /// Number of rows that came in and are in memory for some table.
    pub(crate) fn memory_rows(&self) -> u64 {
        let frozen = self.tables.values().flat_map(|t| &t.frozen);
        let frozen: HashMap<_, _> = frozen.map(|m| (Arc::as_ptr(m), m.rows)).collect();
        let active = self.active.values().map(|a| a.memtable.rows).sum::<u64>();
        active + frozen.values().sum::<u64>()
    }

    /// The lowest LSN whose rows are only in memory and the log.
    pub(crate) fn needed_lsn(&self) -> u64 {
        self.memtables().map(|m| m.first_lsn).min().unwrap_or(self.last_lsn + 1)
    }

    /// Whether any row is in memory alone.
    pub(crate) fn has_rows(&self) -> bool {
        self.memtables().next().is_some()
    }
}
