//! A deterministic cluster whose flows look like real ones.
//!
//! ```text
//! Shape (sizes, seed)  ->  Cluster: namespaces, workloads with pods on nodes, who calls whom
//!   ->  Cluster::batch(node, interval): the rows that this node's agent reports
//! ```
//!
//! What makes it realistic, because each of these decides sizes and speeds:
//!
//! - who calls whom is skewed: few workloads are called by many (Zipf), and every in-cluster
//!   conversation gives two rows, one at each end;
//! - volumes differ by five orders of magnitude between flows (log-normal), follow the time of day,
//!   and jitter from interval to interval; a flow is silent in part of the intervals;
//! - bytes, packets and round trips hang together; retransmits are zero nearly everywhere, and
//!   come in episodes on a few edges;
//! - round-trip times depend on whether the zone or the cluster is left;
//! - external peers are many and come and go: a key that talks to the outside has another peer every
//!   one to ten minutes;
//! - connections take their time: each handshake has its own, around the round-trip time;
//! - an agent knows the extremes of an interval no better than the kernel's totals tell: those of a
//!   connection that stays are bounds of their buckets unless it never had any like them, or was
//!   measured once (`weir_agent::deltas`). Extremes of nothing are null.
//!
//! The same shape gives the same bytes on every machine and with every library version: the random
//! numbers are SplitMix64 (Steele, Lea, Flood 2014).

#![allow(dead_code, reason = "each benchmark uses its part of this module")]

use std::sync::Arc;

use arrow::array::builder::{Int64Builder, ListBuilder, StringDictionaryBuilder};
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::Int32Type;
use weir_wire::histogram::{BUCKETS, FIRST_INDEX, index_of, trim, upper_bound};
use weir_wire::schema;

/// Sizes of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Nodes, each with an agent.
    pub(crate) nodes: usize,
    /// Namespaces.
    pub(crate) namespaces: usize,
    /// Workloads.
    pub(crate) workloads: usize,
    /// Pods of each workload.
    pub(crate) pods: usize,
    /// Flow keys that each node knows, both ends counted.
    pub(crate) keys_per_node: usize,
    /// First interval's start, microseconds since the Unix epoch.
    pub(crate) start: i64,
    /// Length of an interval, microseconds.
    pub(crate) interval: i64,
    /// Seed of everything.
    pub(crate) seed: u64,
}

impl Default for Shape {
    /// 60 workloads on 8 nodes: about 1,160 rows every 10 s, 10 million a day.
    fn default() -> Self {
        Self {
            nodes: 8,
            namespaces: 6,
            workloads: 60,
            pods: 4,
            keys_per_node: 212,
            start: 1_790_000_000_000_000 / 86_400_000_000 * 86_400_000_000,
            interval: 10_000_000,
            seed: 1,
        }
    }
}

/// SplitMix64.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn of(parts: [u64; 3]) -> Self {
        let mut random = Self(parts[0]);
        for part in parts {
            random.0 ^= part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// Normal with mean 0 and deviation 1, as a sum of uniform numbers (Irwin-Hall).
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// Index below `n`, small ones far likelier.
    fn zipf(&mut self, n: usize) -> usize {
        ((n as f64).powf(self.unit()) - 1.0) as usize % n
    }
}

/// One end of a conversation.
#[derive(Debug, Clone, Default)]
struct End {
    node: String,
    zone: String,
    namespace: String,
    workload: String,
    kind: &'static str,
    pod: String,
    address: String,
}

/// One flow key as an agent reports it, and how it behaves.
#[derive(Debug, Clone)]
struct Key {
    local: End,
    peer: End,
    port: i32,
    peer_port: i32,
    scope: &'static str,
    service: Option<&'static str>,
    role: &'static str,
    /// Mean bytes an interval, sent and received.
    tx: f64,
    rx: f64,
    /// Mean round-trip time, microseconds.
    rtt: f64,
    /// Share of intervals with traffic.
    activity: f64,
    /// Share of segments resent in an episode of loss, nothing on most keys.
    loss: f64,
    /// New connections an interval; 0 for keys that keep theirs.
    connects: f64,
    /// Intervals after which an external peer is another one; 0 for peers that stay.
    lifetime: u64,
}

/// A cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    shape: Shape,
    keys: Vec<Vec<Key>>,
}

