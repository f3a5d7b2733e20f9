//! The pages of one column of one row group, decompressed.
//!
//! The Parquet crate's own page reader makes a zstd context to compress and one to decompress for every
//! column that it opens, hundreds of kilobytes each. A query that wants a few rows of many files would
//! spend most of its time and memory on that. Here pages come out of that reader as they are stored, and
//! one context of the thread decompresses them all.

use std::cell::RefCell;
use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;

/// Most bytes of a page, decompressed: what it says of itself is believed up to here.
const MAX_PAGE: usize = 256 << 20;

const TOO_LONG: &str = "a page is longer than any that is read";

fn general(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

thread_local! {
    static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// A column's pages.
pub(super) struct Pages<R: ChunkReader> {
    stored: SerializedPageReader<R>,
    compressed: bool,
}

impl<R: ChunkReader> Pages<R> {
    /// Of a column of a row group with so many rows; `places` is what the page index says of it.
    pub(super) fn new(
        input: Arc<R>,
        column: &ColumnChunkMetaData,
        rows: usize,
        places: Option<Vec<PageLocation>>,
    ) -> Result<Self> {
        let compressed = matches!(column.compression(), Compression::ZSTD(_));
        let stored = if compressed {
            let plain = column.clone().into_builder();
            let plain = plain.set_compression(Compression::UNCOMPRESSED).build()?;
            SerializedPageReader::new(input, &plain, rows, places)?
        } else {
            SerializedPageReader::new(input, column, rows, places)?
        };
        Ok(Self { stored, compressed })
    }
}

impl<R: ChunkReader> PageReader for Pages<R> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.stored.get_next_page()?;
        if !self.compressed { Ok(page) } else { page.map(decompressed).transpose() }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.stored.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.stored.skip_next_page()
    }
}

impl<R: ChunkReader> Iterator for Pages<R> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

fn decompressed(mut page: Page) -> Result<Page> {
    match &mut page {
        Page::DataPage { buf, .. } => *buf = decompress(buf)?,
        Page::DictionaryPage { buf, num_values, .. } => {
            *buf = decompress(buf)?;
            // A reader makes room for as many before it reads the first.
            if usize::try_from(*num_values)? > buf.len() {
                return Err(general("a dictionary says that it has more values than bytes"));
            }
        }
        // Of the second version, the levels come first and are not compressed.
        Page::DataPageV2 {
            buf, def_levels_byte_len, rep_levels_byte_len, is_compressed, ..
        } => {
            if *is_compressed {
                let levels = def_levels_byte_len.saturating_add(*rep_levels_byte_len);
                let levels = usize::try_from(levels)?;
                if levels > buf.len() {
                    return Err(general("a page is shorter than it says"));
                }
                let mut bytes = buf.slice(..levels).to_vec();
                bytes.extend_from_slice(&decompress(&buf.slice(levels..))?);
                *buf = bytes.into();
            }
        }
    }
    Ok(page)
}

fn decompress(bytes: &Bytes) -> Result<Bytes> {
    if bytes.is_empty() {
        return Ok(Bytes::new());
    }
    let size = zstd::zstd_safe::get_frame_content_size(bytes)
        .map_err(|_| general("a page is not what zstd writes"))?;
    let Some(size) = size else {
        // Writers that compress piece by piece do not know it beforehand.
        let mut all = Vec::new();
        let mut reader = zstd::stream::read::Decoder::new(&bytes[..])?.take(MAX_PAGE as u64 + 1);
        reader.read_to_end(&mut all)?;
        return if all.len() > MAX_PAGE { Err(general(TOO_LONG)) } else { Ok(all.into()) };
    };
    let size = usize::try_from(size).ok().filter(|size| *size <= MAX_PAGE);
    let size = size.ok_or_else(|| general(TOO_LONG))?;
    ZSTD.with_borrow_mut(|context| {
        let context = match context {
            Some(context) => context,
            None => context.insert(zstd::bulk::Decompressor::new()?),
        };
        Ok(context.decompress(bytes, size)?.into())
    })
}

