//! The order of rows within files, and which file each goes to. No I/O.
//!
//! Rows are compared by a few words of bits, not value by value:
//!
//! ```text
//! word   | window | part | 1st sort column | 2nd | ...     most significant bits first
//! field    0 for null, else 1 + rank of the value: of a label among all texts, of a whole number
//!          its distance from the smallest; no field crosses the end of a word
//! ```
//!
//! The batches stay as they are: beside them there are 4 bytes a row for each label column that is not
//! empty; some 60 bytes a row while they are sorted, more where keys take more than two words, then 8;
//! and the rows that are being written.

use std::cmp::Ordering;
use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{concat, interleave};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::FilesError;
use super::labels::Labels;
use crate::coalesce::{is_zero_numbers, nulls, zeros};
use crate::part::{PartCount, PartId};
use crate::spec::TableSpec;

/// Rows of several batches, in the order of files.
#[derive(Debug)]
pub(crate) struct Arranged<'a> {
    spec: &'a TableSpec,
    batches: &'a [RecordBatch],
    /// Label columns under one dictionary; `None` for other columns.
    labels: Vec<Option<Labels>>,
    /// For each row, counted over all batches: its batch.
    batch_of: Vec<u32>,
    /// For each batch, the number of its first row.
    starts: Vec<u32>,
    pub(crate) pieces: Vec<Piece>,
}

/// The rows of one file.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Number of the window, see [`crate::window`].
    pub(crate) window: i64,
    pub(crate) part: PartId,
    /// Numbers of the rows, counted over all batches, in the file's order.
    pub(crate) rows: Vec<u32>,
}

/// Sorts rows and cuts them into files. The order of rows that compare equal is kept.
pub(crate) fn arrange<'a>(
    spec: &'a TableSpec,
    batches: &'a [RecordBatch],
    parts: PartCount,
) -> Result<Arranged<'a>, FilesError> {
    let count = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    // Rows are numbered by 32 bits.
    u32::try_from(count).map_err(|_| {
        ArrowError::InvalidArgumentError(format!("{count} rows are too many for one flush"))
    })?;
    let labels: Vec<Option<Labels>> = spec
        .schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| match field.data_type() {
            DataType::Dictionary(..) => Labels::unite(batches, i),
            _ => None,
        })
        .collect();
    let mut windows = Vec::with_capacity(count);
    for batch in batches {
        windows.extend(times(spec, batch)?.iter().map(|time| spec.window.of(*time)));
    }
    let parts = parts_of(spec, &labels, parts, count)?;

    let mut keys = Keys::new(count);
    keys.push_numbers(windows.iter().map(|window| Some(*window)));
    keys.push_numbers(parts.iter().map(|part| Some(i64::from(part.number()))));
    for name in spec.sort {
        let (at, _) = spec.schema.column_with_name(name).ok_or(FilesError::Column(name))?;
        let columns: Vec<&ArrayRef> = batches.iter().filter_map(|b| b.columns().get(at)).collect();
        if let Some(labels) = labels.get(at).and_then(Option::as_ref) {
            let rank =
                |key: Option<i32>| key.and_then(|k| u64::try_from(k).ok()).map_or(0, |k| k + 1);
            keys.push(u64::try_from(labels.len()).unwrap_or(u64::MAX), labels.keys().map(rank));
        } else if !keys.push_column(&columns) {
            let ranks = ranks(&columns)?;
            keys.push(ranks.iter().copied().max().unwrap_or(0), ranks.iter().copied());
        }
    }
    let order = keys.order();

    let place = |row: &u32| -> Option<(i64, PartId)> {
        let row = usize::try_from(*row).ok()?;
        Some((*windows.get(row)?, *parts.get(row)?))
    };
    let pieces = order
        .chunk_by(|a, b| place(a) == place(b))
        .filter_map(|rows| {
            let (window, part) = place(rows.first()?)?;
            Some(Piece { window, part, rows: rows.to_vec() })
        })
        .collect();
    let mut batch_of = Vec::with_capacity(count);
    let mut starts = Vec::with_capacity(batches.len());
    for (number, batch) in (0u32..).zip(batches) {
        starts.push(u32::try_from(batch_of.len()).unwrap_or(u32::MAX));
        batch_of.resize(batch_of.len() + batch.num_rows(), number);
    }
    Ok(Arranged { spec, batches, labels, batch_of, starts, pieces })
}

