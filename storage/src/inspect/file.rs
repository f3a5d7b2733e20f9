//! Whether a data file holds what its table's log promises, and which labels it has.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::row::{OwnedRow, RowConverter, SortField};
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaDataReader;

use super::labels::Labels;
use crate::disk::Mode;
use crate::disk::chunks::Chunks;
use crate::index::LabelIndex;
use crate::paths::DataDir;
use crate::series;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;

/// Where in the file, if that can be told, and what is wrong.
type Wrong = (Option<u64>, String);

/// Bytes that are summed up at a time.
const CHUNK: u64 = 1 << 20;

/// Looks if the file is there, and into its label index. Adds the values that the index lists to
/// `labels`.
pub(super) async fn list(
    dir: &DataDir,
    objects: &Arc<dyn ObjectStore>,
    spec: &TableSpec,
    file: &DataFile,
    labels: &mut Labels,
) -> Result<(), Wrong> {
    is_there(dir, file)?;
    // Queries do without an index that does not read, and so does this. Verifying reports it.
    let found = indexed(dir, objects, file).await.unwrap_or_default();
    for (name, values) in &found {
        match values.as_ref().and_then(|values| values.as_string_opt::<i32>()) {
            Some(values) => labels.add(name, values.iter().flatten()),
            None => labels.has_more(name),
        }
    }
    for field in spec.schema.fields() {
        let is_text = matches!(field.data_type(), DataType::Utf8 | DataType::Dictionary(..));
        if is_text && !found.iter().any(|(name, _)| name == field.name()) {
            labels.has_more(field.name());
        }
    }
    Ok(())
}

/// The columns of a file's index, and their values if it has them; none without an index that reads.
async fn indexed(
    dir: &DataDir,
    objects: &Arc<dyn ObjectStore>,
    file: &DataFile,
) -> Option<Vec<(String, Option<ArrayRef>)>> {
    let path = dir.tables().join(file.path.as_ref());
    let chunks = dir.disk().open(&path, Mode::Read).and_then(Chunks::new).ok()?;
    let footer = ParquetMetaDataReader::new().parse_and_finish(&chunks).ok()?;
    let index = LabelIndex::open(objects.as_ref(), &file.path, file.size, &footer).await.ok()??;
    let names: Vec<&str> = index.columns().map(|(name, _)| name).collect();
    let columns = index.read(objects.as_ref(), &names).await.ok()?;
    let values = |name: &str| {
        let column = columns.iter().find(|(found, _)| *found == name);
        column.map(|(_, column)| column.values().clone())
    };
    Some(names.iter().map(|name| ((*name).to_owned(), values(name))).collect())
}

/// Whether the file is there, with its size.
fn is_there(dir: &DataDir, file: &DataFile) -> Result<(), Wrong> {
    let path = dir.tables().join(file.path.as_ref());
    match dir.disk().metadata(&path) {
        Ok(found) if found.length == file.size => Ok(()),
        Ok(found) => {
            let (found, size) = (found.length, file.size);
            Err((Some(found.min(size)), format!("it has {found} bytes, the table says {size}")))
        }
        Err(e) => Err((None, e.to_string())),
    }
}

/// Reads the whole file. Adds the values of its labels to `labels`.
pub(super) async fn verify(
    dir: &DataDir,
    objects: &Arc<dyn ObjectStore>,
    spec: &TableSpec,
    file: &DataFile,
    labels: &mut Labels,
) -> Result<(), Wrong> {
    is_there(dir, file)?;
    let path = dir.tables().join(file.path.as_ref());
    let wrong = |e: &dyn std::fmt::Display| (None, e.to_string());
    if let Some(told) = file.checksum {
        let found = checksum(dir, &path, file.size).map_err(|e| wrong(&e))?;
        if found != told {
            let offset = damaged_group(dir, &path);
            return Err((
                offset,
                format!("its checksum is {found:08x}, its writer had {told:08x}"),
            ));
        }
    }
    let opened = dir.disk().open(&path, Mode::Read).and_then(Chunks::new);
    let builder = ParquetRecordBatchReaderBuilder::try_new(opened.map_err(|e| wrong(&e))?)
        .map_err(|e| wrong(&e))?;
    let footer = builder.metadata().clone();
    let mut read = Read::new(spec, file);
    for batch in builder.build().map_err(|e| wrong(&e))? {
        let batch = batch.map_err(|e| {
            // Rows come row group by row group: the damage is in the one that was being read.
            let mut rows = 0u64;
            let group = footer.row_groups().iter().find(|group| {
                rows = rows.saturating_add(group.num_rows().unsigned_abs());
                rows > read.rows
            });
            let offset = group.and_then(|g| g.file_offset()).and_then(|o| u64::try_from(o).ok());
            (offset, format!("in the row group after {} rows: {e}", read.rows))
        })?;
        read.batch(&batch, labels)?;
    }
    read.finish()?;
    let index = LabelIndex::open(objects.as_ref(), &file.path, file.size, &footer)
        .await
        .map_err(|e| wrong(&e))?;
    if let Some(index) = index {
        let columns: Vec<&str> = index.columns().map(|(name, _)| name).collect();
        index.read(objects.as_ref(), &columns).await.map_err(|e| wrong(&e))?;
    }
    Ok(())
}

