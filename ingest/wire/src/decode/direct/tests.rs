use std::collections::BTreeMap;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, DictionaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, Field};
use proptest::prelude::*;

use super::*;
use crate::{DecodeError, decode, decode_flows, encode, encode_stream};

fn header() -> Header {
    Header {
        agent: "host-1".into(),
        boot: "b".into(),
        sequence: 1,
        losses: BTreeMap::from([("ring_drops".into(), 2)]),
    }
}

/// A value for each row: none, or one of a few.
type Seen = Vec<Option<u8>>;

fn labels(seen: &Seen) -> ArrayRef {
    let texts: Vec<Option<String>> =
        seen.iter().map(|n| n.map(|n| "ä".repeat(usize::from(n)))).collect();
    Arc::new(texts.iter().map(Option::as_deref).collect::<DictionaryArray<Int32Type>>())
}

fn column(column: &Column, seen: &Seen) -> ArrayRef {
    let seen: Seen =
        seen.iter().map(|n| if column.required { n.or(Some(0)) } else { *n }).collect();
    match &column.data_type {
        DataType::Dictionary(..) => labels(&seen),
        DataType::Int64 => Arc::new(seen.iter().map(|n| n.map(i64::from)).collect::<Int64Array>()),
        DataType::Int32 => Arc::new(seen.iter().map(|n| n.map(i32::from)).collect::<Int32Array>()),
        DataType::Timestamp(..) => {
            let times = seen.iter().map(|n| n.map(i64::from));
            Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        _ => {
            let mut lists = ListBuilder::new(Int64Builder::new());
            for n in &seen {
                lists.append_option(n.map(|n| (0..n).map(|n| Some(i64::from(n)))));
            }
            Arc::new(lists.finish())
        }
    }
}

/// A batch with the columns that are there.
fn batch(columns: &[Option<Seen>], rows: usize) -> RecordBatch {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (of, seen) in FLOW_COLUMNS.iter().zip(columns) {
        let all = vec![Some(1); rows];
        let seen = match seen {
            Some(seen) => seen,
            None if of.required => &all,
            None => continue,
        };
        fields.push(Field::new(of.name, of.data_type.clone(), !of.required));
        arrays.push(column(of, &seen.iter().copied().take(rows).collect()));
    }
    RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), arrays).unwrap()
}

fn some_batch() -> RecordBatch {
    let seen: Seen = (0..40).map(|n| (n % 3 > 0).then_some(n % 5)).collect();
    batch(&vec![Some(seen); FLOW_COLUMNS.len()], 40)
}

fn read_direct(stream: &[u8], limits: &Limits) -> Option<Message> {
    read(&Buffer::from(stream), limits)
}

/// Every column that was sent is as it was, every other one null.
fn assert_same(read: &Message, sent: &RecordBatch) {
    assert!(Arc::ptr_eq(&read.schema, &FLOWS));
    let [batch] = read.batches.as_slice() else { panic!("one batch") };
    assert!(Arc::ptr_eq(batch.schema_ref(), &FLOWS));
    assert_eq!(batch.num_rows(), sent.num_rows());
    for field in FLOWS.fields() {
        let found = batch.column_by_name(field.name()).unwrap();
        match sent.column_by_name(field.name()) {
            // What a list calls its items is not told from list to list.
            Some(column) if let Some(lists) = column.as_list_opt::<i32>() => {
                assert!(found.as_list::<i32>().iter().eq(lists.iter()), "{}", field.name());
            }
            Some(column) => assert_eq!(found, column, "{}", field.name()),
            None => assert_eq!(found.null_count(), found.len(), "{}", field.name()),
        }
    }
}

