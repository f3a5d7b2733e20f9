//! Follows a cluster's objects through its API.
//!
//! ```text
//! list (pages of 500) -> watch from there, with bookmarks -> resume after a break
//!                     <- list anew when the server has forgotten that version (410)
//! ```
//!
//! All of it is kube's watcher (`kube::runtime::watcher`), with its back-off from 0.8 to 30 s. Of ReplicaSets and Jobs
//! only the metadata is asked for; of EndpointSlices only those of services without an address, as every other
//! service is known by its own. Each kind is followed by a task of its own, so that one which may not be listed
//! costs only what it would tell.
//!
//! The server's role needs `list` and `watch` on: pods, services, nodes; replicasets (apps), jobs (batch),
//! endpointslices (discovery.k8s.io). Nothing else, and nothing is ever written.

#[cfg(test)]
mod fake;
mod objects;

use std::collections::HashSet;
use std::fmt::Debug;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Config, Resource};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Names;
use super::map::Map;
use super::record::{By, Uid};
use super::status::Kind;

/// Slices of services without an address of their own (kubernetes/pkg/controller/endpointslice).
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Between two messages about the same trouble.
const QUIET: Duration = Duration::from_secs(60);

/// The cluster's API cannot be reached as it was said.
#[derive(Debug, Error)]
pub enum KubernetesError {
    /// There is neither a service account nor a kubeconfig.
    #[error(
        "no way to the Kubernetes API: neither a service account of a pod nor a kubeconfig; \
         give --kubeconfig FILE"
    )]
    Infer(#[from] kube::config::InferConfigError),
    /// The kubeconfig cannot be used.
    #[error("kubeconfig {path} cannot be used")]
    Kubeconfig {
        /// Its path.
        path: String,
        /// What is wrong with it.
        source: KubeconfigError,
    },
    /// The client cannot be made of it.
    #[error("client of the Kubernetes API cannot be made")]
    Client(#[from] kube::Error),
}

/// Connects by a kubeconfig, or as a pod does (or by the user's kubeconfig outside of one).
///
/// # Errors
/// There is no such configuration. Whether the API answers is seen later: it may come up after the server.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, KubernetesError> {
    let config = match kubeconfig {
        None => Config::infer().await?,
        Some(path) => {
            let wrong =
                |source| KubernetesError::Kubeconfig { path: path.display().to_string(), source };
            let file = Kubeconfig::read_from(path).map_err(wrong)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(wrong)?
        }
    };
    Ok(Client::try_from(config)?)
}

/// Follows the cluster for as long as the tasks live.
#[must_use]
pub fn follow(client: &Client, names: &Arc<Names>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let all = watcher::Config::default();
    let headless = watcher::Config::default().labels(HEADLESS);
    let mut go = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        tasks.spawn(task);
    };
    let names = || Arc::clone(names);
    go(Box::pin(watch(
        Api::<Pod>::all(client.clone()),
        all.clone(),
        Pods(HashSet::new()),
        names(),
    )));
    go(Box::pin(watch(
        Api::<Node>::all(client.clone()),
        all.clone(),
        Nodes(HashSet::new()),
        names(),
    )));
    let services = Services(HashSet::new());
    go(Box::pin(watch(Api::<Service>::all(client.clone()), all.clone(), services, names())));
    let slices = Slices(HashSet::new());
    go(Box::pin(watch(Api::<EndpointSlice>::all(client.clone()), headless, slices, names())));
    let api = Api::<PartialObjectMeta<ReplicaSet>>::all(client.clone());
    go(Box::pin(watch(api, all.clone(), Controlled(Kind::ReplicaSets), names())));
    let api = Api::<PartialObjectMeta<Job>>::all(client.clone());
    go(Box::pin(watch(api, all, Controlled(Kind::Jobs), names())));
    tasks
}

/// Takes over what happens to one kind of object.
trait Follower<K>: Send {
    fn kind(&self) -> Kind;
    /// An object is there. During a list, all of them are told between two calls of [`Follower::listed`].
    fn apply(&mut self, object: &K, map: &mut Map, now: i64);
    /// An object is gone.
    fn delete(&mut self, object: &K, map: &mut Map, now: i64);
    /// A list begins.
    fn begin(&mut self);
    /// All of the list were told: what was not is gone.
    fn listed(&mut self, map: &mut Map, now: i64);
}

async fn watch<K, F>(api: Api<K>, config: watcher::Config, mut follower: F, names: Arc<Names>)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    F: Follower<K>,
{
    let kind = follower.kind();
    let mut events = watcher::watcher(api, config).default_backoff().boxed();
    let mut told: Option<Instant> = None;
    while let Some(event) = events.next().await {
        let now = names.now();
        match event {
            Ok(Event::Init) => follower.begin(),
            Ok(Event::InitApply(object)) | Ok(Event::Apply(object)) => {
                names.change(|map| follower.apply(&object, map, now));
            }
            Ok(Event::Delete(object)) => names.change(|map| follower.delete(&object, map, now)),
            Ok(Event::InitDone) => {
                names.change(|map| follower.listed(map, now));
                if told.take().is_some() {
                    tracing::info!(kind = kind.name(), "objects of the cluster are followed again");
                }
                names.status().listed(kind);
            }
            Err(error) => {
                names.status().failed(kind);
                if told.is_none_or(|told| told.elapsed() >= QUIET) {
                    told = Some(Instant::now());
                    tracing::warn!(
                        kind = kind.name(),
                        error = %brief(&error),
                        "objects of the cluster cannot be followed, names come from what is known; next attempt follows"
                    );
                }
            }
        }
    }
}

