//! What one row tells of the host that it comes from.

use std::net::IpAddr;
use std::sync::Arc;

use super::hosts::Worker;
use super::map::Map;
use super::record::{By, Place, Protocol, address};
use super::wanted::Key;

/// See the module's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told<'a> {
    pub(crate) host: &'a str,
    pub(crate) zone: Option<&'a str>,
    pub(crate) region: Option<&'a str>,
    /// Of the host.
    pub(crate) address: &'a str,
    pub(crate) workload: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) protocol: &'a str,
    /// The port at which it serves.
    pub(crate) serves: Option<u16>,
    /// Address and port that it has called.
    pub(crate) calls: Option<(&'a str, u16)>,
    /// Begin of the interval, microseconds since the Unix epoch.
    pub(crate) at: i64,
}

fn parse(text: &str) -> Option<u128> {
    text.parse::<IpAddr>().ok().map(address)
}

impl Told<'_> {
    /// Another row says nothing else, whenever.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        Self { at: 0, ..*self } == Self { at: 0, ..*other }
    }

    fn served(&self) -> Option<Place> {
        let port = self.serves.filter(|port| *port > 0)?;
        Some((parse(self.address)?, port, Protocol::parse(self.protocol)?))
    }

    fn called(&self) -> Option<Place> {
        let (peer, port) = self.calls.filter(|(_, port)| *port > 0)?;
        Some((parse(peer)?, port, Protocol::parse(self.protocol)?))
    }
}

impl Map {
    /// All of this is known, and not from long ago.
    pub(super) fn has_heard(&self, all: &[Told<'_>]) -> bool {
        all.iter().all(|told| {
            let Some(own) = parse(told.address) else { return true };
            let is_same = |worker: Option<&Worker>| {
                worker.is_some_and(|w| {
                    &*w.spot.node == told.host && &*w.seat.workload == told.workload
                })
            };
            let knows = self.hosts.is_claimed(own, told.host, told.at)
                || self.node(told.host).is_some_and(|node| node.by != By::Rows);
            let serves = told
                .served()
                .is_none_or(|place| is_same(self.hosts.server(place, told.at, told.at + 1)));
            let calls = told
                .called()
                .is_none_or(|to| self.hosts.has_called(own, to, told.workload, told.at));
            knows && serves && calls
        })
    }

    /// Takes it over; `new` is told whose rows may be named now.
    pub(super) fn hear(&mut self, told: &Told<'_>, new: &mut Vec<Key>) {
        let Some(own) = parse(told.address) else { return };
        let is_new = self.apply_host((told.host, told.zone, told.region), own, told.at);
        let mut is_known = false;
        if let Some((served, called)) =
            Some((told.served(), told.called())).filter(|_| !told.workload.is_empty())
        {
            let (seat, spot) = self.worker_seat(told.host, told.workload, told.kind);
            let worker = Arc::new(Worker { seat, spot });
            is_known |= served.is_some_and(|place| self.hosts.serve(place, &worker, told.at));
            is_known |= called.is_some_and(|place| self.hosts.call(own, place, &worker, told.at));
        }
        if is_new || is_known {
            new.push(Key::Address(own));
        }
    }
}
