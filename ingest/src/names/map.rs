//! All that is known of names, and the answers to what a row asks. No I/O, and time comes in from outside.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::hosts::{Claimed, Hosts};
use super::owner::{Owner, Owners};
use super::record::{Address, By, ContainerId, Node, Place, Pod, Seat, Service, Spot, Uid};
use super::services::Services;
use super::tenure::{Since, Tenures};
use super::text::{Shared, Text, Texts};

/// Pods that are gone and still remembered, at most.
const MAX_GONE: usize = 200_000;
/// Hosts and nodes that are known, at most; beyond, no more are learned.
const MAX_HOSTS: usize = 100_000;
/// Addresses of one host that are told by its rows, at most.
const MAX_HOST_ADDRESSES: usize = 256;
/// Nodes that are gone and still remembered, at most.
const MAX_GONE_NODES: usize = 10_000;
/// For how long pods are, microseconds: rows wait in an agent's spool while the server is away.
const KEEP_GONE: i64 = 6 * 3_600_000_000;

pub(super) type ByKey<K, T> = HashMap<K, Tenures<T>, RandomState>;

/// Something that began, changed or ended: a row of the history of names.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// When it was seen, microseconds since the Unix epoch.
    pub(super) seen: i64,
    pub(super) what: Named,
    /// When it ended; nothing of what is still there.
    pub(super) until: Option<i64>,
}

/// What has a name.
#[derive(Debug, Clone)]
pub(super) enum Named {
    Pod(Arc<Pod>),
    Node(Arc<Node>),
    Service(Arc<Service>),
}

#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    gone: bool,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Map {
    pub(super) texts: Texts,
    seats: Shared<Seat>,
    spots: Shared<Spot>,
    owners: Owners,
    pods: HashMap<Uid, Known, RandomState>,
    /// Uids by the kubelet's own names for static pods.
    hashes: HashMap<Uid, Uid, RandomState>,
    gone: VecDeque<(i64, Uid)>,
    addresses: ByKey<Address, Pod>,
    /// Of pods in their node's network.
    places: ByKey<Place, Pod>,
    containers: HashMap<ContainerId, Text, RandomState>,
    /// Pods by their node.
    on_nodes: HashMap<Text, Vec<Uid>, RandomState>,
    /// Pods whose owner has not been told of, by the owner.
    orphans: HashMap<Uid, Vec<Uid>, RandomState>,
    nodes: HashMap<Text, Arc<Node>, RandomState>,
    node_addresses: ByKey<Address, Node>,
    gone_nodes: VecDeque<Text>,
    services: Services,
    pub(super) hosts: Hosts,
    events: Vec<Event>,
}

/// Makes what somebody has what it is now, and not what it was before.
pub(super) fn hand_over<K: Copy + Eq + Hash, T>(
    map: &mut ByKey<K, T>,
    (before, had): (Option<&Arc<T>>, &[K]),
    (whose, has): (&Arc<T>, &[K]),
    since: Since,
    now: i64,
) {
    for key in had {
        let Some((tenures, before)) = map.get_mut(key).zip(before) else { continue };
        tenures.describe(before, whose);
        if !has.contains(key) {
            tenures.end(whose, now);
        }
    }
    for key in has {
        match map.entry(*key) {
            Entry::Vacant(place) => drop(place.insert(Tenures::new(Arc::clone(whose), since))),
            Entry::Occupied(mut known) => known.get_mut().begin(Arc::clone(whose), since, now),
        }
    }
}

/// Somebody has something no longer.
pub(super) fn give_up<K: Eq + Hash, T>(map: &mut ByKey<K, T>, whose: &Arc<T>, keys: &[K], at: i64) {
    for key in keys {
        if let Some(tenures) = map.get_mut(key) {
            tenures.end(whose, at);
        }
    }
}

pub(super) fn forget<K: Eq + Hash, T>(map: &mut ByKey<K, T>, whose: &Arc<T>, keys: &[K]) {
    for key in keys {
        if map.get_mut(key).is_some_and(|tenures| tenures.forget(whose)) {
            map.remove(key);
        }
    }
}

