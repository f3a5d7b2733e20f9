//! What readers see and the log writer changes, under one lock.
//!
//! A row enters with its log entry (durable by then) and moves from memory to a file in one step,
//! so every moment shows it exactly once. Nothing here does I/O.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::memory::{Memtable, Reservation};
use crate::snapshot::DataFile;
use crate::sources::Sources;
use crate::spec::TableSpec;

/// One table at one moment.
#[derive(Debug)]
pub(crate) struct TableState {
    pub(crate) spec: Arc<TableSpec>,
    pub(crate) files: Arc<[Arc<DataFile>]>,
    active: Option<Memtable>,
    frozen: Vec<Arc<Memtable>>,
}

impl TableState {
    pub(crate) fn new(spec: Arc<TableSpec>, files: Arc<[Arc<DataFile>]>) -> Self {
        Self { spec, files, active: None, frozen: Vec::new() }
    }

    fn memtables(&self) -> impl Iterator<Item = &Memtable> {
        self.frozen.iter().map(AsRef::as_ref).chain(&self.active)
    }

    /// Rows that are not in files.
    pub(crate) fn memory(&self) -> Vec<RecordBatch> {
        self.memtables().flat_map(|m| m.batches.iter().cloned()).collect()
    }

    /// Their number.
    pub(crate) fn memory_rows(&self) -> u64 {
        self.memtables().map(|m| m.rows).sum()
    }

    /// What the next flush has to write.
    pub(crate) fn frozen(&self) -> Vec<Arc<Memtable>> {
        self.frozen.clone()
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
    pub(crate) reserved: Reservation,
}

/// All tables, and who sent what.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tables: HashMap<&'static str, TableState>,
    pub(crate) sources: Sources,
    /// LSN of the last entry that is visible.
    pub(crate) last_lsn: u64,
}

impl State {
    /// Shows the rows of a durable entry.
    pub(crate) fn apply(&mut self, lsn: u64, parts: Vec<Incoming>) {
        self.last_lsn = self.last_lsn.max(lsn);
        for Incoming { table, batches, reserved } in parts {
            if let Some(table) = self.tables.get_mut(table)
                && batches.iter().any(|b| b.num_rows() > 0)
            {
                table.active.get_or_insert_with(|| Memtable::new(lsn)).push(lsn, batches, reserved);
            }
        }
    }

    /// Closes the active memtables; returns if there is anything to flush.
    pub(crate) fn freeze(&mut self) -> bool {
        for table in self.tables.values_mut() {
            if let Some(active) = &mut table.active {
                // It holds all of the table's rows up to here, entries without any included: the
                // commit then covers every entry of the segments that are removed after it.
                active.last_lsn = active.last_lsn.max(self.last_lsn);
            }
            table.frozen.extend(table.active.take().map(Arc::new));
        }
        self.tables.values().any(|t| !t.frozen.is_empty())
    }

    /// The lowest LSN whose rows are only in memory and the log.
    pub(crate) fn needed_lsn(&self) -> u64 {
        self.tables
            .values()
            .flat_map(TableState::memtables)
            .map(|m| m.first_lsn)
            .min()
            .unwrap_or(self.last_lsn + 1)
    }

    /// Whether any row is in memory alone.
    pub(crate) fn has_rows(&self) -> bool {
        self.tables.values().any(|t| t.memtables().next().is_some())
    }
}