impl Arranged<'_> {
    /// The rows with these numbers as one batch.
    pub(crate) fn take(&self, rows: &[u32]) -> Result<RecordBatch, FilesError> {
        let mut places = Vec::with_capacity(rows.len());
        for row in rows {
            let place = usize::try_from(*row).ok().and_then(|at| {
                let batch = usize::try_from(*self.batch_of.get(at)?).ok()?;
                Some((batch, usize::try_from(row - self.starts.get(batch)?).ok()?))
            });
            places.push(place.ok_or_else(|| {
                ArrowError::InvalidArgumentError(format!("there is no row {row}"))
            })?);
        }
        let columns = self
            .labels
            .iter()
            .enumerate()
            .map(|(at, labels)| match labels {
                Some(labels) => labels.gather(rows),
                None => {
                    let columns: Vec<&dyn Array> = self
                        .batches
                        .iter()
                        .filter_map(|b| b.columns().get(at).map(AsRef::as_ref))
                        .collect();
                    gather(&columns, &places)
                }
            })
            .collect::<Result<Vec<_>, ArrowError>>()?;
        Ok(RecordBatch::try_new(self.spec.schema.clone(), columns)?)
    }
}

/// The values of rows, given as (batch, row). Columns of nulls alone, and of zeros alone, are looked at
/// once and not row by row.
fn gather(columns: &[&dyn Array], places: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
    let data_type = columns.first().map(|column| column.data_type());
    if let Some(data_type) = data_type
        && columns.iter().all(|column| column.null_count() == column.len())
    {
        return Ok(nulls(data_type, places.len()));
    }
    if let Some(data_type) = data_type
        && let Some(zeros) = zeros(data_type, places.len())
        && columns.iter().all(|column| is_zero_numbers(*column))
    {
        return Ok(zeros);
    }
    interleave(columns, places)
}

/// What rows are compared by.
struct Keys {
    /// The first two words, as one, and the row.
    heads: Vec<(u128, u32)>,
    /// Further words, each for all rows.
    tails: Vec<Vec<u64>>,
    /// Words begun so far, and bits that are free in the last one.
    words: usize,
    free: u32,
}

impl Keys {
    fn new(rows: usize) -> Self {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        Self {
            heads: (0..rows).map(|row| (0, row)).collect(),
            tails: Vec::new(),
            words: 1,
            free: 64,
        }
    }

    /// Appends a field whose values are at most `max`.
    fn push(&mut self, max: u64, values: impl Iterator<Item = u64>) {
        let bits = u64::BITS - max.leading_zeros();
        if bits == 0 {
            return;
        }
        if bits > self.free {
            self.words += 1;
            self.free = 64;
        }
        self.free -= bits;
        match self.words {
            word @ (1 | 2) => {
                let shift = if word == 1 { self.free + 64 } else { self.free };
                for ((head, _), value) in self.heads.iter_mut().zip(values) {
                    *head |= u128::from(value) << shift;
                }
            }
            word => {
                if self.tails.len() < word - 2 {
                    self.tails.push(vec![0; self.heads.len()]);
                }
                if let Some(tail) = self.tails.last_mut() {
                    for (word, value) in tail.iter_mut().zip(values) {
                        *word |= value << self.free;
                    }
                }
            }
        }
    }

    /// Appends whole numbers; returns false, and nothing is appended, if they span too much.
    fn push_numbers(&mut self, values: impl Iterator<Item = Option<i64>> + Clone) -> bool {
        let Some((min, max)) = values.clone().flatten().fold(None, |range, value| match range {
            None => Some((value, value)),
            Some((min, max)) => Some((value.min(min), value.max(max))),
        }) else {
            return true; // Nothing but nulls.
        };
        let Some(span) = max.abs_diff(min).checked_add(1) else { return false };
        self.push(span, values.map(|value| value.map_or(0, |value| value.abs_diff(min) + 1)));
        true
    }