impl Map {
    /// A pod is there, or has changed.
    pub(super) fn apply_pod(&mut self, mut pod: Pod, now: i64) {
        (pod.seat, pod.spot) = self.seat(&pod);
        let before = match self.pods.get(&pod.uid) {
            // Uids are never used again, so this is old news.
            Some(known) if known.gone || *known.pod == pod => return,
            Some(known) => Some(Arc::clone(&known.pod)),
            None => None,
        };
        let pod = Arc::new(pod);
        let (had, had_places): (&[_], &[_]) =
            before.as_ref().map_or((&[], &[]), |before| (&before.addresses, &before.places));
        let before = before.as_ref();
        hand_over(&mut self.addresses, (before, had), (&pod, &pod.addresses), pod.since, now);
        hand_over(&mut self.places, (before, had_places), (&pod, &pod.places), pod.since, now);
        if let Some(until) = pod.until {
            give_up(&mut self.addresses, &pod, &pod.addresses, until);
            give_up(&mut self.places, &pod, &pod.places, until);
        }
        for (id, name) in &pod.containers {
            self.containers.insert(*id, Arc::clone(name));
        }
        if let Some(hash) = pod.hash {
            self.hashes.insert(hash, pod.uid);
        }
        if pod.is_up() {
            self.tell(now, Named::Pod(Arc::clone(&pod)), pod.until);
        }
        if before.is_none_or(|before| before.node != pod.node) && !pod.node.is_empty() {
            self.on_nodes.entry(Arc::clone(&pod.node)).or_default().push(pod.uid);
        }
        if let Some(owner) = pod.owner.uid.filter(|owner| !self.owners.knows(*owner)) {
            if self.orphans.len() >= MAX_GONE {
                self.orphans.clear();
            }
            self.orphans.entry(owner).or_default().push(pod.uid);
        }
        self.pods.insert(pod.uid, Known { pod, gone: false });
    }

    /// What its owner and node say of a pod.
    fn seat(&mut self, pod: &Pod) -> (Arc<Seat>, Arc<Spot>) {
        let (kind, workload) = self.owners.top(&pod.owner);
        let (workload_kind, workload) = (self.texts.one(kind), self.texts.one(workload));
        let namespace = Arc::clone(&pod.namespace);
        let labels = pod.labels.clone();
        let seat = self.seats.copy_of(Seat { namespace, workload, workload_kind, labels });
        let spot = match self.nodes.get(&pod.node) {
            Some(node) => Arc::clone(&node.spot),
            None => self.spot(&pod.node, None, None),
        };
        (seat, spot)
    }

    fn spot(&mut self, node: &Text, zone: Option<&Text>, region: Option<&Text>) -> Arc<Spot> {
        let text = |text: Option<&Text>| text.map(Arc::clone).unwrap_or_default();
        let (zone, region) = (text(zone), text(region));
        self.spots.copy_of(Spot { node: Arc::clone(node), zone, region })
    }

    /// What is told of something on a host that is no pod.
    pub(super) fn worker_seat(
        &mut self,
        host: &str,
        workload: &str,
        kind: &str,
    ) -> (Arc<Seat>, Arc<Spot>) {
        let mut text = |text: &str| self.texts.one(text);
        let (host, workload, workload_kind) = (text(host), text(workload), text(kind));
        let namespace = text("");
        let labels = Box::default();
        let seat = self.seats.copy_of(Seat { namespace, workload, workload_kind, labels });
        (seat, self.spot(&host, None, None))
    }

    /// More is known of the owners or nodes of pods.
    fn seat_anew(&mut self, pods: &[Uid], now: i64) {
        for uid in pods {
            let Some(known) = self.pods.get(uid) else { continue };
            let (before, gone) = (Arc::clone(&known.pod), known.gone);
            let (seat, spot) = self.seat(&before);
            if seat == before.seat && spot == before.spot {
                continue;
            }
            let pod = Arc::new(Pod { seat, spot, ..Pod::clone(&before) });
            let describe = |tenures: Option<&mut Tenures<Pod>>| {
                if let Some(tenures) = tenures {
                    tenures.describe(&before, &pod);
                }
            };
            pod.addresses.iter().for_each(|address| describe(self.addresses.get_mut(address)));
            pod.places.iter().for_each(|place| describe(self.places.get_mut(place)));
            if pod.is_up() && !gone {
                self.tell(now, Named::Pod(Arc::clone(&pod)), pod.until);
            }
            self.pods.insert(*uid, Known { pod, gone });
        }
    }

    /// A pod is gone.
    pub(super) fn delete_pod(&mut self, uid: Uid, now: i64) {
        let Some(known) = self.pods.get_mut(&uid).filter(|known| !known.gone) else { return };
        known.gone = true;
        let pod = Arc::clone(&known.pod);
        let until = pod.until.unwrap_or(now);
        give_up(&mut self.addresses, &pod, &pod.addresses, until);
        give_up(&mut self.places, &pod, &pod.places, until);
        if pod.until.is_none() && pod.is_up() {
            self.tell(now, Named::Pod(pod), Some(until));
        }
        self.gone.push_back((now, uid));
        self.forget_old(now);
    }

    /// Every pod that there is has been told: the others are gone.
    pub(super) fn retain_pods(&mut self, there: &HashSet<Uid>, now: i64) {
        let absent =
            |(uid, known): (&Uid, &Known)| (!known.gone && !there.contains(uid)).then_some(*uid);
        let absent: Vec<Uid> = self.pods.iter().filter_map(absent).collect();
        for uid in absent {
            self.delete_pod(uid, now);
        }
    }

