use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::ZstdLevel;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;
use proptest::prelude::*;

use super::*;
use crate::files::row_groups::RowGroups;

fn schema() -> SchemaRef {
    let label = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![
        Field::new("always", label.clone(), false),
        Field::new("n", DataType::Int64, true),
        Field::new("sometimes", label, true),
    ]))
}

fn properties(dictionary: usize) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_max_row_group_row_count(Some(700))
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(100)
        .set_dictionary_page_size_limit(dictionary)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_column_statistics_enabled("sometimes".into(), EnabledStatistics::Chunk)
        .set_coerce_types(true)
        .build()
}

/// Runs of labels: a value, or none, and how often.
type Runs = Vec<(Option<u16>, usize)>;

fn batch(runs: &Runs) -> RecordBatch {
    let text = |n: u16| format!("{}{n}", "é".repeat(usize::from(n % 7) * 4));
    let all: Vec<Option<String>> =
        runs.iter().flat_map(|(v, n)| std::iter::repeat_n(v.map(text), *n)).collect();
    let labels = |f: &dyn Fn(&Option<String>) -> Option<String>| -> ArrayRef {
        let texts: Vec<Option<String>> = all.iter().map(f).collect();
        Arc::new(texts.iter().map(Option::as_deref).collect::<DictionaryArray<Int32Type>>())
    };
    RecordBatch::try_new(
        schema(),
        vec![
            labels(&|text| Some(text.clone().unwrap_or_default())),
            Arc::new((0..).take(all.len()).map(Some).collect::<Int64Array>()),
            labels(&|text| text.clone()),
        ],
    )
    .unwrap()
}

fn ours(batches: &[RecordBatch], properties: WriterProperties) -> Bytes {
    let mut writer = RowGroups::new(Vec::new(), &schema(), properties).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap().into()
}

fn theirs(batches: &[RecordBatch], properties: WriterProperties) -> Bytes {
    let options =
        ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema(), options).unwrap();
    // It ends a page after the batch that fills it, not within.
    let whole = concat_batches(&schema(), batches).unwrap();
    for from in (0..whole.num_rows()).step_by(100) {
        writer.write(&whole.slice(from, 100.min(whole.num_rows() - from))).unwrap();
    }
    writer.into_inner().unwrap().into()
}

fn read(file: Bytes) -> (Arc<ParquetMetaData>, Vec<RecordBatch>) {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap();
    (reader.metadata().clone(), reader.build().unwrap().map(Result::unwrap).collect())
}

