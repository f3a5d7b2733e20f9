//! A label column of one row group, encoded.
//!
//! Parquet's own writer looks the text of each row up in a hash table and compares it with the
//! smallest and largest so far, for each of the labels of a row: the better part of the time that a
//! file takes. But rows are sorted, so labels come in runs, and in memory they are numbers of a
//! dictionary already. Here a text is looked at once for each dictionary of a batch; what is left of a
//! row is one comparison of two numbers.
//!
//! ```text
//! dictionary page   the texts, in the order in which they first come
//! data page         definition levels, unless the column has no nulls; numbers of the texts. Both as
//!                   runs (see [`runs`]). Once the dictionary is full, the next pages hold texts
//! ```
//!
//! What comes out is what the other writer would make of the same properties, page index and
//! statistics included; it still writes the columns whose properties ask for something else.

mod chunk;
mod runs;

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, StringArray};
use arrow::datatypes::{DataType, Int32Type};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use self::chunk::Chunk;

/// Smallest and largest text.
type Range = (Box<str>, Box<str>);

/// One context serves all columns of a file.
type Zstd = zstd::bulk::Compressor<'static>;

/// Number of a dictionary entry that no row had yet.
const UNSEEN: u32 = u32::MAX;
/// Number of "no value".
const ABSENT: u32 = u32::MAX - 1;

/// What the properties say of a column.
#[derive(Debug, Clone, Copy)]
struct Settings {
    compression: Compression,
    page_rows: usize,
    dictionary_bytes: usize,
    /// Whether the page index has the bounds of each page.
    page_bounds: bool,
}

/// A label column of a row group that is being written.
#[derive(Debug)]
pub(super) struct LabelColumn {
    descr: ColumnDescPtr,
    settings: Settings,
    texts: Texts,
    /// The dictionary that `numbers` is about.
    known: Option<ArrayRef>,
    /// Number of each of its entries.
    numbers: Vec<u32>,
    /// Runs of equal values in the page at hand.
    runs: Vec<(u32, usize)>,
    /// Rows of the page at hand.
    rows: usize,
    pages: Vec<DataPage>,
    /// The texts of the dictionary page, once it is full.
    full: Option<Texts>,
}

/// A page whose values are encoded.
#[derive(Debug)]
struct DataPage {
    bytes: Bytes,
    /// Bytes before compression.
    plain_size: usize,
    encoding: Encoding,
    rows: usize,
    nulls: usize,
    /// Bytes of the texts, if each were written out.
    text_bytes: usize,
    /// Smallest and largest text.
    range: Option<Range>,
}

/// Distinct texts in the order they came.
#[derive(Debug, Default)]
struct Texts {
    ids: HashMap<Box<str>, u32>,
    values: Vec<Box<str>>,
    /// Bytes of the dictionary page that they make.
    bytes: usize,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = u32::try_from(self.values.len()).unwrap_or(ABSENT);
        self.values.push(text.into());
        self.ids.insert(text.into(), id);
        self.bytes += 4 + text.len();
        id
    }

    fn get(&self, id: u32) -> &str {
        usize::try_from(id).ok().and_then(|id| self.values.get(id)).map_or("", AsRef::as_ref)
    }

    fn page(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(self.bytes);
        self.values.iter().for_each(|text| put_plain(&mut page, text));
        page
    }
}

/// A text in the encoding PLAIN.
fn put_plain(out: &mut Vec<u8>, text: &str) {
    out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(text.as_bytes());
}

impl LabelColumn {
    /// For a column of this type and these properties; `None` if it is not one of the usual ones.
    pub(super) fn new(
        data_type: &DataType,
        descr: &ColumnDescPtr,
        properties: &WriterProperties,
    ) -> Option<Self> {
        let path = descr.path();
        let label = matches!(data_type, DataType::Dictionary(key, value)
            if **key == DataType::Int32 && **value == DataType::Utf8);
        let compression = properties.compression(path);
        let statistics = properties.statistics_enabled(path);
        let usual = label
            && descr.physical_type() == Type::BYTE_ARRAY
            && descr.max_rep_level() == 0
            && descr.max_def_level() <= 1
            && matches!(compression, Compression::ZSTD(_) | Compression::UNCOMPRESSED)
            && properties.writer_version() == WriterVersion::PARQUET_1_0
            && properties.dictionary_enabled(path)
            && properties.encoding(path).is_none_or(|e| e == Encoding::PLAIN)
            && statistics != EnabledStatistics::None
            && !properties.write_page_header_statistics(path)
            && properties.bloom_filter_properties(path).is_none();
        let settings = Settings {
            compression,
            page_rows: properties.data_page_row_count_limit(),
            dictionary_bytes: properties.column_dictionary_page_size_limit(path),
            page_bounds: statistics == EnabledStatistics::Page,
        };
        usual.then(|| Self {
            descr: descr.clone(),
            settings,
            texts: Texts::default(),
            known: None,
            numbers: Vec::new(),
            runs: Vec::new(),
            rows: 0,
            pages: Vec::new(),
            full: None,
        })
    }

