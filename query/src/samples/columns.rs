//! The columns of a file of series, read by row numbers.

use std::ops::Range;
use std::sync::Arc;

use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;

use super::input::Input;
use super::pages::Pages;

/// One column of one row group. Rows are read in ascending order.
struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    /// The row that would be read next.
    next: usize,
}

impl<T: DataType> Column<T> {
    fn read(&mut self, rows: &Range<usize>, into: &mut Vec<T::T>) -> Result<()> {
        let gap = rows.start.saturating_sub(self.next);
        let (mut levels, wanted) = (Vec::new(), rows.len());
        let skipped = self.reader.skip_records(gap)?;
        let (_, read, _) = self.reader.read_records(wanted, Some(&mut levels), None, into)?;
        if skipped != gap || read != wanted {
            return Err(ParquetError::EOF("a column has fewer values than rows".to_owned()));
        }
        self.next = rows.end;
        Ok(())
    }
}

/// All of rows but their values.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub(super) names: Vec<ByteArray>,
    pub(super) labels: Vec<ByteArray>,
    /// First and last time, microseconds.
    pub(super) starts: Vec<i64>,
    pub(super) ends: Vec<i64>,
    /// How many points.
    pub(super) counts: Vec<i32>,
    /// Their times, encoded.
    pub(super) times: Vec<ByteArray>,
}

/// All columns of one row group but the values.
pub(super) struct HeadColumns {
    name: Column<ByteArrayType>,
    labels: Column<ByteArrayType>,
    start: Column<Int64Type>,
    end: Column<Int64Type>,
    count: Column<Int32Type>,
    times: Column<ByteArrayType>,
}

/// The encoded values of one row group.
pub(super) struct ValueColumn {
    column: Column<ByteArrayType>,
    read: Vec<ByteArray>,
}

/// A row group of the file that `input` is.
pub(super) struct Opening<'a> {
    pub(super) input: &'a Arc<Input>,
    pub(super) meta: &'a ParquetMetaData,
    pub(super) group: usize,
}

impl HeadColumns {
    pub(super) fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self {
            name: opening.column("name")?,
            labels: opening.column("labels")?,
            start: opening.column("start")?,
            end: opening.column("end")?,
            count: opening.column("count")?,
            times: opening.column("times")?,
        })
    }

    /// Reads rows, numbered within the row group.
    pub(super) fn read(&mut self, rows: &Range<usize>) -> Result<Heads> {
        let mut heads = Heads::default();
        self.name.read(rows, &mut heads.names)?;
        self.labels.read(rows, &mut heads.labels)?;
        self.start.read(rows, &mut heads.starts)?;
        self.end.read(rows, &mut heads.ends)?;
        self.count.read(rows, &mut heads.counts)?;
        self.times.read(rows, &mut heads.times)?;
        Ok(heads)
    }
}

impl ValueColumn {
    pub(super) fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self { column: opening.column("values")?, read: Vec::new() })
    }

    /// Reads a row, numbered within the row group. Rows are read in ascending order.
    pub(super) fn read(&mut self, row: usize) -> Result<&[u8]> {
        self.read.clear();
        self.column.read(&(row..row + 1), &mut self.read)?;
        Ok(self.read.first().map(ByteArray::data).unwrap_or_default())
    }
}

impl Opening<'_> {
    fn column<T: DataType>(&self, name: &str) -> Result<Column<T>> {
        let other = || ParquetError::General(format!("column `{name}` is not what it should be"));
        let group = self.meta.row_groups().get(self.group).ok_or_else(other)?;
        let mut paths = group.columns().iter().map(|column| column.column_path().parts());
        let place = paths.position(|path| path == [name]).ok_or_else(other)?;
        let column = group.columns().get(place).ok_or_else(other)?;
        let descr = column.column_descr_ptr();
        let nested = descr.max_rep_level() > 0;
        if nested || descr.physical_type() != T::get_physical_type() {
            return Err(other());
        }
        let index = self.meta.offset_index().and_then(|groups| groups.get(self.group));
        let pages = index.and_then(|columns| columns.get(place));
        let pages = pages.map(|index| index.page_locations().clone()).filter(|p| !p.is_empty());
        let rows = usize::try_from(group.num_rows())?;
        let pages = Pages::new(self.input.clone(), column, rows, pages)?;
        Ok(Column { reader: ColumnReaderImpl::new(descr, Box::new(pages)), next: 0 })
    }
}