    fn forget_old(&mut self, now: i64) {
        while let Some((at, uid)) = self.gone.front().copied()
            && (self.gone.len() > MAX_GONE || now - at > KEEP_GONE)
        {
            self.gone.pop_front();
            let Some(Known { pod, .. }) = self.pods.remove(&uid) else { continue };
            forget(&mut self.addresses, &pod, &pod.addresses);
            forget(&mut self.places, &pod, &pod.places);
            for (id, _) in &pod.containers {
                self.containers.remove(id);
            }
            if let Some(hash) = pod.hash {
                self.hashes.remove(&hash);
            }
            if let Some(pods) = self.on_nodes.get_mut(&pod.node) {
                pods.retain(|other| *other != uid);
                if pods.is_empty() {
                    self.on_nodes.remove(&pod.node);
                }
            }
        }
    }

    /// A node is there, or has changed.
    pub(super) fn apply_node(&mut self, mut node: Node, now: i64) {
        node.spot = self.spot(&node.name, node.zone.as_ref(), node.region.as_ref());
        let (namespace, workload_kind) = (self.texts.one(""), self.texts.one("Node"));
        let (workload, labels) = (Arc::clone(&node.name), Box::default());
        node.seat = self.seats.copy_of(Seat { namespace, workload, workload_kind, labels });
        let before = self.nodes.get(&node.name).cloned();
        if before.as_ref().is_some_and(|before| **before == node) {
            return;
        }
        let node = Arc::new(node);
        let had: &[_] = before.as_ref().map_or(&[], |before| &before.addresses);
        let (before, has) = (before.as_ref(), &node.addresses);
        hand_over(&mut self.node_addresses, (before, had), (&node, has), node.since, now);
        self.tell(now, Named::Node(Arc::clone(&node)), None);
        let is_elsewhere = before
            .is_none_or(|before| (&before.zone, &before.region) != (&node.zone, &node.region));
        let name = Arc::clone(&node.name);
        self.nodes.insert(Arc::clone(&name), node);
        if is_elsewhere && let Some(pods) = self.on_nodes.get(&name).cloned() {
            self.seat_anew(&pods, now);
        }
    }

    /// An address is a host's, by its own rows; of nodes that the cluster's API tells of, it knows better. True if that
    /// was not known.
    pub(super) fn apply_host(
        &mut self,
        (name, zone, region): (&str, Option<&str>, Option<&str>),
        address: Address,
        at: i64,
    ) -> bool {
        let name = self.texts.one(name);
        let before = self.nodes.get(&name).cloned();
        if before.as_ref().is_some_and(|node| node.by != By::Rows) {
            return false;
        }
        if before.is_none() && self.nodes.len() >= MAX_HOSTS {
            return false;
        }
        let mut addresses = before.map_or_else(Vec::new, |node| node.addresses.clone());
        match self.hosts.claim(address, &name, at) {
            Claimed::Same => return false,
            Claimed::Disputed => {
                if let Some(holder) =
                    self.node_addresses.get(&address).and_then(Tenures::current).cloned()
                {
                    forget(&mut self.node_addresses, &holder, &[address]);
                }
                return false;
            }
            Claimed::New if addresses.contains(&address) => {
                addresses.retain(|known| *known != address)
            }
            Claimed::New => {}
        }
        addresses.push(address);
        if addresses.len() > MAX_HOST_ADDRESSES {
            addresses.remove(0);
        }
        let mut text = |text: Option<&str>| text.map(|text| self.texts.one(text));
        let (zone, region) = (text(zone), text(region));
        let since = Since { at, exact: true };
        self.apply_node(Node::new(name, (zone, region), addresses, since, By::Rows), at);
        true
    }

    /// A node is gone; its name still tells its zone.
    pub(super) fn delete_node(&mut self, name: &str, now: i64) {
        let Some(node) = self.nodes.get(name).cloned() else { return };
        give_up(&mut self.node_addresses, &node, &node.addresses, now);
        self.gone_nodes.push_back(Arc::clone(&node.name));
        self.tell(now, Named::Node(Arc::clone(&node)), Some(now));
        if self.gone_nodes.len() > MAX_GONE_NODES
            && let Some(oldest) = self.gone_nodes.pop_front()
            && !self.gone_nodes.contains(&oldest)
            && let Some(node) = self.nodes.get(&oldest).cloned()
            && !self.is_up(&node)
        {
            forget(&mut self.node_addresses, &node, &node.addresses);
            self.nodes.remove(&oldest);
        }
    }