/// All that readers go by, but for sizes and places.
fn assert_same_metadata(ours: &ParquetMetaData, theirs: &ParquetMetaData) {
    assert_eq!(ours.num_row_groups(), theirs.num_row_groups());
    for (group, (our, their)) in ours.row_groups().iter().zip(theirs.row_groups()).enumerate() {
        for (at, (our, their)) in our.columns().iter().zip(their.columns()).enumerate() {
            let name = our.column_path();
            if our.column_type() != Type::BYTE_ARRAY {
                continue;
            }
            assert_eq!(our.statistics(), their.statistics(), "{name}");
            assert_eq!(our.num_values(), their.num_values(), "{name}");
            assert_eq!(our.page_encoding_stats_mask(), their.page_encoding_stats_mask(), "{name}");
            assert_eq!(our.encodings_mask(), their.encodings_mask(), "{name}");
            assert_eq!(our.compression(), their.compression(), "{name}");
            assert_eq!(our.uncompressed_size() > 0, their.uncompressed_size() > 0, "{name}");
            assert_eq!(
                our.unencoded_byte_array_data_bytes(),
                their.unencoded_byte_array_data_bytes(),
                "{name}"
            );
            let rows = |m: &ParquetMetaData| {
                let locations = m.offset_index().unwrap()[group][at].page_locations().clone();
                locations.iter().map(|l| l.first_row_index).collect::<Vec<_>>()
            };
            assert_eq!(rows(ours), rows(theirs), "{name}");
            let index = |m: &ParquetMetaData| m.column_index().unwrap()[group][at].clone();
            let (our, their) = (index(ours), index(theirs));
            let bounded = |index: &ColumnIndexMetaData| !matches!(index, ColumnIndexMetaData::NONE);
            assert_eq!(bounded(&our), bounded(&their), "{name}");
            if !bounded(&our) {
                continue;
            }
            assert_eq!(our.get_boundary_order(), their.get_boundary_order(), "{name}");
            assert_eq!(our.null_counts(), their.null_counts(), "{name}");
            assert_eq!(our.num_pages(), their.num_pages(), "{name}");
            for page in 0..usize::try_from(our.num_pages()).unwrap() {
                assert_eq!(our.is_null_page(page), their.is_null_page(page), "{name}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_are_what_the_other_writer_makes(
        batches in prop::collection::vec(
            prop::collection::vec(
                (prop::option::of(0u16..60), prop_oneof![1usize..5, 1usize..300]),
                1..40,
            ),
            1..4,
        ),
        dictionary in prop_oneof![Just(400usize), Just(1 << 20)],
        cut in 0usize..3,
    ) {
        let batches: Vec<RecordBatch> = batches
            .iter()
            .map(batch)
            .map(|b| b.slice(cut.min(b.num_rows()), b.num_rows() - cut.min(b.num_rows())))
            .collect();
        let (our_metadata, our_rows) = read(ours(&batches, properties(dictionary)));
        let (their_metadata, their_rows) = read(theirs(&batches, properties(dictionary)));
        prop_assert_eq!(our_rows, their_rows);
        assert_same_metadata(&our_metadata, &their_metadata);
    }
}

#[test]
fn a_full_dictionary_is_followed_by_texts() {
    let runs: Runs = (0..600).map(|n| (Some(n), 1)).collect();
    let (metadata, rows) = read(ours(&[batch(&runs)], properties(400)));
    assert_eq!(rows, read(theirs(&[batch(&runs)], properties(400))).1);
    let column = metadata.row_group(0).column(2);
    let encodings: Vec<Encoding> = column.encodings().collect();
    assert!(encodings.contains(&Encoding::RLE_DICTIONARY), "{encodings:?}");
    let pages = column.page_encoding_stats_mask().expect("what its pages are");
    assert!(!pages.is_only(Encoding::RLE_DICTIONARY), "{pages:?}");
}

#[test]
fn a_null_in_a_column_without_nulls_is_an_error() {
    let descr = RowGroups::new(Vec::new(), &schema(), properties(400)).unwrap();
    let descr = descr.descr(0);
    let label = schema().field(0).data_type().clone();
    let mut column = LabelColumn::new(&label, &descr, &properties(400)).unwrap();
    let nulls = batch(&vec![(None, 3)]).column(2).clone();
    let mut zstd = Zstd::new(1).unwrap();
    column.write(&nulls, &mut zstd).unwrap();
    assert!(column.close(&mut zstd).is_err());
}

#[test]
fn long_texts_have_bounds_that_are_cut() {
    let long = |c: &str| format!("{c}{}", "x".repeat(100));
    let labels: DictionaryArray<Int32Type> =
        [long("b"), long("a")].iter().map(|text| Some(text.as_str())).collect();
    let writer = RowGroups::new(Vec::new(), &schema(), properties(400)).unwrap();
    let label = schema().field(0).data_type().clone();
    let mut column = LabelColumn::new(&label, &writer.descr(0), &properties(400)).unwrap();
    let mut zstd = Zstd::new(1).unwrap();
    column.write(&(Arc::new(labels) as ArrayRef), &mut zstd).unwrap();
    let (_, close) = column.close(&mut zstd).unwrap();
    let Some(Statistics::ByteArray(found)) = close.metadata.statistics().cloned() else {
        panic!("statistics of texts")
    };
    let (min, max) = (found.min_opt().unwrap().data(), found.max_opt().unwrap().data());
    assert!(min <= long("a").as_bytes() && max >= long("b").as_bytes());
    assert!(min.len() <= 64 && max.len() <= 64);
    assert!(!found.min_is_exact() && !found.max_is_exact());
}

#[test]
fn unusual_properties_are_left_to_the_other_writer() {
    let writer = RowGroups::new(Vec::new(), &schema(), properties(400)).unwrap();
    let (label, descr) = (schema().field(0).data_type().clone(), writer.descr(0));
    let new = |properties: WriterProperties| LabelColumn::new(&label, &descr, &properties);
    assert!(new(properties(400)).is_some());
    let base = || properties(400).into_builder();
    assert!(new(base().set_dictionary_enabled(false).build()).is_none());
    assert!(new(base().set_compression(Compression::SNAPPY).build()).is_none());
    assert!(new(base().set_statistics_enabled(EnabledStatistics::None).build()).is_none());
    assert!(new(base().set_writer_version(WriterVersion::PARQUET_2_0).build()).is_none());
}
