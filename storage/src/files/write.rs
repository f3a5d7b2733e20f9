//! Writing one Parquet file.
//!
//! [`super::properties`] says how its columns are encoded. The label index ([`crate::index`]) lies
//! between the last row group and the footer.

use std::io::{self, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use parquet::file::metadata::KeyValue;

use super::FilesError;
use super::order::{Arranged, Piece};
use super::properties::{Effort, writer_properties};
use super::row_groups::RowGroups;
use super::stats::{Collector, FileStats};
use crate::disk::{Disk, File, Mode};
use crate::durable::{self, At, Taken};
use crate::index;
use crate::paths::DataDir;
use crate::spec::TableSpec;

/// Rows that are put in order at a time: what tells their places stays in the processor's cache.
const CHUNK: usize = 8 * 1024;

/// Writes the rows of a piece. Returns the file's size and statistics.
pub(crate) fn write_file(
    dir: &DataDir,
    path: &Path,
    spec: &TableSpec,
    arranged: &Arranged<'_>,
    piece: &Piece,
) -> Result<(u64, FileStats), FilesError> {
    let disk = dir.disk().as_ref();
    let tmp = &dir.new_tmp();
    let written = write_tmp(disk, tmp, spec, arranged, piece).and_then(|written| {
        if let Some(folder) = path.parent() {
            durable::create_dir(dir, folder)?;
        }
        durable::publish(disk, tmp, path, Taken::Refuse)?;
        Ok(written)
    });
    if written.is_err() {
        let _ = durable::remove(disk, tmp);
        // It has its name already if the folder's sync failed. Nobody else can have this one.
        let _ = durable::remove(disk, path);
    }
    written
}

fn write_tmp(
    disk: &dyn Disk,
    tmp: &Path,
    spec: &TableSpec,
    arranged: &Arranged<'_>,
    piece: &Piece,
) -> Result<(u64, FileStats), FilesError> {
    let mut writer = FileWriter::create(disk, tmp, spec, Effort::Flush)?;
    for rows in piece.rows.chunks(CHUNK) {
        writer.write(&arranged.take(rows)?)?;
    }
    writer.finish()
}

/// A file that is written from its beginning to its end, and the checksum of what was written.
struct Summed {
    file: Box<dyn File>,
    sum: crc32fast::Hasher,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sum.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A Parquet file that grows by batches whose rows come in the file's order.
///
/// One row group's encoded columns are in memory at a time. A writer that is dropped leaves its
/// unfinished file behind.
pub(crate) struct FileWriter<'a> {
    spec: &'a TableSpec,
    path: &'a Path,
    writer: RowGroups<Summed>,
    stats: Collector,
    index: index::Collector,
}

impl<'a> FileWriter<'a> {
    /// Makes a new, empty file.
    pub(crate) fn create(
        disk: &dyn Disk,
        path: &'a Path,
        spec: &'a TableSpec,
        effort: Effort,
    ) -> Result<Self, FilesError> {
        let file = disk.open(path, Mode::Create).at("create", path)?;
        let file = Summed { file, sum: crc32fast::Hasher::new() };
        let writer = RowGroups::new(file, &spec.schema, writer_properties(spec, effort))
            .map_err(|source| FilesError::Parquet { path: path.to_owned(), source })?;
        Ok(Self {
            spec,
            path,
            writer,
            stats: Collector::new(spec),
            index: index::Collector::of(spec),
        })
    }

    /// Adds rows, in the table's schema.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), FilesError> {
        self.stats.add(self.spec, batch)?;
        self.index.add(batch);
        self.writer.write(batch).map_err(|source| self.parquet(source))
    }

    /// Writes the label index and the footer, and syncs the file. Returns its size and statistics.
    pub(crate) fn finish(mut self) -> Result<(u64, FileStats), FilesError> {
        self.writer.flush().map_err(|source| self.parquet(source))?;
        if let Some(bytes) = index::encode(&self.index).at("index", self.path)? {
            let offset = self.writer.bytes_written();
            self.writer.write_all(&bytes).at("write", self.path)?;
            for (key, value) in [(index::OFFSET_KEY, offset), (index::LENGTH_KEY, bytes.len())] {
                let entry = KeyValue::new(key.to_owned(), value.to_string());
                self.writer.append_key_value_metadata(entry);
            }
        }
        let Self { path, writer, stats, .. } = self;
        let Summed { file, sum } = writer
            .into_inner()
            .map_err(|source| FilesError::Parquet { path: path.to_owned(), source })?;
        file.sync_all().at("sync", path)?;
        let size = file.length().at("read", path)?;
        Ok((size, stats.finish(sum.finalize())))
    }

    fn parquet(&self, source: parquet::errors::ParquetError) -> FilesError {
        FilesError::Parquet { path: self.path.to_owned(), source }
    }
}