    /// What the user's file says of a host: as `apply_node`, unless the cluster's API knows it or nothing is new.
    pub(super) fn apply_file_host(&mut self, mut node: Node, now: i64) {
        if let Some(before) = self.nodes.get(&node.name).filter(|before| self.is_up(before)) {
            if before.by == By::Cluster {
                return;
            }
            if before.by == By::File && before.addresses == node.addresses {
                node.since = before.since;
            }
        }
        self.apply_node(node, now);
    }

    /// Every node of which this source knows has been told.
    pub(super) fn retain_nodes(&mut self, by: By, there: &HashSet<Text>, now: i64) {
        let absent =
            |node: &&Arc<Node>| node.by == by && !there.contains(&node.name) && self.is_up(node);
        let absent = self.nodes.values().filter(absent);
        let absent: Vec<Text> = absent.map(|node| Arc::clone(&node.name)).collect();
        for name in absent {
            self.delete_node(&name, now);
        }
    }

    fn is_up(&self, node: &Arc<Node>) -> bool {
        let has = |address| {
            let current = self.node_addresses.get(address).and_then(Tenures::current);
            current.is_some_and(|current| current.name == node.name)
        };
        node.addresses.iter().any(has)
    }

    /// What controls a ReplicaSet or Job.
    pub(super) fn apply_owner(&mut self, object: Uid, controller: Option<Owner>, now: i64) {
        self.owners.apply(object, controller);
        if let Some(pods) = self.orphans.remove(&object) {
            self.seat_anew(&pods, now);
        }
    }

    /// A ReplicaSet or Job is gone.
    pub(super) fn delete_owner(&mut self, object: Uid) {
        self.owners.delete(object);
    }

    /// A service is there, or has changed.
    pub(super) fn apply_service(&mut self, service: Service, now: i64) {
        if let Some(service) = self.services.apply(service, now) {
            self.tell(now, Named::Service(service), None);
        }
    }

    /// A service is gone.
    pub(super) fn delete_service(&mut self, full_name: &str, now: i64) {
        if let Some(service) = self.services.delete(full_name, now) {
            self.tell(now, Named::Service(service), Some(now));
        }
    }

    /// Services, to ask and to tell of their endpoints.
    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    pub(super) fn services_mut(&mut self) -> &mut Services {
        &mut self.services
    }

    /// Every service that there is has been told.
    pub(super) fn retain_services(&mut self, there: &HashSet<Box<str>>, now: i64) {
        let absent = self.services.all().filter(|service| !there.contains(&service.full_name));
        let absent: Vec<_> = absent.map(|service| service.full_name.clone()).collect();
        for name in absent {
            self.delete_service(&name, now);
        }
    }

    /// What happened since the last call.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// All that is there now, as if it had just begun.
    pub(super) fn current(&self, now: i64) -> Vec<Event> {
        let is_there =
            |known: &&Known| !known.gone && known.pod.until.is_none() && known.pod.is_up();
        let pods =
            self.pods.values().filter(is_there).map(|known| Named::Pod(Arc::clone(&known.pod)));
        let nodes = self.nodes.values().filter(|node| self.is_up(node)).cloned().map(Named::Node);
        let services = self.services.all().cloned().map(Named::Service);
        pods.chain(nodes)
            .chain(services)
            .map(|what| Event { seen: now, what, until: None })
            .collect()
    }

    fn tell(&mut self, seen: i64, what: Named, until: Option<i64>) {
        self.events.push(Event { seen, what, until });
    }

    /// The pod of a uid, or of the kubelet's own name for a static one.
    pub(super) fn pod(&self, uid: Uid) -> Option<&Pod> {
        let uid = self.hashes.get(&uid).copied().unwrap_or(uid);
        self.pods.get(&uid).map(|known| known.pod.as_ref())
    }

    /// The pod that had an address of its own for most of `[start, end)`.
    pub(super) fn pod_at(&self, address: Address, start: i64, end: i64) -> Option<&Pod> {
        self.addresses.get(&address)?.at(start, end).map(AsRef::as_ref)
    }

    /// The pod in its node's network that listened there.
    pub(super) fn host_pod_at(&self, place: Place, start: i64, end: i64) -> Option<&Pod> {
        self.places.get(&place)?.at(start, end).map(AsRef::as_ref)
    }

    /// The node that had an address.
    pub(super) fn node_at(&self, address: Address, start: i64, end: i64) -> Option<&Node> {
        self.node_addresses.get(&address)?.at(start, end).map(AsRef::as_ref)
    }

    /// A node.
    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name).map(AsRef::as_ref)
    }

    /// The name of a container.
    pub(super) fn container(&self, id: ContainerId) -> Option<&str> {
        self.containers.get(&id).map(AsRef::as_ref)
    }

    /// Number of pods, those that are gone and remembered included.
    pub(super) fn pods(&self) -> usize {
        self.pods.len()
    }
}