    /// Appends a column of whole numbers or times; returns false for any other.
    fn push_column(&mut self, columns: &[&ArrayRef]) -> bool {
        match columns.first().map(|c| c.data_type()) {
            None => true,
            Some(DataType::Int32) => {
                let columns: Vec<_> =
                    columns.iter().filter_map(|c| c.as_primitive_opt::<Int32Type>()).collect();
                self.push_numbers(columns.into_iter().flatten().map(|v| v.map(i64::from)))
            }
            Some(DataType::Int64) => {
                let columns: Vec<_> =
                    columns.iter().filter_map(|c| c.as_primitive_opt::<Int64Type>()).collect();
                self.push_numbers(columns.into_iter().flatten())
            }
            Some(DataType::Timestamp(TimeUnit::Microsecond, _)) => {
                let columns: Vec<_> = columns
                    .iter()
                    .filter_map(|c| c.as_primitive_opt::<TimestampMicrosecondType>())
                    .collect();
                self.push_numbers(columns.into_iter().flatten())
            }
            Some(_) => false,
        }
    }

    /// The rows' numbers, sorted.
    fn order(mut self) -> Vec<u32> {
        let tails = &self.tails;
        let word =
            |tail: &[u64], row: u32| usize::try_from(row).ok().and_then(|r| tail.get(r).copied());
        self.heads.sort_unstable_by(|(a, row_a), (b, row_b)| {
            a.cmp(b)
                .then_with(|| {
                    tails
                        .iter()
                        .map(|tail| word(tail, *row_a).cmp(&word(tail, *row_b)))
                        .find(|order| *order != Ordering::Equal)
                        .unwrap_or(Ordering::Equal)
                })
                .then(row_a.cmp(row_b))
        });
        self.heads.into_iter().map(|(_, row)| row).collect()
    }
}

/// Rank of each row's value, for columns of any type that can be sorted.
fn ranks(columns: &[&ArrayRef]) -> Result<Vec<u64>, FilesError> {
    let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    let column = concat(&columns)?;
    let fields = vec![SortField::new(column.data_type().clone())];
    let rows = RowConverter::new(fields)?.convert_columns(&[column])?;
    let mut order: Vec<_> = rows.iter().zip(0usize..).collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut ranks = vec![0; order.len()];
    for (rank, equal) in (0u64..).zip(order.chunk_by(|a, b| a.0 == b.0)) {
        for (_, row) in equal {
            if let Some(slot) = ranks.get_mut(*row) {
                *slot = rank;
            }
        }
    }
    Ok(ranks)
}

/// The column of a name that the specification promises.
pub(crate) fn column<'a>(
    batch: &'a RecordBatch,
    name: &'static str,
) -> Result<&'a ArrayRef, FilesError> {
    batch.column_by_name(name).ok_or(FilesError::Column(name))
}

/// The time column, microseconds since the Unix epoch.
pub(crate) fn times<'a>(spec: &TableSpec, batch: &'a RecordBatch) -> Result<&'a [i64], FilesError> {
    let times = column(batch, spec.time)?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or(FilesError::Column(spec.time))?;
    Ok(times.values())
}

/// The part of each row. The hash is computed once for each workload.
fn parts_of(
    spec: &TableSpec,
    labels: &[Option<Labels>],
    count: PartCount,
    rows: usize,
) -> Result<Vec<PartId>, FilesError> {
    if count == PartCount::ONE {
        return Ok(vec![count.part_of([]); rows]);
    }
    let mut columns = Vec::with_capacity(spec.workload.len());
    for name in spec.workload {
        let (at, _) = spec.schema.column_with_name(name).ok_or(FilesError::Column(name))?;
        columns.push(labels.get(at).and_then(Option::as_ref).ok_or(FilesError::Column(name))?);
    }
    let mut known: HashMap<Vec<Option<i32>>, PartId> = HashMap::new();
    let mut parts = Vec::with_capacity(rows);
    let mut workload = Vec::with_capacity(columns.len());
    let mut keys: Vec<_> = columns.iter().map(|labels| labels.keys()).collect();
    for _ in 0..rows {
        workload.clear();
        workload.extend(keys.iter_mut().map(|keys| keys.next().flatten()));
        parts.push(match known.get(&workload) {
            Some(part) => *part,
            None => {
                let texts = columns.iter().zip(&workload);
                let texts =
                    texts.map(|(labels, key)| key.and_then(|k| labels.text(k)).unwrap_or(""));
                let part = count.part_of(texts);
                known.insert(workload.clone(), part);
                part
            }
        });
    }
    Ok(parts)
}
