//! The virtual metrics: name, meaning and columns, all in one place.

use weir_wire::schema::HISTOGRAMS;

/// What a metric is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columns {
    /// A delta column.
    Counter(&'static str),
    /// Several delta columns: one of which the others are parts, which the metric's own label tells apart.
    Parted(Parted),
    /// A level at the end of the interval.
    Level(&'static str),
    /// Cumulative bucket counts of a histogram, label `le`.
    Bucket(Histogram),
    /// Sum of the durations of a histogram, seconds.
    Sum(Histogram),
    /// Number of durations of a histogram.
    Count(Histogram),
    /// What traffic costs, by the user's prices: of these columns.
    Cost([&'static str; 4]),
}

/// A delta column, and what is known of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parted {
    /// What tells them apart.
    pub(crate) label: Virtual,
    /// The sum.
    pub(crate) all: &'static str,
    /// The label's value for a part, and its column. A part that is null is nothing.
    pub(crate) parts: &'static [(&'static str, &'static str)],
    /// The label's value for what is in no part.
    pub(crate) rest: &'static str,
}

impl Parted {
    /// The sum and its parts, in the order in which they are aggregated.
    pub(crate) fn columns(self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.all).chain(self.parts.iter().map(|(_, column)| *column))
    }

    /// The label's values: of the parts, then of the rest.
    pub(crate) fn values(self) -> impl Iterator<Item = &'static str> {
        self.parts.iter().map(|(value, _)| *value).chain([self.rest])
    }
}

const RETRANSMITS: Parted = Parted {
    label: Virtual::Phase,
    all: "retransmits",
    parts: &[("syn", "retransmits_syn"), ("closing", "retransmits_closing")],
    rest: "established",
};

const TIMEOUTS: Parted = Parted {
    label: Virtual::Phase,
    all: "timeouts",
    parts: &[("syn", "timeouts_syn"), ("closing", "timeouts_closing")],
    rest: "established",
};

const FAILURES: Parted = Parted {
    label: Virtual::Reason,
    all: "connect_failures",
    parts: &[
        ("refused", "connect_refused"),
        ("timed_out", "connect_timed_out"),
        ("unreachable", "connect_unreachable"),
    ],
    rest: "other",
};

const RESETS: Parted = Parted {
    label: Virtual::Side,
    all: "resets",
    parts: &[("peer", "resets_received"), ("local", "resets_sent")],
    rest: "other",
};

/// Columns of one log-scale histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Histogram {
    pub(crate) count: &'static str,
    pub(crate) sum_us: &'static str,
    pub(crate) offset: &'static str,
    pub(crate) buckets: &'static str,
}

const RTT: Histogram = Histogram {
    count: "rtt_count",
    sum_us: "rtt_sum_us",
    offset: "rtt_offset",
    buckets: "rtt_buckets",
};

const CONNECT: Histogram = Histogram {
    count: "connect_time_count",
    sum_us: "connect_time_sum_us",
    offset: "connect_time_offset",
    buckets: "connect_time_buckets",
};

/// What a price is for.
const COST: [&str; 4] = ["crossing", "peer_cloud_service", "tx_bytes", "rx_bytes"];

/// The histograms above are the schema's; one more there has to become one more here.
const _: () = assert!(HISTOGRAMS.len() == 2);

/// The label that a metric has besides the key columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Virtual {
    /// `phase`: `syn`, `established` or `closing`.
    Phase,
    /// `reason`: why a connection was not established.
    Reason,
    /// `side`: who reset a connection.
    Side,
    /// `le`: upper bound of a bucket in seconds.
    Le,
}

impl Virtual {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Phase => "phase",
            Self::Reason => "reason",
            Self::Side => "side",
            Self::Le => "le",
        }
    }
}

/// One selectable metric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) columns: Columns,
}

impl Metric {
    /// Whether it consists of deltas, so that windows of it are sums.
    pub(crate) fn is_delta(&self) -> bool {
        !matches!(self.columns, Columns::Level(_))
    }

    /// The label that it has besides the key columns.
    pub(crate) fn virtual_label(&self) -> Option<Virtual> {
        match self.columns {
            Columns::Parted(parted) => Some(parted.label),
            Columns::Bucket(_) => Some(Virtual::Le),
            _ => None,
        }
    }

    /// The column that is null in rows that do not measure it.
    pub(crate) fn presence(&self) -> &'static str {
        match self.columns {
            Columns::Counter(column) | Columns::Level(column) => column,
            Columns::Parted(parted) => parted.all,
            Columns::Bucket(h) => h.buckets,
            Columns::Sum(h) => h.sum_us,
            Columns::Count(h) => h.count,
            // The last two are there in every row.
            Columns::Cost([crossing, ..]) => crossing,
        }
    }
}

/// A metric family, as `/api/v1/metadata` describes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) help: &'static str,
}

const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Family {
    Family { name, kind: "counter", unit, help }
}

