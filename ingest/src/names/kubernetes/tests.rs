//! The real client against a server that behaves badly.

use std::sync::Arc;
use std::time::Duration;

use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fake::Fake;
use super::follow;
use crate::names::map::Named;
use crate::names::{Kind, Names};

const PODS: &str = "/api/v1/pods";
const NODES: &str = "/api/v1/nodes";
const SERVICES: &str = "/api/v1/services";
const REPLICA_SETS: &str = "/apis/apps/v1/replicasets";
const JOBS: &str = "/apis/batch/v1/jobs";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

fn uid(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

fn pod(number: usize, name: &str, address: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "uid": uid(number),
            "labels": {"pod-template-hash": "5f9c"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5f9c",
                "uid": uid(900), "controller": true}]},
        "spec": {"nodeName": "n1", "containers": [{"name": "main"}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "startTime": "2026-01-02T03:04:05Z",
            "containerStatuses": [{"name": "main", "containerID": format!("containerd://{number:064x}"),
                "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-02T03:04:06Z"}}}]}
    })
}

struct Rig {
    fake: Fake,
    names: Arc<Names>,
    _tasks: JoinSet<()>,
}

impl Rig {
    async fn start(fake: Fake) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = fake.serve().await;
        let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
        let names = Names::new();
        let _tasks = follow(&client, &names);
        let rig = Self { fake, names, _tasks };
        rig.until("every kind is listed", |rig| {
            Kind::ALL.iter().all(|k| rig.names.status().is_listed(*k))
        })
        .await;
        rig
    }

    async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is(self) {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Who has an address now, and that its workload is.
    fn at(&self, address: &str) -> Option<(String, String, String)> {
        let now = self.names.now();
        let lookup = self.names.lookup()?;
        let who = lookup.pod_at(address, now, now + 1)?;
        Some((who.pod.into(), (*who.seat.workload_kind).into(), (*who.seat.workload).into()))
    }

    fn pod_at(&self, address: &str) -> String {
        self.at(address).map(|(pod, _, _)| pod).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_followed_through_expiry_breaks_and_old_news() {
    let fake = Fake::default();
    // More than two pages.
    for number in 1..=1200 {
        let address = format!("10.244.{}.{}", number / 250, number % 250 + 1);
        fake.apply(PODS, pod(number, &format!("cart-5f9c-{number:05}"), &address));
    }
    let labels = json!({"topology.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "r"});
    let addresses = json!([{"type": "InternalIP", "address": "172.30.0.1"}, {"type": "Hostname", "address": "n1"}]);
    fake.apply(
        NODES,
        json!({"metadata": {"name": "n1", "labels": labels}, "status": {"addresses": addresses}}),
    );
    let ports = json!([{"port": 80, "protocol": "TCP", "nodePort": 30080}]);
    fake.apply(
        SERVICES,
        json!({"metadata": {"namespace": "shop", "name": "cart"},
            "spec": {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00::9"], "ports": ports}}),
    );
    let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart", "uid": uid(901), "controller": true}]);
    let meta = json!({"namespace": "shop", "name": "cart-5f9c", "uid": uid(900), "ownerReferences": owner});
    let partial = |meta: Value| json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": meta});
    fake.apply(REPLICA_SETS, partial(meta));
    fake.apply(
        SLICES,
        json!({"metadata": {"namespace": "shop", "name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.2"]}],
            "ports": [{"port": 5432, "protocol": "TCP"}]}),
    );
    let rig = Rig::start(fake).await;
    assert_eq!(rig.names.pods(), 1200);
    assert!(rig.fake.pages() >= 3 + 5, "in pages of 500");
    let expected = ("cart-5f9c-00001".to_owned(), "Deployment".to_owned(), "cart".to_owned());
    assert_eq!(rig.at("10.244.0.2"), Some(expected));
    {
        let now = rig.names.now();
        let lookup = rig.names.lookup().unwrap();
        let node = lookup.node_at("172.30.0.1", now, now + 1).unwrap();
        assert_eq!((&*node.spot.node, &*node.spot.zone, &*node.spot.region), ("n1", "a", "r"));
        assert_eq!(lookup.service("fd00::9", 80, now), Some(("shop", "shop/cart")));
        assert_eq!(lookup.service_at_endpoint(lookup.tcp("10.244.0.2", 5432)), Some("shop/db"));
        assert_eq!(lookup.container(&format!("{:012x}", 0)), Some("main"), "by the first digits");
    }

    // An address changes hands, and what was is told once more, twice.
    let first = pod(1, "cart-5f9c-00001", "10.244.0.2");
    rig.fake.delete(PODS, first.clone());
    rig.fake.apply(PODS, pod(2001, "next", "10.244.0.2"));
    rig.until("the next pod", |rig| rig.pod_at("10.244.0.2") == "next").await;
    rig.fake.replay(PODS, first.clone());
    rig.fake.replay(PODS, pod(2001, "next", "10.244.0.2"));
    rig.fake.apply(PODS, pod(2002, "marker", "10.244.9.1"));
    rig.until("all that was told", |rig| rig.pod_at("10.244.9.1") == "marker").await;
    assert_eq!(rig.pod_at("10.244.0.2"), "next", "old news");

    // Connections break, and requests are refused for a while: the watch goes on where it was.
    let lists = rig.fake.lists(PODS);
    let watches = rig.fake.watches(PODS);
    rig.fake.break_off(3);
    rig.fake.apply(PODS, pod(2003, "later", "10.244.9.2"));
    rig.until("what came meanwhile", |rig| rig.pod_at("10.244.9.2") == "later").await;
    assert!(rig.fake.watches(PODS) > watches);
    assert_eq!(rig.fake.lists(PODS), lists, "resumed, not listed anew");

    // The server forgets what it told: everything is listed again, and what is not there any more is gone.
    rig.fake.vanish(PODS, &pod(2, "cart-5f9c-00002", "10.244.0.3"));
    rig.fake.break_off(0);
    rig.until("a new list", |rig| rig.fake.lists(PODS) > lists).await;
    rig.fake.apply(PODS, pod(2004, "last", "10.244.9.3"));
    rig.until("what came after it", |rig| rig.pod_at("10.244.9.3") == "last").await;
    let current = rig.names.map.read().current(rig.names.now());
    let is_there = |name: &str| {
        let is = |what: &Named| matches!(what, Named::Pod(pod) if &*pod.name == name);
        current.iter().any(|event| is(&event.what))
    };
    assert!(!is_there("cart-5f9c-00002") && is_there("cart-5f9c-00003"));
    assert!(rig.names.status().lists(Kind::Pods) >= 2);
    for path in [NODES, SERVICES, REPLICA_SETS, JOBS, SLICES] {
        assert!(rig.fake.watches(path) >= 2, "{path}");
    }
}

/// Finished pods stay for days, their addresses do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_finished_gives_its_address_back() {
    let rig = Rig::start(Fake::default()).await;
    let running = pod(1, "job", "10.244.1.9");
    rig.fake.apply(PODS, running.clone());
    rig.until("the job", |rig| rig.pod_at("10.244.1.9") == "job").await;
    let mut finished = running;
    finished["status"]["phase"] = json!("Succeeded");
    finished["status"]["containerStatuses"][0]["state"] = json!({"terminated":
        {"exitCode": 0, "startedAt": "2026-01-02T03:04:06Z", "finishedAt": "2026-01-02T03:05:00Z"}});
    rig.fake.apply(PODS, finished);
    // It is still there, as finished pods of a job are; long after it nobody has the address.
    rig.until("its end", |rig| rig.at("10.244.1.9").is_none()).await;
    let end = "2026-01-02T03:05:00Z".parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let lookup = rig.names.lookup().unwrap();
    let then = |offset: i64| {
        lookup.pod_at("10.244.1.9", end + offset, end + offset + 10).map(|who| who.pod.to_owned())
    };
    assert_eq!(then(-1_000_000).as_deref(), Some("job"));
    assert_eq!(
        lookup.pod(&uid(1)).map(|who| who.pod.to_owned()).as_deref(),
        Some("job"),
        "by its uid, always"
    );
}
