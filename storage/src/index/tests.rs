//! What goes into an index comes out of it, and damage is seen.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringDictionaryBuilder};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::KeyValue;
use proptest::prelude::*;

use super::decode::{self, Wrong};
use super::*;

type Labels = Vec<Option<String>>;
/// A predicate on a value or its absence.
type Accepts<'a> = &'a dyn Fn(Option<&str>) -> bool;

fn schema(columns: usize) -> Arc<Schema> {
    let label = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = (0..columns).map(|i| Field::new(format!("c{i}"), label.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn batch(columns: &[Labels]) -> RecordBatch {
    let arrays = columns
        .iter()
        .map(|values| {
            let mut builder = StringDictionaryBuilder::<Int32Type>::new();
            builder.extend(values.iter().map(Option::as_deref));
            Arc::new(builder.finish()) as ArrayRef
        })
        .collect();
    RecordBatch::try_new(schema(columns.len()), arrays).unwrap()
}

/// Collects the columns in batches of `chunk` rows, each with dictionaries of its own.
fn collect(columns: &[Labels], chunk: usize) -> Collector {
    let mut collector = Collector::new(&schema(columns.len()));
    let rows = columns.first().map_or(0, Vec::len);
    for start in (0..rows).step_by(chunk) {
        let end = rows.min(start + chunk);
        let part: Vec<Labels> = columns.iter().map(|c| c[start..end].to_vec()).collect();
        collector.add(&batch(&part));
    }
    collector
}

type Parsed = (decode::Head, Vec<Option<ColumnIndex>>);

fn parse(bytes: &[u8]) -> Result<Parsed, Wrong> {
    let head_length = decode::head_length(bytes)?;
    let head = bytes.get(..head_length).ok_or(Wrong::Damaged(0, "it is cut off"))?;
    let head = decode::head(head, bytes.len() as u64)?;
    let all = Bytes::copy_from_slice(bytes);
    let column = |place: &decode::Place| {
        let Some(block) = place.block else { return Ok(None) };
        let start = block.offset as usize;
        let bytes = all.slice(start..start + block.length as usize);
        decode::column(&bytes, block.crc, head.rows).map(Some)
    };
    let columns = head.columns.iter().map(column).collect::<Result<_, _>>()?;
    Ok((head, columns))
}

fn label() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(String::new())),
        6 => "[a-e]{1,2}|ü\u{1f980}?".prop_map(Some),
    ]
}

/// Runs of equal values, as sorted rows have.
fn column() -> impl Strategy<Value = Labels> {
    prop::collection::vec((label(), 1usize..90), 1..30).prop_map(|runs| {
        let rows = runs.into_iter().flat_map(|(v, n)| std::iter::repeat_n(v, n));
        rows.collect()
    })
}

proptest! {
    #[test]
    fn answers_are_those_of_a_look_at_each_row(
        mut columns in prop::collection::vec(column(), 1..4),
        chunk in 1usize..300,
        pattern in "[a-e]|ü|",
    ) {
        let rows = columns.iter().map(Vec::len).min().unwrap();
        columns.iter_mut().for_each(|c| c.truncate(rows));
        let bytes = encode(&collect(&columns, chunk)).unwrap().expect("an index");
        let (head, indexed) = parse(&bytes).unwrap();
        prop_assert_eq!(head.rows as usize, rows);
        for (column, index) in columns.iter().zip(indexed) {
            let index = index.expect("a small column is indexed");
            let accepts: [Accepts<'_>; 4] = [
                &|v| v == Some(pattern.as_str()),
                &|v| v != Some(pattern.as_str()),
                &|v| v.is_some_and(|v| v.contains(&pattern)),
                &|v| v.is_none(),
            ];
            for accepts in accepts {
                let expected: Vec<u32> = (0u32..)
                    .zip(column)
                    .filter(|(_, v)| accepts(v.as_deref()))
                    .map(|(row, _)| row)
                    .collect();
                let found: Vec<u32> = index.rows_where(accepts).unwrap().into_iter().collect();
                prop_assert_eq!(&found, &expected);
            }
            // Each value is there once, in order, and only if a row has it.
            let values: Vec<_> = index.values().as_string::<i32>().iter().collect();
            let mut expected: Vec<_> = column.iter().map(Option::as_deref).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(values, expected);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..120, to in any::<u8>(),
    ) {
        let _ = parse(&bytes);
        let mut index = small();
        let found = parse(&index).is_ok();
        prop_assert!(found);
        let at = at % index.len();
        let changed = index[at] != to;
        index[at] = to;
        prop_assert_eq!(parse(&index).is_err(), changed, "byte {}", at);
        prop_assert!(parse(&index[..at]).is_err());
    }

    #[test]
    fn no_body_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        // Behind a checksum that is right, as a hostile writer would put it.
        let mut block = (bytes.len() as u32).to_le_bytes().to_vec();
        block.extend(zstd::bulk::compress(&bytes, 1).unwrap());
        let block = Bytes::from(block);
        if let Ok(index) = decode::column(&block, crc32fast::hash(&block), 50) {
            let _ = index.rows_where(|_| true);
        }
    }
}

fn small() -> Vec<u8> {
    let column: Labels = ["a", "a", "b"].iter().map(|v| Some((*v).to_owned())).collect();
    encode(&collect(&[column], 8)).unwrap().expect("an index")
}

