//! From objects of the Kubernetes API to what is kept of them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStatus, Node as NodeObject, Pod as PodObject, PodStatus,
    Service as ServiceObject,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use weir_wire::chosen::chosen;

use crate::names::owner::Owner;
use crate::names::record::{
    Address, By, ContainerId, Node, Place, Pod, Protocol, Service, Uid, address,
};
use crate::names::tenure::Since;
use crate::names::text::{Text, Texts};

/// On a mirror pod: the kubelet's own name for the static pod.
const STATIC_HASH: &str = "kubernetes.io/config.hash";
const STATIC_MIRROR: &str = "kubernetes.io/config.mirror";
const TEMPLATE_HASH: &str = "pod-template-hash";
const ZONE: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];
const REGION: [&str; 2] =
    ["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];
/// The service that a slice is of.
const SLICE_OF: &str = "kubernetes.io/service-name";

fn us(time: &Time) -> i64 {
    time.0.as_microsecond()
}

fn parse(text: &str) -> Option<Address> {
    text.parse().ok().map(address)
}

fn protocol(text: Option<&String>) -> Option<Protocol> {
    text.map_or(Some(Protocol::Tcp), |text| Protocol::parse(text))
}

fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number > 0)
}

/// What is kept of a pod; nothing of one without a uid, which no server sends.
pub(super) fn pod(object: &PodObject, texts: &mut Texts) -> Option<Pod> {
    let meta = &object.metadata;
    let spec = object.spec.as_ref()?;
    let name = meta.name.as_deref()?;
    let none = PodStatus::default();
    let status = object.status.as_ref().unwrap_or(&none);
    let node = spec.node_name.as_deref().unwrap_or_default();
    let in_host = spec.host_network == Some(true);
    let addresses = |list: Option<Vec<&String>>, one: Option<&String>| -> Vec<Address> {
        let list = list.filter(|list| !list.is_empty());
        let all = list.unwrap_or_else(|| one.into_iter().collect());
        all.into_iter().filter_map(|text| parse(text)).collect()
    };
    let own = addresses(
        status.pod_ips.as_ref().map(|ips| ips.iter().map(|ip| &ip.ip).collect()),
        status.pod_ip.as_ref(),
    );
    let hosts = addresses(
        status.host_ips.as_ref().map(|ips| ips.iter().map(|ip| &ip.ip).collect()),
        status.host_ip.as_ref(),
    );
    let ports = || {
        let all = spec.containers.iter().flat_map(|c| c.ports.iter().flatten());
        all.filter_map(|p| Some((port(p.container_port)?, protocol(p.protocol.as_ref())?)))
    };
    let places = |host: Address| ports().map(move |(port, protocol)| (host, port, protocol));
    let places: Vec<Place> =
        if in_host { hosts.iter().flat_map(|host| places(*host)).collect() } else { Vec::new() };
    let containers = container_statuses(status).filter_map(|container| {
        Some((ContainerId::parse(container.container_id.as_deref()?)?, texts.one(&container.name)))
    });
    Some(Pod {
        uid: Uid::parse(meta.uid.as_deref()?)?,
        hash: annotation(meta, STATIC_HASH).and_then(Uid::parse),
        containers: containers.collect(),
        namespace: texts.one(meta.namespace.as_deref().unwrap_or("default")),
        name: name.into(),
        node: texts.one(node),
        owner: pod_owner(meta, name, node, texts),
        labels: labels(meta, texts),
        seat: Arc::default(),
        spot: Arc::default(),
        addresses: if in_host { Vec::new() } else { own },
        places,
        since: since(meta, status),
        until: finished(status),
    })
}

/// The texts of the chosen labels.
fn labels(meta: &ObjectMeta, texts: &mut Texts) -> Box<[Text]> {
    let mut one = |key: &str| label(meta, key).map_or_else(Text::default, |text| texts.one(text));
    chosen().iter().map(|chosen| one(&chosen.key)).collect()
}

fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

fn label<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(name).map(String::as_str)
}

fn pod_owner(meta: &ObjectMeta, name: &str, node: &str, texts: &mut Texts) -> Owner {
    if annotation(meta, STATIC_MIRROR).is_some() {
        // The kubelet names it after the file's pod and the node.
        let of_node = |name: &str| Some(name.strip_suffix(node)?.strip_suffix('-')?.to_owned());
        let own = of_node(name).unwrap_or_else(|| name.to_owned());
        let (kind, name) = (texts.one("StaticPod"), texts.one(&own));
        return Owner { kind, name, uid: None, deployment: None };
    }
    match controller(meta, texts) {
        Some(owner) => {
            let hash = label(meta, TEMPLATE_HASH).filter(|hash| !hash.is_empty());
            let deployment = |hash| owner.name.strip_suffix(hash)?.strip_suffix('-');
            let deployment = hash.and_then(deployment).filter(|name| !name.is_empty());
            let deployment = deployment.map(|name| texts.one(name));
            Owner { deployment, ..owner }
        }
        None => {
            let (kind, name) = (texts.one("Pod"), texts.one(name));
            Owner { kind, name, uid: None, deployment: None }
        }
    }
}

/// What controls an object, if anything does.
pub(super) fn controller(meta: &ObjectMeta, texts: &mut Texts) -> Option<Owner> {
    let owners = meta.owner_references.as_ref()?;
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    Some(Owner {
        kind: texts.one(&owner.kind),
        name: texts.one(&owner.name),
        // Only these are looked up.
        uid: ["ReplicaSet", "Job"]
            .contains(&owner.kind.as_str())
            .then(|| Uid::parse(&owner.uid))
            .flatten(),
        deployment: None,
    })
}

