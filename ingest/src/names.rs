//! Who had which address when: pods, nodes and services, followed as they come and go.
//!
//! ```text
//! [`kubernetes`]   follows the cluster's objects
//! [`record`]       what is kept of each of them      [`text`]      shared texts
//! [`tenure`]       who had something when            [`owner`]     from a pod to what somebody wrote
//! [`map`]          all of it together                [`services`]  services by all that can be dialled
//! [`hosts`]        hosts and what runs on them, as rows tell
//! [`hosts_file`]   hosts without an agent
//! [`wanted`]       what rows have asked for in vain
//! [`history`]      the table `names`, and what a start reads back from it
//! ```
//!
//! **Time.** An address is somebody's for a while. A row is named after whoever had the address for most of the row's
//! interval, however late it comes: what is gone is remembered for six hours, and the last 200,000 pods of that.
//!
//! **What is not known yet.** A batch with a pod that nobody has told of waits for it, briefly. It is then stored without
//! the name; while its rows are in memory they get it when it comes ([`crate::repair`]).

mod history;
mod hosts;
mod hosts_file;
mod kubernetes;
mod map;
mod owner;
mod record;
mod services;
mod status;
mod tenure;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod text;
mod told;
mod wanted;

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

pub(crate) use history::HISTORY;
pub use history::{HistoryError, SEED, keep_history};
use hosts::Worker;
pub use hosts_file::HostsError;
pub use kubernetes::{KubernetesError, connect, follow};
use map::{Event, Map, Named};
pub(crate) use record::{Address, Place, Seat, Spot, Who};
use record::{ContainerId, Node, Pod, Protocol, Uid};
pub use status::{Kind, Status};
use wanted::{Key, Wanted};

use crate::enrich::Unknown;

/// Events that wait to be written down, at most; they are told again once a day.
const MAX_EVENTS: usize = 1_000_000;

/// See the module's text.
#[derive(Debug)]
pub struct Names {
    map: RwLock<Map>,
    /// Not written down yet.
    events: Mutex<Vec<Event>>,
    wanted: Mutex<Wanted>,
    /// Names that were wanted have come.
    found: Notify,
    /// Names have come.
    changed: Notify,
    status: Status,
    clock: fn() -> i64,
    /// Names are looked up and learned at all.
    is_used: bool,
}

static NOBODY: LazyLock<Arc<Names>> =
    LazyLock::new(|| Arc::new(Names { is_used: false, ..Names::with_clock(system_clock) }));

fn system_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

impl Names {
    /// Nobody's name is known, nor will be.
    #[must_use]
    pub fn nobody() -> Arc<Self> {
        Arc::clone(&NOBODY)
    }

