//! Column builders for flow rows.
//!
//! Columns that a node cannot know (names from Kubernetes, cloud services, autonomous systems), and
//! those that are null in every row, are left out of the batch; the server reads them as null. On a
//! quiet node the description of the columns is most of a batch.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use arrow_array::builder::{
    Int32Builder, Int64Builder, ListBuilder, StringDictionaryBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Schema};
use weir_wire::histogram;
use weir_wire::schema::{FLOW_COLUMNS, FLOWS};

use super::{Interval, Key, Observer, Row};
use crate::attribution::Scope;
use crate::deltas::Durations;

type Label<'a> = fn(&'a Key, &'a Observer) -> Option<Text<'a>>;

/// A label's value: text that is there already, or an address still to be written.
enum Text<'a> {
    Borrowed(&'a str),
    Address(IpAddr),
}

pub(super) fn build(
    rows: &BTreeMap<Key, Row>,
    observer: &Observer,
    interval: Interval,
) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for column in FLOW_COLUMNS.iter() {
        let built = match column.data_type {
            DataType::Dictionary(..) => match label(column.name) {
                Some(value) => Some(label_column(rows, observer, value)?),
                None => None,
            },
            _ => number_column(column.name, rows, observer, interval),
        };
        if let Some(array) = built.filter(|a| column.required || a.null_count() < a.len()) {
            fields.push(FLOWS.field_with_name(column.name)?.clone());
            columns.push(array);
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// How a label column is read off a key; `None` for columns that a node does not know.
fn label<'a>(name: &str) -> Option<Label<'a>> {
    use Text::{Address, Borrowed};
    Some(match name {
        "cluster" => |_, o| o.cluster.as_deref().map(Borrowed),
        "node" => |_, o| Some(Borrowed(&o.node)),
        "zone" => |_, o| o.zone.as_deref().map(Borrowed),
        "region" => |_, o| o.region.as_deref().map(Borrowed),
        "workload" => |k, _| Some(Borrowed(&k.local.name)),
        "workload_kind" => |k, _| Some(Borrowed(k.local.kind)),
        "pod" => |k, _| k.local.pod.as_deref().map(Borrowed),
        "container" => |k, _| k.local.container.as_deref().map(Borrowed),
        "address" => |k, _| known(k.address),
        "peer_node" => |k, o| (k.scope == Scope::Node).then_some(Borrowed(&o.node)),
        "peer_zone" => |k, o| match k.scope {
            Scope::Node => o.zone.as_deref().map(Borrowed),
            Scope::External => None,
        },
        "peer_region" => |k, o| match k.scope {
            Scope::Node => o.region.as_deref().map(Borrowed),
            Scope::External => None,
        },
        "peer_workload" => |k, _| k.peer.as_ref().map(|p| Borrowed(p.name.as_str())),
        "peer_workload_kind" => |k, _| k.peer.as_ref().map(|p| Borrowed(p.kind)),
        "peer_pod" => |k, _| k.peer.as_ref()?.pod.as_deref().map(Borrowed),
        "peer_container" => |k, _| k.peer.as_ref()?.container.as_deref().map(Borrowed),
        "peer_address" => |k, _| known(k.peer_address),
        "peer_service_address" => |k, _| Some(Address(k.service?.ip().to_canonical())),
        "peer_domain" => |k, _| k.domain.as_deref().map(Borrowed),
        "peer_scope" => |k, _| Some(Borrowed(k.scope.name())),
        "protocol" => |k, _| Some(Borrowed(k.protocol.name())),
        "role" => |k, _| Some(Borrowed(k.role)),
        _ => return None,
    })
}

/// What is added up from many addresses has none.
fn known<'a>(address: IpAddr) -> Option<Text<'a>> {
    (!address.is_unspecified()).then_some(Text::Address(address))
}

fn label_column<'a>(
    rows: &'a BTreeMap<Key, Row>,
    observer: &'a Observer,
    value: Label<'a>,
) -> Result<ArrayRef, ArrowError> {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    for key in rows.keys() {
        match value(key, observer) {
            Some(Text::Borrowed(text)) => drop(builder.append(text)?),
            Some(Text::Address(ip)) => drop(builder.append(ip.to_string())?),
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// `None` for columns that a node does not know.
fn number_column(
    name: &str,
    rows: &BTreeMap<Key, Row>,
    observer: &Observer,
    interval: Interval,
) -> Option<ArrayRef> {
    if let Some(part) = name.strip_prefix("rtt_") {
        return duration_column(part, rows.values().map(|r| &r.rtt));
    }
    if let Some(part) = name.strip_prefix("connect_time_") {
        return duration_column(part, rows.values().map(|r| &r.connect_time));
    }
    if let Some(value) = counter(name) {
        return Some(int64(rows.values().map(|r| Some(value(r)))));
    }
    Some(match name {
        "start" => times(interval.start_us, rows.len()),
        "end" => times(interval.end_us, rows.len()),
        "port" => int32(rows.keys().map(|k| Some(i32::from(k.port)))),
        "peer_port" => int32(rows.keys().map(|k| Some(i32::from(k.peer_port)))),
        "peer_service_port" => int32(rows.keys().map(|k| Some(i32::from(k.service?.port())))),
        "drops" if observer.drops => int64(rows.values().map(|r| Some(r.drops.packets()))),
        "sampling" => {
            int32(rows.keys().map(|k| Some(i32::try_from(k.sampling).unwrap_or(i32::MAX))))
        }
        _ => return None,
    })
}

fn counter(name: &str) -> Option<fn(&Row) -> u64> {
    Some(match name {
        "tx_bytes" => |r| r.counters.tx_bytes,
        "rx_bytes" => |r| r.counters.rx_bytes,
        "tx_packets" => |r| r.counters.tx_packets,
        "rx_packets" => |r| r.counters.rx_packets,
        "retransmits" => |r| r.counters.retransmits,
        "retransmits_syn" => |r| r.counters.retransmits_syn,
        "retransmits_closing" => |r| r.counters.retransmits_closing,
        "timeouts" => |r| r.counters.timeouts,
        "timeouts_syn" => |r| r.counters.timeouts_syn,
        "timeouts_closing" => |r| r.counters.timeouts_closing,
        "connects" => |r| r.counters.connects,
        "connect_failures" => |r| r.counters.connect_failures,
        "connect_refused" => |r| r.counters.connect_refused,
        "connect_timed_out" => |r| r.counters.connect_timed_out,
        "connect_unreachable" => |r| r.counters.connect_unreachable,
        "accepts" => |r| r.counters.accepts,
        "closes" => |r| r.counters.closes,
        "resets" => |r| r.counters.resets,
        "resets_received" => |r| r.counters.resets_received,
        "resets_sent" => |r| r.counters.resets_sent,
        "delivered_ce" => |r| r.counters.delivered_ce,
        "active" => |r| r.active,
        _ => return None,
    })
}

fn duration_column<'a>(
    part: &str,
    durations: impl Iterator<Item = &'a Durations>,
) -> Option<ArrayRef> {
    // Minimum and maximum of nothing are null; count, sum and buckets of nothing are 0 and empty.
    let known = |d: &Durations, value: u64| (!d.slots.is_empty()).then_some(value);
    Some(match part {
        "count" => int64(durations.map(|d| Some(d.count()))),
        "sum_us" => int64(durations.map(|d| Some(d.sum_us))),
        "min_us" => int64(durations.map(|d| known(d, d.min_us))),
        "max_us" => int64(durations.map(|d| known(d, d.max_us))),
        "offset" => int32(durations.map(|d| Some(trimmed(d).0))),
        "buckets" => {
            let mut builder = ListBuilder::new(Int64Builder::new());
            for d in durations {
                builder.values().append_slice(&trimmed(d).1);
                builder.append(true);
            }
            Arc::new(builder.finish())
        }
        _ => return None,
    })
}

fn trimmed(durations: &Durations) -> (i32, Vec<i64>) {
    let slots = durations.dense().map(saturated);
    let (offset, kept) = histogram::trim(&slots);
    (offset, kept.to_vec())
}

fn saturated(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn int64(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    let mut builder = Int64Builder::new();
    builder.extend(values.map(|v| v.map(saturated)));
    Arc::new(builder.finish())
}

fn int32(values: impl Iterator<Item = Option<i32>>) -> ArrayRef {
    let mut builder = Int32Builder::new();
    builder.extend(values);
    Arc::new(builder.finish())
}

fn times(us: i64, rows: usize) -> ArrayRef {
    let mut builder = TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC");
    builder.extend(std::iter::repeat_n(Some(us), rows));
    Arc::new(builder.finish())
}
