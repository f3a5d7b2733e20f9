//! Which pod, node or service each end of a row is.
//!
//! The local end is the pod whose uid the agent read off the cgroup, else the pod that had the address. The peer is
//! the pod that the agent names, else the one that had the address, else the pod in a node's network that listens at
//! the port, else the node. A name is the one of the row's interval ([`crate::names`]).

use std::collections::HashMap;
use std::hash::Hash;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use foldhash::fast::RandomState;

use super::column::{Column, Number, Over, replace};
use super::intervals::{Interval, Intervals};
use super::learn::is_reachable;
use super::places::EXTERNAL;
use crate::names::{Lookup, Names, Place, Who};

const CLUSTER: &str = "cluster";
/// The kind of workload of a peer of which only the node is known.
const NODE: &str = "Node";

/// Pods and addresses of a batch that ought to have a name and have none yet.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    /// Uids of pods.
    pub(crate) pods: Vec<String>,
    /// Addresses that may be somebody's.
    pub(crate) addresses: Vec<String>,
}

/// Whose name a row gets; 0 stands for nobody's.
type Whose = u32;

/// Those of a batch.
struct Everyone<'a> {
    whose: Vec<Who<'a>>,
    /// Their names count only where the agent has none.
    weak: Vec<bool>,
}

impl<'a> Everyone<'a> {
    fn new() -> Self {
        Self { whose: vec![Who::default()], weak: vec![false] }
    }

    fn add(&mut self, who: Option<Who<'a>>, weak: bool) -> Whose {
        let Some(who) = who else { return 0 };
        self.whose.push(who);
        self.weak.push(weak);
        Whose::try_from(self.whose.len() - 1).unwrap_or(0)
    }

    fn is_nobody(&self) -> bool {
        self.whose.len() == 1
    }

    fn is_weak(&self, whose: Whose) -> bool {
        self.weak.get(whose as usize).is_some_and(|weak| *weak)
    }

    fn numbers(&self, over: &mut Over<'a>, text: impl Fn(&Who<'a>) -> &'a str) -> Vec<Number> {
        self.whose.iter().map(|who| over.number(text(who))).collect()
    }
}

/// Asks once for each key.
struct Once<K, V> {
    known: HashMap<K, V, RandomState>,
    last: Option<(K, V)>,
}

impl<K: Copy + Eq + Hash, V: Copy> Once<K, V> {
    fn new() -> Self {
        Self { known: HashMap::default(), last: None }
    }

    fn get(&mut self, key: K, ask: impl FnOnce() -> V) -> V {
        if let Some((last, value)) = self.last
            && last == key
        {
            return value;
        }
        let value = *self.known.entry(key).or_insert_with(ask);
        self.last = Some((key, value));
        value
    }
}

/// Ports of a batch's rows.
pub(super) struct Ports<'a>(Option<&'a arrow::array::Int32Array>);

impl<'a> Ports<'a> {
    pub(super) fn of(batch: &'a RecordBatch, name: &str) -> Self {
        Self(batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int32Type>()))
    }

    pub(super) fn get(&self, row: usize) -> u16 {
        let port = self.0.filter(|ports| ports.is_valid(row)).map(|ports| ports.value(row));
        port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0)
    }
}

impl Names {
    /// Names both ends of each row.
    pub(super) fn enrich(
        &self,
        batch: RecordBatch,
        unknown: &mut Unknown,
    ) -> Result<RecordBatch, ArrowError> {
        let Some(lookup) = self.lookup() else { return Ok(batch) };
        let intervals = Intervals::of(&batch);
        let mut replaced = local(&batch, &lookup, &intervals, unknown)?;
        replaced
            .extend(Peers { batch: &batch, lookup: &lookup, intervals: &intervals }.name(unknown)?);
        drop(lookup);
        replace(batch, replaced)
    }
}

