//! The shop that runs in the imitated cluster: its objects in the API and its pods on the nodes.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::plane::{self, Plane};
use crate::rig::{self, Cluster, Pod};
use crate::support::{self, Background, Client, WEIR, skip};

pub(crate) const SCRIPT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/short_connections.py");
const ZONES: [&str; 3] = ["zone-a", "zone-a", "zone-b"];

/// Names of pods are those of the API; nodes are counted from 0.
pub(crate) struct Shop {
    // The first to go: what the nodes run must not outlive them.
    _agents: Vec<Background>,
    pub(crate) server: Background,
    pub(crate) client: Client,
    pub(crate) plane: Plane,
    pub(crate) pods: HashMap<&'static str, Pod>,
    pub(crate) cluster: Cluster,
    pub(crate) data: tempfile::TempDir,
}

/// What makes a label of pods a column.
pub(crate) const LABEL: &str = "team=example.com/team";

/// That label's text.
fn team(pod: &str) -> String {
    format!("{}-team", pod.split('-').next().unwrap_or(pod))
}

/// Starts the server in the network of the control plane, and waits until it listens.
pub(crate) fn serve(
    cluster: &Cluster,
    data: &Path,
    port: u16,
    options: &[&str],
) -> (Background, Client) {
    let child = cluster
        .in_plane(Path::new(WEIR))
        .args(["serve", "--insecure", "--listen", &format!("172.30.0.254:{port}"), "--data"])
        .arg(data)
        .args(options)
        .env("WEIR_LOG", "warn")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut server = Background(child);
    let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let mut said = String::new();
    loop {
        let Some(Ok(line)) = lines.next() else { panic!("server: {said}") };
        if let Some((_, url)) = line.split_once(" on http://") {
            let client = Client { url: format!("http://{}", url.trim()) };
            std::thread::spawn(move || {
                lines.for_each(|l| eprintln!("  {}", l.unwrap_or_default()));
            });
            return (server, client);
        }
        said.push_str(&line);
    }
}

/// An agent on each node.
pub(crate) fn agents(cluster: &Cluster, url: &str, folder: &Path) -> Vec<Background> {
    let agent = Path::new(WEIR).with_file_name("weir-agent");
    assert!(agent.exists(), "{} is not there: cargo build -p weir-agent", agent.display());
    let agent = agent.display().to_string();
    let start = |node: &rig::Node| {
        let spool = folder.join("spools").join(&node.name).display().to_string();
        let zone = format!("zone-of-{}", node.name);
        let command = [
            &agent,
            "--server",
            url,
            "--node",
            &node.name,
            "--interval",
            "1s",
            "--listen",
            "off",
            "--no-samples",
            "--spool",
            &spool,
        ];
        // The cluster's API knows zones; without one, the agent is told.
        let zone = if url.ends_with(":9470") { vec![] } else { vec!["--zone", &zone] };
        Background(node.command(&[&command[..], &zone].concat()).spawn().unwrap())
    };
    cluster.nodes.iter().map(start).collect()
}