impl Cluster {
    /// Draws a cluster of this shape.
    pub(crate) fn new(shape: Shape) -> Self {
        let mut random = Random::of([shape.seed, 0, 0]);
        let pods = draw_pods(&shape);
        let mut keys: Vec<Vec<Key>> = vec![Vec::new(); shape.nodes];
        while keys.iter().any(|k| k.len() < shape.keys_per_node) {
            let client_workload = random.below(shape.workloads);
            let client = random.below(shape.pods);
            let (client_node, client) = &pods[client_workload * shape.pods + client];
            let tx = (7.0 + 2.6 * random.normal()).exp();
            let rx = tx * (1.5 * random.normal()).exp();
            let activity = 0.35 + 0.65 * random.unit();
            let loss = if random.unit() < 0.06 { 0.002 + 0.03 * random.unit() } else { 0.0 };
            let connects = if random.unit() < 0.4 { 1.0 + 20.0 * random.unit() } else { 0.0 };
            let external = random.unit() < 0.12;
            let (server_node, server, rtt) = if external {
                (None, external_peer(&mut random), 8_000.0 + 120_000.0 * random.unit())
            } else {
                let workload = random.zipf(shape.workloads);
                let (node, server) = &pods[workload * shape.pods + random.below(shape.pods)];
                let crossing = if server.zone == client.zone { 180.0 } else { 900.0 };
                (Some(*node), server.clone(), crossing * (1.0 + random.unit()))
            };
            let port = [80, 443, 5432, 6379, 8080, 9090, 9092][random.zipf(7)];
            let key = Key {
                local: client.clone(),
                peer: server,
                port: 0,
                peer_port: port,
                scope: if external { "external" } else { "cluster" },
                service: (!external).then_some("svc"),
                role: "client",
                tx,
                rx,
                rtt,
                activity,
                loss,
                connects,
                lifetime: if external { 6 + random.below(55) as u64 } else { 0 },
            };
            if let Some(node) = server_node {
                let other = Key {
                    local: key.peer.clone(),
                    peer: key.local.clone(),
                    port,
                    peer_port: 0,
                    service: None,
                    role: "server",
                    tx: rx,
                    rx: tx,
                    ..key.clone()
                };
                push(&mut keys[node], other, shape.keys_per_node);
            }
            push(&mut keys[*client_node], key, shape.keys_per_node);
        }
        Self { shape, keys }
    }

    /// The shape it was drawn from.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Namespace, workload, pod, node and address of every end that has a pod.
    pub(crate) fn pods(&self) -> std::collections::BTreeSet<[&str; 5]> {
        let ends = self.keys.iter().flatten().flat_map(|key| [&key.local, &key.peer]);
        ends.filter(|end| !end.pod.is_empty())
            .map(|end| [&*end.namespace, &*end.workload, &*end.pod, &*end.node, &*end.address])
            .collect()
    }

    /// What the agent of `node` reports for an interval.
    pub(crate) fn batch(&self, node: usize, interval: u64) -> RecordBatch {
        let mut random = Random::of([self.shape.seed, node as u64 + 1, interval]);
        let start = self.shape.start + interval as i64 * self.shape.interval;
        let hour = start as f64 / 3.6e9;
        let daily = 1.0 + 0.6 * ((hour / 24.0 - 0.6) * std::f64::consts::TAU).cos();
        let rows: Vec<Row<'_>> = self.keys[node]
            .iter()
            .filter_map(|key| {
                let active = random.unit() < key.activity;
                if active { Some(Row::draw(key, daily, interval, &mut random)) } else { None }
            })
            .collect();
        self.assemble(&rows, start)
    }

