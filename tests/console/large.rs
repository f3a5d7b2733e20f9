//! A service map that is large: 500 workloads of 25 namespaces, each of which calls ten others.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

use super::support::{Client, batch, now_us};

const WORKLOADS: i64 = 500;
const EDGES: i64 = 5000;

/// Posts rows of one second that has just ended.
pub(crate) fn post(server: &Client) {
    let end = now_us() / 1_000_000 * 1_000_000;
    let edges: Vec<(i64, i64)> =
        (0..EDGES).map(|i| (i % WORKLOADS, (i + 1 + 7 * (i / WORKLOADS)) % WORKLOADS)).collect();
    let time = |t| {
        let times = TimestampMicrosecondArray::from_value(t, edges.len());
        Arc::new(times.with_timezone("UTC")) as ArrayRef
    };
    let same = |text: &str| Arc::new(StringArray::from(vec![text; edges.len()])) as ArrayRef;
    let names = |of: &dyn Fn(&(i64, i64)) -> String| {
        Arc::new(edges.iter().map(|edge| Some(of(edge))).collect::<StringArray>()) as ArrayRef
    };
    let numbers = |of: &dyn Fn(i64) -> i64| {
        Arc::new((0..EDGES).map(|i| Some(of(i))).collect::<Int64Array>()) as ArrayRef
    };
    let rows = RecordBatch::try_from_iter([
        ("start", time(end - 1_000_000)),
        ("end", time(end)),
        ("node", same("n1")),
        ("namespace", names(&|edge| format!("team-{}", edge.0 % 25))),
        ("workload", names(&|edge| format!("service-{}", edge.0))),
        ("workload_kind", same("Deployment")),
        ("address", names(&|edge| format!("10.1.{}.{}", edge.0 / 250, edge.0 % 250 + 1))),
        ("peer_namespace", names(&|edge| format!("team-{}", edge.1 % 25))),
        ("peer_workload", names(&|edge| format!("service-{}", edge.1))),
        ("peer_workload_kind", same("Deployment")),
        ("peer_address", names(&|edge| format!("10.1.{}.{}", edge.1 / 250, edge.1 % 250 + 1))),
        ("peer_scope", same("cluster")),
        ("protocol", same("tcp")),
        ("role", same("client")),
        ("tx_bytes", numbers(&|i| 1000 + 7 * i * i)),
        ("tx_packets", numbers(&|i| 100 + i)),
        // One in two hundred loses packets.
        ("retransmits", numbers(&|i| if i % 200 == 0 { 5 + i / 100 } else { 0 })),
    ]);
    let (status, text) = server.post(&batch("large", 0, &rows.unwrap())).unwrap();
    assert_eq!(status, 200, "{text}");
}
