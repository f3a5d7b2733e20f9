//! Services by everything that a client may dial: their addresses, ports of nodes, names outside the cluster, names in
//! the cluster's DNS, and the addresses of the pods behind those that have none of their own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::map::{ByKey, give_up, hand_over};
use super::record::{Address, Place, Protocol, Service};

type Map<K, V> = HashMap<K, V, RandomState>;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Services {
    by_name: Map<Box<str>, Arc<Service>>,
    by_place: ByKey<Place, Service>,
    by_address: ByKey<Address, Service>,
    by_node_port: ByKey<(u16, Protocol), Service>,
    /// Sorted by name: of several, the first counts.
    by_external_name: Map<Box<str>, Vec<Arc<Service>>>,
    /// Where endpoints of services without an address of their own are: names of the services.
    endpoints: Map<Place, Vec<Arc<str>>>,
    /// By the name of the slice that told: its service, and where.
    slices: Map<Box<str>, (Arc<str>, Vec<Place>)>,
}

fn addresses(places: &[Place]) -> Vec<Address> {
    let mut addresses: Vec<_> = places.iter().map(|(address, _, _)| *address).collect();
    addresses.dedup();
    addresses
}

impl Services {
    /// A service is there or has changed; nothing if it has not.
    pub(super) fn apply(&mut self, service: Service, now: i64) -> Option<Arc<Service>> {
        let before = self.by_name.get(&service.full_name).cloned();
        if before.as_ref().is_some_and(|before| **before == service) {
            return None;
        }
        let service = Arc::new(service);
        let since = service.since;
        let none = (Vec::new(), Vec::new());
        let (places, ports) =
            before.as_ref().map_or(none, |b| (b.places.clone(), b.node_ports.clone()));
        let old = before.as_ref();
        let (had, has) = (addresses(&places), addresses(&service.places));
        hand_over(&mut self.by_place, (old, &places), (&service, &service.places), since, now);
        hand_over(&mut self.by_address, (old, &had), (&service, &has), since, now);
        hand_over(
            &mut self.by_node_port,
            (old, &ports),
            (&service, &service.node_ports),
            since,
            now,
        );
        if let Some(before) = old {
            self.forget_external(before);
        }
        for name in &service.external_names {
            let all = self.by_external_name.entry(name.clone()).or_default();
            all.push(Arc::clone(&service));
            all.sort_by(|a, b| a.full_name.cmp(&b.full_name));
        }
        self.by_name.insert(service.full_name.clone(), Arc::clone(&service));
        Some(service)
    }

    /// A service is gone.
    pub(super) fn delete(&mut self, full_name: &str, now: i64) -> Option<Arc<Service>> {
        let service = self.by_name.remove(full_name)?;
        give_up(&mut self.by_place, &service, &service.places, now);
        give_up(&mut self.by_address, &service, &addresses(&service.places), now);
        give_up(&mut self.by_node_port, &service, &service.node_ports, now);
        self.forget_external(&service);
        Some(service)
    }

    fn forget_external(&mut self, service: &Arc<Service>) {
        for name in &service.external_names {
            let Some(all) = self.by_external_name.get_mut(name) else { continue };
            all.retain(|other| !Arc::ptr_eq(other, service));
            if all.is_empty() {
                self.by_external_name.remove(name);
            }
        }
    }

    /// A slice of the endpoints of a service without an address of its own.
    pub(super) fn apply_slice(&mut self, slice: &str, service: &str, places: Vec<Place>) {
        self.delete_slice(slice);
        let service: Arc<str> = service.into();
        for place in &places {
            self.endpoints.entry(*place).or_default().push(Arc::clone(&service));
        }
        self.slices.insert(slice.into(), (service, places));
    }

    /// The slice is gone.
    pub(super) fn delete_slice(&mut self, slice: &str) {
        let Some((service, places)) = self.slices.remove(slice) else { return };
        for place in places {
            let Some(names) = self.endpoints.get_mut(&place) else { continue };
            if let Some(at) = names.iter().position(|name| *name == service) {
                names.swap_remove(at);
            }
            if names.is_empty() {
                self.endpoints.remove(&place);
            }
        }
    }

    /// Names of the slices that are known.
    pub(super) fn slices(&self) -> HashSet<Box<str>> {
        self.slices.keys().cloned().collect()
    }

    /// All services that there are.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.by_name.values()
    }

    /// Endpoints of services without an address are known.
    pub(super) fn has_endpoints(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// The service that had an address; with a port, if the service names it.
    pub(super) fn at(
        &self,
        address: Address,
        port: Option<(u16, Protocol)>,
        start: i64,
        end: i64,
    ) -> Option<&Service> {
        let place = port.and_then(|(port, protocol)| self.by_place.get(&(address, port, protocol)));
        let at_place = place.and_then(|tenures| tenures.at(start, end));
        let at_address = || self.by_address.get(&address)?.at(start, end);
        at_place.or_else(at_address).map(AsRef::as_ref)
    }

    /// The service for which every node takes connections at a port.
    pub(super) fn at_node_port(
        &self,
        port: u16,
        protocol: Protocol,
        start: i64,
        end: i64,
    ) -> Option<&Service> {
        self.by_node_port.get(&(port, protocol))?.at(start, end).map(AsRef::as_ref)
    }

    /// The service that a name in DNS stands for.
    ///
    /// Within the cluster that is `NAME.NAMESPACE.svc`, with the cluster's own domain and the names of pods around it
    /// (kubernetes/dns/docs/specification.md); outside it is what a service of type ExternalName says.
    pub(super) fn of_domain(&self, domain: &str) -> Option<&str> {
        let domain = domain.trim_end_matches('.');
        if let Some(service) = self.by_external_name.get(domain).and_then(|all| all.first()) {
            return Some(&service.full_name);
        }
        let labels: Vec<&str> = domain.split('.').collect();
        let svc = labels.iter().position(|label| *label == "svc")?;
        let (namespace, name) =
            (labels.get(svc.checked_sub(1)?)?, labels.get(svc.checked_sub(2)?)?);
        let known = self.by_name.get(format!("{namespace}/{name}").as_str())?;
        Some(&known.full_name)
    }

    /// The only service without an address of its own that has an endpoint there.
    pub(super) fn only_at_endpoint(&self, place: Place) -> Option<&str> {
        let names = self.endpoints.get(&place)?;
        let (first, others) = names.split_first()?;
        others.iter().all(|other| other == first).then_some(first.as_ref())
    }
}
