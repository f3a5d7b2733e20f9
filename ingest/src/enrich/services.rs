//! Which service a row's local end dialled.
//!
//! It is the service at the address that was dialled, else the one whose name in DNS the peer was found by, else the one
//! whose own address the peer's is, or that has the peer among its endpoints and no address of its own.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::column::{Column, Number, Over};
use super::ends::{Columns, Ports};
use super::everyone::Whose;
use super::peers::{At, Peers};
use super::questions::Questions;
use crate::names::Holder;

/// A service that was dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Served<'a> {
    /// `namespace/name`.
    service: &'a str,
    /// For a peer of which nothing else is known; empty otherwise.
    namespace: &'a str,
}

/// Of each question the answer to its latest detail: rows that ask about one address nearly always mean one port.
struct Latest<V>(Vec<Option<((u16, usize), V)>>);

impl<V: Copy> Latest<V> {
    fn new(questions: usize) -> Self {
        Self((0..questions).map(|_| None).collect())
    }

    fn get(
        &mut self,
        question: usize,
        detail: (u16, usize),
        ask: impl FnOnce() -> Option<V>,
    ) -> Option<V> {
        let latest = self.0.get_mut(question)?;
        if let Some((before, value)) = latest
            && *before == detail
        {
            return Some(*value);
        }
        let value = ask()?;
        *latest = Some((detail, value));
        Some(value)
    }
}

/// No service.
const NONE: u32 = 0;

/// The services of a batch.
pub(super) struct Services<'a> {
    all: Vec<Served<'a>>,
    /// Place in `all`, counted from 1.
    of_rows: Vec<u32>,
}

impl<'a> Services<'a> {
    /// What the rows dialled; `at` are the answers about their peers' addresses, and `whose` their names.
    pub(super) fn find(
        peers: &Peers<'a, '_>,
        questions: &Questions<'a>,
        at: &[At<'a>],
        whose: &[Whose],
    ) -> Self {
        let mut services = Self { all: Vec::new(), of_rows: Vec::new() };
        let (batch, lookup, intervals) = (peers.batch, peers.lookup, peers.intervals);
        if !lookup.has_services() {
            return services;
        }
        let rows = batch.num_rows();
        let said = Column::of(batch, "peer_service").filter(|c| !c.is_empty());
        let is_said = |row: usize| said.is_some_and(|said| said.get(row).is_some());
        let column = Column::of(batch, "peer_service_address");
        let dialled = Questions::of(column, intervals, rows, |row| !is_said(row));
        let dialled_ports = Ports::of(batch, "peer_service_port");
        let ports = Ports::of(batch, "peer_port");
        let protocols = Column::of(batch, "protocol");
        let domains = Column::of(batch, "peer_domain").filter(|c| !c.is_empty());
        let by_domain = domains.map(|column| column.each(|text| lookup.service_of_domain(text)));
        let has_endpoints = lookup.has_endpoints();
        let mut at_dialled = Latest::new(dialled.all().len());
        let mut at_peer = Latest::new(questions.all().len());
        let mut at_endpoint = Latest::new(questions.all().len());
        let service_at = |address, port, row: usize| {
            let (start, end) = intervals.get(row);
            let place = peers.place(Some(address), port, protocols, row);
            let found = lookup.service_at(address, place, start, end);
            found.or_else(|| lookup.service_at_node_port(place?, start, end))
        };
        for row in 0..rows {
            let detail = |port| (port, protocols.and_then(|c| c.key(row)).unwrap_or(usize::MAX));
            let all = &mut services.all;
            let mut add = |service, namespace| {
                all.push(Served { service, namespace });
                u32::try_from(all.len()).unwrap_or(NONE)
            };
            let mut find = || {
                if is_said(row) {
                    return None;
                }
                if let Some(question) = dialled.number(row) {
                    let port = dialled_ports.get(row);
                    return at_dialled.get(question, detail(port), || {
                        let (text, _) = dialled.all().get(question)?;
                        // What was dialled may stand for anything; what is connected to is the service itself.
                        let found = service_at(lookup.address(text)?, port, row);
                        Some(found.map_or(NONE, |(_, service)| add(service, "")))
                    });
                }
                let by_name = domains.zip(by_domain.as_ref());
                let by_name = by_name.and_then(|(c, known)| *known.get(c.key(row)?)?);
                if let Some(service) = by_name {
                    return Some(add(service, ""));
                }
                let question = questions.number(row)?;
                let at = at.get(question)?;
                let port = ports.get(row);
                match at.holder {
                    Some(Holder::Service) if whose.get(row) == Some(&0) => {
                        at_peer.get(question, detail(port), || {
                            let found = service_at(at.address?, port, row);
                            Some(found.map_or(NONE, |(space, service)| add(service, space)))
                        })
                    }
                    Some(Holder::Pod(_)) if has_endpoints && port > 0 => {
                        at_endpoint.get(question, detail(port), || {
                            let place = peers.place(at.address, port, protocols, row)?;
                            let found = lookup.service_at_endpoint(place);
                            Some(found.map_or(NONE, |service| add(service, "")))
                        })
                    }
                    _ => None,
                }
            };
            services.of_rows.push(find().unwrap_or(NONE));
        }
        services
    }

    /// A service stands for an address that is nobody else's.
    pub(super) fn stand_alone(&self) -> bool {
        self.all.iter().any(|served| !served.namespace.is_empty())
    }

    /// The number of what is written of a row's service.
    pub(super) fn of(&self, row: usize, numbers: &[Number]) -> Number {
        let at = self.of_rows.get(row).and_then(|at| at.checked_sub(1));
        at.and_then(|at| numbers.get(at as usize).copied()).unwrap_or(Number::NOTHING)
    }

    /// Numbers of the namespaces of those that stand for an address that is nobody else's.
    pub(super) fn namespaces(&self, over: &mut Over<'a>) -> Vec<Number> {
        self.all.iter().map(|served| over.number(served.namespace)).collect()
    }

    /// The column `peer_service`, if there is anything to write.
    pub(super) fn write(&self, batch: &'a RecordBatch) -> Result<Columns, ArrowError> {
        if self.all.is_empty() {
            return Ok(Vec::new());
        }
        let mut over = Over::new(batch, "peer_service");
        let numbers: Vec<Number> =
            self.all.iter().map(|served| over.number(served.service)).collect();
        let column = over.write(batch.num_rows(), |row| self.of(row, &numbers))?;
        Ok(vec![("peer_service", column)])
    }
}
