//! A stand-in for the API server of a large cluster: lists in pages, and a watch of pods that come and go. A real one with
//! a hundred thousand pods would need the machine for itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::{Value, json};

/// A pod as the list has it.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) number: u64,
    pub(crate) namespace: String,
    pub(crate) workload: String,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) address: String,
}

/// When each pod that came was told, microseconds since the Unix epoch, by name.
pub(crate) type Told = Arc<Mutex<HashMap<String, i64>>>;

pub(crate) struct Api {
    pub(crate) url: String,
    pub(crate) told: Told,
    churn: Arc<Mutex<Option<u32>>>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Shared {
    pods: Arc<Vec<Pod>>,
    services: usize,
    nodes: usize,
    told: Told,
    churn: Arc<Mutex<Option<u32>>>,
}

pub(crate) fn uid(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// First 12 digits of the id of a pod's container.
pub(crate) fn container(number: u64) -> String {
    format!("{:012x}", 0xc000_0000_0000 + number)
}

impl Api {
    pub(crate) fn start(pods: Vec<Pod>, services: usize, nodes: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let told = Told::default();
        let churn = Arc::<Mutex<Option<u32>>>::default();
        let shared =
            Shared { pods: pods.into(), services, nodes, told: told.clone(), churn: churn.clone() };
        let url = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("its address");
            let router = Router::new().fallback(answer).with_state(shared);
            tokio::spawn(async move { axum::serve(listener, router).await });
            format!("http://{address}")
        });
        Self { url, told, churn, _runtime: runtime }
    }

    /// So many pods a second come, and as many go; `None` ends it.
    pub(crate) fn churn(&self, per_second: Option<u32>) {
        *self.churn.lock().expect("no panic") = per_second;
    }
}

async fn answer(
    State(shared): State<Shared>,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let kind = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    if query.contains_key("watch") {
        return if kind == "pods" { churn(shared) } else { quiet() };
    }
    let total = match kind.as_str() {
        "pods" => shared.pods.len(),
        "services" => shared.services,
        "nodes" => shared.nodes,
        // A Deployment for each ten pods.
        "replicasets" => shared.pods.len() / 10,
        _ => 0,
    };
    let from: usize = query.get("continue").and_then(|text| text.parse().ok()).unwrap_or(0);
    let limit: usize = query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(total);
    let to = (from + limit).min(total);
    let item = |at: usize| match kind.as_str() {
        "pods" => pod(&shared.pods[at]),
        "services" => service(at),
        "nodes" => node(at),
        _ => replica_set(at),
    };
    let items: Vec<Value> = (from..to).map(item).collect();
    let next = if to < total { to.to_string() } else { String::new() };
    let meta = json!({"resourceVersion": "1", "continue": next});
    axum::Json(json!({"apiVersion": "v1", "kind": "List", "metadata": meta, "items": items}))
        .into_response()
}

/// A watch in which nothing happens.
fn quiet() -> Response {
    Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()).into_response()
}

fn churn(shared: Shared) -> Response {
    let lines = stream::unfold((shared, 0u64), |(shared, mut made)| async move {
        // In bursts, fifty a second.
        let burst = loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let rate = *shared.churn.lock().expect("no panic");
            if let Some(rate) = rate {
                break u64::from(rate) / 50;
            }
        };
        let mut text = String::new();
        for _ in 0..burst {
            let came = come(made);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
            shared.told.lock().expect("no panic").insert(came.name.clone(), now);
            text += &(json!({"type": "ADDED", "object": pod(&came)}).to_string() + "\n");
            if made >= 500 {
                // Its address is given to the pod that comes five hundred later.
                let gone = pod(&come(made - 500));
                text += &(json!({"type": "DELETED", "object": gone}).to_string() + "\n");
            }
            made += 1;
        }
        Some((Ok::<_, std::io::Error>(Bytes::from(text)), (shared, made)))
    });
    Body::from_stream(lines).into_response()
}

fn come(number: u64) -> Pod {
    Pod {
        number: 10_000_000 + number,
        namespace: "batch".into(),
        workload: "report".into(),
        name: format!("report-{number}"),
        node: "node-0".into(),
        address: format!("10.250.{}.{}", number % 1000 / 250, number % 250 + 2),
    }
}

fn pod(pod: &Pod) -> Value {
    // As large as pods are: most of it is not looked at.
    let variables: Vec<Value> = (0..20)
        .map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("value-of-{n}-for-{}", pod.workload)}))
        .collect();
    let set = format!("{}-set", pod.workload);
    json!({
        "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": uid(pod.number), "resourceVersion": "2",
            "labels": {"app": pod.workload, "app.kubernetes.io/part-of": "shop", "pod-template-hash": "set"},
            "annotations": {"checksum/config": "0".repeat(64)},
            "managedFields": [{"manager": "kubelet", "operation": "Update", "apiVersion": "v1",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {"f:conditions": {}, "f:phase": {}}}}],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set,
                "uid": uid(20_000_000 + pod.number / 10), "controller": true}]},
        "spec": {"nodeName": pod.node, "containers": [{"name": "main", "image": "registry.example/app:1",
            "env": variables, "ports": [{"containerPort": 8080}]}]},
        "status": {"phase": "Running", "hostIP": "172.30.0.1", "podIP": pod.address, "podIPs": [{"ip": pod.address}],
            "startTime": "2026-01-02T03:04:05Z",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:09Z"}],
            "containerStatuses": [{"name": "main", "containerID": format!("containerd://{}{:052x}", container(pod.number), 0),
                "image": "registry.example/app:1", "imageID": "sha256:0", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-02T03:04:06Z"}}}]}
    })
}

/// Address of a service.
pub(crate) fn service_address(number: usize) -> String {
    format!("10.{}.{}.{}", 100 + number / 62_500, number / 250 % 250, number % 250 + 1)
}

fn service(number: usize) -> Value {
    json!({"metadata": {"namespace": format!("team-{}", number % 50), "name": format!("service-{number}")},
        "spec": {"clusterIP": service_address(number), "clusterIPs": [service_address(number)],
            "ports": [{"port": 80, "protocol": "TCP"}, {"port": 443, "protocol": "TCP"}]}})
}

fn node(number: usize) -> Value {
    let labels = json!({"topology.kubernetes.io/zone": format!("zone-{}", ["a", "b", "c"][number % 3]),
        "topology.kubernetes.io/region": "region-1"});
    json!({"metadata": {"name": format!("node-{number}"), "labels": labels},
        "status": {"addresses": [{"type": "InternalIP", "address": format!("172.30.{}.{}", number / 250, number % 250 + 1)}]}})
}

fn replica_set(number: usize) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"namespace": "x", "name": format!("set-{number}"), "uid": uid(20_000_000 + number as u64),
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": format!("deployment-{number}"),
                "uid": uid(30_000_000 + number as u64), "controller": true}]}})
}