fn columns_strategy() -> impl Strategy<Value = (Vec<Option<Seen>>, usize)> {
    let seen = prop::collection::vec(prop::option::of(0u8..6), 70);
    let columns = prop::collection::vec(prop::option::of(seen), FLOW_COLUMNS.len());
    (columns, 1usize..70)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_selection_of_columns_is_read_as_it_was((columns, rows) in columns_strategy()) {
        let sent = batch(&columns, rows);
        let stream = encode_stream(&header(), &sent).unwrap();
        let message = read_direct(&stream, &Limits::default()).expect("the usual shape");
        prop_assert_eq!(&message.header, &header());
        assert_same(&message, &sent);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_is_accepted_that_the_general_reader_refuses(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut stream = encode_stream(&header(), &some_batch()).unwrap();
        for (at, byte) in changes {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        if let Some(cut) = cut {
            stream.truncate(cut.index(stream.len()));
        }
        if let Some(message) = read_direct(&stream, &Limits::default()) {
            let general = decode(&stream, &Limits::default()).expect("it reads this too");
            prop_assert_eq!(&message.header, &general.header);
            assert_same(&message, &general.batches[0]);
        }
    }
}

#[test]
fn what_is_unusual_is_read_by_the_general_reader() {
    let sent = some_batch();
    let limits = Limits::default();
    let general = |stream: &[u8], what: &str| {
        assert!(read_direct(stream, &limits).is_none(), "{what}");
        let message = decode_flows(stream, &limits).expect(what);
        let rows: usize = message.batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows % sent.num_rows(), 0, "{what}");
    };
    let schema = arrow_schema::Schema::new_with_metadata(
        sent.schema().fields().clone(),
        header().to_metadata(),
    );
    let write = |options: IpcWriteOptions, batches: &[&RecordBatch]| -> Result<_, ArrowError> {
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options)?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.finish()?;
        writer.into_inner()
    };
    let usual = write(IpcWriteOptions::default(), &[&sent]).unwrap();
    assert_same(&read_direct(&usual, &limits).expect("other padding"), &sent);
    general(&write(IpcWriteOptions::default(), &[&sent, &sent]).unwrap(), "two batches");
    general(&write(IpcWriteOptions::default(), &[]).unwrap(), "no batch");
    let zstd =
        IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).unwrap();
    general(&write(zstd, &[&sent]).unwrap(), "buffers compressed one by one");

    let other = |change: &dyn Fn(&mut Vec<Field>, &mut Vec<ArrayRef>)| {
        let mut fields: Vec<Field> =
            sent.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        let mut columns = sent.columns().to_vec();
        change(&mut fields, &mut columns);
        let schema = Arc::new(arrow_schema::Schema::new(fields));
        encode_stream(&header(), &RecordBatch::try_new(schema, columns).unwrap()).unwrap()
    };
    general(
        &other(&|fields, columns| {
            fields.push(Field::new("new", DataType::Int64, true));
            columns.push(Arc::new(Int64Array::from_value(1, sent.num_rows())));
        }),
        "a column that is not known",
    );
    general(
        &other(&|fields, columns| {
            fields.swap(2, 3);
            columns.swap(2, 3)
        }),
        "another order",
    );
    general(
        &other(&|fields, columns| {
            fields.remove(0);
            columns.remove(0);
        }),
        "a column that is missing",
    );
    general(
        &other(&|fields, columns| {
            let texts = StringArray::from_iter_values((0..sent.num_rows()).map(|_| "x"));
            fields[2] = Field::new(fields[2].name(), DataType::Utf8, true);
            columns[2] = Arc::new(texts);
        }),
        "a label as text",
    );
}

#[test]
fn nulls_where_the_table_has_none_are_left_to_the_general_reader() {
    let sent = some_batch();
    let place = FLOW_COLUMNS.iter().position(|c| c.name == "workload").unwrap();
    let mut fields: Vec<Field> =
        sent.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    let mut columns = sent.columns().to_vec();
    fields[place] = fields[place].clone().with_nullable(true);
    columns[place] = labels(&(0..40).map(|n| (n > 0).then_some(1)).collect());
    let sent = RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), columns).unwrap();
    let stream = encode_stream(&header(), &sent).unwrap();
    assert!(read_direct(&stream, &Limits::default()).is_none());
    assert_eq!(
        decode_flows(&stream, &Limits::default()).unwrap().batches[0].columns(),
        sent.columns()
    );
}

#[test]
fn the_bounds_hold() {
    let sent = some_batch();
    let body = encode(&header(), &sent).unwrap();
    let limits = Limits { rows: 39, ..Limits::default() };
    let refused = decode_flows(&body, &limits);
    assert!(matches!(refused, Err(DecodeError::TooLarge { what: "rows", .. })), "{refused:?}");
    let stream = encode_stream(&header(), &sent).unwrap();
    let limits = Limits { decompressed_bytes: 1000, ..Limits::default() };
    let refused = decode_flows(&stream, &limits);
    assert!(matches!(refused, Err(DecodeError::TooLarge { .. })), "{refused:?}");
}
