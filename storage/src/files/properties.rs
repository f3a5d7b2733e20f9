//! How the columns of a data file are encoded, as `benches/layout.rs` measures it.
//!
//! ```text
//! labels          plain UTF-8 to every reader, dictionary pages. The Arrow schema is not embedded: it
//!                 would make readers restore our dictionaries.
//! times           DELTA_BINARY_PACKED
//! whole numbers   a dictionary while there are few values, then DELTA_BINARY_PACKED
//! chunks          of series: times a large dictionary, since all series of a target share them; values
//!                 plain, they are encoded already; small pages and row groups, since rows are large
//! statistics      of each page for labels and times, of each row group for numbers, none for lists
//! ```
//!
//! Only encodings that every common engine reads. BYTE_STREAM_SPLIT would save another 0.7 bytes per
//! row, but for whole numbers it is young: Spark's vectorised reader and Trino refuse it.

use arrow::datatypes::DataType;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::spec::TableSpec;

/// Rows of a row group: what is encoded in memory at a time, and what a scan hands to one thread.
const ROW_GROUP: usize = 256 * 1024;
/// Rows of a page: what a selective read has to decode at least.
const PAGE_ROWS: usize = 16 * 1024;
/// Bytes of a dictionary of whole numbers. Beyond some hundred values the packed differences are
/// smaller than the references into it.
const NUMBER_DICTIONARY: usize = 2 * 1024;

/// The same for a table of series, whose rows are chunks of many points.
const SERIES_ROW_GROUP: usize = 32 * 1024;
const SERIES_PAGE_ROWS: usize = 512;
/// Bytes of a dictionary of chunks' times.
const TIMES_DICTIONARY: usize = 4 << 20;

/// How much work a file is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Written often and soon merged into another.
    Flush,
    /// To be kept.
    Compaction,
}

impl Effort {
    /// Compression levels of times and of all else. More pays for times alone: what is left of the
    /// numbers is noise.
    fn levels(self) -> (i32, i32) {
        match self {
            Self::Flush => (1, 1),
            Self::Compaction => (9, 3),
        }
    }
}

/// The properties of a table's files. Public for the benchmark that compares them with others.
#[must_use]
pub fn writer_properties(spec: &TableSpec, effort: Effort) -> WriterProperties {
    let zstd = |level| Compression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default());
    let (times, rest) = effort.levels();
    let (row_group, page_rows) =
        if spec.series { (SERIES_ROW_GROUP, SERIES_PAGE_ROWS) } else { (ROW_GROUP, PAGE_ROWS) };
    let mut properties = WriterProperties::builder()
        .set_compression(zstd(rest))
        .set_max_row_group_row_count(Some(row_group))
        .set_data_page_row_count_limit(page_rows)
        .set_write_batch_size(page_rows)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_coerce_types(true)
        .set_created_by(concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned());
    for field in spec.schema.fields() {
        let name = field.name();
        properties = match field.data_type() {
            DataType::Timestamp(..) => {
                let column = ColumnPath::from(name.as_str());
                properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column.clone(), Encoding::DELTA_BINARY_PACKED)
                    .set_column_compression(column, zstd(times))
            }
            DataType::Int32 | DataType::Int64 => {
                let column = ColumnPath::from(name.as_str());
                properties
                    .set_column_dictionary_page_size_limit(column.clone(), NUMBER_DICTIONARY)
                    .set_column_encoding(column.clone(), Encoding::DELTA_BINARY_PACKED)
                    .set_column_statistics_enabled(column, EnabledStatistics::Chunk)
            }
            DataType::List(_) => {
                let column =
                    ColumnPath::from(vec![name.clone(), "list".to_owned(), "element".to_owned()]);
                properties
                    .set_column_dictionary_page_size_limit(column.clone(), NUMBER_DICTIONARY)
                    .set_column_encoding(column.clone(), Encoding::DELTA_BINARY_PACKED)
                    .set_column_statistics_enabled(column, EnabledStatistics::None)
            }
            DataType::Binary => {
                let column = ColumnPath::from(name.as_str());
                properties
                    .set_column_dictionary_enabled(column.clone(), spec.series && name == "times")
                    .set_column_dictionary_page_size_limit(column.clone(), TIMES_DICTIONARY)
                    .set_column_statistics_enabled(column, EnabledStatistics::None)
            }
            _ => properties,
        };
    }
    properties.build()
}