    /// Adds rows.
    pub(super) fn write(&mut self, labels: &ArrayRef, zstd: &mut Zstd) -> Result<()> {
        let mut from = 0;
        while from < labels.len() {
            let count = (labels.len() - from).min(self.settings.page_rows.max(1) - self.rows);
            let rows = labels.slice(from, count);
            let typed = rows
                .as_dictionary_opt::<Int32Type>()
                .and_then(|labels| Some((labels, labels.values().as_string_opt::<i32>()?)));
            let Some((labels, texts)) = typed else {
                let message = format!("column {} holds no labels", self.descr.path());
                return Err(ParquetError::General(message));
            };
            self.add(labels, texts);
            from += count;
            if self.rows >= self.settings.page_rows {
                self.end_page(zstd)?;
            }
        }
        Ok(())
    }

    /// Adds rows to the page at hand.
    fn add(&mut self, labels: &DictionaryArray<Int32Type>, texts: &StringArray) {
        let values = labels.values();
        if !self.known.as_ref().is_some_and(|known| same(known, values)) {
            self.known = Some(values.clone());
            self.numbers.clear();
            self.numbers.resize(values.len(), UNSEEN);
        }
        let keys = labels.keys();
        self.rows += keys.len();
        if keys.null_count() == keys.len() {
            self.put(ABSENT, keys.len());
            return;
        }
        let nulls = keys.nulls().filter(|nulls| nulls.null_count() > 0);
        let mut run: Option<(i32, usize)> = None;
        for (row, key) in keys.values().iter().enumerate() {
            let key = if nulls.is_some_and(|nulls| nulls.is_null(row)) { -1 } else { *key };
            match &mut run {
                Some((value, count)) if *value == key => *count += 1,
                _ => {
                    if let Some((value, count)) = run.replace((key, 1)) {
                        let id = self.number(value, texts);
                        self.put(id, count);
                    }
                }
            }
        }
        if let Some((value, count)) = run {
            let id = self.number(value, texts);
            self.put(id, count);
        }
    }

    fn put(&mut self, id: u32, rows: usize) {
        match self.runs.last_mut() {
            Some((last, count)) if *last == id => *count += rows,
            _ => self.runs.push((id, rows)),
        }
    }

    /// The number of the text behind a key.
    fn number(&mut self, key: i32, texts: &StringArray) -> u32 {
        let Ok(entry) = usize::try_from(key) else { return ABSENT };
        let Some(slot) = self.numbers.get_mut(entry) else { return ABSENT };
        if *slot == UNSEEN {
            let text = (entry < texts.len() && texts.is_valid(entry)).then(|| texts.value(entry));
            *slot = text.map_or(ABSENT, |text| self.texts.number(text));
        }
        *slot
    }

    /// Encodes the page at hand.
    fn end_page(&mut self, zstd: &mut Zstd) -> Result<()> {
        let (runs, rows) = (std::mem::take(&mut self.runs), std::mem::take(&mut self.rows));
        if rows == 0 {
            return Ok(());
        }
        let present = || runs.iter().copied().filter(|(id, _)| *id != ABSENT);
        let values: usize = present().map(|(_, count)| count).sum();
        let mut page = Vec::new();
        if self.descr.max_def_level() > 0 {
            let levels = merged(runs.iter().map(|(id, n)| (u32::from(*id != ABSENT), *n)));
            page.extend([0; 4]);
            runs::encode(&mut page, 1, levels);
            let length = u32::try_from(page.len() - 4).unwrap_or(u32::MAX);
            if let Some(place) = page.first_chunk_mut::<4>() {
                *place = length.to_le_bytes();
            }
        } else if values < rows {
            let message = format!("column {} has nulls", self.descr.path());
            return Err(ParquetError::General(message));
        }
        let encoding = if self.full.is_none() {
            let most = u32::try_from(self.texts.values.len().saturating_sub(1)).unwrap_or(u32::MAX);
            let width = u32::BITS - most.leading_zeros();
            page.push(u8::try_from(width).unwrap_or_default());
            runs::encode(&mut page, width, present());
            Encoding::RLE_DICTIONARY
        } else {
            for (id, count) in present() {
                (0..count).for_each(|_| put_plain(&mut page, self.texts.get(id)));
            }
            Encoding::PLAIN
        };
        let plain_size = page.len();
        let (range, text_bytes) = self.range(present());
        self.pages.push(DataPage {
            bytes: compress(zstd, self.settings.compression, page)?,
            plain_size,
            encoding,
            rows,
            nulls: rows - values,
            text_bytes,
            range,
        });
        if self.full.is_some() {
            self.forget();
        } else if self.texts.bytes >= self.settings.dictionary_bytes {
            self.full = Some(std::mem::take(&mut self.texts));
            self.forget();
        }
        Ok(())
    }

