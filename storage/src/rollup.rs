//! Tables that sum up another: tiers.
//!
//! A tier has no entries of its own. Each entry of its source enters it too, as the same arrays, and
//! each tier is told by the LSN of its own commits how far it has come: exactly once, whatever
//! happens between the commits of two tables.
//!
//! 1. `derive`: a source row becomes a row of the tier: columns that the tier lacks go, the time
//!    becomes the end of its window `(end - width, end]`, detail that is not kept becomes null.
//! 2. `aggregate`: rows of equal keys become one. A flush does it for what it writes; `cascade` lets
//!    it go on from one tier to the next.
//! 3. `combine`: the same over sorted rows, for compaction; `fold` then merges what lies beyond the
//!    largest few of a group.
//!
//! Every row of a tier is a partial sum. Rows that come late make another row of the same key, which
//! compaction combines; whoever reads adds rows up, and so gets the same totals from every tier at
//! every moment.
//!
//! Sums are exact. Where one would leave 64 bits (or a histogram spread over too many buckets) the
//! rows stay apart as several partial sums.

pub(crate) mod aggregate;
pub(crate) mod cascade;
pub(crate) mod combine;
pub(crate) mod derive;
mod fold;
mod keys;
mod values;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use thiserror::Error;

use crate::spec::TableSpec;
use crate::window::Window;

/// How the rows of a table sum up those of another.
///
/// Columns are taken over by name. What is neither the time, `start` nor in `merge` is a key.
#[derive(Debug, Clone)]
pub struct Rollup {
    /// The table that is summed up.
    pub source: &'static str,
    /// Width of a row's window of time; it divides the windows of files.
    pub width: Window,
    /// Column that holds the start of a row's window.
    pub start: Option<&'static str>,
    /// How columns that are no keys become one value.
    pub merge: Vec<(&'static str, Merge)>,
    /// Keys that are kept for some rows only.
    pub detail: Vec<Detail>,
    /// What is folded once a window is over.
    pub fold: Option<Fold>,
}

/// How the values of one column become one. A null is no value; null without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// Their sum; `Int64`.
    Sum,
    /// The least; `Int32` or `Int64`.
    Min,
    /// The greatest; `Int32` or `Int64`.
    Max,
    /// Index of the first entry of a list of counts (`Int32`).
    Offset,
    /// Counts of consecutive indices (a list of `Int64`), added up index by index.
    Counts {
        /// The column with the index of the first one.
        offset: &'static str,
    },
}

/// A key column that is null but for rows where another column has one of some values.
#[derive(Debug, Clone)]
pub struct Detail {
    /// The key column, text.
    pub column: &'static str,
    /// Text columns and their values; the empty text stands for none. One that holds suffices.
    pub when: &'static [(&'static str, &'static [&'static str])],
}

/// Within a window, of all rows that agree in every other key, the largest keep a detail.
#[derive(Debug, Clone)]
pub struct Fold {
    /// The detail: a text key.
    pub column: &'static str,
    /// What stands in it for all the rest.
    pub other: &'static str,
    /// Keys that say more of the detail; null in the row for all the rest.
    pub about: &'static [&'static str],
    /// Rows with the largest sum of these columns are kept.
    pub largest: &'static [&'static str],
    /// How many are kept.
    pub keep: usize,
}

/// Why rows cannot be summed up.
#[derive(Debug, Error)]
pub(crate) enum RollupError {
    #[error("cannot sum up rows: {0}")]
    Arrow(#[from] ArrowError),
    #[error("column `{0}` is not what the table's specification says")]
    Column(String),
}

/// What a column of a tier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Time,
    Start,
    Key,
    Value(Merge),
}

impl Rollup {
    /// What a column of the tier is.
    pub(crate) fn role(&self, time: &str, column: &str) -> Role {
        if column == time {
            return Role::Time;
        }
        if self.start == Some(column) {
            return Role::Start;
        }
        let merge = self.merge.iter().find(|(name, _)| *name == column);
        merge.map_or(Role::Key, |(_, merge)| Role::Value(*merge))
    }

    /// What keeps the tier `spec` from summing up `source`, if anything.
    pub(crate) fn check(&self, spec: &TableSpec, source: &Schema) -> Result<(), &'static str> {
        if spec.window.micros() % self.width.micros() != 0 {
            return Err("its width does not divide the windows of its files");
        }
        for field in spec.schema.fields() {
            let known = source.field_with_name(field.name());
            if known.ok().map(|f| f.data_type()) != Some(field.data_type()) {
                return Err("a column of it is not the source's");
            }
            let (role, found) = (self.role(spec.time, field.name()), field.data_type());
            let fits = match role {
                Role::Time | Role::Start => matches!(found, DataType::Timestamp(..)),
                Role::Key => {
                    matches!(found, DataType::Dictionary(..) | DataType::Int32 | DataType::Int64)
                }
                Role::Value(Merge::Sum) => found == &DataType::Int64,
                Role::Value(Merge::Min | Merge::Max) => {
                    matches!(found, DataType::Int32 | DataType::Int64)
                }
                Role::Value(Merge::Offset) => found == &DataType::Int32,
                Role::Value(Merge::Counts { .. }) => matches!(found, DataType::List(_)),
            };
            if !fits {
                return Err("a column of it has a type that cannot be summed up");
            }
            if role == Role::Key && !spec.sort.contains(&field.name().as_str()) {
                return Err("a key of it is not among the columns that its rows are sorted by");
            }
        }
        let Some(fold) = &self.fold else { return Ok(()) };
        let folded = |name: &str| name == fold.column || fold.about.contains(&name);
        let mut tail = spec.sort.iter().rev().skip(1).take(1 + fold.about.len());
        if spec.sort.last() != Some(&spec.time) || !tail.all(|name| folded(name)) {
            return Err(
                "what it folds does not come last, before the time, in the order of its rows",
            );
        }
        Ok(())
    }
}

/// Sums up rows of a tier's source.
pub(crate) fn roll_up(
    spec: &TableSpec,
    rollup: &Rollup,
    source: &[RecordBatch],
) -> Result<Vec<RecordBatch>, RollupError> {
    let rows: Vec<_> =
        source.iter().map(|b| derive::derive(spec, rollup, b)).collect::<Result<_, _>>()?;
    aggregate::aggregate(spec, rollup, rows)
}

#[cfg(test)]
pub(crate) mod tests;