/// Every family, in the order of the columns.
pub(crate) const FAMILIES: [Family; 17] = [
    counter(
        "flow_tx_bytes_total",
        "bytes",
        "Payload bytes sent by the local end: acknowledged by the peer for TCP, datagram payload for UDP.",
    ),
    counter(
        "flow_rx_bytes_total",
        "bytes",
        "Payload bytes received by the local end: in order for TCP, datagram payload for UDP.",
    ),
    counter(
        "flow_tx_packets_total",
        "packets",
        "TCP data segments or UDP datagrams sent by the local end.",
    ),
    counter(
        "flow_rx_packets_total",
        "packets",
        "TCP data segments or UDP datagrams received by the local end.",
    ),
    counter(
        "flow_retransmits_total",
        "segments",
        "TCP segments that the local end sent again, by phase of the connection: syn (handshake), established or closing.",
    ),
    counter(
        "flow_timeouts_total",
        "timeouts",
        "Retransmission timeouts (RTO) that fired at the local end, by phase of the connection: syn (handshake), established or closing.",
    ),
    counter("flow_connects_total", "connections", "Connections that the local end opened."),
    counter(
        "flow_connect_failures_total",
        "connections",
        "Connections that the local end tried to open in vain, by reason: refused, timed_out, unreachable or other.",
    ),
    counter("flow_accepts_total", "connections", "Connections that the local end accepted."),
    counter("flow_closes_total", "connections", "Connections that ended."),
    counter(
        "flow_resets_total",
        "connections",
        "Connections that ended otherwise than by an exchange of FINs, by the side whose reset (RST) ended them: peer, local or other.",
    ),
    counter("flow_drops_total", "packets", "Packets of the flow that the node's kernel dropped."),
    counter(
        "flow_delivered_ce_total",
        "packets",
        "Packets sent by the local end that arrived with a mark of congestion (ECN), as the peer told.",
    ),
    counter(
        "flow_cost_total",
        "currency",
        "What the traffic of the local end costs by the prices that the server was given (--prices), in their currency; nothing without them.",
    ),
    Family {
        name: "flow_active_connections",
        kind: "gauge",
        unit: "connections",
        help: "Connections that were open at the end of the interval.",
    },
    Family {
        name: "flow_rtt_seconds",
        kind: "histogram",
        unit: "seconds",
        help: "Round-trip times as TCP measured them, two buckets for each power of two of microseconds.",
    },
    Family {
        name: "flow_connect_seconds",
        kind: "histogram",
        unit: "seconds",
        help: "Time from the first SYN to the established connection, two buckets for each power of two of microseconds.",
    },
];

const fn metric(name: &'static str, columns: Columns) -> Metric {
    Metric { name, columns }
}

/// Every selectable metric.
pub(crate) const METRICS: [Metric; 21] = [
    metric("flow_tx_bytes_total", Columns::Counter("tx_bytes")),
    metric("flow_rx_bytes_total", Columns::Counter("rx_bytes")),
    metric("flow_tx_packets_total", Columns::Counter("tx_packets")),
    metric("flow_rx_packets_total", Columns::Counter("rx_packets")),
    metric("flow_retransmits_total", Columns::Parted(RETRANSMITS)),
    metric("flow_timeouts_total", Columns::Parted(TIMEOUTS)),
    metric("flow_connects_total", Columns::Counter("connects")),
    metric("flow_connect_failures_total", Columns::Parted(FAILURES)),
    metric("flow_accepts_total", Columns::Counter("accepts")),
    metric("flow_closes_total", Columns::Counter("closes")),
    metric("flow_resets_total", Columns::Parted(RESETS)),
    metric("flow_drops_total", Columns::Counter("drops")),
    metric("flow_delivered_ce_total", Columns::Counter("delivered_ce")),
    metric("flow_cost_total", Columns::Cost(COST)),
    metric("flow_active_connections", Columns::Level("active")),
    metric("flow_rtt_seconds_bucket", Columns::Bucket(RTT)),
    metric("flow_rtt_seconds_sum", Columns::Sum(RTT)),
    metric("flow_rtt_seconds_count", Columns::Count(RTT)),
    metric("flow_connect_seconds_bucket", Columns::Bucket(CONNECT)),
    metric("flow_connect_seconds_sum", Columns::Sum(CONNECT)),
    metric("flow_connect_seconds_count", Columns::Count(CONNECT)),
];

/// Looks a metric up by name.
pub(crate) fn metric_named(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|m| m.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_wire::schema::{COUNTERS, Kind, flow_column};

    #[test]
    fn every_column_exists_and_every_counter_is_a_metric() {
        let mut used = Vec::new();
        for metric in METRICS {
            match metric.columns {
                Columns::Counter(c) | Columns::Level(c) => used.push(c),
                Columns::Parted(parted) => used.extend(parted.columns()),
                Columns::Bucket(h) => used.extend([h.offset, h.buckets]),
                Columns::Sum(h) => used.push(h.sum_us),
                Columns::Count(h) => used.push(h.count),
                Columns::Cost(columns) => assert!(columns.iter().all(|c| flow_column(c).is_some())),
            }
        }
        for column in &used {
            assert!(flow_column(column).is_some(), "{column}");
        }
        for column in COUNTERS {
            assert_eq!(used.iter().filter(|c| **c == column).count(), 1, "{column}");
        }
        let levels: Vec<_> =
            weir_wire::schema::FLOW_COLUMNS.iter().filter(|c| c.kind == Kind::Level).collect();
        assert_eq!(levels.len(), 1);
    }

    #[test]
    fn every_metric_belongs_to_a_family() {
        for metric in METRICS {
            let of = |f: &&Family| {
                f.name == metric.name
                    || metric
                        .name
                        .strip_prefix(f.name)
                        .is_some_and(|s| ["_bucket", "_sum", "_count"].contains(&s))
            };
            assert_eq!(FAMILIES.iter().filter(of).count(), 1, "{}", metric.name);
        }
    }
}
