//! Reading the index of a file, as little of it as a query needs.
//!
//! 1. The footer says where the index is.
//! 2. One read brings its head, which says where each column is.
//! 3. One more brings the columns that are asked for.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::file::metadata::ParquetMetaData;

use super::decode::{self, Head, Wrong};
use super::{ColumnIndex, IndexError, LENGTH_KEY, OFFSET_KEY};

/// Bytes that the first read asks for: the head of a table of a hundred columns.
const FIRST_READ: u64 = 4096;

/// The label index of one file: its head, in memory.
#[derive(Debug)]
pub struct LabelIndex {
    path: Path,
    /// Where the index begins in the file.
    offset: u64,
    head: Head,
}

impl LabelIndex {
    /// Finds a file's index and reads its head; `None` for a file without one.
    ///
    /// # Errors
    /// When it cannot be read or makes no sense.
    pub async fn open(
        store: &dyn ObjectStore,
        path: &Path,
        size: u64,
        footer: &ParquetMetaData,
    ) -> Result<Option<Self>, IndexError> {
        let metadata = footer.file_metadata().key_value_metadata();
        let value = |key: &str| {
            metadata?.iter().find(|m| m.key == key).map(|m| m.value.as_deref().unwrap_or_default())
        };
        let (Some(offset), Some(length)) = (value(OFFSET_KEY), value(LENGTH_KEY)) else {
            return Ok(None);
        };
        let place = offset.parse::<u64>().ok().zip(length.parse::<u64>().ok());
        let Some((offset, length)) =
            place.filter(|(o, l)| o.checked_add(*l).is_some_and(|end| end <= size))
        else {
            let what = "the footer places the index outside of the file";
            return Err(IndexError::Damaged { path: path.clone(), offset: size, what });
        };
        let blame = |wrong| blame(path, offset, wrong);
        let range = |start: u64, end: u64| offset + start..offset + end;
        let first = get(store, path, range(0, FIRST_READ.min(length))).await?;
        let head_length = decode::head_length(&first).map_err(blame)?;
        let head_end = u64::try_from(head_length).unwrap_or(u64::MAX);
        if head_end > length {
            let what = "the head is longer than the index";
            return Err(IndexError::Damaged { path: path.clone(), offset, what });
        }
        let head = match first.get(..head_length) {
            Some(head) => decode::head(head, length),
            None => decode::head(&get(store, path, range(0, head_end)).await?, length),
        };
        Ok(Some(Self { path: path.clone(), offset, head: head.map_err(blame)? }))
    }

    /// Rows of the file.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.head.rows
    }

    /// Bytes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let columns = self.head.columns.iter();
        columns.map(|c| c.name.len() + size_of_val(c)).sum::<usize>() + size_of::<Self>()
    }

    /// Whether a column is in the index.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.head.columns.iter().any(|c| c.name == column && c.block.is_some())
    }

    /// Columns of the index and the bytes that each takes.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Option<u32>)> {
        self.head.columns.iter().map(|c| (c.name.as_str(), c.block.map(|b| b.length)))
    }

    /// Reads columns, in one go. Those that the index has not are left out of the answer.
    ///
    /// # Errors
    /// When one cannot be read or makes no sense.
    pub async fn read<'a>(
        &self,
        store: &dyn ObjectStore,
        columns: &[&'a str],
    ) -> Result<Vec<(&'a str, Arc<ColumnIndex>)>, IndexError> {
        let mut found = Vec::new();
        let mut ranges = Vec::new();
        for name in columns {
            let place = self.head.columns.iter().find(|c| c.name == **name);
            if let Some(block) = place.and_then(|place| place.block) {
                let start = self.offset + u64::from(block.offset);
                ranges.push(start..start + u64::from(block.length));
                found.push((*name, block, start));
            }
        }
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let blocks = store
            .get_ranges(&self.path, &ranges)
            .await
            .map_err(|source| IndexError::Read { path: self.path.clone(), source })?;
        let mut columns = Vec::with_capacity(found.len());
        for ((name, block, start), bytes) in found.into_iter().zip(blocks) {
            let mut column = decode::column(&bytes, block.crc, self.head.rows)
                .map_err(|wrong| blame(&self.path, start, wrong))?;
            column.offset = start;
            columns.push((name, Arc::new(column)));
        }
        Ok(columns)
    }

    /// The error that something is wrong with the bitmaps of a column.
    #[must_use]
    pub fn damaged(&self, column: &ColumnIndex, what: &'static str) -> IndexError {
        IndexError::Damaged { path: self.path.clone(), offset: column.offset, what }
    }
}

async fn get(
    store: &dyn ObjectStore,
    path: &Path,
    range: std::ops::Range<u64>,
) -> Result<Bytes, IndexError> {
    store
        .get_range(path, range)
        .await
        .map_err(|source| IndexError::Read { path: path.clone(), source })
}

fn blame(path: &Path, start: u64, wrong: Wrong) -> IndexError {
    let path = path.clone();
    match wrong {
        Wrong::Damaged(at, what) => {
            let offset = start + u64::try_from(at).unwrap_or_default();
            IndexError::Damaged { path, offset, what }
        }
        Wrong::Version(version) => IndexError::Version { path, version },
    }
}
