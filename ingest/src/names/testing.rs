//! A cluster for tests, told object by object. Times are in seconds.

use std::sync::Arc;

use super::owner::Owner;
use super::record::{By, ContainerId, Node, Pod, Protocol, Service, Uid, address};
use super::tenure::Since;
use super::{Holder, Lookup, Names, Place, Who};

pub(crate) const SECOND: i64 = 1_000_000;

/// What controls a pod: kind, name, number.
type Controller = Option<(&'static str, &'static str, u128)>;

/// See the module's text.
pub(crate) struct Cluster {
    pub(crate) names: Arc<Names>,
}

fn ip(text: &str) -> u128 {
    address(text.parse().unwrap())
}

fn uid(number: u128) -> Uid {
    Uid::parse(&format!("{number:032x}")).unwrap()
}

/// Questions in text.
impl Lookup<'_> {
    pub(crate) fn pod_at(&self, address: &str, start: i64, end: i64) -> Option<Who<'_>> {
        self.pods_at(std::iter::once(Some((ip(address), start, end)))).pop()?
    }

    pub(crate) fn pod(&self, uid: &str) -> Option<Who<'_>> {
        self.pods(std::iter::once(Some(uid))).pop()?
    }

    pub(crate) fn node_at(&self, address: &str, start: i64, end: i64) -> Option<Who<'_>> {
        match self.other_at(ip(address), start, end)? {
            Holder::Node(who) => Some(who),
            _ => None,
        }
    }

    pub(crate) fn tcp(&self, address: &str, port: u16) -> Place {
        self.place(ip(address), port, "tcp").unwrap()
    }

    pub(crate) fn service(&self, address: &str, port: u16, at: i64) -> Option<(&str, &str)> {
        self.service_at(ip(address), Some(self.tcp(address, port)), at, at + 1)
    }
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self { names: Names::new() }
    }

    /// As an agent writes it.
    pub(crate) fn uid(&self, number: u128) -> String {
        uid(number).to_string()
    }

    pub(crate) fn node(&mut self, name: &str, zone: &str, region: &str, at: &str) {
        self.names.change(|map| {
            let place = (Some(map.texts.one(zone)), Some(map.texts.one(region)));
            let since = Since { at: 0, exact: false };
            let name = map.texts.one(name);
            map.apply_node(Node::new(name, place, vec![ip(at)], since, By::Cluster), 0);
        });
    }

    /// A ReplicaSet of that number is a Deployment's.
    pub(crate) fn deployment(&mut self, _namespace: &str, name: &str, replica_set: u128) {
        self.names.change(|map| {
            let (kind, name) = (map.texts.one("Deployment"), map.texts.one(name));
            let owner = Owner { kind, name, uid: None, deployment: None };
            map.apply_owner(uid(replica_set), Some(owner), 0);
        });
    }

    fn apply(
        &mut self,
        now: i64,
        number: u128,
        name: &str,
        node: &str,
        by: Controller,
        more: impl FnOnce(&mut Pod),
    ) {
        let (namespace, name) = name.split_once('/').unwrap();
        self.names.change(|map| {
            let owner = match by {
                Some((kind, name, number)) => Owner {
                    kind: map.texts.one(kind),
                    name: map.texts.one(name),
                    uid: Some(uid(number)),
                    deployment: None,
                },
                None => Owner {
                    kind: map.texts.one("Pod"),
                    name: map.texts.one(name),
                    uid: None,
                    deployment: None,
                },
            };
            let id = ContainerId::parse(&format!("{number:012x}")).unwrap();
            let mut pod = Pod {
                uid: uid(number),
                hash: None,
                namespace: map.texts.one(namespace),
                name: name.into(),
                node: map.texts.one(node),
                owner,
                labels: Box::default(),
                seat: Arc::default(),
                spot: Arc::default(),
                addresses: Vec::new(),
                places: Vec::new(),
                containers: vec![(id, map.texts.one("main"))],
                since: Since { at: now * SECOND, exact: true },
                until: None,
            };
            more(&mut pod);
            map.apply_pod(pod, now * SECOND);
        });
    }

    pub(crate) fn pod(
        &mut self,
        now: i64,
        number: u128,
        name: &str,
        node: &str,
        at: &str,
        by: Controller,
    ) {
        self.apply(now, number, name, node, by, |pod| pod.addresses = vec![ip(at)]);
    }

    #[expect(clippy::too_many_arguments, reason = "a pod is all of that")]
    pub(crate) fn host_pod(
        &mut self,
        now: i64,
        number: u128,
        name: &str,
        node: &str,
        at: &str,
        port: u16,
        by: Controller,
    ) {
        self.apply(now, number, name, node, by, |pod| {
            pod.places = vec![(ip(at), port, Protocol::Tcp)]
        });
    }

    pub(crate) fn delete_pod(&mut self, now: i64, number: u128) {
        self.names.change(|map| map.delete_pod(uid(number), now * SECOND));
    }

    fn apply_service(&mut self, full_name: &str, more: impl FnOnce(&mut Service)) {
        let (namespace, name) = full_name.split_once('/').unwrap();
        self.names.change(|map| {
            let mut service = Service {
                namespace: map.texts.one(namespace),
                name: name.into(),
                full_name: full_name.into(),
                places: Vec::new(),
                node_ports: Vec::new(),
                external_names: Vec::new(),
                since: Since { at: 0, exact: false },
            };
            more(&mut service);
            map.apply_service(service, 0);
        });
    }

    pub(crate) fn service(&mut self, full_name: &str, at: &str, port: u16, node_port: u16) {
        self.apply_service(full_name, |service| {
            service.places = vec![(ip(at), port, Protocol::Tcp)];
            service.node_ports = vec![(node_port, Protocol::Tcp)];
        });
    }

    pub(crate) fn external_service(&mut self, full_name: &str, domain: &str) {
        self.apply_service(full_name, |service| service.external_names = vec![domain.into()]);
    }

    pub(crate) fn endpoint(&mut self, service: &str, slice: &str, at: &str, port: u16) {
        self.names.change(|map| {
            map.services_mut().apply_slice(slice, service, vec![(ip(at), port, Protocol::Tcp)]);
        });
    }
}
