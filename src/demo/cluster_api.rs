//! A stand-in for the API server of the demo's cluster: it lists what there is, and in its watches nothing happens.
//!
//! The server follows it as it follows a real one (`--kubeconfig`), so names come by the same way. A real API server with
//! its database would be twenty times as large as everything else here; the project's own tests have one.
//!
//! Protocol: <https://kubernetes.io/docs/reference/using-api/api-concepts/>

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::shop::{Kind, NAME_SERVER, NODES, Node, Pod, REGION, WAY_IN, WORKLOADS, Workload};

/// When everything began: before any row.
const SINCE: &str = "2026-01-02T03:04:05Z";
/// How long a watch lasts if the client does not say.
const WATCH: Duration = Duration::from_secs(240);

/// By the path of the list.
type Objects = Arc<HashMap<&'static str, Vec<Value>>>;

/// Serves on loopback and writes a kubeconfig that leads there. Ends when the tasks are dropped.
///
/// # Errors
/// When it cannot listen, or the file cannot be written.
pub(super) async fn serve(pods: &[Pod], kubeconfig: &Path) -> anyhow::Result<JoinSet<()>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .context("the stand-in for the cluster's API cannot listen on loopback")?;
    let address = listener.local_addr()?;
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: demo\n\
         clusters: [{{name: demo, cluster: {{server: \"http://{address}\"}}}}]\n\
         users: [{{name: demo, user: {{}}}}]\n\
         contexts: [{{name: demo, context: {{cluster: demo, user: demo}}}}]\n"
    );
    std::fs::write(kubeconfig, text)
        .with_context(|| format!("{} cannot be written", kubeconfig.display()))?;
    let router = Router::new().fallback(answer).with_state(Arc::new(objects(pods)));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    Ok(tasks)
}

async fn answer(
    State(objects): State<Objects>,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let Some(items) = objects.get(uri.path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if query.contains_key("watch") {
        let asked = query.get("timeoutSeconds").and_then(|text| text.parse().ok());
        let lasts = asked.map_or(WATCH, Duration::from_secs);
        // Nothing, and then the end.
        return Body::from_stream(stream::once(async move {
            tokio::time::sleep(lasts).await;
            Ok::<_, std::io::Error>(Bytes::new())
        }))
        .into_response();
    }
    let meta = json!({"resourceVersion": "1"});
    axum::Json(json!({"apiVersion": "v1", "kind": "List", "metadata": meta, "items": items}))
        .into_response()
}

fn objects(pods: &[Pod]) -> HashMap<&'static str, Vec<Value>> {
    let all = |kind: Kind| WORKLOADS.iter().filter(move |of| of.kind == kind);
    let mut objects: Vec<Value> = pods.iter().map(pod).collect();
    // Where agents deliver to, and who is asked for names.
    objects.push(called(1, "weir", ("StatefulSet", "weir", "weir-0"), WAY_IN));
    objects.push(called(2, "kube-system", ("DaemonSet", "dns", "dns-q2x4v"), NAME_SERVER));
    let services = WORKLOADS.iter().filter(|of| of.port.is_some());
    HashMap::from([
        ("/api/v1/pods", objects),
        ("/api/v1/nodes", NODES.iter().map(node).collect()),
        ("/api/v1/services", services.clone().map(service).collect()),
        (
            "/apis/apps/v1/replicasets",
            all(Kind::Deployment).map(|of| controlled(of, "Deployment")).collect(),
        ),
        ("/apis/batch/v1/jobs", all(Kind::CronJob).map(|of| controlled(of, "CronJob")).collect()),
        ("/apis/discovery.k8s.io/v1/endpointslices", services.map(|of| slice(of, pods)).collect()),
    ])
}

/// A name based on another, as a uid: what Kubernetes makes at random has to be the same each time here.
fn uid(of: &Workload, what: u8) -> String {
    let at = WORKLOADS.iter().position(|other| other.name == of.name).unwrap_or_default();
    format!("7ea0f0de-00{what:02x}-4000-8000-{at:012x}")
}

fn reference(of: &Workload) -> Value {
    let (kind, api, name, what) = match of.kind {
        Kind::Deployment => ("ReplicaSet", "apps/v1", format!("{}-{}", of.name, of.hash), 1),
        Kind::CronJob => ("Job", "batch/v1", format!("{}-{}", of.name, of.hash), 1),
        Kind::StatefulSet => ("StatefulSet", "apps/v1", of.name.to_owned(), 2),
        Kind::DaemonSet => ("DaemonSet", "apps/v1", of.name.to_owned(), 2),
    };
    json!({"apiVersion": api, "kind": kind, "name": name, "uid": uid(of, what), "controller": true})
}

fn pod(pod: &Pod) -> Value {
    let of = pod.of;
    let node = NODES.get(pod.node).copied().unwrap_or(NODES[0]);
    let mut labels = json!({"app": of.name});
    if of.kind == Kind::Deployment {
        labels["pod-template-hash"] = json!(of.hash);
    }
    let ports: Vec<Value> = of.port.iter().map(|port| json!({"containerPort": port})).collect();
    json!({
        "metadata": {"namespace": of.namespace, "name": pod.name, "uid": pod.uid, "resourceVersion": "1",
            "creationTimestamp": SINCE, "labels": labels, "ownerReferences": [reference(of)]},
        "spec": {"nodeName": node.name, "hostNetwork": pod.in_host,
            "containers": [{"name": "app", "image": "weir", "ports": ports}]},
        "status": {"phase": "Running", "hostIP": node.address(), "podIP": pod.address,
            "podIPs": [{"ip": pod.address}], "startTime": SINCE,
            "containerStatuses": [{"name": "app", "containerID": format!("containerd://{}", pod.container),
                "image": "weir", "imageID": "weir", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": SINCE}}}]}
    })
}

/// A pod that nobody measures, and that is called.
fn called(
    number: u8,
    namespace: &str,
    (kind, name, pod): (&str, &str, &str),
    address: Ipv4Addr,
) -> Value {
    let uid = |what: u8| format!("7ea0f0de-00ff-4000-8000-00000000{number:02x}{what:02x}");
    json!({
        "metadata": {"namespace": namespace, "name": pod, "uid": uid(0), "resourceVersion": "1",
            "creationTimestamp": SINCE,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid(1), "controller": true}]},
        "spec": {"containers": [{"name": "app", "image": "weir"}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "startTime": SINCE,
            "containerStatuses": [{"name": "app", "containerID": format!("containerd://{:064x}", 0x7ea0 + u32::from(number)),
                "image": "weir", "imageID": "weir", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": SINCE}}}]}
    })
}

fn node(node: &Node) -> Value {
    let labels =
        json!({"topology.kubernetes.io/zone": node.zone, "topology.kubernetes.io/region": REGION});
    json!({"metadata": {"name": node.name, "resourceVersion": "1", "creationTimestamp": SINCE, "labels": labels},
        "status": {"addresses": [{"type": "InternalIP", "address": node.address()}]}})
}

/// A service without an address of its own.
fn service(of: &Workload) -> Value {
    json!({"metadata": {"namespace": of.namespace, "name": of.name, "uid": uid(of, 3), "resourceVersion": "1",
            "creationTimestamp": SINCE, "labels": {"service.kubernetes.io/headless": ""}},
        "spec": {"clusterIP": "None", "clusterIPs": ["None"], "selector": {"app": of.name},
            "ports": [{"port": of.port, "protocol": "TCP"}]}})
}

fn slice(of: &Workload, pods: &[Pod]) -> Value {
    let endpoints: Vec<Value> = pods
        .iter()
        .filter(|pod| pod.of.name == of.name)
        .map(|pod| {
            let target =
                json!({"kind": "Pod", "namespace": of.namespace, "name": pod.name, "uid": pod.uid});
            json!({"addresses": [pod.address], "conditions": {"ready": true}, "targetRef": target})
        })
        .collect();
    let labels =
        json!({"kubernetes.io/service-name": of.name, "service.kubernetes.io/headless": ""});
    json!({"metadata": {"namespace": of.namespace, "name": format!("{}-x", of.name), "uid": uid(of, 4),
            "resourceVersion": "1", "creationTimestamp": SINCE, "labels": labels},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": of.port, "protocol": "TCP"}]})
}

/// A ReplicaSet or Job, of which only this is asked for.
fn controlled(of: &Workload, kind: &str) -> Value {
    let api = if kind == "CronJob" { "batch/v1" } else { "apps/v1" };
    let owner = json!({"apiVersion": api, "kind": kind, "name": of.name, "uid": uid(of, 2), "controller": true});
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"namespace": of.namespace, "name": format!("{}-{}", of.name, of.hash), "uid": uid(of, 1),
            "resourceVersion": "1", "creationTimestamp": SINCE, "ownerReferences": [owner]}})
}
