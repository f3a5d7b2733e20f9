use arrow::array::Float64Array;
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema};
use proptest::prelude::*;

use super::*;

fn schema() -> SchemaRef {
    let label = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let buckets = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("end", time, false),
        Field::new("label", label, true),
        Field::new("n", DataType::Int64, true),
        Field::new("port", DataType::Int32, true),
        Field::new("buckets", buckets, true),
        Field::new("other", DataType::Float64, true),
    ]))
}

/// A row: label, number, list.
type Row = (Option<u8>, Option<i64>, Option<Vec<i64>>);

fn batch(rows: &[Row]) -> RecordBatch {
    let times = (0..).take(rows.len()).map(Some);
    let times: PrimitiveArray<TimestampMicrosecondType> = times.collect();
    let labels: Vec<Option<String>> =
        rows.iter().map(|r| r.0.map(|n| format!("value-{n}"))).collect();
    let labels: DictionaryArray<Int32Type> = labels.iter().map(Option::as_deref).collect();
    let lists = rows.iter().map(|r| r.2.clone().map(|l| l.into_iter().map(Some)));
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(times.with_timezone("UTC")),
            Arc::new(labels),
            Arc::new(rows.iter().map(|r| r.1).collect::<PrimitiveArray<Int64Type>>()),
            Arc::new(rows.iter().map(|_| Some(0)).collect::<Int32Array>()),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
            Arc::new(rows.iter().map(|r| r.1.map(|n| n as f64)).collect::<Float64Array>()),
        ],
    )
    .unwrap()
}

/// Labels as text: which dictionary they are written with does not matter.
fn plain(batch: &RecordBatch) -> Vec<ArrayRef> {
    let text = arrow::compute::cast(batch.column(1), &DataType::Utf8).unwrap();
    batch
        .columns()
        .iter()
        .enumerate()
        .map(|(i, c)| if i == 1 { text.clone() } else { c.clone() })
        .collect()
}

proptest! {
    #[test]
    fn rows_stay_as_they_are(
        parts in prop::collection::vec(
            prop::collection::vec(
                (
                    prop::option::of(0u8..4),
                    prop::option::of(0i64..3),
                    prop::option::of(prop::collection::vec(0i64..3, 0..3)),
                ),
                0..6,
            ),
            1..5,
        ),
        cut in 0usize..3,
    ) {
        // Slices have offsets of their own.
        let batches: Vec<RecordBatch> = parts
            .iter()
            .map(|rows| batch(rows))
            .map(|b| b.slice(cut.min(b.num_rows()), b.num_rows() - cut.min(b.num_rows())))
            .collect();
        let one = coalesce(&schema(), &batches).unwrap();
        let expected = concat_batches(&schema(), &batches).unwrap();
        prop_assert_eq!(plain(&one), plain(&expected));
    }
}

#[test]
fn values_of_a_dictionary_may_be_null() {
    let values = StringArray::from(vec![Some("a"), None]);
    let keys = Int32Array::from(vec![Some(1), Some(0), None]);
    let labels: ArrayRef = Arc::new(DictionaryArray::try_new(keys, Arc::new(values)).unwrap());
    let one = column(labels.data_type(), &[&labels, &labels], 6).unwrap();
    let text = arrow::compute::cast(&one, &DataType::Utf8).unwrap();
    let text: Vec<_> = text.as_string::<i32>().iter().collect();
    assert_eq!(text, [None, Some("a"), None, None, Some("a"), None]);
}

#[test]
fn zeros_and_nulls_take_no_memory_and_labels_one_dictionary() {
    let rows: Vec<Row> = (0..50).map(|n| (Some(n % 2), None, None)).collect();
    let one = coalesce(&schema(), &vec![batch(&rows); 100]).unwrap();
    assert_eq!(one.num_rows(), 5000);
    let labels = one.column(1).as_dictionary::<Int32Type>();
    assert_eq!(labels.values().len(), 2);
    let ports = one.column(3).as_primitive::<Int32Type>();
    assert!(is_zeros(ports.values().inner()));
    assert!(is_shared(one.column(2)) && !is_shared(one.column(3)));
    let again = nulls(&DataType::Int64, 7);
    let buffer = |a: &ArrayRef| a.as_primitive::<Int64Type>().values().inner().data_ptr();
    assert_eq!(buffer(one.column(2)), buffer(&again));
}