    /// Nobody's name is known yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::with_clock(system_clock))
    }

    fn with_clock(clock: fn() -> i64) -> Self {
        Self {
            map: RwLock::default(),
            events: Mutex::default(),
            wanted: Mutex::default(),
            found: Notify::new(),
            changed: Notify::new(),
            status: Status::default(),
            clock,
            is_used: true,
        }
    }

    /// Microseconds since the Unix epoch.
    fn now(&self) -> i64 {
        (self.clock)()
    }

    /// How the following of a cluster goes.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Pods that are known, those that are gone and remembered included.
    #[must_use]
    pub fn pods(&self) -> usize {
        self.map.read().pods()
    }

    /// Takes a change over, and tells whoever waits for a name.
    fn change(&self, change: impl FnOnce(&mut Map)) {
        let events = {
            let mut map = self.map.write();
            change(&mut map);
            map.take_events()
        };
        if events.is_empty() {
            return;
        }
        let found = {
            let mut wanted = self.wanted.lock();
            let new = events.iter().filter_map(|event| match &event.what {
                Named::Pod(pod) => Some(pod),
                _ => None,
            });
            new.filter(|pod| wanted.found(pod, self.now())).count() > 0
        };
        {
            let mut waiting = self.events.lock();
            if waiting.len() < MAX_EVENTS {
                waiting.extend(events);
            }
        }
        self.changed.notify_waiters();
        if found {
            self.found.notify_one();
        }
    }

    /// To look names up; nothing where none will be known.
    pub(crate) fn lookup(&self) -> Option<Lookup<'_>> {
        self.is_used.then(|| Lookup(self.map.read()))
    }

    /// Takes over what rows tell of the hosts that they come from.
    pub(crate) fn hear(&self, all: &[Told<'_>]) {
        // Nearly always there is nothing new.
        if !self.is_used || self.map.read().has_heard(all) {
            return;
        }
        let mut new = Vec::new();
        self.change(|map| all.iter().for_each(|told| map.hear(told, &mut new)));
        let now = self.now();
        let mut wanted = self.wanted.lock();
        let found = new.into_iter().filter(|key| wanted.came(*key, now)).count() > 0;
        drop(wanted);
        if found {
            self.found.notify_one();
        }
    }

    /// Resolves once names have come, counted from the call.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// All of these pods are known.
    pub(crate) fn knows_all(&self, pods: &[String]) -> bool {
        let map = self.map.read();
        pods.iter().filter_map(|text| Uid::parse(text)).all(|uid| map.pod(uid).is_some())
    }

    /// Rows that are about to be stored have these without a name; true if any of them is worth a wait, because it
    /// has not been waited for before.
    pub(crate) fn want(&self, unknown: &Unknown) -> bool {
        let pods = unknown.pods.iter().filter_map(|text| Uid::parse(text)).map(Key::Pod);
        let addresses = unknown.addresses.iter().filter_map(|text| text.parse().ok());
        let addresses = addresses.map(|ip: IpAddr| Key::Address(record::address(ip)));
        let now = self.now();
        let mut wanted = self.wanted.lock();
        // Addresses may be nobody's for ever; a pod whose uid an agent has seen is one.
        let worth = pods.filter(|key| wanted.add(*key, now)).count() > 0;
        addresses.for_each(|key| {
            wanted.add(key, now);
        });
        worth
    }

    /// Waits until names have come for which rows were stored without.
    pub(crate) async fn found(&self) {
        self.found.notified().await;
    }

    /// The names that have come and were wanted, as rows write them.
    pub(crate) fn take_found(&self) -> Found {
        self.wanted.lock().take_found(self.now())
    }
}

pub(crate) use told::Told;
pub(crate) use wanted::Found;

/// The names of one moment.
pub(crate) struct Lookup<'a>(RwLockReadGuard<'a, Map>);