#[test]
fn dictionaries_may_repeat_values_and_hold_nulls() {
    let values = arrow::array::StringArray::from(vec![Some("a"), None, Some("b"), Some("a")]);
    let keys = arrow::array::Int32Array::from(vec![Some(0), Some(3), Some(1), None, Some(2)]);
    let labels = arrow::array::DictionaryArray::try_new(keys, Arc::new(values)).unwrap();
    let mut collector = Collector::new(&schema(1));
    collector.add(&RecordBatch::try_new(schema(1), vec![Arc::new(labels)]).unwrap());
    let bytes = encode(&collector).unwrap().unwrap();
    let (_, columns) = parse(&bytes).unwrap();
    let index = columns.into_iter().next().flatten().unwrap();
    let rows = |of: Option<&str>| -> Vec<u32> {
        index.rows_where(|v| v == of).unwrap().into_iter().collect()
    };
    assert_eq!((rows(Some("a")), rows(None), rows(Some("b"))), (vec![0, 1], vec![2, 3], vec![4]));
}

#[test]
fn columns_that_do_not_pay_are_left_out_and_the_index_says_so() {
    let rows = 200_000;
    let constant: Labels = vec![Some("x".to_owned()); rows];
    let unique: Labels = (0..rows).map(|i| Some(format!("{i}"))).collect();
    // A million bits that no compressor makes small.
    let mut state = 7u64;
    let noise: Labels = (0..rows)
        .map(|i| {
            if i % 5 == 0 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            }
            Some(format!("v{}", state >> 40 & 1023))
        })
        .collect();
    let bytes = encode(&collect(&[noise, constant, unique], 10_000)).unwrap().unwrap();
    assert!(bytes.len() <= rows * BYTES_PER_KROW / 1024 + 200, "{}", bytes.len());
    let (head, columns) = parse(&bytes).unwrap();
    let indexed: Vec<bool> = head.columns.iter().map(|c| c.block.is_some()).collect();
    assert_eq!(indexed, [false, true, false]);
    assert_eq!(columns[1].as_ref().unwrap().rows_where(|_| true).unwrap().len(), rows as u64);
}

/// A Parquet file with an index, in a store; `damage` may change the file's bytes, given where the
/// index begins.
async fn stored(damage: impl FnOnce(&mut Vec<u8>, usize)) -> (InMemory, Path, u64, Bytes) {
    let columns: Vec<Labels> = vec![(0..100).map(|i| Some(format!("v{}", i / 10))).collect()];
    let batch = batch(&columns);
    let index = encode(&collect(&columns, 100)).unwrap().unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.flush().unwrap();
    let offset = writer.bytes_written();
    writer.write_all(&index).unwrap();
    for (key, value) in [(OFFSET_KEY, offset), (LENGTH_KEY, index.len())] {
        writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value.to_string()));
    }
    let mut file = writer.into_inner().unwrap();
    damage(&mut file, offset);
    let store = InMemory::new();
    let path = Path::from("f.parquet");
    let bytes = Bytes::from(file);
    store.put(&path, bytes.clone().into()).await.unwrap();
    (store, path, bytes.len() as u64, bytes)
}

async fn open(
    store: &InMemory,
    path: &Path,
    size: u64,
    bytes: &Bytes,
) -> Result<LabelIndex, IndexError> {
    let footer = ArrowReaderMetadata::load(bytes, ArrowReaderOptions::new()).unwrap();
    LabelIndex::open(store as &dyn ObjectStore, path, size, footer.metadata())
        .await
        .map(|index| index.expect("the file has an index"))
}

#[tokio::test]
async fn an_embedded_index_is_found_through_the_footer() {
    let (store, path, size, bytes) = stored(|_, _| {}).await;
    let index = open(&store, &path, size, &bytes).await.unwrap();
    assert_eq!((index.rows(), index.has("c0"), index.has("c1")), (100, true, false));
    let columns = index.read(&store, &["c1", "c0"]).await.unwrap();
    let [(name, column)] = columns.as_slice() else { panic!("{columns:?}") };
    assert_eq!(*name, "c0");
    let rows = column.rows_where(|v| v == Some("v3")).unwrap();
    assert_eq!(rows, (30..40).collect());
}

#[tokio::test]
async fn damage_names_file_and_offset() {
    let mut start = 0;
    let (store, path, size, bytes) = stored(|file, offset| {
        file[offset + 20] ^= 1;
        start = offset;
    })
    .await;
    let error = open(&store, &path, size, &bytes).await.unwrap_err();
    let IndexError::Damaged { offset, .. } = &error else { panic!("{error}") };
    assert_eq!(*offset, start as u64);
    assert!(error.to_string().contains("f.parquet"), "{error}");

    let (store, path, size, bytes) = stored(|file, offset| file[offset + 8] = 9).await;
    let error = open(&store, &path, size, &bytes).await.unwrap_err();
    assert!(matches!(error, IndexError::Version { version: 9, .. }), "{error}");

    // Inside of the first block.
    let (store, path, size, bytes) = stored(|file, offset| {
        let head = decode::head_length(&file[offset..]).unwrap();
        file[offset + head + 5] ^= 1;
        start = offset + head;
    })
    .await;
    let index = open(&store, &path, size, &bytes).await.unwrap();
    let error = index.read(&store, &["c0"]).await.unwrap_err();
    let IndexError::Damaged { offset, .. } = &error else { panic!("{error}") };
    assert_eq!(*offset, start as u64);
}
