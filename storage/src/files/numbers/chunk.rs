//! One column of one row group.
//!
//! At the lowest compression level nothing is tried: such a file is soon merged into another.

use std::collections::HashMap;

use arrow::array::Array;
use arrow::datatypes::Field;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType};
use parquet::column::page::{CompressedPage, Page as ParquetPage, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use super::delta::{self, Physical, Width};
use super::levels::{self, Levels};
use super::runs;

/// Most values of a dictionary: references are bytes, so that compression sees them.
const MAX_DICTIONARY: usize = 256;
const REFERENCE_BITS: u32 = 8;
/// Equal references from which on a run is shorter, compressed.
const REFERENCE_RUN: usize = 64;
/// Both widths and both compression levels are tried on one page of so many.
const TRIAL: usize = 4;
/// Compression level of pages that a higher one makes no smaller.
const QUICK: i32 = 1;

/// The pages of a column chunk while they are made.
pub(crate) struct Chunk {
    column: ColumnDescPtr,
    physical: Physical,
    statistics: EnabledStatistics,
    page_rows: usize,
    levels: Levels,
    pages: Vec<Page>,
    dictionary: Dictionary,
    /// What came out of the last trial.
    width: Width,
    level: i32,
    /// Compression level of what rewards the work.
    thorough: i32,
}

/// A page in the forms that it may be written in.
struct Page {
    rows: usize,
    entries: usize,
    absent: usize,
    bounds: Option<(i64, i64)>,
    delta: Encoded,
    references: Option<Encoded>,
}

struct Encoded {
    compressed: Bytes,
    size: usize,
}

/// Distinct values in the order they came.
#[derive(Default)]
struct Dictionary {
    values: Vec<i64>,
    places: HashMap<i64, u16>,
}

impl Dictionary {
    /// References to the values; `None` if there would be too many. The dictionary then is as it was.
    fn refer(&mut self, values: &[i64]) -> Option<Vec<u16>> {
        let before = self.values.len();
        let mut references = Vec::with_capacity(values.len());
        let mut last = None;
        for value in values {
            let place = match last {
                Some((known, place)) if known == *value => place,
                _ => match self.place(*value) {
                    Some(place) => place,
                    None => {
                        for value in self.values.drain(before..) {
                            self.places.remove(&value);
                        }
                        return None;
                    }
                },
            };
            last = Some((*value, place));
            references.push(place);
        }
        Some(references)
    }

    fn place(&mut self, value: i64) -> Option<u16> {
        if let Some(place) = self.places.get(&value) {
            return Some(*place);
        }
        let place = u16::try_from(self.values.len()).ok()?;
        if usize::from(place) >= MAX_DICTIONARY {
            return None;
        }
        self.values.push(value);
        self.places.insert(value, place);
        Some(place)
    }
}

impl Chunk {
    /// For a column that is encoded here; `None` for any other.
    pub(crate) fn new(
        field: &Field,
        column: &ColumnDescPtr,
        properties: &WriterProperties,
    ) -> Option<Self> {
        let (shape, physical) = levels::shape_of(field.data_type(), column)?;
        let Compression::ZSTD(level) = properties.compression(column.path()) else { return None };
        Some(Self {
            column: column.clone(),
            physical,
            statistics: properties.statistics_enabled(column.path()),
            page_rows: properties.data_page_row_count_limit().max(1),
            levels: Levels::new(field.data_type().clone(), shape, column),
            pages: Vec::new(),
            dictionary: Dictionary::default(),
            width: Width::Bits,
            level: QUICK,
            thorough: level.compression_level(),
        })
    }

    /// Appends rows, up to a whole page at a time.
    pub(crate) fn write(
        &mut self,
        array: &dyn Array,
        compressor: &mut Compressor<'_>,
    ) -> Result<(), ParquetError> {
        let mut at = 0;
        while at < array.len() {
            let length = (self.page_rows - self.levels.rows).min(array.len() - at);
            let rows = array.slice(at, length);
            self.levels.push(rows.as_ref()).ok_or_else(|| {
                ParquetError::General(format!("column {} is of another type", self.column.path()))
            })?;
            at += length;
            if self.levels.rows >= self.page_rows {
                self.end_page(compressor)?;
            }
        }
        Ok(())
    }

    fn end_page(&mut self, compressor: &mut Compressor<'_>) -> Result<(), ParquetError> {
        if self.levels.rows == 0 {
            return Ok(());
        }
        let mut start = Vec::new();
        self.levels.encode(&mut start);
        let values = &self.levels.values;
        let encode = |width| {
            let mut page = start.clone();
            delta::encode(values, self.physical, width, &mut page);
            page
        };
        let haste = self.thorough <= QUICK;
        let delta = if !haste && self.pages.len().is_multiple_of(TRIAL) {
            let (bits, bytes) = (encode(Width::Bits), encode(Width::Bytes));
            let in_bits = Encoded::new(&bits, self.thorough, compressor)?;
            let in_bytes = Encoded::new(&bytes, self.thorough, compressor)?;
            let (page, thorough) = if in_bytes.length() < in_bits.length() {
                self.width = Width::Bytes;
                (bytes, in_bytes)
            } else {
                self.width = Width::Bits;
                (bits, in_bits)
            };
            let quick = Encoded::new(&page, QUICK, compressor)?;
            // Noise is as long either way.
            if thorough.length() + quick.length() / 100 < quick.length() {
                self.level = self.thorough;
                thorough
            } else {
                self.level = QUICK;
                quick
            }
        } else {
            Encoded::new(&encode(self.width), self.level, compressor)?
        };
        let references = if haste { None } else { self.dictionary.refer(values) };
        let references = match references {
            None => None,
            Some(references) => {
                let mut page = start;
                page.push(REFERENCE_BITS.to_le_bytes()[0]);
                runs::encode(&references, REFERENCE_BITS, REFERENCE_RUN, &mut page);
                Some(Encoded::new(&page, self.thorough, compressor)?)
            }
        };
        let bounds = values.iter().copied().min().zip(values.iter().copied().max());
        self.pages.push(Page {
            rows: self.levels.rows,
            entries: self.levels.entries,
            absent: self.levels.absent(),
            bounds,
            delta,
            references,
        });
        self.levels.clear();
        Ok(())
    }

    /// The bytes of the chunk, and what the footer says of it.
    pub(crate) fn finish(
        mut self,
        compressor: &mut Compressor<'_>,
    ) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        self.end_page(compressor)?;
        // The dictionary has to be worth it over all pages that are smaller with it.
        let dictionary = self.dictionary.page(self.physical, self.thorough, compressor)?;
        let saved: usize = self.pages.iter().filter_map(Page::saved).sum();
        let dictionary = Some(dictionary).filter(|(page, _)| page.length() < saved);

        let mut sink = TrackedWrite::new(Vec::new());
        let mut writer = SerializedPageWriter::new(&mut sink);
        let mut uncompressed = 0;
        let mut used = Vec::new();
        if let Some((page, values)) = &dictionary {
            let page = CompressedPage::new(
                ParquetPage::DictionaryPage {
                    buf: page.compressed.clone(),
                    num_values: *values,
                    encoding: Encoding::PLAIN,
                    is_sorted: false,
                },
                page.size,
            );
            uncompressed += writer.write_page(page)?.uncompressed_size;
            used.push((PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1));
        }
        let mut offsets = OffsetIndexBuilder::new();
        let mut first = None;
        for page in &self.pages {
            let references = page.references.as_ref();
            let (form, encoding) = match references.filter(|_| page.saved().is_some()) {
                Some(references) if dictionary.is_some() => (references, Encoding::RLE_DICTIONARY),
                _ => (&page.delta, Encoding::DELTA_BINARY_PACKED),
            };
            let parquet = ParquetPage::DataPage {
                buf: form.compressed.clone(),
                num_values: fits(page.entries)?,
                encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            let written = writer.write_page(CompressedPage::new(parquet, form.size))?;
            uncompressed += written.uncompressed_size;
            let offset = fits(written.offset)?;
            first.get_or_insert(offset);
            offsets.append_offset_and_size(offset, fits(written.compressed_size)?);
            offsets.append_row_count(fits(page.rows)?);
            match used.last_mut() {
                Some((PageType::DATA_PAGE, last, count)) if *last == encoding => *count += 1,
                _ => used.push((PageType::DATA_PAGE, encoding, 1)),
            }
        }
        writer.close()?;
        let bytes = Bytes::from(sink.into_inner()?);

        let entries: usize = self.pages.iter().map(|page| page.entries).sum();
        let rows: usize = self.pages.iter().map(|page| page.rows).sum();
        let encodings = used.iter().map(|(_, encoding, _)| *encoding).chain([Encoding::RLE]);
        let mut metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_compression(Compression::ZSTD(Default::default()))
            .set_encodings(encodings.collect())
            .set_page_encoding_stats(
                used.iter()
                    .map(|(page_type, encoding, count)| {
                        let (page_type, encoding) = (*page_type, *encoding);
                        Ok(PageEncodingStats { page_type, encoding, count: fits(*count)? })
                    })
                    .collect::<Result<_, ParquetError>>()?,
            )
            .set_total_compressed_size(fits(bytes.len())?)
            .set_total_uncompressed_size(fits(uncompressed)?)
            .set_num_values(fits(entries)?)
            .set_dictionary_page_offset(dictionary.is_some().then_some(0))
            .set_data_page_offset(first.unwrap_or(0));
        if self.statistics != EnabledStatistics::None {
            metadata = metadata.set_statistics(self.chunk_statistics()?);
        }
        let close = ColumnCloseResult {
            bytes_written: fits(bytes.len())?,
            rows_written: fits(rows)?,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: self.column_index()?,
            offset_index: Some(offsets.build()),
        };
        Ok((bytes, close))
    }

    fn chunk_statistics(&self) -> Result<Statistics, ParquetError> {
        let bounds = self.pages.iter().filter_map(|page| page.bounds);
        let min = bounds.clone().map(|(min, _)| min).min();
        let max = bounds.map(|(_, max)| max).max();
        let nulls = Some(fits(self.pages.iter().map(|page| page.absent).sum::<usize>())?);
        Ok(match self.physical {
            Physical::Int64 => ValueStatistics::new(min, max, None, nulls, false)
                .with_backwards_compatible_min_max(true)
                .into(),
            Physical::Int32 => {
                let (min, max) = (min.map(fits).transpose()?, max.map(fits).transpose()?);
                ValueStatistics::<i32>::new(min, max, None, nulls, false)
                    .with_backwards_compatible_min_max(true)
                    .into()
            }
        })
    }

    fn column_index(&self) -> Result<Option<ColumnIndexMetaData>, ParquetError> {
        if self.statistics != EnabledStatistics::Page {
            return Ok(None);
        }
        let mut index = ColumnIndexBuilder::new(self.column.physical_type());
        for page in &self.pages {
            let bound = |value: Option<i64>| match value {
                None => Vec::new(),
                Some(value) => self.physical.plain(value),
            };
            let (min, max) = page.bounds.unzip();
            index.append(page.bounds.is_none(), bound(min), bound(max), fits(page.absent)?);
        }
        index.build().map(Some)
    }
}

impl Dictionary {
    /// The dictionary page, and how many values it has.
    fn page(
        &self,
        physical: Physical,
        level: i32,
        compressor: &mut Compressor<'_>,
    ) -> Result<(Encoded, u32), ParquetError> {
        let bytes: Vec<u8> = self.values.iter().flat_map(|value| physical.plain(*value)).collect();
        Ok((Encoded::new(&bytes, level, compressor)?, fits(self.values.len())?))
    }
}

impl Encoded {
    fn new(page: &[u8], level: i32, compressor: &mut Compressor<'_>) -> Result<Self, ParquetError> {
        compressor.set_compression_level(level)?;
        Ok(Self { compressed: compressor.compress(page)?.into(), size: page.len() })
    }

    fn length(&self) -> usize {
        self.compressed.len()
    }
}

impl Page {
    /// Bytes by which references are smaller, if they are.
    fn saved(&self) -> Option<usize> {
        let references = self.references.as_ref()?.length();
        self.delta.length().checked_sub(references).filter(|saved| *saved > 0)
    }
}

/// A number in the type that the format has for it.
fn fits<T, U>(value: T) -> Result<U, ParquetError>
where
    U: TryFrom<T>,
    U::Error: std::error::Error + Send + Sync + 'static,
{
    U::try_from(value).map_err(|error| ParquetError::External(Box::new(error)))
}
