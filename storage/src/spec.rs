//! What the store must know of a table.

use arrow::datatypes::SchemaRef;

use crate::rollup::Rollup;
use crate::series;
use crate::window::Window;

/// A table: its columns and how its rows are partitioned and sorted.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// Name of the table and of its folder.
    pub name: &'static str,
    /// Columns. A field that is not nullable is required of every batch.
    pub schema: SchemaRef,
    /// The row's time: a timestamp column in microseconds, UTC. Files are dated by it.
    pub time: &'static str,
    /// Length of the window of time that one file spans.
    pub window: Window,
    /// Label columns whose hash is the `part` of a row.
    pub workload: &'static [&'static str],
    /// Columns that rows are sorted by within a file, `time` last.
    pub sort: &'static [&'static str],
    /// What the rows are made of, if they sum up those of another table.
    pub rollup: Option<Rollup>,
    /// Whether the table is one of series: points come in (see [`crate::series`]), rows are chunks.
    pub series: bool,
}

impl TableSpec {
    /// The columns of rows in memory.
    pub(crate) fn memory_schema(&self) -> SchemaRef {
        if self.series { series::rows_schema() } else { self.schema.clone() }
    }

    /// The column with the earliest time of a row.
    pub(crate) fn earliest(&self) -> &'static str {
        if self.series { series::START } else { self.time }
    }
}