fn container_statuses(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ]
    .into_iter()
    .flatten()
    .flatten()
}

/// Since when a pod has its addresses: for certain since its sandbox was ready, or its first container ran; and not
/// before the kubelet took it on.
fn since(meta: &ObjectMeta, status: &PodStatus) -> Since {
    let conditions = status.conditions.iter().flatten();
    let ready = conditions
        .filter(|c| c.type_ == "PodReadyToStartContainers" && c.status == "True")
        .find_map(|c| c.last_transition_time.as_ref());
    let begun = |state: &ContainerState| -> Option<i64> {
        let running = state.running.as_ref().and_then(|s| s.started_at.as_ref());
        let terminated = || state.terminated.as_ref()?.started_at.as_ref();
        running.or_else(terminated).map(us)
    };
    let states = container_statuses(status).flat_map(|c| [&c.state, &c.last_state]).flatten();
    if let Some(at) = ready.map(us).or_else(|| states.filter_map(begun).min()) {
        return Since { at, exact: true };
    }
    let earliest = status.start_time.as_ref().or(meta.creation_timestamp.as_ref());
    Since { at: earliest.map_or(0, us), exact: false }
}

/// When a pod whose containers will not run again let go of its addresses.
fn finished(status: &PodStatus) -> Option<i64> {
    let phase = status.phase.as_deref()?;
    if phase != "Succeeded" && phase != "Failed" {
        return None;
    }
    let ends = container_statuses(status)
        .filter_map(|c| c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    // One that was evicted may have no containers.
    let changes = status.conditions.iter().flatten();
    let changes = changes.filter_map(|c| c.last_transition_time.as_ref());
    let latest = ends.map(us).max().or_else(|| changes.map(us).max());
    Some(latest.or(status.start_time.as_ref().map(us)).unwrap_or(0))
}

/// What is kept of a node.
pub(super) fn node(object: &NodeObject, texts: &mut Texts) -> Option<Node> {
    let meta = &object.metadata;
    let mut place = |names: [&str; 2]| {
        let value = names.into_iter().find_map(|name| label(meta, name));
        value.filter(|value| !value.is_empty()).map(|value| texts.one(value))
    };
    let (zone, region) = (place(ZONE), place(REGION));
    let addresses = object.status.iter().flat_map(|s| s.addresses.iter().flatten());
    // Host names and names in DNS are no addresses.
    let addresses = addresses.filter_map(|a| parse(&a.address)).collect();
    let name = texts.one(meta.name.as_deref()?);
    Some(Node::new(name, (zone, region), addresses, created(meta), By::Cluster))
}

fn created(meta: &ObjectMeta) -> Since {
    Since { at: meta.creation_timestamp.as_ref().map_or(0, us), exact: false }
}

/// `namespace/name`.
pub(super) fn full_name(meta: &ObjectMeta) -> Option<String> {
    Some(format!("{}/{}", meta.namespace.as_deref()?, meta.name.as_deref()?))
}

/// What is kept of a service.
pub(super) fn service(object: &ServiceObject, texts: &mut Texts) -> Option<Service> {
    let meta = &object.metadata;
    let spec = object.spec.as_ref()?;
    let ingress = object.status.iter().filter_map(|s| s.load_balancer.as_ref());
    let ingress: Vec<_> = ingress.flat_map(|b| b.ingress.iter().flatten()).collect();
    let own = spec.cluster_ips.clone().unwrap_or_else(|| spec.cluster_ip.iter().cloned().collect());
    let addresses: Vec<Address> = own
        .iter()
        .chain(spec.external_ips.iter().flatten())
        .chain(ingress.iter().filter_map(|i| i.ip.as_ref()))
        .filter_map(|text| parse(text))
        .collect();
    let ports = || {
        let ports = spec.ports.iter().flatten();
        ports.filter_map(|p| Some((p, protocol(p.protocol.as_ref())?)))
    };
    let places = addresses.iter().flat_map(|address| {
        ports().filter_map(move |(p, protocol)| Some((*address, port(p.port)?, protocol)))
    });
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    let name = spec.external_name.as_ref().filter(|_| is_external);
    let names = name.into_iter().chain(ingress.iter().filter_map(|i| i.hostname.as_ref()));
    let names = names.map(|name| name.trim_end_matches('.').to_lowercase().into());
    Some(Service {
        namespace: texts.one(meta.namespace.as_deref()?),
        name: meta.name.as_deref()?.into(),
        full_name: full_name(meta)?.into(),
        places: places.collect(),
        node_ports: ports()
            .filter_map(|(p, protocol)| Some((port(p.node_port?)?, protocol)))
            .collect(),
        external_names: names.collect(),
        since: created(meta),
    })
}

/// The service of a slice of endpoints, and where they are.
pub(super) fn slice(object: &EndpointSlice) -> Option<(String, Vec<Place>)> {
    let meta = &object.metadata;
    let service = format!("{}/{}", meta.namespace.as_deref()?, label(meta, SLICE_OF)?);
    let endpoints = object.endpoints.iter();
    let addresses = endpoints.flat_map(|e| e.addresses.iter()).filter_map(|text| parse(text));
    let ports = || {
        let ports = object.ports.iter().flatten();
        ports.filter_map(|p| Some((port(p.port?)?, protocol(p.protocol.as_ref())?)))
    };
    let places = addresses.flat_map(|a| ports().map(move |(port, protocol)| (a, port, protocol)));
    Some((service, places.collect()))
}
