//! A history with something for every panel: a shop whose two halves lose packets between zones, a cloud service,
//! visitors from outside, a node that fell silent, and what agents and server say of themselves.
//!
//! ```text
//! visitor -> shop/web (n1, zone a) -> shop/api (n2, zone b)       shop/batch (n3) reported until 20 minutes ago
//!                     \-> S3
//! ```

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, Int64Builder, ListBuilder, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use weir_wire::histogram::{BUCKETS, FIRST_INDEX, index_of, trim};
use weir_wire::schema::{FLOW_COLUMNS, Kind};

use super::support::write::{Series, request};
use super::support::{Client, batch};

pub(crate) const MINUTE: i64 = 60_000_000;
/// Minutes that every workload has rows of.
pub(crate) const MINUTES: i64 = 60;

/// A flow in a minute.
struct Row {
    end: i64,
    labels: Vec<(&'static str, &'static str)>,
    numbers: Vec<(&'static str, i64)>,
    /// Round trips, microseconds.
    rtt: Vec<i64>,
}

/// Posts the hour before `end` (microseconds, a whole minute), and the hour a day before.
pub(crate) fn post(server: &Client, end: i64) {
    let mut rows = Vec::new();
    for day in 0..2 {
        for minute in 0..MINUTES {
            rows.extend(minute_rows(end - day * 1440 * MINUTE - minute * MINUTE, minute));
        }
    }
    let (status, text) = server.post(&batch("history", 0, &record_batch(&rows))).unwrap();
    assert_eq!(status, 200, "{text}");
    let mut series = agents(end);
    series.extend(own(server, end));
    let headers = [("content-encoding", "snappy"), ("content-type", "application/x-protobuf")];
    let (status, text) = server.ask("/api/v1/write", &headers, &request(&series));
    assert_eq!(status, 204, "{text}");
}

fn minute_rows(end: i64, minute: i64) -> Vec<Row> {
    let tcp = ("protocol", "tcp");
    let web = [
        ("namespace", "shop"),
        ("workload", "web"),
        ("workload_kind", "Deployment"),
        ("pod", "web-1"),
    ];
    let n1 = [("node", "n1"), ("zone", "a"), ("region", "r"), ("address", "10.0.0.1")];
    let row = |labels: &[&[(&'static str, &'static str)]], numbers: &[(&'static str, i64)]| Row {
        end,
        labels: labels.concat(),
        numbers: numbers.to_vec(),
        rtt: vec![900; 99].into_iter().chain([90_000]).collect(),
    };
    let mut rows = vec![
        row(
            &[
                &web,
                &n1,
                &[("peer_namespace", "shop"), ("peer_workload", "api"), ("peer_pod", "api-1")],
                &[("peer_workload_kind", "Deployment")],
                &[
                    ("peer_node", "n2"),
                    ("peer_zone", "b"),
                    ("peer_region", "r"),
                    ("peer_address", "10.0.0.2"),
                ],
                &[("peer_scope", "cluster"), tcp, ("role", "client")],
            ],
            &[
                ("tx_bytes", 60_000),
                ("rx_bytes", 600_000),
                ("tx_packets", 1000),
                ("rx_packets", 1990),
                ("retransmits", 20),
                ("retransmits_syn", 1),
                ("timeouts", 3),
                ("timeouts_syn", 1),
                ("connects", 10),
                ("connect_failures", 2),
                ("connect_refused", 1),
                ("connect_timed_out", 1),
                ("closes", 8),
                ("resets", 2),
                ("resets_received", 1),
                ("drops", 6),
                ("active", 4),
            ],
        ),
        row(
            &[
                &[("namespace", "shop"), ("workload", "api"), ("pod", "api-1"), ("node", "n2")],
                &[("workload_kind", "Deployment"), ("peer_workload_kind", "Deployment")],
                &[("zone", "b"), ("region", "r"), ("address", "10.0.0.2")],
                &[("peer_namespace", "shop"), ("peer_workload", "web"), ("peer_pod", "web-1")],
                &[
                    ("peer_node", "n1"),
                    ("peer_zone", "a"),
                    ("peer_region", "r"),
                    ("peer_address", "10.0.0.1"),
                ],
                &[("peer_scope", "cluster"), tcp, ("role", "server")],
            ],
            &[
                ("tx_bytes", 600_000),
                ("rx_bytes", 60_000),
                ("tx_packets", 2000),
                ("rx_packets", 985),
                ("retransmits", 10),
                ("timeouts", 1),
                ("accepts", 8),
                ("resets", 1),
                ("resets_sent", 1),
                ("drops", 1),
                ("active", 4),
            ],
        ),
        row(
            &[
                &web,
                &n1,
                &[("peer_scope", "cloud"), ("peer_cloud_service", "S3"), ("peer_region", "r")],
                &[("peer_address", "198.51.100.1"), tcp, ("role", "client")],
            ],
            &[("tx_bytes", 6000), ("rx_bytes", 12_000), ("tx_packets", 10), ("connects", 1)],
        ),
        row(
            &[
                &web,
                &n1,
                &[
                    ("peer_scope", "external"),
                    ("peer_address", "203.0.113.9"),
                    tcp,
                    ("role", "server"),
                ],
            ],
            &[("tx_bytes", 30_000), ("rx_bytes", 3000), ("tx_packets", 30), ("accepts", 1)],
        ),
    ];
    if minute > 20 {
        rows.push(row(
            &[
                &[
                    ("namespace", "shop"),
                    ("workload", "batch"),
                    ("node", "n3"),
                    ("address", "10.0.0.3"),
                ],
                &[("peer_scope", "cluster"), tcp, ("role", "client")],
            ],
            &[("tx_bytes", 0)],
        ));
    }
    rows
}

fn record_batch(rows: &[Row]) -> RecordBatch {
    let column = |name: &'static str, kind: Kind| -> Option<ArrayRef> {
        let number = |row: &Row| row.numbers.iter().find(|n| n.0 == name).map(|n| n.1);
        let text = |row: &Row| row.labels.iter().find(|l| l.0 == name).map(|l| l.1);
        match kind {
            Kind::Time => {
                let length = if name == "start" { MINUTE } else { 0 };
                let times = TimestampMicrosecondArray::from_iter_values(
                    rows.iter().map(|r| r.end - length),
                );
                Some(Arc::new(times.with_timezone("UTC")))
            }
            Kind::Label => rows
                .iter()
                .any(|r| text(r).is_some())
                .then(|| Arc::new(rows.iter().map(text).collect::<StringArray>()) as ArrayRef),
            Kind::Counter | Kind::Level => Some(Arc::new(
                rows.iter().map(|r| Some(number(r).unwrap_or(0))).collect::<Int64Array>(),
            )),
            Kind::Histogram => {
                Some(histogram(name.split_once('_')?.1.trim_start_matches("time_"), rows))
            }
            Kind::NumericLabel | Kind::Sampling => None,
        }
    };
    let columns = FLOW_COLUMNS.iter().filter_map(|c| Some((c.name, column(c.name, c.kind)?)));
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A part of a histogram; round trips and times to connect are the same here.
fn histogram(part: &str, rows: &[Row]) -> ArrayRef {
    let long = |of: fn(&[i64]) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| of(&r.rtt))))
    };
    let slots = |row: &Row| {
        let mut slots = [0; BUCKETS];
        for us in &row.rtt {
            slots[(index_of(us.cast_unsigned()) - FIRST_INDEX) as usize] += 1;
        }
        slots
    };
    match part {
        "count" => long(|v| v.len() as i64),
        "sum_us" => long(|v| v.iter().sum()),
        "min_us" => long(|v| *v.iter().min().unwrap()),
        "max_us" => long(|v| *v.iter().max().unwrap()),
        "offset" => Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| trim(&slots(r)).0))),
        "buckets" => {
            let mut lists = ListBuilder::new(Int64Builder::new());
            for row in rows {
                lists.append_value(trim(&slots(row)).1.iter().map(|n| Some(*n)));
            }
            Arc::new(lists.finish())
        }
        other => panic!("part of a histogram: {other}"),
    }
}

