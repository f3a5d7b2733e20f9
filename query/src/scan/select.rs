//! Which rows of which files a query has to read.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::arrow_reader::RowSelection;
use roaring::RoaringBitmap;
use weir_storage::DataFile;

use super::indexes::Reader;
use super::labels::{Condition, Unanswered};

/// Files whose indexes are read at the same time.
const AT_ONCE: usize = 16;
/// Files of fewer rows are read without asking their index: it would cost as much.
const MIN_ROWS: u64 = 4096;
/// Rows between two wanted ones that are read rather than skipped: decoding them costs less than
/// stopping and starting.
const MAX_GAP: u32 = 64;

/// A file, and the rows of it that can pass.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) file: Arc<DataFile>,
    /// Nothing stands for every row.
    pub(super) rows: Option<Rows>,
}

/// Some rows of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) selection: RowSelection,
    pub(super) count: u64,
}

impl Chosen {
    /// About how many bytes there are to read.
    pub(super) fn bytes(&self) -> u64 {
        let Some(rows) = &self.rows else { return self.file.size };
        let share = u128::from(self.file.size) * u128::from(rows.count);
        let bytes = share / u128::from(self.file.rows.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// How many rows there are to read.
    pub(super) fn count(&self) -> u64 {
        self.rows.as_ref().map_or(self.file.rows, |rows| rows.count)
    }
}

/// Asks the index of each file; drops the files without a row that can pass. Order is kept.
pub(super) async fn rows(
    reader: &Reader,
    files: Vec<Arc<DataFile>>,
    condition: Option<Condition>,
) -> Result<Vec<Chosen>> {
    let Some(condition) = condition else {
        return Ok(files.into_iter().map(|file| Chosen { file, rows: None }).collect());
    };
    let condition = Arc::new(condition);
    let tasks = files.into_iter().map(|file| {
        let (reader, condition) = (reader.clone(), condition.clone());
        // Tasks of their own: reading footers is work for more than one core.
        let task = SpawnedTask::spawn(async move { choose(&reader, file, &condition).await });
        async { task.join().await.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e))) }
    });
    let chosen: Vec<Option<Chosen>> =
        futures::stream::iter(tasks).buffered(AT_ONCE).try_collect().await?;
    Ok(chosen.into_iter().flatten().collect())
}

async fn choose(reader: &Reader, file: Arc<DataFile>, condition: &Condition) -> Option<Chosen> {
    if (1..MIN_ROWS).contains(&file.rows) {
        return Some(Chosen { file, rows: None });
    }
    let names: Vec<&str> = condition.columns().into_iter().collect();
    let Some((head, columns)) = reader.read(&file, &names).await else {
        return Some(Chosen { file, rows: None });
    };
    let rows = match condition.rows(&columns) {
        Ok(rows) => rows,
        Err(Unanswered::Engine(error)) => {
            tracing::debug!(%error, "a filter was not evaluated on a label index");
            None
        }
        Err(Unanswered::Damaged(name, what)) => {
            if let Some((_, column)) = columns.iter().find(|(n, _)| *n == name) {
                reader.indexes.fail(&file.path, &head.damaged(column, what));
            }
            None
        }
    };
    let Some(rows) = rows else { return Some(Chosen { file, rows: None }) };
    if rows.is_empty() {
        return None;
    }
    Some(Chosen { rows: selection(&rows, head.rows()), file })
}

/// The selection of these rows; nothing when reading every row costs as much.
pub(crate) fn selection(rows: &RoaringBitmap, total: u32) -> Option<Rows> {
    let mut ranges: Vec<std::ops::Range<u32>> = Vec::new();
    let mut iter = rows.iter();
    while let Some(range) = iter.next_range() {
        let (start, end) = (*range.start(), range.end().saturating_add(1));
        match ranges.last_mut() {
            Some(last) if start - last.end <= MAX_GAP => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    let count: u64 = ranges.iter().map(|r| u64::from(r.end - r.start)).sum();
    if count * 10 > u64::from(total) * 8 {
        return None;
    }
    let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let ranges = ranges.into_iter().map(|r| size(r.start)..size(r.end));
    let selection = RowSelection::from_consecutive_ranges(ranges, size(total));
    Some(Rows { selection, count })
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::RowSelector;

    use super::*;

    #[test]
    fn small_gaps_are_read_and_large_ones_skipped() {
        let rows: RoaringBitmap = (100..110).chain(174..180).chain(400..401).collect();
        let Rows { selection, count } = selection(&rows, 1000).expect("few rows");
        let selectors: Vec<RowSelector> = selection.into();
        assert_eq!(
            selectors,
            [
                RowSelector::skip(100),
                RowSelector::select(80),
                RowSelector::skip(220),
                RowSelector::select(1),
                RowSelector::skip(599),
            ]
        );
        assert_eq!(count, 81);
    }

    #[test]
    fn most_of_a_file_is_all_of_it() {
        assert_eq!(selection(&(0..810).collect(), 1000), None);
        assert!(selection(&(0..790).collect(), 1000).is_some());
    }
}
