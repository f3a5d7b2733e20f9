//! How the columns of a data file are encoded, as `benches/layout.rs` measures it.
//!
//! ```text
//! labels          plain UTF-8 to every reader, dictionary pages. The Arrow schema is not embedded: it
//!                 would make readers restore our dictionaries.
//! times, numbers  DELTA_BINARY_PACKED, or a dictionary where it is smaller, see `numbers`
//! chunks          of series: times a large dictionary, since all series of a target share them; values
//!                 plain, they are encoded already; small row groups and pages, since rows are large and
//!                 most queries want few of them
//! statistics      of each page for times and for the labels that rows are first sorted by (another
//!                 label's pages are found by the label index; in tables of series, of every label),
//!                 of each row group for other labels and numbers, none for lists
//! ```
//!
//! Only encodings that every common engine reads. BYTE_STREAM_SPLIT would save another 0.7 bytes per
//! row, but for whole numbers it is young: Spark's vectorised reader and Trino refuse it.

use arrow::datatypes::DataType;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::spec::TableSpec;

/// Rows of a row group: what is encoded in memory at a time, and what a scan hands to one thread.
const ROW_GROUP: usize = 512 * 1024;
/// Rows of a page: what a selective read has to decode at least.
const PAGE_ROWS: usize = 32 * 1024;
/// Labels at the front of the sort order whose pages have statistics.
const LABELS_WITH_PAGES: usize = 4;

/// The same for a table of series, whose rows are chunks of many points.
const SERIES_ROW_GROUP: usize = 32 * 1024;
const SERIES_PAGE_ROWS: usize = 512;
/// Bytes of a page of chunks, and rows after which a writer looks whether it is full.
const CHUNK_PAGE: usize = 16 << 10;
const CHUNK_BATCH: usize = 8;
/// Bytes of a dictionary of chunks' times.
const TIMES_DICTIONARY: usize = 4 << 20;

/// How much work a file is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Written often and soon merged into another.
    Flush,
    /// Put together from several, and to be put together with more.
    Merge,
    /// The file of a window in which nothing happens any more: to be kept.
    Settled,
}

impl Effort {
    /// Compression levels of labels and of numbers, times among them. Labels are runs, there is
    /// nothing to find in them; numbers that are noise are tried and left at the lowest level.
    fn levels(self) -> (i32, i32) {
        match self {
            Self::Flush => (1, 1),
            Self::Merge => (3, 3),
            Self::Settled => (3, 15),
        }
    }
}

/// The properties of a table's files. Public for the benchmark that compares them with others.
#[must_use]
pub fn writer_properties(spec: &TableSpec, effort: Effort) -> WriterProperties {
    let zstd = |level| Compression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default());
    let (labels, numbers) = effort.levels();
    let (row_group, page_rows, batch_rows, statistics) = if spec.series {
        (SERIES_ROW_GROUP, SERIES_PAGE_ROWS, CHUNK_BATCH, EnabledStatistics::Page)
    } else {
        (ROW_GROUP, PAGE_ROWS, PAGE_ROWS, EnabledStatistics::Chunk)
    };
    let mut properties = WriterProperties::builder()
        .set_compression(zstd(labels))
        .set_max_row_group_row_count(Some(row_group))
        .set_data_page_row_count_limit(page_rows)
        .set_write_batch_size(batch_rows)
        .set_statistics_enabled(statistics)
        .set_coerce_types(true)
        .set_created_by(concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned());
    for name in spec.sort.iter().take(LABELS_WITH_PAGES) {
        let column = ColumnPath::from(*name);
        properties = properties.set_column_statistics_enabled(column, EnabledStatistics::Page);
    }
    for field in spec.schema.fields() {
        let name = field.name();
        properties = match field.data_type() {
            DataType::Timestamp(..) => {
                let column = ColumnPath::from(name.as_str());
                properties
                    .set_column_compression(column.clone(), zstd(numbers))
                    .set_column_statistics_enabled(column, EnabledStatistics::Page)
            }
            DataType::Int32 | DataType::Int64 => {
                let column = ColumnPath::from(name.as_str());
                properties
                    .set_column_compression(column.clone(), zstd(numbers))
                    .set_column_statistics_enabled(column, EnabledStatistics::Chunk)
            }
            DataType::List(_) => {
                let column =
                    ColumnPath::from(vec![name.clone(), "list".to_owned(), "element".to_owned()]);
                properties
                    .set_column_compression(column.clone(), zstd(numbers))
                    .set_column_statistics_enabled(column, EnabledStatistics::None)
            }
            DataType::Binary => {
                let column = ColumnPath::from(name.as_str());
                properties
                    .set_column_dictionary_enabled(column.clone(), spec.series && name == "times")
                    .set_column_dictionary_page_size_limit(column.clone(), TIMES_DICTIONARY)
                    .set_column_data_page_size_limit(column.clone(), CHUNK_PAGE)
                    .set_column_statistics_enabled(column, EnabledStatistics::None)
            }
            _ => properties,
        };
    }
    properties.build()
}