    /// Numbers texts anew.
    fn forget(&mut self) {
        self.texts = Texts::default();
        self.numbers.fill(UNSEEN);
    }

    /// Smallest and largest text of some runs, and the bytes of all their texts.
    fn range(&self, runs: impl Iterator<Item = (u32, usize)>) -> (Option<Range>, usize) {
        let mut seen = vec![false; self.texts.values.len()];
        let mut bytes = 0;
        for (id, count) in runs {
            bytes += count * self.texts.get(id).len();
            if let Some(seen) = usize::try_from(id).ok().and_then(|id| seen.get_mut(id)) {
                *seen = true;
            }
        }
        let texts =
            || self.texts.values.iter().zip(&seen).filter(|(_, seen)| **seen).map(|(text, _)| text);
        let range = texts().min().zip(texts().max()).map(|(min, max)| (min.clone(), max.clone()));
        (range, bytes)
    }

    /// The whole column chunk: its bytes, and what the file says of them.
    pub(super) fn close(mut self, zstd: &mut Zstd) -> Result<(Bytes, ColumnCloseResult)> {
        self.end_page(zstd)?;
        let Self { descr, settings, texts, pages, full, .. } = self;
        let texts = full.unwrap_or(texts);
        let mut sink = TrackedWrite::new(Vec::new());
        let mut writer = SerializedPageWriter::new(&mut sink);
        let mut chunk = Chunk::new(descr, settings.compression, settings.page_bounds);
        let dictionary = texts.page();
        let plain_size = dictionary.len();
        let page = Page::DictionaryPage {
            buf: compress(zstd, settings.compression, dictionary)?,
            num_values: u32::try_from(texts.values.len()).unwrap_or(u32::MAX),
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        chunk.note(&writer.write_page(CompressedPage::new(page, plain_size))?, Encoding::PLAIN);
        for page in pages {
            let DataPage { bytes, plain_size, encoding, rows, .. } = &page;
            let written = Page::DataPage {
                buf: bytes.clone(),
                num_values: u32::try_from(*rows).unwrap_or(u32::MAX),
                encoding: *encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            let spec = writer.write_page(CompressedPage::new(written, *plain_size))?;
            chunk.note(&spec, *encoding);
            chunk.note_values(&spec, &page);
        }
        writer.close()?;
        Ok((sink.into_inner()?.into(), chunk.finish()?))
    }
}

/// A page as it is stored.
fn compress(zstd: &mut Zstd, compression: Compression, page: Vec<u8>) -> Result<Bytes> {
    let Compression::ZSTD(level) = compression else { return Ok(page.into()) };
    let failed = |e: std::io::Error| ParquetError::External(Box::new(e));
    zstd.set_compression_level(level.compression_level()).map_err(failed)?;
    Ok(zstd.compress(&page).map_err(failed)?.into())
}

/// Neighbours of equal value as one run.
fn merged(runs: impl Iterator<Item = (u32, usize)>) -> impl Iterator<Item = (u32, usize)> {
    let mut runs = runs.peekable();
    std::iter::from_fn(move || {
        let (value, mut count) = runs.next()?;
        while let Some((_, more)) = runs.next_if(|(next, _)| *next == value) {
            count += more;
        }
        Some((value, count))
    })
}

/// Whether two dictionaries are one in memory.
fn same(a: &ArrayRef, b: &ArrayRef) -> bool {
    match (a.as_string_opt::<i32>(), b.as_string_opt::<i32>()) {
        (Some(a), Some(b)) => {
            a.len() == b.len()
                && a.offsets().ptr_eq(b.offsets())
                && a.values().as_ptr() == b.values().as_ptr()
                && a.null_count() == b.null_count()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