type Columns = Vec<(&'static str, ArrayRef)>;

/// Looks up what each text of a column means in each interval; the first index is the interval's.
fn by_interval<'a, T: Clone>(
    column: Option<Column<'a>>,
    intervals: &Intervals,
    mut of: impl FnMut(&'a str, Interval) -> Option<T>,
) -> Vec<Vec<Option<T>>> {
    let Some(column) = column else { return Vec::new() };
    let all = intervals.all.iter();
    all.map(|interval| {
        (0..column.texts()).map(|n| column.text(n).and_then(|text| of(text, *interval))).collect()
    })
    .collect()
}

/// A row's value of what [`by_interval`] found.
fn of_row<T: Copy>(
    found: &[Vec<Option<T>>],
    column: Option<Column<'_>>,
    intervals: &Intervals,
    row: usize,
) -> Option<T> {
    let key = column?.key(row)?;
    *found.get(intervals.number(row))?.get(key)?
}

/// Uids of a column of pods.
fn by_uid<'a>(
    column: Option<Column<'_>>,
    lookup: &'a Lookup<'_>,
    everyone: &mut Everyone<'a>,
    unknown: &mut Unknown,
) -> Vec<Whose> {
    let Some(column) = column else { return Vec::new() };
    (0..column.texts())
        .map(|number| {
            let Some(text) = column.text(number) else { return 0 };
            let who = lookup.pod(text);
            if who.is_none() && lookup.is_uid(text) {
                unknown.pods.push(text.to_owned());
            }
            everyone.add(who, false)
        })
        .collect()
}

/// Names of containers by the ids that agents tell.
fn containers<'a>(
    batch: &'a RecordBatch,
    name: &'static str,
    lookup: &'a Lookup<'_>,
) -> Result<Option<(&'static str, ArrayRef)>, ArrowError> {
    let Some(ids) = Column::of(batch, name) else { return Ok(None) };
    let names = ids.each(|id| lookup.container(id));
    if names.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut over = Over::new(batch, name);
    let numbers: Vec<Number> = names.iter().map(|name| over.number(name.unwrap_or(""))).collect();
    let number = |row| ids.key(row).and_then(|key| numbers.get(key).copied());
    let column = over.write(batch.num_rows(), |row| number(row).unwrap_or(Number::NOTHING))?;
    Ok(Some((name, column)))
}

