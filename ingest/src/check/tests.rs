use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use weir_storage::conform;

use super::*;
use crate::tables::flows_table;

const NOW: i64 = 1_700_000_000_000_000;

/// One good row, with some columns replaced.
fn row(changes: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let time = |t| Arc::new(TimestampMicrosecondArray::from(vec![t]).with_timezone("UTC"));
    let text = |s| Arc::new(StringArray::from(vec![s])) as ArrayRef;
    let number = |n| Arc::new(Int64Array::from(vec![n])) as ArrayRef;
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("start", time(NOW - 10_000_000)),
        ("end", time(NOW)),
        ("node", text("n")),
        ("workload", text("w")),
        ("address", text("10.0.0.1")),
        ("peer_address", text("2001:db8::1")),
        ("protocol", text("tcp")),
        ("role", text("client")),
        ("tx_bytes", number(5)),
        ("rtt_count", number(3)),
        ("rtt_sum_us", number(30)),
        ("rtt_min_us", number(5)),
        ("rtt_max_us", number(15)),
        ("rtt_offset", Arc::new(Int32Array::from(vec![4]))),
        ("rtt_buckets", buckets(vec![1, 0, 2])),
    ];
    for (name, array) in changes {
        match columns.iter_mut().find(|(n, _)| *n == name) {
            Some(column) => column.1 = array,
            None => columns.push((name, array)),
        }
    }
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    conform(&flows_table(), &batch).unwrap()
}

fn buckets(counts: Vec<i64>) -> ArrayRef {
    Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(
        counts.into_iter().map(Some),
    )]))
}

fn refusal(name: &str, array: ArrayRef) -> CheckError {
    check_flows(&row(vec![(name, array)]), NOW).unwrap_err()
}

#[test]
fn a_good_row_passes() {
    assert_eq!(check_flows(&row(vec![]), NOW), Ok(()));
    // Optional columns may be missing altogether.
    assert_eq!(
        check_flows(&row(vec![("active", Arc::new(Int64Array::from(vec![None])))]), NOW),
        Ok(())
    );
}

#[test]
fn clocks_ahead_are_named() {
    let end = |t| Arc::new(TimestampMicrosecondArray::from(vec![t]).with_timezone("UTC"));
    assert_eq!(check_flows(&row(vec![("end", end(NOW + MAX_AHEAD_US))]), NOW), Ok(()));
    assert_eq!(refusal("end", end(NOW + 400_000_000)), CheckError::Future { row: 0, seconds: 400 });
    assert!(matches!(refusal("end", end(NOW - 20_000_000)), CheckError::Interval { .. }));
    assert!(matches!(refusal("start", end(-1)), CheckError::Interval { .. }));
}

#[test]
fn only_a_clock_that_time_catches_up_with_is_worth_waiting_for() {
    let ahead = |seconds: i64| {
        let end = TimestampMicrosecondArray::from(vec![NOW + seconds * 1_000_000]);
        row(vec![("end", Arc::new(end.with_timezone("UTC")))])
    };
    let good_in = |seconds| check_flows(&ahead(seconds), NOW).unwrap_err().good_in();
    assert_eq!((good_in(301), good_in(360), good_in(3599)), (Some(2), Some(61), Some(3300)));
    assert_eq!((good_in(3600), good_in(2_000_000_000)), (None, None));
    // Once that time has passed the batch is good.
    assert_eq!(check_flows(&ahead(360), NOW + 61_000_000), Ok(()));
    assert_eq!(refusal("workload", Arc::new(StringArray::from(vec!["a\nb"]))).good_in(), None);
}

#[test]
fn labels_are_held_to_their_form() {
    let text = |s: &str| Arc::new(StringArray::from(vec![s])) as ArrayRef;
    for address in ["10.0.0.256", "::ffff:10.0.0.1", "2001:DB8::1", "localhost", "010.0.0.1"] {
        assert!(
            matches!(refusal("peer_address", text(address)), CheckError::Address { .. }),
            "{address}"
        );
    }
    assert!(matches!(refusal("workload", text("a\nb")), CheckError::Label { .. }));
    assert!(matches!(refusal("workload", text(&"x".repeat(1025))), CheckError::Label { .. }));
    assert!(matches!(refusal("role", text("boss")), CheckError::Choice { .. }));
    assert!(matches!(refusal("protocol", text("TCP")), CheckError::Choice { .. }));
}

#[test]
fn numbers_are_held_to_their_range() {
    let number = |n| Arc::new(Int64Array::from(vec![n])) as ArrayRef;
    assert!(matches!(refusal("tx_bytes", number(-1)), CheckError::Range { row: 0, .. }));
    assert!(matches!(refusal("tx_bytes", number(i64::MAX)), CheckError::Range { .. }));
    assert!(matches!(refusal("port", number(65_536)), CheckError::Range { .. }));
    assert!(matches!(refusal("sampling", number(0)), CheckError::Range { .. }));
}

#[test]
fn histograms_must_add_up() {
    let number = |n| Arc::new(Int64Array::from(vec![n])) as ArrayRef;
    let offset = |n| Arc::new(Int32Array::from(vec![n])) as ArrayRef;
    for (column, array) in [
        ("rtt_count", number(4)),
        ("rtt_buckets", buckets(vec![-1, 4])),
        ("rtt_offset", offset(-2)),
        ("rtt_offset", offset(61)),
        ("rtt_min_us", number(16)),
        ("rtt_sum_us", number(-1)),
    ] {
        assert!(
            matches!(refusal(column, array), CheckError::Histogram { histogram: "rtt", .. }),
            "{column}"
        );
    }
}