    fn assemble(&self, rows: &[Row<'_>], start: i64) -> RecordBatch {
        let n = rows.len();
        let columns: Vec<ArrayRef> = schema::FLOW_COLUMNS
            .iter()
            .map(|column| {
                let end = |pick: fn(&End) -> &str, peer: bool| {
                    label(
                        rows.iter()
                            .map(|r| Some(pick(if peer { &r.key.peer } else { &r.key.local }))),
                    )
                };
                let name = column.name.strip_prefix("peer_");
                let peer = name.is_some() && !column.name.starts_with("peer_s");
                match name.filter(|_| peer).unwrap_or(column.name) {
                    "start" => time(start, n),
                    "end" => time(start + self.shape.interval, n),
                    "cluster" => label(rows.iter().map(|_| Some("prod"))),
                    "node" => end(|e| &e.node, peer),
                    "zone" => end(|e| &e.zone, peer),
                    "namespace" => end(|e| &e.namespace, peer),
                    "workload" => end(|e| &e.workload, peer),
                    "workload_kind" => end(|e| e.kind, peer),
                    "pod" => end(|e| &e.pod, peer),
                    "container" => end(|e| if e.pod.is_empty() { "" } else { "main" }, peer),
                    "address" if peer => label(rows.iter().map(|r| Some(r.peer_address.as_str()))),
                    "address" => end(|e| &e.address, peer),
                    "port" if peer => int(rows.iter().map(|r| r.key.peer_port)),
                    "port" => int(rows.iter().map(|r| r.key.port)),
                    "peer_service" => label(
                        rows.iter().map(|r| r.key.service.map(|_| r.key.peer.workload.as_str())),
                    ),
                    "peer_scope" => label(rows.iter().map(|r| Some(r.key.scope))),
                    "protocol" => label(rows.iter().map(|_| Some("tcp"))),
                    "role" => label(rows.iter().map(|r| Some(r.key.role))),
                    "tx_bytes" => long(rows.iter().map(|r| r.tx_bytes)),
                    "rx_bytes" => long(rows.iter().map(|r| r.rx_bytes)),
                    "tx_packets" => long(rows.iter().map(|r| r.tx_packets)),
                    "rx_packets" => long(rows.iter().map(|r| r.rx_packets)),
                    "retransmits" => long(rows.iter().map(|r| r.retransmits)),
                    "timeouts" => long(rows.iter().map(|r| r.retransmits / 40)),
                    "connects" => long(rows.iter().map(|r| r.connects)),
                    "accepts" => long(rows.iter().map(|r| r.accepts)),
                    "closes" => long(rows.iter().map(|r| r.closes)),
                    "active" => long(rows.iter().map(|r| r.active)),
                    "rtt_count" => long(rows.iter().map(|r| r.rtt.count)),
                    "rtt_sum_us" => long(rows.iter().map(|r| r.rtt.sum)),
                    "rtt_min_us" => extremes(rows.iter().map(|r| r.rtt.known(r.rtt.min))),
                    "rtt_max_us" => extremes(rows.iter().map(|r| r.rtt.known(r.rtt.max))),
                    "rtt_offset" => int(rows.iter().map(|r| trim(&r.rtt.slots).0)),
                    "rtt_buckets" => lists(rows.iter().map(|r| trim(&r.rtt.slots).1)),
                    "connect_time_count" => long(rows.iter().map(|r| r.connect.count)),
                    "connect_time_sum_us" => long(rows.iter().map(|r| r.connect.sum)),
                    "connect_time_min_us" => {
                        extremes(rows.iter().map(|r| r.connect.known(r.connect.min)))
                    }
                    "connect_time_max_us" => {
                        extremes(rows.iter().map(|r| r.connect.known(r.connect.max)))
                    }
                    "connect_time_offset" => int(rows.iter().map(|r| trim(&r.connect.slots).0)),
                    "connect_time_buckets" => lists(rows.iter().map(|r| trim(&r.connect.slots).1)),
                    "sampling" => int(rows.iter().map(|_| 1)),
                    _ if column.kind == schema::Kind::Counter => long(rows.iter().map(|_| 0)),
                    _ => arrow::array::new_null_array(&column.data_type, n),
                }
            })
            .collect();
        RecordBatch::try_new(schema::FLOWS.clone(), columns)
            .expect("columns are those of the schema")
    }
}

fn push(keys: &mut Vec<Key>, key: Key, limit: usize) {
    if keys.len() < limit {
        keys.push(key);
    }
}

/// Pods of all workloads: where each runs and what it is.
fn draw_pods(shape: &Shape) -> Vec<(usize, End)> {
    let mut random = Random::of([shape.seed, 1, 0]);
    let mut pods = Vec::new();
    for workload in 0..shape.workloads {
        let namespace = workload % shape.namespaces;
        let name =
            format!("{}-{workload}", ["web", "api", "cart", "auth", "db", "queue"][workload % 6]);
        for pod in 0..shape.pods {
            let node = random.below(shape.nodes);
            let id = random.next();
            let end = End {
                node: format!("node-{node}"),
                zone: format!("zone-{}", ["a", "b", "c"][node % 3]),
                namespace: format!("team-{namespace}"),
                workload: name.clone(),
                kind: if workload % 6 == 4 { "StatefulSet" } else { "Deployment" },
                pod: format!("{name}-{:x}-{:05x}", id >> 36, id & 0xf_ffff),
                address: format!("10.{}.{}.{}", node, workload % 250, pod + 2),
            };
            pods.push((node, end));
        }
    }
    pods
}

fn external_peer(random: &mut Random) -> End {
    End { address: external_address(random), ..End::default() }
}

fn external_address(random: &mut Random) -> String {
    let n = random.zipf(4000) as u64 * 2_654_435_761;
    let octet = |shift: u64| 1 + (n >> shift) % 222;
    format!("{}.{}.{}.{}", octet(3), octet(9), octet(15), octet(21))
}

struct Rtt {
    count: i64,
    sum: i64,
    min: i64,
    max: i64,
    slots: [i64; BUCKETS],
}

impl Rtt {
    fn known(&self, extreme: i64) -> Option<i64> {
        (self.count > 0).then_some(extreme)
    }

