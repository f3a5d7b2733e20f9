//! Version 1 of the wire format, as it was first released, still reads the same.
//!
//! `fixtures/flows-v1-rust.arrow` was written by this crate, `fixtures/flows-v1-pyarrow.arrow` by
//! pyarrow, both with Arrow's own compression of each buffer; `fixtures/flows-v1-whole-rust.zst` and
//! `fixtures/flows-v1-whole-pyarrow.zst` are the same rows in zstd frames around a stream. The files
//! never change; a new form adds files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder, StringDictionaryBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use weir_wire::{Header, Limits, decode, encode};

fn header() -> Header {
    Header {
        agent: "host-1".into(),
        boot: "4c0ffee0".into(),
        sequence: 42,
        losses: BTreeMap::from([("ring_drops".into(), 3)]),
    }
}

fn label(values: [Option<&str>; 2]) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    builder.extend(values);
    Arc::new(builder.finish())
}

fn rows() -> RecordBatch {
    let time = |t: i64| {
        Arc::new(TimestampMicrosecondArray::from(vec![t, t]).with_timezone("UTC")) as ArrayRef
    };
    let mut buckets = ListBuilder::new(Int64Builder::new());
    buckets.append_value([Some(1), Some(0), Some(2)]);
    buckets.append_value([]);
    RecordBatch::try_from_iter_with_nullable([
        ("start", time(1_700_000_000_000_000), false),
        ("end", time(1_700_000_010_000_000), false),
        ("node", label([Some("n1"), Some("n1")]), false),
        ("workload", label([Some("nginx"), Some("curl")]), false),
        ("peer_workload", label([None, Some("nginx")]), true),
        ("address", label([Some("10.0.0.1"), Some("2001:db8::1")]), true),
        ("port", Arc::new(Int32Array::from(vec![443, 0])), true),
        ("protocol", label([Some("tcp"), Some("tcp")]), false),
        ("role", label([Some("server"), Some("client")]), false),
        ("tx_bytes", Arc::new(Int64Array::from(vec![Some(1500), None])), true),
        ("rtt_offset", Arc::new(Int32Array::from(vec![4, 0])), true),
        ("rtt_buckets", Arc::new(buckets.finish()), true),
    ])
    .unwrap()
}

#[test]
fn version_1_reads_as_ever() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in [
        "flows-v1-rust.arrow",
        "flows-v1-pyarrow.arrow",
        "flows-v1-whole-rust.zst",
        "flows-v1-whole-pyarrow.zst",
    ] {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let message = decode(&bytes, &Limits::default()).unwrap();
        assert_eq!(message.header, header(), "{name}");
        let [batch] = message.batches.as_slice() else { panic!("{name}: one batch") };
        let text = |column: &str, row: usize| {
            let column = batch.column_by_name(column).unwrap().as_dictionary::<Int32Type>();
            let values = column.downcast_dict::<StringArray>().unwrap();
            values.into_iter().nth(row).unwrap().map(str::to_owned)
        };
        assert_eq!(text("workload", 1).as_deref(), Some("curl"), "{name}");
        assert_eq!(text("peer_workload", 0), None, "{name}");
        assert_eq!(text("address", 1).as_deref(), Some("2001:db8::1"), "{name}");
        let end = batch.column_by_name("end").unwrap();
        assert_eq!(end.as_primitive::<TimestampMicrosecondType>().value(0), 1_700_000_010_000_000);
        let tx = batch.column_by_name("tx_bytes").unwrap().as_primitive::<Int64Type>();
        assert!(tx.value(0) == 1500 && tx.is_null(1), "{name}");
        let buckets = batch.column_by_name("rtt_buckets").unwrap().as_list::<i32>().value(0);
        assert_eq!(buckets.as_primitive::<Int64Type>().values(), &[1, 0, 2], "{name}");
    }
}

#[test]
fn what_is_written_today_reads_back_equal() {
    let bytes = encode(&header(), &rows()).unwrap();
    let message = decode(&bytes, &Limits::default()).unwrap();
    assert_eq!(message.header, header());
    assert_eq!(message.batches[0].columns(), rows().columns());
    if let Some(path) = std::env::var_os("WEIR_WRITE_WIRE_FIXTURE") {
        std::fs::write(path, bytes).unwrap();
    }
}