/// What an address turns out to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Holder<'a> {
    /// A pod's own.
    Pod(Who<'a>),
    /// A node's, or a host's: perhaps of a pod in its network.
    Node(Who<'a>),
    /// A service's.
    Service,
}

impl Lookup<'_> {
    /// A text is the uid of a pod.
    #[expect(clippy::unused_self, reason = "what a uid is, is for those who look them up")]
    pub(crate) fn is_uid(&self, text: &str) -> bool {
        Uid::parse(text).is_some()
    }

    /// The pods of uids; nothing for a text that is none. All at once, as in [`Self::pods_at`].
    pub(crate) fn pods<'t>(
        &self,
        uids: impl Iterator<Item = Option<&'t str>>,
    ) -> Vec<Option<Who<'_>>> {
        let uids: Vec<Option<Uid>> = uids.map(|text| text.and_then(Uid::parse)).collect();
        let pods: Vec<Option<&Pod>> = uids.iter().map(|uid| self.0.pod((*uid)?)).collect();
        pods.into_iter().map(|pod| pod.map(Pod::who)).collect()
    }

    /// An address as a number.
    #[expect(clippy::unused_self, reason = "what an address is, is for those who look them up")]
    pub(crate) fn address(&self, text: &str) -> Option<Address> {
        text.parse().ok().map(record::address)
    }

    /// The pods that had addresses of their own in intervals `[start, end)`, microseconds since the Unix epoch.
    ///
    /// All at once: what one lookup waits for comes while the next is under way.
    pub(crate) fn pods_at(
        &self,
        asked: impl Iterator<Item = Option<(Address, i64, i64)>>,
    ) -> Vec<Option<Who<'_>>> {
        let at = |(address, start, end)| self.0.pod_at(address, start, end);
        let pods: Vec<Option<&Pod>> = asked.map(|asked| asked.and_then(at)).collect();
        pods.into_iter().map(|pod| pod.map(Pod::who)).collect()
    }

    /// Whose an address was that was no pod's.
    pub(crate) fn other_at(&self, address: Address, start: i64, end: i64) -> Option<Holder<'_>> {
        if let Some(node) = self.0.node_at(address, start, end) {
            return Some(Holder::Node(node.who()));
        }
        self.0.services().at(address, None, start, end).map(|_| Holder::Service)
    }

    /// A node.
    pub(crate) fn node(&self, name: &str) -> Option<Who<'_>> {
        self.0.node(name).map(Node::who)
    }

    /// Who listened at an address of a node or host; and if what an agent says itself counts for more.
    pub(crate) fn on_host(&self, place: Place, start: i64, end: i64) -> Option<(Who<'_>, bool)> {
        if let Some(pod) = self.0.host_pod_at(place, start, end) {
            return Some((pod.who(), false));
        }
        let worker = self.0.hosts.server(place, start, end)?;
        Some((self.who_is_worker(worker), true))
    }

    /// Who talked from a host's address to a place, if it was one.
    pub(crate) fn caller(&self, from: Address, to: Place, start: i64) -> Option<Who<'_>> {
        self.0.hosts.caller(from, to, start).map(|worker| self.who_is_worker(worker))
    }

    fn who_is_worker<'a>(&'a self, worker: &'a Worker) -> Who<'a> {
        let host = self.0.node(&worker.spot.node);
        Who { pod: "", seat: &worker.seat, spot: host.map_or(&worker.spot, |host| &host.spot) }
    }

    /// An address with port and protocol; nothing for a protocol without ports.
    #[expect(clippy::unused_self, reason = "what a place is, is for those who look them up")]
    pub(crate) fn place(&self, address: Address, port: u16, protocol: &str) -> Option<Place> {
        Some((address, port, Protocol::parse(protocol)?))
    }

    /// The name of a container, by its id as agents shorten it.
    pub(crate) fn container(&self, id: &str) -> Option<&str> {
        self.0.container(ContainerId::parse(id)?)
    }

    /// Namespace and full name of the service that had an address.
    pub(crate) fn service_at(
        &self,
        address: Address,
        place: Option<Place>,
        start: i64,
        end: i64,
    ) -> Option<(&str, &str)> {
        let port = place.map(|(_, port, protocol)| (port, protocol));
        let service = self.0.services().at(address, port, start, end)?;
        Some((&service.namespace, &service.full_name))
    }

    /// The same of the service for which the node of an address takes connections.
    pub(crate) fn service_at_node_port(
        &self,
        (address, port, protocol): Place,
        start: i64,
        end: i64,
    ) -> Option<(&str, &str)> {
        self.0.node_at(address, start, end)?;
        let service = self.0.services().at_node_port(port, protocol, start, end)?;
        Some((&service.namespace, &service.full_name))
    }

    /// The service that a name in DNS stands for.
    pub(crate) fn service_of_domain(&self, domain: &str) -> Option<&str> {
        self.0.services().of_domain(domain)
    }

    /// The only service without an address of its own that has an endpoint there.
    pub(crate) fn service_at_endpoint(&self, place: Place) -> Option<&str> {
        self.0.services().only_at_endpoint(place)
    }

    /// Services are known.
    pub(crate) fn has_services(&self) -> bool {
        self.0.services().all().next().is_some()
    }

    /// Endpoints of services without an address are known.
    pub(crate) fn has_endpoints(&self) -> bool {
        self.0.services().has_endpoints()
    }
}
