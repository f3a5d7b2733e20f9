//! Which pod, node or service the peer of a row is.
//!
//! It is the pod that the agent names, else the one that had the address, else who listens at the port of a node or host, or
//! is the only one there that calls the local end, else the node. The service is the one that was dialled.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::column::{Column, Number, Over};
use super::ends::{Columns, Everyone, Once, Ports, Unknown, Whose, by_row, by_uid, containers};
use super::intervals::Intervals;
use super::learn::is_reachable;
use super::places::{CLOUD, EXTERNAL};
use crate::names::{Lookup, Place, Who};

const CLUSTER: &str = "cluster";
/// The kind of workload of a peer of which only the node is known.
const NODE: &str = "Node";

/// What an address may be.
#[derive(Clone, Copy)]
enum At {
    Pod(Whose),
    /// A node's: perhaps a pod in its network.
    Node(Whose),
    /// A service's, whose backend the agent could not see.
    Service,
}

/// The peers of a batch.
pub(super) struct Peers<'a, 'b> {
    pub(super) batch: &'a RecordBatch,
    pub(super) lookup: &'a Lookup<'b>,
    pub(super) intervals: &'a Intervals,
}

impl<'a> Peers<'a, '_> {
    /// The columns with their names.
    pub(super) fn name(&self, unknown: &mut Unknown) -> Result<Columns, ArrowError> {
        let (batch, lookup, intervals) = (self.batch, self.lookup, self.intervals);
        let rows = batch.num_rows();
        let mut everyone = Everyone::new();
        let pods = Column::of(batch, "peer_pod");
        let addresses = Column::of(batch, "peer_address");
        let by_uid = by_uid(pods, lookup, &mut everyone, unknown);
        let mut inside = Vec::new();
        let by_address = by_row(addresses, intervals, rows, |text, (start, end)| {
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
                match by_address.get(row).copied().flatten() {
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
        by_address: &[Option<At>],
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
                match by_address.get(row).copied().flatten() {
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
            // One of ours may well be at a provider's address.
            let outside =
                scope.map(|scope| scope.each(|text| Some(text == EXTERNAL || text == CLOUD)));
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
