use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use proptest::prelude::*;

use super::super::row_groups::RowGroups;

const PAGE: usize = 100;
const GROUP: usize = 350;

fn batch(columns: Vec<(&str, ArrayRef, bool)>) -> RecordBatch {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, array, nullable)| Field::new(*name, array.data_type().clone(), *nullable))
        .collect();
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// Writes rows in batches of odd sizes.
fn write(rows: &RecordBatch) -> Bytes {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap()))
        .set_max_row_group_row_count(Some(GROUP))
        .set_data_page_row_count_limit(PAGE)
        .set_statistics_enabled(EnabledStatistics::Page)
        .build();
    let mut writer = RowGroups::new(Vec::new(), &rows.schema(), properties).unwrap();
    let mut at = 0;
    for length in [1, 7, 99, 100, 101, 350, 700].iter().cycle() {
        let length = (*length).min(rows.num_rows() - at);
        writer.write(&rows.slice(at, length)).unwrap();
        at += length;
        if at == rows.num_rows() {
            break;
        }
    }
    writer.into_inner().unwrap().into()
}

fn open(file: &Bytes) -> ParquetRecordBatchReaderBuilder<Bytes> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options).unwrap()
}

fn read(reader: ParquetRecordBatchReaderBuilder<Bytes>) -> RecordBatch {
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn assert_same(read: &RecordBatch, written: &RecordBatch) {
    assert_eq!(read.num_rows(), written.num_rows());
    assert_eq!(read.columns(), written.columns());
}

fn metadata(file: &Bytes) -> Arc<ParquetMetaData> {
    open(file).metadata().clone()
}

fn numbers() -> impl Strategy<Value = Vec<Option<i64>>> {
    let value = prop_oneof![
        4 => (0i64..4).prop_map(Some),
        2 => (0i64..100_000).prop_map(Some),
        1 => any::<i64>().prop_map(Some),
        1 => Just(Some(i64::MIN)),
        1 => Just(Some(i64::MAX)),
        1 => Just(None),
    ];
    prop_oneof![
        prop::collection::vec(value, 0..1000),
        prop::collection::vec((0i64..3).prop_map(Some), 0..1000),
        prop::collection::vec((0i64..1 << 40).prop_map(Some), 0..1000),
        prop::collection::vec(Just(None), 0..400),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(values in numbers(), lists in prop::collection::vec(
        prop_oneof![
            Just(None),
            prop::collection::vec(prop::option::weighted(0.9, 0i64..50), 0..6).prop_map(Some)
        ], 0..50)
    ) {
        let n = values.len();
        let small = |v: &Option<i64>| v.map(|v| (v ^ (v >> 32)) as i32);
        let lists = (0..n).map(|i| lists.get(i % lists.len().max(1)).cloned().flatten());
        let rows = batch(vec![
            ("long", Arc::new(Int64Array::from(values.clone())), true),
            ("whole", Arc::new(Int64Array::from_iter_values(values.iter().map(|v| v.unwrap_or(7)))), false),
            ("int", Arc::new(values.iter().map(small).collect::<Int32Array>()), true),
            ("time", Arc::new(TimestampMicrosecondArray::from(values.clone()).with_timezone("UTC")), true),
            ("lists", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)), true),
        ]);
        let file = write(&rows);
        assert_same(&read(open(&file)), &rows);
        // A part of it, by the page index.
        let (from, length) = (n / 3, n / 5);
        let selection = RowSelection::from(vec![
            RowSelector::skip(from),
            RowSelector::select(length),
            RowSelector::skip(n - from - length),
        ]);
        assert_same(&read(open(&file).with_row_selection(selection)), &rows.slice(from, length));
    }
}

#[test]
fn rows_of_another_shape_are_refused() {
    let rows = batch(vec![("n", Arc::new(Int64Array::from(vec![1])), false)]);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = RowGroups::new(Vec::new(), &rows.schema(), properties).unwrap();
    let other = batch(vec![("n", Arc::new(Int64Array::from(vec![None, Some(1)])), true)]);
    assert!(writer.write(&other).is_err(), "a null in a column that has none");
    let other = batch(vec![("n", Arc::new(Int32Array::from(vec![1])), true)]);
    assert!(writer.write(&other).is_err(), "another type");
    let none = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        vec![],
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
    );
    assert!(writer.write(&none.unwrap()).is_err(), "a column less");
}

#[test]
fn statistics_bound_chunks_and_pages() {
    let values: Vec<_> = (0..400).map(|i| (!(100..200).contains(&i)).then_some(i * 3)).collect();
    let file = write(&batch(vec![("n", Arc::new(Int64Array::from(values)), true)]));
    let metadata = metadata(&file);
    let bounds = |group: usize| {
        let statistics = metadata.row_group(group).column(0).statistics().unwrap();
        let bytes = |b: Option<&[u8]>| i64::from_le_bytes(b.unwrap().try_into().unwrap());
        let (min, max) = (statistics.min_bytes_opt(), statistics.max_bytes_opt());
        (bytes(min), bytes(max), statistics.null_count_opt())
    };
    assert_eq!(bounds(0), (0, 349 * 3, Some(100)));
    assert_eq!(bounds(1), (350 * 3, 399 * 3, Some(0)));
    let index = &metadata.column_index().unwrap()[0][0];
    assert!(!index.is_null_page(0) && index.is_null_page(1) && !index.is_null_page(2));
    assert_eq!(index.null_count(1), Some(100));
    let offsets = &metadata.offset_index().unwrap()[0][0];
    let firsts: Vec<_> = offsets.page_locations().iter().map(|p| p.first_row_index).collect();
    assert_eq!(firsts, [0, 100, 200, 300]);
}

#[test]
fn few_values_become_references_and_many_do_not() {
    let values = |distinct: i64| -> ArrayRef {
        // A walk without a pattern: squares modulo a prime.
        Arc::new(Int64Array::from_iter_values(
            (0..350).map(|i| (i * i * 7919) % 1009 % distinct * 1000),
        ))
    };
    let file = write(&batch(vec![("few", values(5), false), ("many", values(1009), false)]));
    let metadata = metadata(&file);
    let encodings = |column| metadata.row_group(0).column(column).encodings().collect::<Vec<_>>();
    assert!(encodings(0).contains(&Encoding::RLE_DICTIONARY), "{:?}", encodings(0));
    assert!(encodings(1).contains(&Encoding::DELTA_BINARY_PACKED), "{:?}", encodings(1));
}

/// Times of keys one after the other, each silent now and then.
#[test]
fn times_that_repeat_take_less_than_with_the_parquet_crate() {
    let mut times = Vec::new();
    let mut state = 1u64;
    for _ in 0..200 {
        for interval in 0..100i64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if state >> 62 != 0 {
                times.push(1_790_000_000_000_000 + interval * 10_000_000);
            }
        }
    }
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
    let zone = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(array.data_type(), &zone);
    let rows = batch(vec![("end", array, false)]);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(15).unwrap()))
        .set_encoding(Encoding::DELTA_BINARY_PACKED)
        .set_dictionary_enabled(false)
        .build();
    let mut ours = RowGroups::new(Vec::new(), &rows.schema(), properties.clone()).unwrap();
    ours.write(&rows).unwrap();
    let ours = ours.into_inner().unwrap().len();
    let mut theirs =
        parquet::arrow::ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    theirs.write(&rows).unwrap();
    let theirs = theirs.into_inner().unwrap().len();
    assert!(ours * 10 < theirs * 9, "{ours} bytes, {theirs} by the Parquet crate");
}
