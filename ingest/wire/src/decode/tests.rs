use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{DictionaryHandling, IpcWriteOptions};
use arrow_schema::{Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::schema::{label_type, time_type};
use crate::{encode, encode_stream};

fn sample() -> (Header, RecordBatch) {
    let header = Header {
        agent: "host-1".into(),
        boot: "b".into(),
        sequence: 1,
        losses: BTreeMap::from([("ring_drops".into(), 2)]),
    };
    let rows = 1000;
    let end = TimestampMicrosecondArray::from_iter_values(0..rows).with_timezone("UTC");
    let workload: DictionaryArray<arrow_array::types::Int32Type> =
        (0..rows).map(|i| if i % 2 == 0 { "nginx" } else { "curl" }).collect();
    let schema = Schema::new(vec![
        Field::new("end", time_type(), false),
        Field::new("workload", label_type(), true),
        Field::new("tx_bytes", arrow_schema::DataType::Int64, true),
    ]);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(end), Arc::new(workload), Arc::new(Int64Array::from_value(5, 1000))];
    (header, RecordBatch::try_new(Arc::new(schema), columns).unwrap())
}

#[test]
fn a_batch_survives_the_trip() {
    let (header, batch) = sample();
    let message = decode(&encode(&header, &batch).unwrap(), &Limits::default()).unwrap();
    assert_eq!(message.header, header);
    assert_eq!(message.batches.len(), 1);
    assert_eq!(message.batches[0].columns(), batch.columns());
}

#[test]
fn a_bare_stream_reads_the_same_and_what_follows_it_is_ignored() {
    let (header, batch) = sample();
    let mut bytes = encode_stream(&header, &batch).unwrap();
    let compressed = encode(&header, &batch).unwrap();
    assert!(compressed.len() * 3 < bytes.len(), "{} {}", compressed.len(), bytes.len());
    bytes.extend(b"trailing");
    let bare = decode(&bytes, &Limits::default()).unwrap();
    let whole = decode(&compressed, &Limits::default()).unwrap();
    assert_eq!(bare.batches, whole.batches);
    assert_eq!(bare.header, whole.header);
}

#[test]
fn columns_that_are_null_throughout_do_not_travel() {
    let (header, batch) = sample();
    let nothing: ArrayRef = Arc::new(Int64Array::from(vec![None; 1000]));
    let mut columns: Vec<_> =
        ["end", "workload", "tx_bytes"].into_iter().zip(batch.columns().to_vec()).collect();
    columns.push(("rx_bytes", nothing));
    let wider = RecordBatch::try_from_iter(columns).unwrap();
    let message = decode(&encode(&header, &wider).unwrap(), &Limits::default()).unwrap();
    assert_eq!(message.batches[0].columns(), batch.columns());
    let empty = decode(&encode(&header, &wider.slice(0, 0)).unwrap(), &Limits::default()).unwrap();
    assert_eq!(empty.schema.fields().len(), 4, "without rows every column is a statement");
}

#[test]
fn every_truncation_is_an_error() {
    let (header, batch) = sample();
    let bytes = encode(&header, &batch).unwrap();
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length], &Limits::default()).is_err(), "{length} bytes");
    }
}

#[test]
fn a_claim_beyond_the_limit_is_refused_before_allocation() {
    let (header, batch) = sample();
    let bytes = encode(&header, &batch).unwrap();
    let zstd = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD));
    let each_buffer = stream(&[batch], zstd.unwrap());
    let limits = Limits { decompressed_bytes: 10_000, ..Limits::default() };
    for bytes in [&bytes, &each_buffer] {
        assert!(matches!(
            decode(bytes, &limits),
            Err(DecodeError::TooLarge { what: "bytes after decompression", limit: 10_000, .. })
        ));
    }
    let limits = Limits { rows: 999, ..Limits::default() };
    assert!(matches!(decode(&bytes, &limits), Err(DecodeError::TooLarge { what: "rows", .. })));
}

