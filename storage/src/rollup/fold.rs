//! Of each window and set of other keys, the largest rows keep a detail; the rest becomes one row.
//!
//! Rows come sorted, with the detail and what is said of it last before the time: all rows that agree
//! in every other key are neighbours. They are held until the next such group begins, and reduced
//! whenever they have become too many, so that no more than twice `(keep + 1) * windows` of them are
//! in memory (or [`HELD`], if that is more). Each row comes once, so the largest are the largest of all.
//!
//! Rows that were folded before go into the same row again, and those that were kept compete with the
//! late ones.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray, UInt32Array,
    new_null_array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};

use super::keys::Keys;
use super::{Fold, Role, Rollup, RollupError, aggregate};
use crate::spec::TableSpec;

/// Rows of a group that are held before they are reduced for the first time.
const HELD: usize = 16 * 1024;

/// Folds sorted rows of a tier.
pub(crate) struct Folder {
    spec: TableSpec,
    rollup: Rollup,
    fold: Fold,
    /// The keys that are left when the detail goes, without the time.
    groups: Keys,
    held: Vec<RecordBatch>,
    held_group: u32,
    held_rows: usize,
    /// Reduce when there are more rows than this.
    limit: usize,
}

impl Folder {
    pub(crate) fn new(spec: &TableSpec, rollup: &Rollup, fold: &Fold) -> Result<Self, RollupError> {
        let left = |name: &str| {
            rollup.role(spec.time, name) == Role::Key
                && name != fold.column
                && !fold.about.contains(&name)
        };
        let fields = spec.schema.fields().iter().filter(|f| left(f.name()));
        Ok(Self {
            spec: spec.clone(),
            rollup: rollup.clone(),
            fold: fold.clone(),
            groups: Keys::new(fields.map(|f| (f.name().as_str(), f.data_type())))?,
            held: Vec::new(),
            held_group: 0,
            held_rows: 0,
            limit: HELD,
        })
    }

    /// Takes the rows that come next; gives those that are done, in order.
    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<Vec<RecordBatch>, RollupError> {
        self.spec.schema = rows.schema();
        let groups = self.groups.groups_of(rows)?;
        let mut done = Vec::new();
        // Small groups between two others: nothing in them to fold.
        let mut passing = 0..0;
        let mut from = 0;
        let last = groups.len();
        for run in groups.chunk_by(|a, b| a == b) {
            let Some(group) = run.first().copied() else { continue };
            let to = from + run.len();
            if !self.held.is_empty() && group != self.held_group {
                self.release(&mut done)?;
            }
            if to < last && self.held.is_empty() && run.len() <= self.fold.keep {
                passing.end = to;
            } else {
                pass(rows, &mut passing, &mut done);
                self.hold(group, rows.slice(from, run.len()))?;
                passing = to..to;
            }
            from = to;
        }
        pass(rows, &mut passing, &mut done);
        Ok(done)
    }

    /// Gives what is held.
    pub(crate) fn finish(&mut self) -> Result<Vec<RecordBatch>, RollupError> {
        let mut done = Vec::new();
        self.release(&mut done)?;
        Ok(done)
    }

    fn hold(&mut self, group: u32, rows: RecordBatch) -> Result<(), RollupError> {
        self.held_group = group;
        self.held_rows += rows.num_rows();
        self.held.push(rows);
        if self.held_rows > self.limit {
            let reduced = self.reduce()?;
            self.held_rows = reduced.num_rows();
            self.limit = HELD.max(2 * self.held_rows);
            self.held.push(reduced);
        }
        Ok(())
    }

    fn release(&mut self, done: &mut Vec<RecordBatch>) -> Result<(), RollupError> {
        if self.held.is_empty() {
            return Ok(());
        }
        done.push(self.reduce()?);
        self.held_rows = 0;
        self.limit = HELD;
        Ok(())
    }