/// The error without the whole answer in it.
fn brief(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status)) => {
            format!("the API server says {}: {}", status.code, status.message)
        }
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => {
            error.to_string()
        }
        error => error.to_string(),
    }
}

/// Uids of the pods of a list.
struct Pods(HashSet<Uid>);

impl Follower<Pod> for Pods {
    fn kind(&self) -> Kind {
        Kind::Pods
    }

    fn apply(&mut self, object: &Pod, map: &mut Map, now: i64) {
        if let Some(pod) = objects::pod(object, &mut map.texts) {
            self.0.insert(pod.uid);
            map.apply_pod(pod, now);
        }
    }

    fn delete(&mut self, object: &Pod, map: &mut Map, now: i64) {
        // What it says last may tell when it let go of its addresses.
        if let Some(pod) = objects::pod(object, &mut map.texts) {
            let uid = pod.uid;
            map.apply_pod(pod, now);
            map.delete_pod(uid, now);
        }
    }

    fn begin(&mut self) {
        self.0.clear();
    }

    fn listed(&mut self, map: &mut Map, now: i64) {
        map.retain_pods(&std::mem::take(&mut self.0), now);
    }
}

/// Names of the nodes of a list.
struct Nodes(HashSet<Arc<str>>);

impl Follower<Node> for Nodes {
    fn kind(&self) -> Kind {
        Kind::Nodes
    }

    fn apply(&mut self, object: &Node, map: &mut Map, now: i64) {
        if let Some(node) = objects::node(object, &mut map.texts) {
            self.0.insert(Arc::clone(&node.name));
            map.apply_node(node, now);
        }
    }

    fn delete(&mut self, object: &Node, map: &mut Map, now: i64) {
        if let Some(name) = &object.metadata.name {
            map.delete_node(name, now);
        }
    }

    fn begin(&mut self) {
        self.0.clear();
    }

    fn listed(&mut self, map: &mut Map, now: i64) {
        map.retain_nodes(By::Cluster, &std::mem::take(&mut self.0), now);
    }
}

/// Names of the services of a list.
struct Services(HashSet<Box<str>>);

impl Follower<Service> for Services {
    fn kind(&self) -> Kind {
        Kind::Services
    }

    fn apply(&mut self, object: &Service, map: &mut Map, now: i64) {
        if let Some(service) = objects::service(object, &mut map.texts) {
            self.0.insert(service.full_name.clone());
            map.apply_service(service, now);
        }
    }

    fn delete(&mut self, object: &Service, map: &mut Map, now: i64) {
        if let Some(name) = objects::full_name(&object.metadata) {
            map.delete_service(&name, now);
        }
    }

    fn begin(&mut self) {
        self.0.clear();
    }

    fn listed(&mut self, map: &mut Map, now: i64) {
        map.retain_services(&std::mem::take(&mut self.0), now);
    }
}

/// Names of the slices of a list.
struct Slices(HashSet<Box<str>>);

impl Follower<EndpointSlice> for Slices {
    fn kind(&self) -> Kind {
        Kind::EndpointSlices
    }

    fn apply(&mut self, object: &EndpointSlice, map: &mut Map, _now: i64) {
        let Some(name) = objects::full_name(&object.metadata) else { return };
        if let Some((service, places)) = objects::slice(object) {
            map.services_mut().apply_slice(&name, &service, places);
            self.0.insert(name.into());
        }
    }

    fn delete(&mut self, object: &EndpointSlice, map: &mut Map, _now: i64) {
        if let Some(name) = objects::full_name(&object.metadata) {
            map.services_mut().delete_slice(&name);
        }
    }

    fn begin(&mut self) {
        self.0.clear();
    }

    fn listed(&mut self, map: &mut Map, _now: i64) {
        let there = std::mem::take(&mut self.0);
        for gone in map.services().slices().difference(&there) {
            map.services_mut().delete_slice(gone);
        }
    }
}

/// ReplicaSets or Jobs. Those that a list lacks are left to be pushed out by others: rows of their pods may come yet.
struct Controlled(Kind);

impl<K> Follower<K> for Controlled
where
    K: Resource,
{
    fn kind(&self) -> Kind {
        self.0
    }

    fn apply(&mut self, object: &K, map: &mut Map, now: i64) {
        let meta: &ObjectMeta = object.meta();
        if let Some(uid) = meta.uid.as_deref().and_then(Uid::parse) {
            let owner = objects::controller(meta, &mut map.texts);
            map.apply_owner(uid, owner, now);
        }
    }

    fn delete(&mut self, object: &K, map: &mut Map, _now: i64) {
        if let Some(uid) = object.meta().uid.as_deref().and_then(Uid::parse) {
            map.delete_owner(uid);
        }
    }

    fn begin(&mut self) {}

    fn listed(&mut self, _map: &mut Map, _now: i64) {}
}

#[cfg(test)]
mod tests;
