use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use arrow::row::{RowConverter, SortField};
use proptest::prelude::*;

use super::*;
use crate::bounds::Interner;

use crate::window::Window;

const WINDOW: i64 = Window::TWO_HOURS.micros();

fn spec() -> TableSpec {
    let label = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    TableSpec {
        name: "t",
        schema: Arc::new(Schema::new(vec![
            Field::new("end", time, false),
            Field::new("workload", label, true),
        ])),
        time: "end",
        window: Window::TWO_HOURS,
        workload: &["workload"],
        sort: &["workload", "end"],
        rollup: None,
        series: false,
    }
}

fn batch(rows: &[(i64, Option<&str>)]) -> RecordBatch {
    let workload: DictionaryArray<Int32Type> = rows.iter().map(|r| r.1).collect();
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.0));
    let columns: Vec<Arc<dyn Array>> =
        vec![Arc::new(times.with_timezone("UTC")), Arc::new(workload)];
    RecordBatch::try_new(spec().schema, columns).unwrap()
}

/// The batch with plain texts for labels.
fn texts(batch: &RecordBatch) -> Vec<ArrayRef> {
    let plain = |column: &ArrayRef| match column.data_type() {
        DataType::Dictionary(..) => arrow::compute::cast(column, &DataType::Utf8).unwrap(),
        _ => column.clone(),
    };
    batch.columns().iter().map(plain).collect()
}

#[test]
fn a_workload_of_a_window_is_in_one_part_and_no_row_is_lost() {
    let names: Vec<String> = (0..40).map(|n| format!("w{n}")).collect();
    let rows: Vec<(i64, Option<&str>)> = (0..2000i64)
        .map(|i| {
            let name = usize::try_from(i % 41).ok().and_then(|n| names.get(n));
            (i * 7919 % 2000 * (2 * WINDOW / 2000), name.map(String::as_str))
        })
        .collect();
    let parts = PartCount::new(4).unwrap();
    let batches: Vec<_> = rows.chunks(37).map(batch).collect();
    let spec = spec();
    let arranged = order::arrange(&spec, &batches, parts).unwrap();
    let mut seen = vec![0; rows.len()];
    let mut places = BTreeMap::new();
    for piece in &arranged.pieces {
        assert_eq!(piece.part.count(), parts);
        assert!(places.insert((piece.window, piece.part), ()).is_none(), "one piece per place");
        let mut keys = Vec::new();
        let taken = arranged.take(&piece.rows).unwrap();
        let wanted: Vec<_> = piece.rows.iter().map(|row| rows[*row as usize]).collect();
        assert_eq!(texts(&taken), texts(&batch(&wanted)));
        for row in &piece.rows {
            let row = usize::try_from(*row).unwrap();
            seen[row] += 1;
            let (time, name) = rows[row];
            assert_eq!(Window::TWO_HOURS.of(time), piece.window);
            assert_eq!(parts.part_of([name.unwrap_or("")]), piece.part);
            keys.push((name, time));
        }
        assert!(keys.is_sorted(), "nulls first, then by text, then by time");
    }
    assert!(seen.iter().all(|n| *n == 1));
    assert_eq!(places.len(), 8, "two windows of four parts");
}

