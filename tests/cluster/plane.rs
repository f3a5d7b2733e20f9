//! A real API server of Kubernetes with etcd, in the network namespace of the control plane. There are no controllers
//! and no kubelet: the test makes every object itself, and writes the status of pods as a kubelet would.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rig::Cluster;
use crate::support::{Background, eventually, run};

const ADMIN: &str = "admin-token";
const WATCHER: &str = "watcher-token";
const PORT: u16 = 6443;

pub(crate) struct Plane {
    dir: TempDir,
    _etcd: Background,
    _server: Background,
}

/// `tests/build-kubernetes` has made it, or the reason why not.
pub(crate) fn programs() -> Result<PathBuf, String> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let bin = home.join(".cache/weir-kubernetes/bin");
    match bin.join("kube-apiserver").exists() && bin.join("etcd").exists() {
        true => Ok(bin),
        false => {
            Err(format!("{} has no kube-apiserver; run tests/build-kubernetes", bin.display()))
        }
    }
}

fn agent() -> ureq::Agent {
    let tls = ureq::tls::TlsConfig::builder().disable_verification(true).build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into()
}

impl Plane {
    pub(crate) fn start(cluster: &Cluster, bin: &std::path::Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let tokens = format!("{ADMIN},admin,admin,\"system:masters\"\n{WATCHER},weir,weir\n");
        std::fs::write(at("tokens.csv"), tokens).unwrap();
        run(Command::new("openssl").args(["genrsa", "-out", &at("sa.key"), "2048"]));
        let etcd = cluster
            .in_plane(&bin.join("etcd"))
            .args(["--data-dir", &at("etcd"), "--log-level", "error", "--unsafe-no-fsync"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = cluster
            .in_plane(&bin.join("kube-apiserver"))
            .args(["--etcd-servers", "http://127.0.0.1:2379", "--cert-dir", &at("certs")])
            .args(["--secure-port", &PORT.to_string(), "--bind-address", "127.0.0.1"])
            .args(["--token-auth-file", &at("tokens.csv"), "--authorization-mode", "RBAC"])
            .args(["--service-cluster-ip-range", "10.96.0.0/16"])
            .args(["--service-account-issuer", "https://cluster.local"])
            .args(["--service-account-signing-key-file", &at("sa.key")])
            .args(["--service-account-key-file", &at("sa.key")])
            .args(["--disable-admission-plugins", "ServiceAccount"])
            .args(["--advertise-address", "172.30.0.254"])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("apiserver.log")).unwrap())
            .spawn()
            .unwrap();
        let plane = Self { dir, _etcd: Background(etcd), _server: Background(server) };
        eventually("the API server is ready", Duration::from_secs(90), || {
            cluster.enter(|| {
                let url = format!("https://127.0.0.1:{PORT}/readyz");
                let request = agent().get(url).header("authorization", format!("Bearer {ADMIN}"));
                request.call().is_ok_and(|answer| answer.status() == 200)
            })
        });
        plane
    }

    /// What `weir serve --kubeconfig` reads: as a user who may list and watch, and nothing else.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        let path = self.dir.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{PORT}"), "insecure-skip-tls-verify": true}}],
            "users": [{"name": "weir", "user": {"token": WATCHER}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "weir"}}],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    fn ask(&self, cluster: &Cluster, method: &str, path: &str, body: &Value) -> Value {
        cluster.enter(|| {
            let url = format!("https://127.0.0.1:{PORT}{path}");
            let authorization = format!("Bearer {ADMIN}");
            let media = match method {
                "PATCH" => "application/merge-patch+json",
                _ => "application/json",
            };
            let request = ureq::http::Request::builder()
                .method(method)
                .uri(url)
                .header("authorization", authorization)
                .header("content-type", media)
                .body(body.to_string())
                .unwrap();
            let mut answer = agent().run(request).unwrap();
            let text = answer.body_mut().read_to_string().unwrap();
            assert!(answer.status().is_success(), "{method} {path}: {text}");
            serde_json::from_str(&text).unwrap()
        })
    }

    /// Makes an object; returns its uid.
    pub(crate) fn create(&self, cluster: &Cluster, path: &str, body: &Value) -> String {
        let made = self.ask(cluster, "POST", path, body);
        made["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn patch(&self, cluster: &Cluster, path: &str, body: &Value) {
        self.ask(cluster, "PATCH", path, body);
    }

    pub(crate) fn delete(&self, cluster: &Cluster, path: &str) {
        self.ask(cluster, "DELETE", path, &json!({"gracePeriodSeconds": 0}));
    }
}
