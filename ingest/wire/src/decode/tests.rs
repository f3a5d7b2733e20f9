use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::encode;
use crate::schema::{label_type, time_type};

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
    let limits = Limits { decompressed_bytes: 10_000, ..Limits::default() };
    assert!(matches!(
        decode(&bytes, &limits),
        Err(DecodeError::TooLarge { what: "bytes after decompression", limit: 10_000, .. })
    ));
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
