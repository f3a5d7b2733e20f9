//! A pod as a kubelet makes one (cgroup, network namespace, folder of logs): the agent's metrics tell it by name.

use std::collections::HashSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use weir_agent::metrics::Listen;
use weir_agent::{Choice, Config, spawn};

use crate::lab::{Lab, Link, Running};
use crate::nested::within;

const UID: &str = "5f0f1d2c-9a8b-4c7d-8e6f-001122334455";
const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A datagram every tenth of a second, for as long as it is let.
const SENDER: &str = "import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    s.sendto(b'x', (sys.argv[1], 5311))
    time.sleep(0.1)";

/// Cgroups from the outermost to the container's, removed with it.
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    fn build() -> Self {
        let mount = weir_agent::cgroup_mount::find().unwrap();
        let mut path = mount.join(format!("weir-pods-{}", std::process::id()));
        let mut all = vec![path.clone()];
        for part in ["kubepods", "besteffort", &format!("pod{UID}"), CONTAINER] {
            path.push(part);
            all.push(path.clone());
        }
        fs::create_dir_all(&path).unwrap();
        Self(all)
    }

    fn container(&self) -> &Path {
        self.0.last().unwrap()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // A process that was killed leaves a moment later.
            let gone = |_| {
                thread::sleep(Duration::from_millis(20));
                fs::remove_dir(path).is_ok()
            };
            if !(0..100).any(gone) {
                eprintln!("{} is left", path.display());
            }
        }
    }
}

fn scrape(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Values of the label `pod` of a metric.
fn pods<'a>(text: &'a str, metric: &str) -> HashSet<&'a str> {
    let lines = text.lines().filter(|line| line.starts_with(metric));
    lines.filter_map(|line| line.split_once("pod=\"")?.1.split('"').next()).collect()
}

#[test]
fn metrics_tell_pods_by_name() {
    let Some(lab) = Lab::build(&["python3"], Link::Veth) else { return };
    let cgroups = Cgroups::build();
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("pods");
    for folder in [format!("shop_cart-7d_{UID}/cart"), format!("..._x_{UID}"), "lost+found".into()]
    {
        fs::create_dir_all(logs.join(folder)).unwrap();
    }
    let mut sender = within(cgroups.container());
    sender
        .args(["setpriv", "--pdeathsig", "KILL", "nsenter"])
        .arg(format!("--net=/run/netns/{}", lab.a.name))
        .args(["python3", "-c", SENDER, &lab.b.address.to_string()]);
    let _sender = Running(sender.stdin(Stdio::null()).spawn().unwrap());
    let listen =
        Listen { address: "127.0.0.1:0".parse().unwrap(), token_file: None, insecure: false };
    let agent = spawn(Config {
        interval: Duration::from_secs(1),
        listen: Some(listen),
        source: Choice::Bpf,
        pod_logs: Some(logs.clone()),
        drain: Duration::ZERO,
        ..Config::new("http://127.0.0.1:1", dir.path().join("spool"))
    })
    .unwrap();
    let address = agent.metrics_address().unwrap();
    let sent = format!(
        "weir_workload_tx_packets_total{{workload=\"{0}\",workload_kind=\"Container\",namespace=\"shop\",\
         pod=\"cart-7d\",container=\"{0}\",protocol=\"udp\"}} ",
        &CONTAINER[..12]
    );
    let until = Instant::now() + Duration::from_secs(30);
    let mut removed = false;
    loop {
        let text = scrape(address);
        let interfaces = pods(&text, "weir_interface_tx_packets_total");
        if text.contains(&sent) && interfaces.contains("cart-7d") {
            assert!(!text.contains(UID), "{text}");
            if removed {
                break;
            }
            // The kubelet takes the folder away before the last is heard of the pod.
            fs::remove_dir_all(&logs).unwrap();
            removed = true;
            thread::sleep(Duration::from_millis(2500));
        }
        assert!(Instant::now() < until, "{text}");
        thread::sleep(Duration::from_millis(200));
    }
    agent.stop();
}
