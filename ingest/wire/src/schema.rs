//! The columns of a flow row, and of the table that says what is missing.
//!
//! One row of `flows` is one flow key during one interval, seen from one end. Counters are deltas
//! over `[start, end)`; nothing in a row is cumulative. The key is local end x peer end x protocol x
//! role, with the ephemeral port of the connecting side folded to 0.

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::chosen::chosen;

/// What a column is, which decides how it may be aggregated and where it may appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bounds of the interval, microseconds since the Unix epoch, UTC.
    Time,
    /// A text label: part of the key, dictionary-encoded. Null and empty both mean "not known".
    Label,
    /// A numeric label: part of the key, never summed (a port, an AS number).
    NumericLabel,
    /// A delta over the interval. Deltas of any rows add up.
    Counter,
    /// A level at `end`. Levels add up over keys, never over time.
    Level,
    /// One of the columns of a log-scale histogram, see [`crate::histogram`].
    Histogram,
    /// How many flows this row stands for; the counters are already scaled by it.
    Sampling,
}

/// One column of the flow schema.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name, as in SQL and, for labels, as in PromQL.
    pub name: &'static str,
    /// What the column is.
    pub kind: Kind,
    /// Arrow type on the wire and in memory.
    pub data_type: DataType,
    /// A batch without this column, or with a null in it, is refused.
    pub required: bool,
}

/// Labels of the observer and of the local end.
const LOCAL_LABELS: [&str; 10] = [
    "cluster",
    "node",
    "zone",
    "region",
    "namespace",
    "workload",
    "workload_kind",
    "pod",
    "container",
    "address",
];

/// Labels of the peer, in schema order; `peer_port` follows `peer_address`.
const PEER_LABELS: [&str; 8] = [
    "peer_node",
    "peer_zone",
    "peer_namespace",
    "peer_workload",
    "peer_workload_kind",
    "peer_pod",
    "peer_container",
    "peer_address",
];

/// Counters, in schema order.
///
/// Bytes are TCP payload acknowledged by the peer (`tx`) and received in order (`rx`), or datagram
/// payload; packets are TCP data segments or datagrams. `retransmits` and `timeouts` count every
/// phase, `*_syn` the part of them that fell into the handshake, `*_closing` the part after the local end's
/// FIN. `connect_failures` counts every failure, `connect_refused`, `connect_timed_out` and
/// `connect_unreachable` those with that reason; `resets` every end without an exchange of FINs,
/// `resets_received` and `resets_sent` those by a RST of the peer and of the local end. `delivered_ce` counts
/// packets that arrived with a mark of congestion (RFC 3168), as the peer told.
pub const COUNTERS: [&str; 22] = [
    "tx_bytes",
    "rx_bytes",
    "tx_packets",
    "rx_packets",
    "retransmits",
    "retransmits_syn",
    "retransmits_closing",
    "timeouts",
    "timeouts_syn",
    "timeouts_closing",
    "connects",
    "connect_failures",
    "connect_refused",
    "connect_timed_out",
    "connect_unreachable",
    "accepts",
    "closes",
    "resets",
    "resets_received",
    "resets_sent",
    "drops",
    "delivered_ce",
];

/// Names of the histograms; each has the six columns listed in [`crate::histogram`].
pub const HISTOGRAMS: [&str; 2] = ["rtt", "connect_time"];

/// A label: text, dictionary-encoded.
#[must_use]
pub fn label_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// A point in time: microseconds since the Unix epoch, UTC.
#[must_use]
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Counts of consecutive histogram buckets.
#[must_use]
pub fn buckets_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)))
}

/// Labels that some metrics of flows have and rows have not: see docs/metrics.md.
#[must_use]
pub fn metric_labels() -> [&'static str; 4] {
    ["phase", "reason", "side", "le"]
}

/// The columns beside those of chosen labels of pods.
static USUAL: LazyLock<Vec<Column>> = LazyLock::new(usual_columns);

/// There is a column of that name, whatever labels of pods are chosen.
pub(crate) fn is_usual_column(name: &str) -> bool {
    USUAL.iter().any(|column| column.name == name)
}