#[cfg(test)]
mod tests {
    use parquet::basic::ZstdLevel;
    use parquet::column::reader::ColumnReaderImpl;
    use parquet::column::writer::ColumnWriter;
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::file::serialized_reader::ReadOptionsBuilder;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    fn file(properties: WriterProperties, values: &[ByteArray]) -> Bytes {
        let schema = parse_message_type("message m { required binary values; }").expect("a schema");
        let mut writer = SerializedFileWriter::new(Vec::new(), schema.into(), properties.into())
            .expect("a writer");
        let mut group = writer.next_row_group().expect("a row group");
        let mut column = group.next_column().expect("columns").expect("a column");
        let ColumnWriter::ByteArrayColumnWriter(typed) = column.untyped() else { panic!("type") };
        typed.write_batch(values, None, None).expect("values are written");
        column.close().expect("it is closed");
        group.close().expect("it is closed");
        writer.into_inner().expect("a file").into()
    }

    #[test]
    fn rows_are_those_that_were_written() {
        let values: Vec<ByteArray> =
            (0..5000u32).map(|n| format!("{:04}", n % 700).into_bytes().into()).collect();
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for compression in [Compression::UNCOMPRESSED, Compression::ZSTD(ZstdLevel::default())]
            {
                for dictionary in [true, false] {
                    let properties = WriterProperties::builder()
                        .set_writer_version(version)
                        .set_compression(compression)
                        .set_dictionary_enabled(dictionary)
                        .set_data_page_row_count_limit(300)
                        .set_write_batch_size(100)
                        .build();
                    read_back(&file(properties, &values), &values);
                }
            }
        }
    }

    fn read_back(bytes: &Bytes, values: &[ByteArray]) {
        let options = ReadOptionsBuilder::new().with_page_index().build();
        let reader =
            SerializedFileReader::new_with_options(bytes.clone(), options).expect("a file");
        let meta = reader.metadata();
        let places = meta.offset_index().map(|index| index[0][0].page_locations().clone());
        for places in [places, None] {
            let chunk = meta.row_group(0).column(0);
            let pages = Pages::new(Arc::new(bytes.clone()), chunk, values.len(), places);
            let descr = chunk.column_descr_ptr();
            let mut column: ColumnReaderImpl<ByteArrayType> =
                ColumnReaderImpl::new(descr, Box::new(pages.expect("pages")));
            for (from, count) in [(0, 10), (299, 3), (2000, 700), (4999, 1)] {
                let mut read = Vec::new();
                let before = [0, 10, 302, 2700];
                let at = before.iter().rev().find(|at| **at <= from).expect("a place");
                assert_eq!(column.skip_records(from - at).expect("rows"), from - at);
                column.read_records(count, None, None, &mut read).expect("rows");
                assert!(read == values[from..from + count], "{from} {count}");
            }
        }
    }

    #[test]
    fn a_damaged_page_is_an_error() {
        assert!(decompress(&Bytes::from_static(b"no frame")).is_err());
        let mut frame = zstd::bulk::compress(&[7; 1000], 1).expect("a frame");
        frame.truncate(frame.len() - 3);
        assert!(decompress(&frame.into()).is_err());
        let dictionary = |num_values| Page::DictionaryPage {
            buf: zstd::bulk::compress(&[7; 100], 1).expect("a frame").into(),
            num_values,
            encoding: parquet::basic::Encoding::PLAIN,
            is_sorted: false,
        };
        assert!(decompressed(dictionary(25)).is_ok() && decompressed(dictionary(1 << 27)).is_err());
    }

    #[test]
    fn a_frame_that_does_not_say_its_length_is_read_to_its_end() {
        use std::io::Write as _;
        let mut writer = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
        writer.write_all(&[7; 100_000]).expect("it is written");
        let frame = writer.finish().expect("a frame");
        assert!(matches!(zstd::zstd_safe::get_frame_content_size(&frame), Ok(None)));
        assert_eq!(decompress(&frame.into()).expect("a page"), vec![7; 100_000]);
    }
}
