//! The numbers of an answer: what each is made of, and its unit.

use weir_wire::histogram::{BUCKETS, FIRST_INDEX, upper_bound};

use super::answer::Number;
use crate::promql::histogram::{Bucket, quantile};

/// The counts of all buckets of a histogram.
pub(crate) type Slots = [i64; BUCKETS];

/// Which histogram of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Histogram {
    /// Round-trip times.
    Rtt,
    /// From the first SYN to the established connection.
    Connect,
}

impl Histogram {
    /// Its columns: index of the first bucket, counts.
    pub(crate) fn columns(self) -> (&'static str, &'static str) {
        match self {
            Self::Rtt => ("rtt_offset", "rtt_buckets"),
            Self::Connect => ("connect_time_offset", "connect_time_buckets"),
        }
    }

    /// The family of metrics.
    pub(crate) fn metric(self) -> &'static str {
        match self {
            Self::Rtt => "flow_rtt_seconds",
            Self::Connect => "flow_connect_seconds",
        }
    }
}

/// What is added up over the rows of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// The sum of a column.
    Sum(&'static str),
    /// Its largest value.
    Largest(&'static str),
    /// The sum of a column of the server's rows.
    Server(&'static str),
    /// What the traffic costs, in billionths.
    Cost,
}

/// What a measure is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Made {
    Sum(&'static str),
    /// Of two columns.
    Both(&'static str, &'static str),
    Ratio(&'static str, &'static str),
    /// Microseconds by count.
    Mean(&'static str, &'static str),
    /// Of microseconds.
    Largest(&'static str),
    Quantile(Histogram, f64),
    Cost,
    Server(&'static str),
    ServerRatio(&'static str, &'static str),
    /// What the first column of the local end has more than the other of the server's.
    LostOut(&'static str, &'static str),
    /// What the first column of the server's end has more than the other of the local.
    LostIn(&'static str, &'static str),
}

/// A number of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measure {
    /// Name of its column.
    pub(crate) name: &'static str,
    /// `bytes`, `packets`, `segments`, `timeouts`, `connections`, `seconds`, `ratio` or `currency`.
    pub(crate) unit: &'static str,
    made: Made,
}

const fn measure(name: &'static str, unit: &'static str, made: Made) -> Measure {
    Measure { name, unit, made }
}

const fn sum(name: &'static str, unit: &'static str) -> Measure {
    measure(name, unit, Made::Sum(name))
}

/// Every measure.
pub(crate) const MEASURES: [Measure; 46] = [
    measure("bytes", "bytes", Made::Both("tx_bytes", "rx_bytes")),
    sum("tx_bytes", "bytes"),
    sum("rx_bytes", "bytes"),
    sum("tx_packets", "packets"),
    sum("rx_packets", "packets"),
    sum("retransmits", "segments"),
    sum("retransmits_syn", "segments"),
    sum("retransmits_closing", "segments"),
    measure("retransmit_ratio", "ratio", Made::Ratio("retransmits", "tx_packets")),
    sum("timeouts", "timeouts"),
    sum("timeouts_syn", "timeouts"),
    sum("timeouts_closing", "timeouts"),
    sum("connects", "connections"),
    sum("connect_failures", "connections"),
    sum("connect_refused", "connections"),
    sum("connect_timed_out", "connections"),
    sum("connect_unreachable", "connections"),
    measure("connect_failure_ratio", "ratio", Made::Ratio("connect_failures", "connects")),
    sum("accepts", "connections"),
    sum("closes", "connections"),
    sum("resets", "connections"),
    sum("resets_received", "connections"),
    sum("resets_sent", "connections"),
    sum("drops", "packets"),
    sum("delivered_ce", "packets"),
    measure("rtt_avg", "seconds", Made::Mean("rtt_sum_us", "rtt_count")),
    measure("rtt_p50", "seconds", Made::Quantile(Histogram::Rtt, 0.5)),
    measure("rtt_p95", "seconds", Made::Quantile(Histogram::Rtt, 0.95)),
    measure("rtt_p99", "seconds", Made::Quantile(Histogram::Rtt, 0.99)),
    measure("rtt_max", "seconds", Made::Largest("rtt_max_us")),
    measure("connect_avg", "seconds", Made::Mean("connect_time_sum_us", "connect_time_count")),
    measure("connect_p50", "seconds", Made::Quantile(Histogram::Connect, 0.5)),
    measure("connect_p95", "seconds", Made::Quantile(Histogram::Connect, 0.95)),
    measure("connect_p99", "seconds", Made::Quantile(Histogram::Connect, 0.99)),
    measure("connect_max", "seconds", Made::Largest("connect_time_max_us")),
    measure("cost", "currency", Made::Cost),
    measure("server_tx_bytes", "bytes", Made::Server("tx_bytes")),
    measure("server_rx_bytes", "bytes", Made::Server("rx_bytes")),
    measure("server_tx_packets", "packets", Made::Server("tx_packets")),
    measure("server_rx_packets", "packets", Made::Server("rx_packets")),
    measure("server_retransmits", "segments", Made::Server("retransmits")),
    measure("server_retransmit_ratio", "ratio", Made::ServerRatio("retransmits", "tx_packets")),
    measure("server_timeouts", "timeouts", Made::Server("timeouts")),
    measure("server_drops", "packets", Made::Server("drops")),
    measure("lost_tx", "packets", Made::LostOut("tx_packets", "rx_packets")),
    measure("lost_rx", "packets", Made::LostIn("tx_packets", "rx_packets")),
];

/// A measure by its name.
pub(crate) fn named(name: &str) -> Option<&'static Measure> {
    MEASURES.iter().find(|measure| measure.name == name)
}

/// What a group's numbers are.
pub(crate) trait Sums {
    /// What was added up; nothing where no row knew it.
    fn get(&self, input: Input) -> Option<i64>;
    /// The same of what both ends have told of: what one of them alone has seen cannot be held against the other.
    fn paired(&self, input: Input) -> Option<i64> {
        self.get(input)
    }
    /// Counts by bucket; nothing where no row had any.
    fn slots(&self, histogram: Histogram) -> Option<&Slots>;
}

fn ratio(part: Option<i64>, all: Option<i64>) -> Option<f64> {
    let all = all.filter(|all| *all != 0)?;
    Some(part? as f64 / all as f64)
}

impl Measure {
    /// What has to be added up for it.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        use Input::{Largest, Server, Sum};
        match self.made {
            Made::Sum(a) => vec![Sum(a)],
            Made::Both(a, b) | Made::Ratio(a, b) | Made::Mean(a, b) => vec![Sum(a), Sum(b)],
            Made::Largest(a) => vec![Largest(a)],
            Made::Quantile(..) => Vec::new(),
            Made::Cost => vec![Input::Cost],
            Made::Server(a) => vec![Server(a)],
            Made::ServerRatio(a, b) => vec![Server(a), Server(b)],
            Made::LostOut(own, server) => vec![Sum(own), Server(server)],
            Made::LostIn(server, own) => vec![Server(server), Sum(own)],
        }
    }

    /// The histogram that it is made of.
    pub(crate) fn histogram(&self) -> Option<Histogram> {
        match self.made {
            Made::Quantile(histogram, _) => Some(histogram),
            _ => None,
        }
    }

    /// It needs the other end's word.
    pub(crate) fn is_of_both(&self) -> bool {
        self.inputs().iter().any(|input| matches!(input, Input::Server(_)))
    }

    /// It is a whole number, which answers give as one.
    pub(crate) fn is_whole(&self) -> bool {
        !matches!(
            self.made,
            Made::Ratio(..)
                | Made::ServerRatio(..)
                | Made::Mean(..)
                | Made::Largest(_)
                | Made::Quantile(..)
                | Made::Cost
        )
    }

    /// Its value in a group, in its unit; nothing where it is not known.
    pub(crate) fn value(&self, sums: &impl Sums) -> Option<f64> {
        self.whole(sums).map(|n| n as f64).or_else(|| self.fraction(sums))
    }

    /// The same of a whole number, exactly.
    pub(super) fn whole(&self, sums: &impl Sums) -> Option<i64> {
        let (own, server) =
            (|name| sums.get(Input::Sum(name)), |name| sums.get(Input::Server(name)));
        match self.made {
            Made::Sum(name) => own(name),
            Made::Both(a, b) => match (own(a), own(b)) {
                (None, None) => None,
                (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
            },
            Made::Server(name) => server(name),
            Made::LostOut(out, arrived) => {
                let (out, arrived) = (Input::Sum(out), Input::Server(arrived));
                Some(sums.paired(out)?.saturating_sub(sums.paired(arrived)?))
            }
            Made::LostIn(out, arrived) => {
                let (out, arrived) = (Input::Server(out), Input::Sum(arrived));
                Some(sums.paired(out)?.saturating_sub(sums.paired(arrived)?))
            }
            _ => None,
        }
    }

    fn fraction(&self, sums: &impl Sums) -> Option<f64> {
        let own = |name| sums.get(Input::Sum(name));
        match self.made {
            Made::Ratio(part, all) => ratio(own(part), own(all)),
            Made::ServerRatio(part, all) => {
                ratio(sums.get(Input::Server(part)), sums.get(Input::Server(all)))
            }
            Made::Mean(sum, count) => ratio(own(sum), own(count)).map(|us| us / 1e6),
            Made::Largest(name) => Some(sums.get(Input::Largest(name))? as f64 / 1e6),
            Made::Cost => Some(sums.get(Input::Cost)? as f64 / 1e9),
            Made::Quantile(histogram, q) => quantile_of(sums.slots(histogram)?, q),
            _ => None,
        }
    }

    /// The same as answers give it.
    pub(crate) fn number(&self, sums: &impl Sums) -> Option<Number> {
        let whole = self.whole(sums).map(Number::Whole);
        let fraction = || self.fraction(sums).filter(|n| n.is_finite()).map(Number::Fraction);
        whole.or_else(fraction)
    }

    /// The same of the metrics of flows; `of` makes the sum of a metric's increase, grouped, with its labels. Nothing for
    /// what no metric has.
    pub(crate) fn promql(&self, of: &dyn Fn(&str, bool) -> String) -> Option<String> {
        let metric = |column: &str| {
            let phase = |all: &str, part: &str| format!("flow_{all}_total{{{part}}}");
            match column {
                "retransmits_syn" => phase("retransmits", r#"phase="syn""#),
                "retransmits_closing" => phase("retransmits", r#"phase="closing""#),
                "timeouts_syn" => phase("timeouts", r#"phase="syn""#),
                "timeouts_closing" => phase("timeouts", r#"phase="closing""#),
                "connect_refused" => phase("connect_failures", r#"reason="refused""#),
                "connect_timed_out" => phase("connect_failures", r#"reason="timed_out""#),
                "connect_unreachable" => phase("connect_failures", r#"reason="unreachable""#),
                "resets_received" => phase("resets", r#"side="peer""#),
                "resets_sent" => phase("resets", r#"side="local""#),
                "rtt_sum_us" => "flow_rtt_seconds_sum".into(),
                "rtt_count" => "flow_rtt_seconds_count".into(),
                "connect_time_sum_us" => "flow_connect_seconds_sum".into(),
                "connect_time_count" => "flow_connect_seconds_count".into(),
                other => format!("flow_{other}_total"),
            }
        };
        let of_column = |column| of(&metric(column), false);
        match self.made {
            Made::Sum(a) => Some(of_column(a)),
            Made::Both(a, b) => Some(format!("{} + {}", of_column(a), of_column(b))),
            Made::Ratio(a, b) | Made::Mean(a, b) => {
                Some(format!("{} / ({} > 0)", of_column(a), of_column(b)))
            }
            Made::Quantile(histogram, q) => {
                let buckets = of(&format!("{}_bucket", histogram.metric()), true);
                Some(format!("histogram_quantile({q}, {buckets})"))
            }
            Made::Cost => Some(of("flow_cost_total", false)),
            _ => None,
        }
    }

    /// The same in SQL over rows of `flows`; nothing for what needs both ends or a quantile.
    pub(crate) fn sql(&self) -> Option<String> {
        Some(match self.made {
            Made::Sum(a) => format!("sum({a})"),
            Made::Both(a, b) => format!("coalesce(sum({a}), 0) + coalesce(sum({b}), 0)"),
            Made::Ratio(a, b) => {
                format!("CAST(sum({a}) AS DOUBLE) / nullif(sum({b}), 0)")
            }
            Made::Mean(a, b) => {
                format!("CAST(sum({a}) AS DOUBLE) / nullif(sum({b}), 0) / 1000000")
            }
            Made::Largest(a) => format!("CAST(max({a}) AS DOUBLE) / 1000000"),
            Made::Cost => {
                "sum(flow_cost(crossing, peer_cloud_service, tx_bytes, rx_bytes))".to_owned()
            }
            _ => return None,
        })
    }
}

/// The quantile of what the buckets counted, seconds: the one that `histogram_quantile` gives.
fn quantile_of(slots: &Slots, q: f64) -> Option<f64> {
    let first = slots.iter().position(|n| *n != 0)?;
    let last = slots.iter().rposition(|n| *n != 0)?;
    let mut below = 0i64;
    let mut buckets = Vec::with_capacity(BUCKETS);
    for (at, (index, count)) in (FIRST_INDEX..).zip(slots).enumerate() {
        below = below.saturating_add(*count);
        // The bounds that the metric shows: see `crate::flows::shape`.
        if at + 1 >= first && at <= last && at + 1 < BUCKETS {
            buckets.push(Bucket { bound: upper_bound(index) / 1e6, count: below as f64 });
        }
    }
    buckets.push(Bucket { bound: f64::INFINITY, count: below as f64 });
    let (value, _) = quantile(q, buckets);
    value.is_finite().then_some(value)
}
