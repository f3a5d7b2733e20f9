//! Which pod, node or host the peer of a row is.
//!
//! It is the pod that the agent names, else the one that had the address, else who listens at the port of a node or host, or
//! is the only one there that calls the local end, else the node. The service that was dialled is found by
//! [`super::services`].

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use weir_wire::chosen::chosen;

use super::column::{Column, Number, Over};
use super::ends::{Columns, Once, Ports, Unknown, by_uid, containers};
use super::everyone::{Everyone, Whose};
use super::intervals::Intervals;
use super::learn::is_reachable;
use super::places::{CLOUD, EXTERNAL};
use super::questions::Questions;
use super::services::Services;
use crate::names::{Address, Holder, Lookup, Place, Seat, Spot, Who};

const CLUSTER: &str = "cluster";
/// The kind of workload of a peer of which only the node is known.
const NODE: &str = "Node";

/// What a peer's address is.
pub(super) struct At<'a> {
    /// The address; none for a text that is none.
    pub(super) address: Option<Address>,
    pub(super) holder: Option<Holder<'a>>,
    /// Its holder, once a row is named after it.
    whose: Whose,
}

/// The peers of a batch.
pub(super) struct Peers<'a, 'b> {
    pub(super) batch: &'a RecordBatch,
    pub(super) lookup: &'a Lookup<'b>,
    pub(super) intervals: &'a Intervals,
}

/// Whose names rows get, and those whose they are.
struct Found<'a> {
    everyone: Everyone<'a>,
    whose: Vec<Whose>,
}

impl<'a> Peers<'a, '_> {
    /// The columns with their names.
    pub(super) fn name(&self, unknown: &mut Unknown) -> Result<Columns, ArrowError> {
        let (batch, lookup) = (self.batch, self.lookup);
        let rows = batch.num_rows();
        let addresses = Column::of(batch, "peer_address");
        let questions = Questions::of(addresses, self.intervals, rows, |_| true);
        let mut at = self.holders(&questions, unknown);
        let found = self.whose(&questions, &mut at, unknown);
        let services = Services::find(self, &questions, &at, &found.whose);
        let mut columns = self.write(&found, &services)?;
        columns.extend(services.write(batch)?);
        columns.extend(containers(batch, "peer_container", lookup)?);
        Ok(columns)
    }

    /// What the addresses are that are asked about.
    fn holders(&self, questions: &Questions<'a>, unknown: &mut Unknown) -> Vec<At<'a>> {
        let lookup = self.lookup;
        let all = questions.all();
        let addresses: Vec<Option<Address>> =
            all.iter().map(|(text, _)| lookup.address(text)).collect();
        let asked = all.iter().zip(&addresses);
        let asked = asked.map(|((_, (start, end)), address)| Some(((*address)?, *start, *end)));
        let pods = lookup.pods_at(asked);
        let known = all.iter().zip(addresses).zip(pods);
        known
            .map(|(((text, (start, end)), address), pod)| {
                let other = || lookup.other_at(address?, *start, *end);
                let holder = pod.map(Holder::Pod).or_else(other);
                if holder.is_none() && is_reachable(text) {
                    unknown.addresses.push((*text).to_owned());
                }
                At { address, holder, whose: 0 }
            })
            .collect()
    }

    fn whose(
        &self,
        questions: &Questions<'a>,
        at: &mut [At<'a>],
        unknown: &mut Unknown,
    ) -> Found<'a> {
        let (batch, lookup) = (self.batch, self.lookup);
        let mut everyone = Everyone::new();
        let pods = Column::of(batch, "peer_pod");
        let by_uid = by_uid(pods, lookup, &mut everyone, unknown);
        let named = Column::of(batch, "peer_namespace").filter(|named| !named.is_empty());
        let mut on_hosts = OnHosts::new(self);
        let whose = (0..batch.num_rows()).map(|row| {
            if named.is_some_and(|named| named.get(row).is_some()) {
                return 0;
            }
            let uid = pods.and_then(|pods| by_uid.get(pods.key(row)?).copied()).unwrap_or(0);
            if uid > 0 {
                return uid;
            }
            let Some(question) = questions.number(row) else { return 0 };
            let Some(at) = at.get_mut(question) else { return 0 };
            match at.holder {
                Some(Holder::Pod(who)) => {
                    if at.whose == 0 {
                        at.whose = everyone.add(who, false);
                    }
                    at.whose
                }
                Some(Holder::Node(node)) => {
                    let found = on_hosts.whose(row, question, at.address, &mut everyone);
                    if found > 0 {
                        return found;
                    }
                    if at.whose == 0 {
                        at.whose = everyone.add(node, true);
                    }
                    at.whose
                }
                Some(Holder::Service) | None => 0,
            }
        });
        let whose = whose.collect();
        unknown.addresses.extend(on_hosts.nobody_yet());
        Found { everyone, whose }
    }

    /// Where the protocol of a row has a port.
    pub(super) fn place(
        &self,
        address: Option<Address>,
        port: u16,
        protocols: Option<Column<'_>>,
        row: usize,
    ) -> Option<Place> {
        self.lookup.place(address?, port, protocols?.get(row)?)
    }

    fn write(&self, found: &Found<'a>, services: &Services<'a>) -> Result<Columns, ArrowError> {
        let batch = self.batch;
        let rows = batch.num_rows();
        let Found { everyone, whose } = found;
        let of = |row: usize| whose.get(row).copied().unwrap_or(0);
        let mut columns = Vec::new();
        if !everyone.is_nobody() || services.stand_alone() {
            let mut over = Over::new(batch, "peer_namespace");
            let numbers = everyone.seats(&mut over, |seat| &seat.namespace);
            let alone = services.namespaces(&mut over);
            let column = over.write(rows, |row| match of(row) {
                0 => services.of(row, &alone),
                whose => numbers.get(whose as usize).copied().unwrap_or(Number::NOTHING),
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
                let known = of(row) > 0 || services.of(row, &alone) != Number::NOTHING;
                if known && is_outside(row) { cluster } else { Number::NOTHING }
            })?;
            columns.push(("peer_scope", column));
        }
        if everyone.is_nobody() {
            return Ok(columns);
        }
        let workloads = Column::of(batch, "peer_workload").filter(|column| !column.is_empty());
        let kinds = Column::of(batch, "peer_workload_kind");
        let is_node = kinds.map(|kinds| kinds.each(|text| Some(text == NODE)));
        // What the agent saw on its own host says more than what others say of it, or than the host's name.
        let agent_knows = |row: usize| {
            let Some(workloads) = workloads.filter(|_| everyone.is_weak(of(row))) else {
                return false;
            };
            let kind = kinds.and_then(|kinds| kinds.key(row)).zip(is_node.as_ref());
            let is_node = kind.and_then(|(key, is_node)| *is_node.get(key)?).unwrap_or(false);
            !is_node && workloads.get(row).is_some()
        };
        let mut write = |name, fill: bool, numbers: &dyn Fn(&mut Over<'a>) -> Vec<Number>| {
            let mut over = Over::new(batch, name);
            let numbers = numbers(&mut over);
            let number =
                |row: usize| numbers.get(of(row) as usize).copied().unwrap_or(Number::NOTHING);
            let column = if fill {
                over.fill(rows, number)?
            } else {
                over.write(
                    rows,
                    |row| if agent_knows(row) { Number::NOTHING } else { number(row) },
                )?
            };
            columns.push((name, column));
            Ok::<_, ArrowError>(())
        };
        let seat = |text: fn(&Seat) -> &str| move |over: &mut Over<'a>| everyone.seats(over, text);
        let spot = |text: fn(&Spot) -> &str| move |over: &mut Over<'a>| everyone.spots(over, text);
        write("peer_workload", false, &seat(|seat| &seat.workload))?;
        write("peer_workload_kind", false, &seat(|seat| &seat.workload_kind))?;
        write("peer_pod", false, &|over| everyone.pods(over))?;
        for (number, chosen) in chosen().iter().enumerate() {
            let numbers = |over: &mut Over<'a>| everyone.seats(over, |seat| seat.label(number));
            write(chosen.peer_column, false, &numbers)?;
        }
        write("peer_node", true, &spot(|spot| &spot.node))?;
        write("peer_zone", true, &spot(|spot| &spot.zone))?;
        write("peer_region", true, &spot(|spot| &spot.region))?;
        Ok(columns)
    }
}