#[test]
fn statistics_say_what_is_in_the_file_and_come_back() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = DataDir::new(tmp.path().to_owned());
    crate::durable::create_dir(&dir, &dir.tmp()).unwrap();
    let long = "x".repeat(70);
    let batches = [
        batch(&[(5, Some("b")), (9_000_001, None)]),
        batch(&[(1_000_000, Some("a")), (WINDOW, Some(&long))]),
    ];
    let files = write_files(&dir, &spec(), PartCount::ONE, &batches).unwrap();
    let [first, second] = files.as_slice() else { panic!("{files:?}") };
    let mut json: serde_json::Value = serde_json::from_str(&first.stats.json).unwrap();
    let bytes = std::fs::read(dir.table(spec().name).join(&first.path)).unwrap();
    let told = json.as_object_mut().and_then(|stats| stats.remove("weirCrc32")).unwrap();
    assert_eq!(told, crc32fast::hash(&bytes));
    assert_eq!(
        json,
        serde_json::json!({
            "numRecords": 3,
            "minValues": {"end": "1970-01-01T00:00:00.000005Z", "workload": "a"},
            "maxValues": {"end": "1970-01-01T00:00:09.000001Z", "workload": "b"},
            "nullCount": {"end": 0, "workload": 1},
        })
    );
    let parse = |json| {
        let names = stats::label_columns(&spec()).into();
        stats::parse(json, ("end", "end"), &names, &mut Interner::default()).unwrap()
    };
    let parsed = parse(&first.stats.json);
    assert_eq!((parsed.rows, parsed.min_time, parsed.max_time), (3, 5, 9_000_001));
    let may_hold = |value| parsed.labels.may_hold("workload", value, parsed.rows);
    assert_eq!(["", "A", "a", "b", "c"].map(may_hold), [true, false, true, true, false]);
    let json: serde_json::Value = serde_json::from_str(&second.stats.json).unwrap();
    assert_eq!(json["minValues"]["workload"], "x".repeat(64));
    assert_eq!(json["maxValues"]["workload"], format!("{}y", "x".repeat(62)), "above all values");
    assert!(parse(&second.stats.json).labels.may_hold("workload", &long, 1));
    assert!(first.path.starts_with("date=1970-01-01/part=00/0000-"), "{}", first.path);
    assert!(second.path.starts_with("date=1970-01-01/part=00/0200-"), "{}", second.path);
    assert_eq!(std::fs::read_dir(dir.tmp()).unwrap().count(), 0);
    for file in &files {
        let size = std::fs::metadata(dir.table("t").join(&file.path)).unwrap().len();
        assert_eq!(size, file.size);
    }
}

/// A row of the table `sorted`: a label, numbers of all kinds, a plain text.
type Mixed = (Option<String>, Option<i64>, Option<i32>, Option<String>, Option<bool>);

fn mixed(rows: &[Mixed]) -> (SchemaRef, RecordBatch) {
    let label: DictionaryArray<Int32Type> = rows.iter().map(|r| r.0.as_deref()).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "end",
            Arc::new(TimestampMicrosecondArray::from(vec![0; rows.len()]).with_timezone("UTC")),
        ),
        ("label", Arc::new(label)),
        ("long", Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>())),
        ("int", Arc::new(rows.iter().map(|r| r.2).collect::<Int32Array>())),
        ("text", Arc::new(rows.iter().map(|r| r.3.as_deref()).collect::<StringArray>())),
        ("flag", Arc::new(rows.iter().map(|r| r.4).collect::<BooleanArray>())),
    ];
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), *name != "end"))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    (schema.clone(), RecordBatch::try_new(schema, columns).unwrap())
}

proptest! {
    #[test]
    fn rows_are_in_the_order_that_arrow_sorts_them(
        rows in prop::collection::vec(
            (
                prop::option::of("[ab\u{e9}]{0,3}"),
                prop::option::of(prop_oneof![Just(i64::MIN), Just(i64::MAX), -3i64..3]),
                prop::option::of(prop_oneof![any::<i32>(), -2..2]),
                prop::option::of("[xy]{0,2}"),
                any::<Option<bool>>(),
            ),
            1..60,
        ),
        size in 1usize..20,
    ) {
        let names = ["label", "long", "int", "text", "flag", "end"];
        let (schema, whole) = mixed(&rows);
        let spec = TableSpec { schema, sort: &["label", "long", "int", "text", "flag", "end"], ..spec() };
        let batches: Vec<_> = rows.chunks(size).map(|rows| mixed(rows).1).collect();
        let arranged = order::arrange(&spec, &batches, PartCount::ONE).unwrap();
        let [piece] = arranged.pieces.as_slice() else { panic!("one window, one part") };

        let columns: Vec<_> = names.iter().map(|n| whole.column_by_name(n).unwrap().clone()).collect();
        let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
        let keys = RowConverter::new(fields).unwrap().convert_columns(&columns).unwrap();
        let mut wanted: Vec<u32> = (0..u32::try_from(rows.len()).unwrap()).collect();
        wanted.sort_by_key(|row| keys.row(*row as usize));
        prop_assert_eq!(&piece.rows, &wanted);
        let sorted = take_record_batch(&whole, &UInt32Array::from(wanted)).unwrap();
        prop_assert_eq!(texts(&arranged.take(&piece.rows).unwrap()), texts(&sorted));
    }
}