fn local<'a>(
    batch: &'a RecordBatch,
    lookup: &'a Lookup<'_>,
    intervals: &Intervals,
    unknown: &mut Unknown,
) -> Result<Columns, ArrowError> {
    let rows = batch.num_rows();
    let mut everyone = Everyone::new();
    let pods = Column::of(batch, "pod");
    let addresses = Column::of(batch, "address");
    let by_uid = by_uid(pods, lookup, &mut everyone, unknown);
    let named = Column::of(batch, "namespace").filter(|named| !named.is_empty());
    let is_named = |row: usize| named.is_some_and(|named| named.get(row).is_some());
    let mut whose: Vec<Whose> = (0..rows)
        .map(|row| {
            let uid = || pods.and_then(|pods| by_uid.get(pods.key(row)?).copied()).unwrap_or(0);
            if is_named(row) { 0 } else { uid() }
        })
        .collect();
    let mut rest = whose.iter().enumerate().filter(|(_, whose)| **whose == 0);
    if rest.any(|(row, _)| !is_named(row)) {
        let by_address = by_interval(addresses, intervals, |text, (start, end)| {
            Some(everyone.add(Some(lookup.pod_at(text, start, end)?), false))
        });
        for (row, whose) in whose.iter_mut().enumerate() {
            if *whose == 0 && !is_named(row) {
                *whose = of_row(&by_address, addresses, intervals, row).unwrap_or(0);
            }
        }
    }
    let mut columns = Vec::new();
    if !everyone.is_nobody() {
        let mut write = |name, text: fn(&Who<'a>) -> &'a str| -> Result<(), ArrowError> {
            let mut over = Over::new(batch, name);
            let numbers = everyone.numbers(&mut over, text);
            let number = |row: usize| {
                let whose = whose.get(row).map_or(0, |whose| *whose as usize);
                numbers.get(whose).copied().unwrap_or(Number::NOTHING)
            };
            columns.push((name, over.write(rows, number)?));
            Ok(())
        };
        write("namespace", |who| who.namespace)?;
        write("workload", |who| who.workload)?;
        write("workload_kind", |who| who.workload_kind)?;
        write("pod", |who| who.pod)?;
    }
    columns.extend(containers(batch, "container", lookup)?);
    // Where the node is, its agent need not know.
    if let Some(nodes) = Column::of(batch, "node") {
        let places = nodes.each(|name| lookup.node(name));
        for (name, text) in
            [("zone", (|who| who.zone) as fn(&Who<'a>) -> &'a str), ("region", |who| who.region)]
        {
            if places.iter().flatten().all(|who| text(who).is_empty()) {
                continue;
            }
            let mut over = Over::new(batch, name);
            let texts = places.iter().map(|who| who.as_ref().map_or("", text));
            let numbers: Vec<Number> = texts.map(|text| over.number(text)).collect();
            let number = |row| nodes.key(row).and_then(|key| numbers.get(key).copied());
            let column = over.fill(rows, |row| number(row).unwrap_or(Number::NOTHING))?;
            columns.push((name, column));
        }
    }
    Ok(columns)
}

/// What an address may be.
#[derive(Clone, Copy)]
enum At {
    Pod(Whose),
    /// A node's: perhaps a pod in its network.
    Node(Whose),
    /// A service's, whose backend the agent could not see.
    Service,
}

struct Peers<'a, 'b> {
    batch: &'a RecordBatch,
    lookup: &'a Lookup<'b>,
    intervals: &'a Intervals,
}

impl<'a> Peers<'a, '_> {
    fn name(&self, unknown: &mut Unknown) -> Result<Columns, ArrowError> {
        let (batch, lookup, intervals) = (self.batch, self.lookup, self.intervals);
        let rows = batch.num_rows();
        let mut everyone = Everyone::new();
        let pods = Column::of(batch, "peer_pod");
        let addresses = Column::of(batch, "peer_address");
        let by_uid = by_uid(pods, lookup, &mut everyone, unknown);
        let mut inside = Vec::new();
        let by_address = by_interval(addresses, intervals, |text, (start, end)| {
            if let Some(pod) = lookup.pod_at(text, start, end) {
                return Some(At::Pod(everyone.add(Some(pod), false)));
            }
            if let Some(node) = lookup.node_at(text, start, end) {
                return Some(At::Node(everyone.add(Some(node), true)));
            }
            if lookup.service_at(text, None, start, end).is_some() {
                return Some(At::Service);
            }
            if is_reachable(text) {
                inside.push(text);
            }
            None
        });
        unknown.addresses.extend(inside.into_iter().map(str::to_owned));
        let named = Column::of(batch, "peer_namespace");
        let ports = Ports::of(batch, "peer_port");
        let protocols = Column::of(batch, "protocol");
        let mut on_hosts: Once<(usize, u16, usize, usize), Whose> = Once::new();
        let mut callers: Once<(usize, usize, u16, usize, usize), Whose> = Once::new();
        let own = (Column::of(batch, "address"), Ports::of(batch, "port"));
        let mut nobody_yet: Vec<&str> = Vec::new();
        let whose: Vec<Whose> = (0..rows)
            .map(|row| {
                if named.is_some_and(|named| named.get(row).is_some()) {
                    return 0;
                }
                let uid = pods.and_then(|pods| by_uid.get(pods.key(row)?).copied()).unwrap_or(0);
                if uid > 0 {
                    return uid;
                }
                match of_row(&by_address, addresses, intervals, row) {
                    Some(At::Pod(whose)) => whose,
                    Some(At::Node(node)) => {
                        let number = |column: Option<Column<'_>>| {
                            column.and_then(|c| c.key(row)).unwrap_or(usize::MAX)
                        };
                        let (key, protocol) = (number(addresses), number(protocols));
                        let (port, own_port) = (ports.get(row), own.1.get(row));
                        let interval = intervals.number(row);
                        if port > 0 {
                            return on_hosts.get((key, port, protocol, interval), || {
                                let place = self.place(addresses, port, protocols, row);
                                let (start, end) = intervals.get(row);
                                let on_host = place.and_then(|at| lookup.on_host(at, start, end));
                                let Some((who, weak)) = on_host else {
                                    nobody_yet.extend(addresses.and_then(|c| c.get(row)));
                                    return node;
                                };
                                everyone.add(Some(who), weak)
                            });
                        }
                        let key = (key, number(own.0), own_port, protocol, interval);
                        callers.get(key, || {
                            let place = self.place(own.0, own_port, protocols, row);
                            let from = addresses.and_then(|c| c.get(row));
                            let (start, _) = intervals.get(row);
                            let caller = place
                                .zip(from)
                                .and_then(|(to, from)| lookup.caller(from, to, start));
                            let Some(who) = caller else {
                                nobody_yet.extend(from);
                                return node;
                            };
                            everyone.add(Some(who), true)
                        })
                    }
                    Some(At::Service) | None => 0,
                }
            })
            .collect();
        nobody_yet.sort_unstable();
        nobody_yet.dedup();
        unknown.addresses.extend(nobody_yet.into_iter().map(str::to_owned));
        let services = self.services(addresses, &by_address, &whose)?;
        let mut columns = self.write(&everyone, &whose, &services)?;
        columns.extend(containers(batch, "peer_container", lookup)?);
        Ok(columns)
    }

    fn place(
        &self,
        addresses: Option<Column<'_>>,
        port: u16,
        protocols: Option<Column<'_>>,
        row: usize,
    ) -> Option<Place> {
        self.lookup.place(addresses?.get(row)?, port, protocols?.get(row)?)
    }

    /// The service of each row's peer, and if it stands for an address that is nobody else's.
    fn services(
        &self,
        addresses: Option<Column<'a>>,
        by_address: &[Vec<Option<At>>],
        whose: &[Whose],
    ) -> Result<Vec<Option<Served<'a>>>, ArrowError> {
        let (batch, lookup, intervals) = (self.batch, self.lookup, self.intervals);
        if !lookup.has_services() {
            return Ok(Vec::new());
        }
        let said = Column::of(batch, "peer_service");
        let dialled = Column::of(batch, "peer_service_address").filter(|c| !c.is_empty());
        let dialled_ports = Ports::of(batch, "peer_service_port");
        let ports = Ports::of(batch, "peer_port");
        let protocols = Column::of(batch, "protocol");
        let domains = Column::of(batch, "peer_domain").filter(|c| !c.is_empty());
        let by_domain = domains.map(|column| column.each(|text| lookup.service_of_domain(text)));
        let has_endpoints = lookup.has_endpoints();
        let mut asked: Once<(bool, usize, u16, usize, usize), Option<Served<'a>>> = Once::new();
        let mut ask = |is_dialled: bool, column: Column<'a>, port: u16, row: usize| {
            let protocol = protocols.and_then(|c| c.key(row));
            let key = (
                is_dialled,
                column.key(row)?,
                port,
                protocol.unwrap_or(usize::MAX),
                intervals.number(row),
            );
            asked.get(key, || {
                let text = column.get(row)?;
                let (start, end) = intervals.get(row);
                let place = protocols.and_then(|c| lookup.place(text, port, c.get(row)?));
                let found = lookup.service_at(text, place, start, end);
                let by_node = || lookup.service_at_node_port(text, place?, start, end);
                let (namespace, service) = found.or_else(by_node)?;
                // What was dialled may stand for anything; what is connected to is the service itself.
                Some(Served { service, namespace: if is_dialled { "" } else { namespace } })
            })
        };
        let mut endpoints: Once<(usize, u16, usize), Option<&'a str>> = Once::new();
        let mut services = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let mut find = || {
                if said.is_some_and(|said| said.get(row).is_some()) {
                    return None;
                }
                if let Some(column) = dialled
                    && column.get(row).is_some()
                {
                    return ask(true, column, dialled_ports.get(row), row);
                }
                let by_name = domains.zip(by_domain.as_ref());
                let by_name = by_name.and_then(|(c, known)| *known.get(c.key(row)?)?);
                if let Some(service) = by_name {
                    return Some(Served { service, namespace: "" });
                }
                let column = addresses?;
                match of_row(by_address, addresses, intervals, row) {
                    Some(At::Service) if whose.get(row) == Some(&0) => {
                        ask(false, column, ports.get(row), row)
                    }
                    Some(At::Pod(_)) if has_endpoints && ports.get(row) > 0 => {
                        let protocol = protocols?.key(row)?;
                        let key = (column.key(row)?, ports.get(row), protocol);
                        let service = endpoints.get(key, || {
                            let place = self.place(addresses, ports.get(row), protocols, row)?;
                            lookup.service_at_endpoint(place)
                        })?;
                        Some(Served { service, namespace: "" })
                    }
                    _ => None,
                }
            };
            services.push(find());
        }
        Ok(services)
    }

    fn write(
        &self,
        everyone: &Everyone<'a>,
        whose: &[Whose],
        services: &[Option<Served<'a>>],
    ) -> Result<Columns, ArrowError> {
        let batch = self.batch;
        let rows = batch.num_rows();
        let mut columns = Vec::new();
        let served = services.iter().flatten();
        // Of a peer that nothing else is known of.
        let mut instead: Vec<&str> = served.clone().map(|served| served.namespace).collect();
        instead.sort_unstable();
        instead.dedup();
        let of = |row: usize| whose.get(row).copied().unwrap_or(0);
        let served_alone = |row: usize| {
            let served = services.get(row).copied().flatten().filter(|_| of(row) == 0)?;
            (!served.namespace.is_empty()).then_some(served.namespace)
        };
        let any_alone = (0..services.len()).any(|row| served_alone(row).is_some());
        if !everyone.is_nobody() || any_alone {
            let mut over = Over::new(batch, "peer_namespace");
            let numbers = everyone.numbers(&mut over, |who| who.namespace);
            let alone: Vec<Number> = instead.iter().map(|text| over.number(text)).collect();
            let column = over.write(rows, |row| match served_alone(row) {
                Some(text) => {
                    let at = instead.binary_search(&text).ok();
                    at.and_then(|at| alone.get(at).copied()).unwrap_or(Number::NOTHING)
                }
                None => numbers.get(of(row) as usize).copied().unwrap_or(Number::NOTHING),
            })?;
            columns.push(("peer_namespace", column));
            let mut scopes = Over::new(batch, "peer_scope");
            let cluster = scopes.number(CLUSTER);
            let scope = Column::of(batch, "peer_scope");
            let outside = scope.map(|scope| scope.each(|text| Some(text == EXTERNAL)));
            let is_outside = |row: usize| {
                let key = scope.and_then(|scope| scope.key(row)).zip(outside.as_ref());
                key.and_then(|(key, outside)| *outside.get(key)?).unwrap_or(true)
            };
            let column = scopes.write(rows, |row| {
                let known = of(row) > 0 || served_alone(row).is_some();
                if known && is_outside(row) { cluster } else { Number::NOTHING }
            })?;
            columns.push(("peer_scope", column));
        }
        if !everyone.is_nobody() {
            let workloads = Column::of(batch, "peer_workload");
            let kinds = Column::of(batch, "peer_workload_kind");
            let is_node = kinds.map(|kinds| kinds.each(|text| Some(text == NODE)));
            // What the agent saw on its own host says more than what others say of it, or than the host's name.
            let agent_knows = |row: usize| {
                let kind = kinds.and_then(|kinds| kinds.key(row)).zip(is_node.as_ref());
                let is_node = kind.and_then(|(key, is_node)| *is_node.get(key)?).unwrap_or(false);
                everyone.is_weak(of(row))
                    && !is_node
                    && workloads.is_some_and(|w| w.get(row).is_some())
            };
            let mut write =
                |name, fill: bool, text: fn(&Who<'a>) -> &'a str| -> Result<(), ArrowError> {
                    let mut over = Over::new(batch, name);
                    let numbers = everyone.numbers(&mut over, text);
                    let number = |row: usize| {
                        numbers.get(of(row) as usize).copied().unwrap_or(Number::NOTHING)
                    };
                    let column = if fill {
                        over.fill(rows, number)?
                    } else {
                        over.write(rows, |row| {
                            if agent_knows(row) { Number::NOTHING } else { number(row) }
                        })?
                    };
                    columns.push((name, column));
                    Ok(())
                };
            write("peer_workload", false, |who| who.workload)?;
            write("peer_workload_kind", false, |who| who.workload_kind)?;
            write("peer_pod", false, |who| who.pod)?;
            write("peer_node", true, |who| who.node)?;
            write("peer_zone", true, |who| who.zone)?;
            write("peer_region", true, |who| who.region)?;
        }
        if services.iter().any(Option::is_some) {
            let mut over = Over::new(batch, "peer_service");
            let numbers: Vec<Number> = services
                .iter()
                .map(|served| over.number(served.map_or("", |served| served.service)))
                .collect();
            let number = |row: usize| numbers.get(row).copied().unwrap_or(Number::NOTHING);
            columns.push(("peer_service", over.write(rows, number)?));
        }
        Ok(columns)
    }
}

/// A service that was dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Served<'a> {
    /// `namespace/name`.
    service: &'a str,
    /// For a peer of which nothing else is known; empty otherwise.
    namespace: &'a str,
}
