//! What a file says of a column chunk of labels: statistics and page index.

use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type};
use parquet::column::page::PageWriteSpec;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescPtr;

use super::DataPage;
use crate::bounds;

/// What the footer says of a column chunk.
pub(super) struct Chunk {
    descr: ColumnDescPtr,
    compression: Compression,
    encodings: Vec<PageEncodingStats>,
    dictionary_at: Option<u64>,
    data_at: Option<u64>,
    compressed: u64,
    uncompressed: u64,
    rows: u64,
    nulls: u64,
    text_bytes: u64,
    range: Option<(Box<str>, Box<str>)>,
    /// Bounds of each page, if they are wanted.
    pages: Option<ColumnIndexBuilder>,
    offsets: OffsetIndexBuilder,
    /// Bounds of the last page that had any, and in which directions they went so far.
    last: Option<(Box<str>, Box<str>)>,
    ascending: bool,
    descending: bool,
}

impl Chunk {
    pub(super) fn new(descr: ColumnDescPtr, compression: Compression, page_bounds: bool) -> Self {
        Self {
            descr,
            compression,
            encodings: Vec::new(),
            dictionary_at: None,
            data_at: None,
            compressed: 0,
            uncompressed: 0,
            rows: 0,
            nulls: 0,
            text_bytes: 0,
            range: None,
            pages: page_bounds.then(|| ColumnIndexBuilder::new(Type::BYTE_ARRAY)),
            offsets: OffsetIndexBuilder::new(),
            last: None,
            ascending: true,
            descending: true,
        }
    }

    pub(super) fn note(&mut self, spec: &PageWriteSpec, encoding: Encoding) {
        self.compressed += u64::try_from(spec.compressed_size).unwrap_or(u64::MAX);
        self.uncompressed += u64::try_from(spec.uncompressed_size).unwrap_or(u64::MAX);
        let at = match spec.page_type {
            PageType::DICTIONARY_PAGE => &mut self.dictionary_at,
            _ => &mut self.data_at,
        };
        at.get_or_insert(spec.offset);
        match self.encodings.last_mut() {
            Some(last) if last.page_type == spec.page_type && last.encoding == encoding => {
                last.count += 1;
            }
            _ => self.encodings.push(PageEncodingStats {
                page_type: spec.page_type,
                encoding,
                count: 1,
            }),
        }
    }

    pub(super) fn note_values(&mut self, spec: &PageWriteSpec, page: &DataPage) {
        let long = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.rows += u64::try_from(page.rows).unwrap_or(u64::MAX);
        self.nulls += u64::try_from(page.nulls).unwrap_or(u64::MAX);
        self.text_bytes += u64::try_from(page.text_bytes).unwrap_or(u64::MAX);
        let at = i64::try_from(spec.offset).unwrap_or(i64::MAX);
        let size = i32::try_from(spec.compressed_size).unwrap_or(i32::MAX);
        self.offsets.append_row_count(long(page.rows));
        self.offsets.append_offset_and_size(at, size);
        self.offsets.append_unencoded_byte_array_data_bytes(Some(long(page.text_bytes)));
        if let Some(pages) = &mut self.pages {
            let (min, max) = match &page.range {
                None => (Vec::new(), Vec::new()),
                Some((min, max)) => {
                    let upper = bounds::upper(max).unwrap_or_else(|| max.to_string());
                    (bounds::lower(min).as_bytes().to_vec(), upper.into_bytes())
                }
            };
            pages.append(page.range.is_none(), min, max, long(page.nulls));
        }
        let Some((min, max)) = &page.range else { return };
        if let Some((last_min, last_max)) = &self.last {
            self.ascending &= last_min <= min && last_max <= max;
            self.descending &= last_min >= min && last_max >= max;
        }
        self.last = page.range.clone();
        match &mut self.range {
            None => self.range = page.range.clone(),
            Some((low, high)) => {
                if min < low {
                    *low = min.clone();
                }
                if max > high {
                    *high = max.clone();
                }
            }
        }
    }

    pub(super) fn finish(self) -> Result<ColumnCloseResult> {
        let long = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let order = match (self.ascending, self.descending) {
            (true, _) => BoundaryOrder::ASCENDING,
            (false, true) => BoundaryOrder::DESCENDING,
            (false, false) => BoundaryOrder::UNORDERED,
        };
        let pages = self.pages.map(|mut pages| {
            pages.set_boundary_order(order);
            pages.build()
        });
        let (min, max) = self.range.as_ref().map_or((None, None), |(min, max)| {
            (Some(bounds::lower(min)), Some(bounds::upper(max).unwrap_or_else(|| max.to_string())))
        });
        let exact = |cut: Option<&str>, whole: Option<&str>| cut.is_some() && cut == whole;
        let whole = self.range.as_ref();
        let (min_exact, max_exact) = (
            exact(min, whole.map(|(min, _)| min.as_ref())),
            exact(max.as_deref(), whole.map(|(_, max)| max.as_ref())),
        );
        let statistics = ValueStatistics::new(
            min.map(|min| ByteArray::from(min.as_bytes().to_vec())),
            max.map(|max| ByteArray::from(max.into_bytes())),
            None,
            Some(self.nulls),
            false,
        )
        .with_min_is_exact(min_exact)
        .with_max_is_exact(max_exact);
        let encodings =
            [Encoding::RLE].into_iter().chain(self.encodings.iter().map(|e| e.encoding));
        let mut distinct: Vec<Encoding> = encodings.collect();
        distinct.sort_unstable();
        distinct.dedup();
        let metadata = ColumnChunkMetaData::builder(self.descr)
            .set_compression(self.compression)
            .set_encodings(distinct)
            .set_page_encoding_stats(self.encodings)
            .set_total_compressed_size(long(self.compressed))
            .set_total_uncompressed_size(long(self.uncompressed))
            .set_num_values(long(self.rows))
            .set_data_page_offset(long(self.data_at.unwrap_or_default()))
            .set_dictionary_page_offset(self.dictionary_at.map(long))
            .set_statistics(Statistics::ByteArray(statistics))
            .set_unencoded_byte_array_data_bytes(Some(long(self.text_bytes)))
            .build()?;
        Ok(ColumnCloseResult {
            bytes_written: self.compressed,
            rows_written: self.rows,
            metadata,
            bloom_filter: None,
            column_index: pages.transpose()?,
            offset_index: Some(self.offsets.build()),
        })
    }
}