    /// The rows that are held, folded; none are held afterwards.
    fn reduce(&mut self) -> Result<RecordBatch, RollupError> {
        let rows = concat_batches(&self.spec.schema, &std::mem::take(&mut self.held))?;
        let keep = self.kept(&rows)?;
        if keep.iter().all(|keep| *keep) {
            return Ok(rows);
        }
        let numbers = |wanted: bool| -> UInt32Array {
            (0u32..).zip(&keep).filter(|(_, keep)| **keep == wanted).map(|(row, _)| row).collect()
        };
        let kept = take_record_batch(&rows, &numbers(true))?;
        let rest = self.without_detail(&take_record_batch(&rows, &numbers(false))?)?;
        let mut all = aggregate::aggregate(&self.spec, &self.rollup, vec![rest])?;
        all.insert(0, kept);
        self.sorted(&concat_batches(&self.spec.schema, &all)?)
    }

    /// Which rows keep their detail, or have none.
    fn kept(&self, rows: &RecordBatch) -> Result<Vec<bool>, RollupError> {
        let wrong = |name: &str| RollupError::Column(name.to_owned());
        let column = |name: &str| rows.column_by_name(name).ok_or_else(|| wrong(name));
        let ends = column(self.spec.time)?
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| wrong(self.spec.time))?;
        let details = column(self.fold.column)?
            .as_dictionary_opt::<Int32Type>()
            .and_then(|d| d.downcast_dict::<StringArray>())
            .ok_or_else(|| wrong(self.fold.column))?;
        let mut sizes = vec![0i128; rows.num_rows()];
        for name in self.fold.largest {
            let values =
                column(name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong(name))?;
            for (size, value) in sizes.iter_mut().zip(values) {
                *size += i128::from(value.unwrap_or(0));
            }
        }
        let mut keep = vec![true; rows.num_rows()];
        let mut windows: HashMap<i64, Vec<(i128, usize)>> = HashMap::new();
        for (row, ((end, detail), size)) in
            ends.values().iter().zip(details).zip(&sizes).enumerate()
        {
            match detail {
                None => {}
                Some(detail) if detail == self.fold.other => set(&mut keep, row, false),
                Some(_) => windows.entry(*end).or_default().push((*size, row)),
            }
        }
        for rows in windows.values_mut() {
            if rows.len() > self.fold.keep {
                // Largest first; of equals the first.
                rows.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
                rows.iter().skip(self.fold.keep).for_each(|(_, row)| set(&mut keep, *row, false));
            }
        }
        Ok(keep)
    }

    fn without_detail(&self, rows: &RecordBatch) -> Result<RecordBatch, RollupError> {
        let schema = rows.schema();
        let columns = schema.fields().iter().zip(rows.columns()).map(|(field, column)| {
            let name = field.name().as_str();
            if name == self.fold.column {
                let others = Int32Array::from(vec![0; rows.num_rows()]);
                let other = StringArray::from(vec![self.fold.other]);
                let labels = DictionaryArray::<Int32Type>::try_new(others, Arc::new(other))?;
                Ok(Arc::new(labels) as ArrayRef)
            } else if self.fold.about.contains(&name) {
                Ok(new_null_array(column.data_type(), rows.num_rows()))
            } else {
                Ok(column.clone())
            }
        });
        let columns = columns.collect::<Result<Vec<_>, RollupError>>()?;
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }

    /// The rows of one group in the order of files.
    fn sorted(&self, rows: &RecordBatch) -> Result<RecordBatch, RollupError> {
        let last = |name: &&&str| {
            **name == self.spec.time
                || **name == self.fold.column
                || self.fold.about.contains(*name)
        };
        let mut columns = Vec::new();
        for name in self.spec.sort.iter().filter(last) {
            let column = rows.column_by_name(name);
            columns.push(column.ok_or_else(|| RollupError::Column((*name).to_owned()))?.clone());
        }
        let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
        let keys = RowConverter::new(fields)?.convert_columns(&columns)?;
        let mut order: Vec<_> = (0u32..).zip(keys.iter()).collect();
        order.sort_by(|a, b| a.1.cmp(&b.1));
        let order: UInt32Array = order.into_iter().map(|(row, _)| row).collect();
        Ok(take_record_batch(rows, &order)?)
    }
}

fn pass(rows: &RecordBatch, range: &mut std::ops::Range<usize>, done: &mut Vec<RecordBatch>) {
    if range.start < range.end {
        done.push(rows.slice(range.start, range.len()));
    }
    *range = range.end..range.end;
}

fn set(keep: &mut [bool], row: usize, value: bool) {
    if let Some(keep) = keep.get_mut(row) {
        *keep = value;
    }
}