#[test]
fn a_stream_without_header_is_refused() {
    let batch =
        RecordBatch::try_from_iter([("x", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)])
            .unwrap();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let bytes = writer.into_inner().unwrap();
    assert!(matches!(
        decode(&bytes, &Limits::default()),
        Err(DecodeError::Header(HeaderError::Missing("weir.version")))
    ));
}

/// A stream of one schema with a header and the given batches.
fn stream(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let schema = batches[0].schema().as_ref().clone().with_metadata(sample().0.to_metadata());
    let mut writer =
        arrow_ipc::writer::StreamWriter::try_new_with_options(Vec::new(), &schema, options)
            .unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn column(array: impl arrow_array::Array + 'static) -> RecordBatch {
    RecordBatch::try_from_iter([("extra", Arc::new(array) as ArrayRef)]).unwrap()
}

#[test]
fn columns_that_expand_are_refused_by_name() {
    use arrow_array::builder::{Int64Builder, ListBuilder};
    use arrow_array::types::{Int32Type, Int64Type};
    use arrow_array::{ListArray, RunArray, StringViewArray, StructArray};
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]);
    let keys = arrow_array::Int32Array::from(vec![0]);
    let mut nested = ListBuilder::new(ListBuilder::new(Int64Builder::new()));
    nested.values().values().append_value(1);
    nested.values().append(true);
    nested.append(true);
    let ends = arrow_array::Int32Array::from(vec![1]);
    let cases: [(RecordBatch, &str); 5] = [
        (column(StringViewArray::from(vec!["a"])), "Utf8View"),
        (column(DictionaryArray::<Int32Type>::new(keys, Arc::new(lists))), "a dictionary of List"),
        (column(nested.finish()), "List of List"),
        (
            column(RunArray::<Int32Type>::try_new(&ends, &Int64Array::from(vec![1])).unwrap()),
            "RunEndEncoded",
        ),
        (column(StructArray::new_empty_fields(1, None)), "Struct_"),
    ];
    for (batch, found) in cases {
        let refused = decode(&stream(&[batch], IpcWriteOptions::default()), &Limits::default());
        let Err(error) = refused else { panic!("{found} is accepted") };
        assert!(matches!(&error, DecodeError::Column { column, .. } if column == "extra"));
        assert!(error.to_string().contains(found), "{error}");
    }
}

fn labels(values: &[&str]) -> RecordBatch {
    let labels: DictionaryArray<arrow_array::types::Int32Type> = values.iter().copied().collect();
    column(labels)
}

#[test]
fn dictionaries_are_replaced_but_do_not_grow() {
    let batches = [labels(&["a"]), labels(&["a", "b"]), labels(&["a", "b", "c"])];
    let whole = stream(&batches, IpcWriteOptions::default());
    let read = decode(&whole, &Limits::default()).unwrap();
    assert_eq!(read.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 6);
    let deltas = IpcWriteOptions::default().with_dictionary_handling(DictionaryHandling::Delta);
    let refused = decode(&stream(&batches, deltas), &Limits::default());
    assert!(matches!(refused, Err(DecodeError::Delta { .. })), "{refused:?}");
}

#[test]
fn a_large_dictionary_serves_few_record_batches() {
    let big = labels(&["x".repeat(100_000).as_str()]);
    let limits = Limits { decompressed_bytes: 200_000, ..Limits::default() };
    let few = vec![big.clone(); 4];
    decode(&stream(&few, IpcWriteOptions::default()), &limits).unwrap();
    let many = vec![big; 40];
    let refused = decode(&stream(&many, IpcWriteOptions::default()), &limits);
    assert!(matches!(refused, Err(DecodeError::TooLarge { .. })), "{refused:?}");
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, &Limits::default());
    }

    #[test]
    fn damage_never_panics(at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let (header, batch) = sample();
        let mut bytes = encode(&header, &batch).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = decode(&bytes, &Limits::default());
    }
}