fn usual_columns() -> Vec<Column> {
    const REQUIRED: [&str; 6] = ["start", "end", "node", "workload", "protocol", "role"];
    let mut columns = Vec::with_capacity(64);
    let mut add = |name: &'static str, kind, data_type| {
        columns.push(Column { name, kind, data_type, required: REQUIRED.contains(&name) });
    };
    add("start", Kind::Time, time_type());
    add("end", Kind::Time, time_type());
    for name in LOCAL_LABELS {
        add(name, Kind::Label, label_type());
    }
    add("port", Kind::NumericLabel, DataType::Int32);
    for name in PEER_LABELS {
        add(name, Kind::Label, label_type());
    }
    add("peer_port", Kind::NumericLabel, DataType::Int32);
    add("peer_service", Kind::Label, label_type());
    add("peer_service_address", Kind::Label, label_type());
    add("peer_service_port", Kind::NumericLabel, DataType::Int32);
    for name in ["peer_scope", "peer_cloud_service", "peer_region", "peer_domain"] {
        add(name, Kind::Label, label_type());
    }
    add("peer_asn", Kind::NumericLabel, DataType::Int64);
    for name in ["peer_country", "peer_network", "crossing", "protocol", "role"] {
        add(name, Kind::Label, label_type());
    }
    for name in COUNTERS {
        add(name, Kind::Counter, DataType::Int64);
    }
    add("active", Kind::Level, DataType::Int64);
    for names in [
        ["rtt_count", "rtt_sum_us", "rtt_min_us", "rtt_max_us", "rtt_offset", "rtt_buckets"],
        [
            "connect_time_count",
            "connect_time_sum_us",
            "connect_time_min_us",
            "connect_time_max_us",
            "connect_time_offset",
            "connect_time_buckets",
        ],
    ] {
        for name in names {
            let data_type = match name.rsplit('_').next() {
                Some("offset") => DataType::Int32,
                Some("buckets") => buckets_type(),
                _ => DataType::Int64,
            };
            add(name, Kind::Histogram, data_type);
        }
    }
    add("sampling", Kind::Sampling, DataType::Int32);
    columns
}

/// The columns of `flows`, in order: those of chosen labels of pods ([`crate::chosen`]) come last.
pub static FLOW_COLUMNS: LazyLock<Vec<Column>> = LazyLock::new(|| {
    let mut columns = USUAL.clone();
    let names = chosen().iter().flat_map(|chosen| [chosen.column, chosen.peer_column]);
    columns.extend(names.map(|name| Column {
        name,
        kind: Kind::Label,
        data_type: label_type(),
        required: false,
    }));
    columns
});

/// The Arrow schema of `flows`.
pub static FLOWS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(
        FLOW_COLUMNS
            .iter()
            .map(|c| Field::new(c.name, c.data_type.clone(), !c.required))
            .collect::<Vec<_>>(),
    ))
});

/// The Arrow schema of `agent_loss`: what an agent knows to be missing from its batches.
///
/// One row per batch and reason; `count` is a delta of the reason's own unit (see [`crate::Loss`]).
/// A batch without losses gives one row with a null `reason` and count 0, so that "nothing was lost"
/// differs from "nothing was heard".
pub static AGENT_LOSS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("end", time_type(), false),
        Field::new("cluster", label_type(), true),
        Field::new("node", label_type(), true),
        Field::new("agent", label_type(), false),
        Field::new("boot", label_type(), false),
        Field::new("sequence", DataType::Int64, false),
        Field::new("rows", DataType::Int64, false),
        Field::new("reason", label_type(), true),
        Field::new("count", DataType::Int64, false),
    ]))
});

/// Looks a flow column up by name.
#[must_use]
pub fn flow_column(name: &str) -> Option<&'static Column> {
    FLOW_COLUMNS.iter().find(|c| c.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_time_comes_first() {
        let mut names: Vec<_> = FLOW_COLUMNS.iter().map(|c| c.name).collect();
        assert_eq!(&names[..2], ["start", "end"]);
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_histogram_has_its_six_columns() {
        for h in HISTOGRAMS {
            for part in ["count", "sum_us", "min_us", "max_us", "offset", "buckets"] {
                let name = format!("{h}_{part}");
                assert_eq!(flow_column(&name).map(|c| c.kind), Some(Kind::Histogram), "{name}");
            }
        }
    }
}