/// Address of a question, port and protocol.
type Listener = (usize, u16, usize);
/// Address of a question; address, port and protocol of the local end.
type Call = (usize, usize, u16, usize);

/// Who is behind the addresses of nodes and hosts.
struct OnHosts<'a, 'b, 'c> {
    peers: &'c Peers<'a, 'b>,
    addresses: Option<Column<'a>>,
    ports: Ports<'a>,
    protocols: Option<Column<'a>>,
    own: (Option<Column<'a>>, Ports<'a>),
    listeners: Once<Listener, Whose>,
    callers: Once<Call, Whose>,
    nobody_yet: Vec<&'a str>,
}

impl<'a, 'b, 'c> OnHosts<'a, 'b, 'c> {
    fn new(peers: &'c Peers<'a, 'b>) -> Self {
        let batch = peers.batch;
        Self {
            peers,
            addresses: Column::of(batch, "peer_address"),
            ports: Ports::of(batch, "peer_port"),
            protocols: Column::of(batch, "protocol"),
            own: (Column::of(batch, "address"), Ports::of(batch, "port")),
            listeners: Once::new(),
            callers: Once::new(),
            nobody_yet: Vec::new(),
        }
    }

    /// Who listens where the row's local end calls, or calls where it listens.
    fn whose(
        &mut self,
        row: usize,
        question: usize,
        address: Option<Address>,
        everyone: &mut Everyone<'a>,
    ) -> Whose {
        let (peers, lookup) = (self.peers, self.peers.lookup);
        let (start, end) = peers.intervals.get(row);
        let number = |column: Option<Column<'_>>| column.and_then(|c| c.key(row));
        let protocol = number(self.protocols).unwrap_or(usize::MAX);
        let nobody_yet = &mut self.nobody_yet;
        let text = || self.addresses.and_then(|c| c.get(row));
        let mut add = |who: Option<(Who<'a>, bool)>| match who {
            Some((who, weak)) => everyone.add(who, weak),
            None => {
                nobody_yet.extend(text());
                0
            }
        };
        let port = self.ports.get(row);
        if port > 0 {
            return self.listeners.get((question, port, protocol), || {
                let place = peers.place(address, port, self.protocols, row);
                add(place.and_then(|place| lookup.on_host(place, start, end)))
            });
        }
        let (own, own_port) = (self.own.0, self.own.1.get(row));
        let key = (question, number(own).unwrap_or(usize::MAX), own_port, protocol);
        self.callers.get(key, || {
            let own = own.and_then(|column| lookup.address(column.get(row)?));
            let to = peers.place(own, own_port, self.protocols, row);
            let who = to.zip(address).and_then(|(to, from)| lookup.caller(from, to, start));
            add(who.map(|who| (who, true)))
        })
    }

    /// Addresses of hosts of which it is not known who is behind them.
    fn nobody_yet(mut self) -> impl Iterator<Item = String> {
        self.nobody_yet.sort_unstable();
        self.nobody_yet.dedup();
        self.nobody_yet.into_iter().map(str::to_owned)
    }
}