impl Shop {
    pub(crate) fn open() -> Option<Self> {
        if let Some(reason) = rig::missing() {
            skip(reason);
            return None;
        }
        let bin = match plane::programs() {
            Ok(bin) => bin,
            Err(reason) => {
                skip(&reason);
                return None;
            }
        };
        let cluster = Cluster::build();
        let plane = Plane::start(&cluster, &bin);
        let data = tempfile::tempdir().unwrap();
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "weir"}, "rules": [
                {"apiGroups": [""], "resources": ["pods", "nodes", "services"], "verbs": ["list", "watch"]},
                {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["list", "watch"]},
                {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}]});
        plane.create(&cluster, "/apis/rbac.authorization.k8s.io/v1/clusterroles", &role);
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "weir"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "weir"},
            "subjects": [{"kind": "User", "name": "weir", "apiGroup": "rbac.authorization.k8s.io"}]});
        plane.create(&cluster, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding);
        let kubeconfig = plane.kubeconfig().display().to_string();
        let options = ["--kubeconfig", &kubeconfig, "--flush-interval", "20s", "--label", LABEL];
        let (server, client) = serve(&cluster, data.path(), 9470, &options);
        let agents = agents(&cluster, &client.url, data.path());
        let mut shop =
            Self { _agents: agents, server, client, plane, pods: HashMap::new(), cluster, data };
        shop.furnish();
        Some(shop)
    }

    fn create(&self, path: &str, body: Value) -> String {
        self.plane.create(&self.cluster, path, &body)
    }

    /// Nodes, namespaces and controllers.
    fn furnish(&mut self) {
        for name in ["shop", "infra"] {
            self.create("/api/v1/namespaces", json!({"metadata": {"name": name}}));
        }
        for (at, zone) in ZONES.iter().enumerate() {
            let name = format!("node{}", at + 1);
            let labels = json!({"topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": "region-1"});
            self.create("/api/v1/nodes", json!({"metadata": {"name": name, "labels": labels}}));
            let addresses =
                json!([{"type": "InternalIP", "address": format!("172.30.0.{}", at + 1)}]);
            let path = format!("/api/v1/nodes/{name}/status");
            self.plane.patch(&self.cluster, &path, &json!({"status": {"addresses": addresses}}));
        }
    }

    /// A controller of pods in a namespace, and the reference to it; of a Deployment, to its ReplicaSet.
    pub(crate) fn controller(&self, namespace: &str, kind: &str, name: &str) -> Value {
        let labels = json!({"app": name});
        let template = json!({"metadata": {"labels": labels}, "spec": {
            "restartPolicy": if kind == "Job" { "Never" } else { "Always" },
            "containers": [{"name": "main", "image": "none"}]}});
        let mut spec = json!({"selector": {"matchLabels": labels}, "template": template});
        if kind == "StatefulSet" {
            spec["serviceName"] = json!(name);
        }
        if kind == "Job" {
            spec.as_object_mut().unwrap().remove("selector");
        }
        let group = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        let path =
            |kind: &str| format!("/apis/{group}/namespaces/{namespace}/{}s", kind.to_lowercase());
        let uid = self.create(&path(kind), json!({"metadata": {"name": name}, "spec": spec}));
        let reference = |kind: &str, name: &str, uid: &str| json!({"apiVersion": group, "kind": kind, "name": name, "uid": uid, "controller": true});
        let owner = reference(kind, name, &uid);
        if kind != "Deployment" {
            return owner;
        }
        let set = format!("{name}-set");
        let metadata = json!({"name": set, "ownerReferences": [owner]});
        let uid = self.create(&path("ReplicaSet"), json!({"metadata": metadata, "spec": spec}));
        reference("ReplicaSet", &set, &uid)
    }

    /// A pod on a node, counted from 0; in the node's network if `last` is 0.
    pub(crate) fn pod(
        &mut self,
        name: &'static str,
        namespace: &str,
        owner: Option<&Value>,
        node: usize,
        last: u8,
        port: u16,
    ) {
        let on = format!("node{}", node + 1);
        let in_host = last == 0;
        let container =
            json!({"name": "main", "image": "none", "ports": [{"containerPort": port}]});
        let owners = owner.map_or(json!([]), |owner| json!([owner]));
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let labels = json!({"example.com/team": team(name)});
        let body = json!({"metadata": {"name": name, "ownerReferences": owners, "labels": labels},
            "spec": {"nodeName": on, "hostNetwork": in_host, "containers": [container]}});
        let uid = self.create(&pods, body);
        let pod = match in_host {
            true => self.cluster.host_pod(node, &uid),
            false => self.cluster.pod(node, &uid, last),
        };
        let now = run_date();
        let status = json!({"phase": "Running", "hostIP": format!("172.30.0.{}", node + 1),
            "podIP": pod.address, "podIPs": [{"ip": pod.address}], "startTime": now,
            "containerStatuses": [{"name": "main", "containerID": format!("containerd://{}", pod.container),
                "image": "none", "imageID": "none", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": now}}}]});
        self.plane.patch(
            &self.cluster,
            &format!("{pods}/{name}/status"),
            &json!({"status": status}),
        );
        self.pods.insert(name, pod);
    }

    pub(crate) fn delete(&mut self, name: &'static str, namespace: &str) {
        self.pods.remove(name).unwrap().delete();
        self.plane.delete(&self.cluster, &format!("/api/v1/namespaces/{namespace}/pods/{name}"));
    }

    pub(crate) fn service(&self, name: &str, address: &str, port: u16) {
        let ports = json!([{"port": port, "protocol": "TCP"}]);
        let body =
            json!({"metadata": {"name": name}, "spec": {"clusterIP": address, "ports": ports}});
        self.create("/api/v1/namespaces/shop/services", body);
    }

    /// Starts a pod's HTTP server.
    pub(crate) fn listen(&self, name: &str, port: u16) {
        let pod = &self.pods[name];
        let mut server = pod.start(&["python3", SCRIPT, "server", &pod.address, &port.to_string()]);
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n", "{name}");
        std::thread::spawn(move || server.wait());
    }

    /// A pod makes connections to an address, spread over a few seconds.
    pub(crate) fn call(&self, from: &str, address: &str, port: u16, count: u32) -> Child {
        let (port, count) = (port.to_string(), count.to_string());
        self.pods[from].start(&["python3", SCRIPT, "client", address, &port, &count, "4"])
    }

    pub(crate) fn sql(&self, statement: &str) -> Vec<Vec<Value>> {
        self.cluster.enter(|| self.client.sql(statement))
    }
}

fn run_date() -> String {
    let seconds = support::now_us() / 1_000_000;
    support::run(std::process::Command::new("date").args([
        "-u",
        "-d",
        &format!("@{seconds}"),
        "+%FT%TZ",
    ]))
    .trim()
    .to_owned()
}