fn checksum(dir: &DataDir, path: &Path, size: u64) -> std::io::Result<u32> {
    let file = dir.disk().open(path, Mode::Read)?;
    let mut sum = crc32fast::Hasher::new();
    let mut at = 0;
    while at < size {
        let length = usize::try_from((size - at).min(CHUNK)).map_err(std::io::Error::other)?;
        let mut chunk = vec![0; length];
        file.read_exact_at(&mut chunk, at)?;
        sum.update(&chunk);
        at += CHUNK.min(size - at);
    }
    Ok(sum.finalize())
}

/// Where the first row group begins that does not decode, if one does not.
fn damaged_group(dir: &DataDir, path: &Path) -> Option<u64> {
    let chunks = dir.disk().open(path, Mode::Read).and_then(Chunks::new).ok()?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(chunks.clone()).ok()?;
    let footer = builder.metadata().clone();
    (0..footer.num_row_groups()).find_map(|group| {
        let builder = ParquetRecordBatchReaderBuilder::try_new(chunks.clone()).ok()?;
        let mut batches = builder.with_row_groups(vec![group]).build().ok()?;
        batches.any(|batch| batch.is_err()).then(|| {
            let offset = footer.row_groups().get(group)?.column(0).byte_range().0;
            Some(offset)
        })?
    })
}

/// Adds label sets of series, and the values of their labels.
fn add_sets<'a>(sets: impl Iterator<Item = &'a str>, labels: &mut Labels) -> Result<(), String> {
    let mut last = None;
    for set in sets {
        if last == Some(set) || !labels.is_new(series::LABELS, set) {
            continue;
        }
        last = Some(set);
        for label in series::labels::text_labels(set) {
            let (name, value) = label.map_err(|e| e.to_string())?;
            labels.add(&series::column_of(&name), [value.as_ref()]);
        }
    }
    Ok(())
}

/// What has been read of a file.
struct Read<'a> {
    spec: &'a TableSpec,
    file: &'a DataFile,
    rows: u64,
    times: Option<(i64, i64)>,
    last: Option<OwnedRow>,
    converter: Option<RowConverter>,
}

impl<'a> Read<'a> {
    fn new(spec: &'a TableSpec, file: &'a DataFile) -> Self {
        Self { spec, file, rows: 0, times: None, last: None, converter: None }
    }

    fn batch(
        &mut self,
        batch: &arrow::array::RecordBatch,
        labels: &mut Labels,
    ) -> Result<(), Wrong> {
        let wrong = |what: String| (None, what);
        let times = batch
            .column_by_name(self.spec.time)
            .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>())
            .ok_or_else(|| wrong(format!("it has no time column `{}`", self.spec.time)))?;
        let earliest = batch
            .column_by_name(self.spec.earliest())
            .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>())
            .ok_or_else(|| wrong(format!("it has no time column `{}`", self.spec.earliest())))?;
        for time in times.values().iter().chain(earliest.values()) {
            let (min, max) = self.times.get_or_insert((*time, *time));
            (*min, *max) = ((*min).min(*time), (*max).max(*time));
        }
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if !matches!(field.data_type(), DataType::Utf8 | DataType::Dictionary(..)) {
                continue;
            }
            let texts = cast(column, &DataType::Utf8).map_err(|e| wrong(e.to_string()))?;
            let bounds = self.file.text_bounds(field.name());
            let mut last = None;
            for text in texts.as_string::<i32>().iter().flatten() {
                if last == Some(text) {
                    continue;
                }
                last = Some(text);
                if bounds.is_some_and(|(min, max)| text < min || max < text) {
                    let name = field.name();
                    return Err(wrong(format!(
                        "label `{name}` has {text:?}, beyond its bounds in the table"
                    )));
                }
            }
            let texts = texts.as_string::<i32>();
            if self.spec.series && field.name() == series::LABELS {
                add_sets(texts.iter().flatten(), labels).map_err(wrong)?;
            } else {
                labels.add(field.name(), texts.iter().flatten());
            }
        }
        self.order(batch).map_err(wrong)?;
        self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Rows come in the table's order.
    fn order(&mut self, batch: &arrow::array::RecordBatch) -> Result<(), String> {
        let keys: Vec<ArrayRef> =
            self.spec.sort.iter().filter_map(|name| batch.column_by_name(name).cloned()).collect();
        let converter = match &mut self.converter {
            Some(converter) => converter,
            none => {
                let fields = keys.iter().map(|k| SortField::new(k.data_type().clone())).collect();
                none.insert(RowConverter::new(fields).map_err(|e| e.to_string())?)
            }
        };
        let keys = converter.convert_columns(&keys).map_err(|e| e.to_string())?;
        for (i, row) in keys.iter().enumerate() {
            let before = match i.checked_sub(1) {
                Some(before) => Some(keys.row(before)),
                None => self.last.as_ref().map(OwnedRow::row),
            };
            if before.is_some_and(|before| before > row) {
                return Err(format!("row {} is not in the table's order", self.rows + i as u64));
            }
        }
        self.last = keys.num_rows().checked_sub(1).map(|last| keys.row(last).owned());
        Ok(())
    }

    fn finish(self) -> Result<(), Wrong> {
        let Self { file, rows, times, .. } = self;
        // Another program may have added it without statistics.
        if file.rows == 0 {
            return Ok(());
        }
        if rows != file.rows {
            return Err((None, format!("it has {rows} rows, the table says {}", file.rows)));
        }
        if times != Some((file.min_time, file.max_time)) {
            return Err((None, "its times are not those that the table says".to_owned()));
        }
        Ok(())
    }
}