    /// What an agent makes of these of a connection that it has seen for long: see
    /// `weir_agent::deltas::Durations::between`. Around the `usual` round-trip time the connection
    /// has had everything within four deviations before.
    fn of_one_connection(mut self, usual: f64) -> Self {
        let slot_of = |us: i64| (index_of(us as u64) - FIRST_INDEX) as usize;
        let (first, last) = (slot_of(self.min), slot_of(self.max));
        let (least, most) = ((usual * (-1f64).exp()) as i64, (usual * 1f64.exp()) as i64);
        if self.min >= least {
            self.min = least.max(lower_us(first));
        }
        if self.max <= most {
            self.max = most.min(upper_us(last)).max(self.min);
        }
        let others = self.count - 1;
        self.max = self.max.min((self.sum - others * self.min).max(lower_us(last)));
        let min = self.sum - others * self.max;
        self.min = self.min.max(min.min(upper_us(first))).min(self.max);
        self
    }
}

/// Smallest whole number of microseconds in a slot.
fn lower_us(slot: usize) -> i64 {
    if slot == 0 { 0 } else { upper_us(slot - 1) + 1 }
}

/// Largest whole number of microseconds in a slot.
fn upper_us(slot: usize) -> i64 {
    upper_bound(slot as i32 + FIRST_INDEX).floor() as i64
}

struct Row<'a> {
    key: &'a Key,
    peer_address: String,
    tx_bytes: i64,
    rx_bytes: i64,
    tx_packets: i64,
    rx_packets: i64,
    retransmits: i64,
    connects: i64,
    accepts: i64,
    closes: i64,
    active: i64,
    rtt: Rtt,
    connect: Rtt,
}

impl<'a> Row<'a> {
    fn draw(key: &'a Key, daily: f64, interval: u64, random: &mut Random) -> Self {
        let jitter = (0.4 * random.normal()).exp() * daily;
        let tx_bytes = (key.tx * jitter) as i64 + 64;
        let rx_bytes = (key.rx * jitter) as i64 + 64;
        let tx_packets = 1 + tx_bytes / 1400;
        // Episodes of loss last ten minutes and are the same for all rows of a key.
        let episode = key.loss > 0.0 && (interval / 60 + key.tx as u64).is_multiple_of(7);
        let retransmits = if episode {
            (tx_packets as f64 * key.loss + random.unit()) as i64
        } else {
            i64::from(random.unit() < 0.004)
        };
        let opened = (key.connects * daily * random.unit() * 2.0) as i64;
        let client = key.role == "client";
        let samples = tx_packets.clamp(1, 500);
        let mean = key.rtt * (1.0 + 0.2 * (daily - 1.0));
        // Some connections end in another interval than they began in.
        let late = i64::from(opened > 0 && random.unit() < 0.1);
        let closes = opened - late + i64::from(key.connects > 0.0 && random.unit() < 0.1);
        let peer_address = match interval.checked_div(key.lifetime) {
            Some(life) => external_address(&mut Random::of([key.tx.to_bits(), life, 2])),
            None => key.peer.address.clone(),
        };
        Self {
            key,
            peer_address,
            tx_bytes,
            rx_bytes,
            tx_packets,
            rx_packets: 1 + rx_bytes / 1400,
            retransmits,
            connects: if client { opened } else { 0 },
            accepts: if client { 0 } else { opened },
            closes,
            active: 1 + (key.connects as i64) / 4,
            rtt: if key.connects > 0.0 {
                draw_rtt(mean, samples, random)
            } else {
                draw_rtt(mean, samples, random).of_one_connection(key.rtt)
            },
            connect: draw_rtt(mean, if client { opened } else { 0 }, random),
        }
    }
}

/// Spreads samples over the buckets around a mean, with a tail.
fn draw_rtt(mean: f64, samples: i64, random: &mut Random) -> Rtt {
    let min = if samples == 0 { 0 } else { i64::MAX };
    let mut rtt = Rtt { count: samples, sum: 0, min, max: 0, slots: [0; BUCKETS] };
    let draws = samples.min(12);
    for draw in 0..draws {
        let share = samples / draws + i64::from(draw < samples % draws);
        let us = (mean * (0.25 * random.normal()).exp()) as i64 + 1;
        let slot = (index_of(us as u64) - FIRST_INDEX) as usize;
        rtt.slots[slot] += share;
        rtt.sum += us * share;
        rtt.min = rtt.min.min(us);
        rtt.max = rtt.max.max(us);
    }
    rtt
}

fn label<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    builder.extend(values.map(|v| v.filter(|v| !v.is_empty())));
    Arc::new(builder.finish())
}

fn time(at: i64, n: usize) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_value(at, n).with_timezone("UTC"))
}

fn int(values: impl Iterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

fn long(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn extremes(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(Int64Array::from_iter(values))
}

fn lists<'a>(values: impl Iterator<Item = &'a [i64]>) -> ArrayRef {
    let mut builder = ListBuilder::new(Int64Builder::new());
    for list in values {
        builder.append_value(list.iter().map(|n| Some(*n)));
    }
    Arc::new(builder.finish())
}