/// A series of every ten seconds of 70 minutes: a counter that grows by `step`, or a level that is `step`.
fn series(name: &str, labels: &[(&str, &str)], end: i64, step: f64, is_counter: bool) -> Series {
    let mut all: Vec<(String, String)> = [("__name__", name)]
        .iter()
        .chain(labels)
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    all.sort();
    let count = 7 * MINUTES;
    let value = |i: i64| if is_counter { step * i as f64 } else { step };
    let samples = (0..=count).map(|i| (end / 1000 - (count - i) * 10_000, value(i))).collect();
    Series { labels: all, samples }
}

/// What the agents of two nodes send; the second one polls, and lost 2 of 100 rows.
fn agents(end: i64) -> Vec<Series> {
    let mut all = Vec::new();
    for (node, source) in [("n1", "bpf"), ("n2", "sock_diag")] {
        let own = [("job", "weir-agent"), ("instance", node), ("node", node)];
        let mut add = |name: &str, more: &[(&str, &str)], step: f64| {
            let labels = [&own[..], more].concat();
            let is_counter =
                ["_total", "_bucket", "_count", "_sum"].iter().any(|s| name.ends_with(s));
            all.push(series(name, &labels, end, step, is_counter));
        };
        add("weir_agent_source_info", &[("source", source)], 1.0);
        add("weir_agent_intervals_total", &[], 1.0);
        add("weir_agent_rows_total", &[], 100.0);
        add("weir_agent_spool_batches", &[], 2.0);
        add("weir_agent_samples_failed_total", &[], 0.0);
        let gone = if node == "n2" { 2.0 } else { 0.0 };
        add("weir_agent_losses_total", &[("reason", "spool_rows")], gone);
        add("weir_agent_losses_total", &[("reason", "ring_drops")], gone);
        add("weir_agent_losses_total", &[("reason", "sampled_out_sockets")], 3.0);
        for name in ["bytes", "packets", "errors", "dropped"] {
            for way in ["rx", "tx"] {
                let name = format!("weir_interface_{way}_{name}_total");
                add(&name, &[("netns", "host"), ("device", "eth0")], 5000.0);
                add(&name, &[("netns", "4026532"), ("pod", "uid"), ("device", "eth0")], 500.0);
            }
        }
        add("weir_tcp_retransmitted_segments_total", &[("netns", "host")], 2.0);
        add("weir_tcp_timeouts_total", &[("netns", "host")], 1.0);
        add("weir_node_drops_total", &[("protocol", "tcp"), ("reason", "NETFILTER_DROP")], 1.0);
        add("weir_conntrack_entries", &[], 60_000.0);
        add("weir_conntrack_entries_limit", &[], 65_536.0);
        for name in ["bw_in", "bw_out", "pps", "conntrack", "linklocal"] {
            let name = format!("weir_nic_{name}_allowance_exceeded_total");
            add(&name, &[("device", "eth0")], gone);
        }
        add("weir_nic_conntrack_allowance_available", &[("device", "eth0")], 1000.0);
        for name in ["tx_bytes", "rx_bytes", "retrans_bytes"] {
            add(&format!("weir_efa_{name}_total"), &[("device", "efa0"), ("port", "1")], 1e6);
        }
        let web = [("workload", "web"), ("workload_kind", "Deployment"), ("pod", "uid")];
        let with = |name, value| [&web[..], &[(name, value)]].concat();
        add("weir_dns_questions_total", &with("type", "A"), 10.0);
        add("weir_dns_answers_total", &with("code", "NOERROR"), 8.0);
        add("weir_dns_answers_total", &with("code", "SERVFAIL"), 1.0);
        add("weir_dns_timeouts_total", &web, 1.0);
        add("weir_dns_latency_seconds_bucket", &with("le", "0.001"), 4.0);
        add("weir_dns_latency_seconds_bucket", &with("le", "0.01"), 8.0);
        add("weir_dns_latency_seconds_bucket", &with("le", "+Inf"), 8.0);
        add("weir_workload_flows_opened_total", &with("direction", "outbound"), 5.0);
        add("weir_workload_drops_total", &with("reason", "NETFILTER_DROP"), 1.0);
    }
    all
}

/// The server's own metrics, as a Prometheus that scrapes it would write them.
fn own(server: &Client, end: i64) -> Vec<Series> {
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            let labels = labels.trim_end_matches('}').split(',').filter(|l| !l.is_empty());
            let labels = labels.map(|label| label.split_once('=').unwrap());
            let labels: Vec<_> = labels.map(|(n, v)| (n, v.trim_matches('"'))).collect();
            let labels = [&[("job", "weir")][..], &labels].concat();
            series(name, &labels, end, value.parse().unwrap(), false)
        })
        .collect()
}
