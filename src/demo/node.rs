//! A node: the first process of namespaces of its own (processes, mounts, cgroups, network), as kind makes nodes. Its
//! pods are below it in all of these, and end with it. The agent is in it, too, and sees nothing but the node.
//!
//! ```text
//! 1. mount the node's own cgroups, which `unshare` has made the root
//! 2. go into the cgroup of the agent's pod
//! 3. addresses and routes
//! 4. the agent measures
//! 5. each pod: cgroup, namespace, link, program
//! 6. obey until standard input ends
//! ```

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use weir_agent::{Choice, cgroup_mount, run};

use super::process::{Orders, Process, feed, ip};
use super::rhythm::Day;
use super::service::{self, Service};
use super::shop;

/// The address that pods route by; their nodes answer for it.
const GATEWAY: &str = "169.254.1.1";

/// Where a kubelet puts the processes of a pod.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Seat {
    pub(super) uid: String,
    pub(super) container: String,
}

impl Seat {
    pub(super) fn of(pod: &shop::Pod) -> Self {
        Self { uid: pod.uid.clone(), container: pod.container.clone() }
    }

    /// Makes the cgroup, below where the hierarchy is mounted.
    fn make(&self, mount: &Path) -> anyhow::Result<PathBuf> {
        let slice = format!("kubepods-burstable-pod{}.slice", self.uid.replace('-', "_"));
        let path = mount
            .join("kubepods.slice/kubepods-burstable.slice")
            .join(slice)
            .join(format!("cri-containerd-{}.scope", self.container));
        fs::create_dir_all(&path)
            .with_context(|| format!("cgroup {} is refused", path.display()))?;
        Ok(path)
    }
}

/// What a pod is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) seat: Seat,
    pub(super) address: Ipv4Addr,
    pub(super) service: Service,
    pub(super) day: Day,
}

/// What a node is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Order {
    /// Be this node; its uplink `eth0` is there.
    Be(Box<Task>),
    /// Load rules of nftables.
    Rules(String),
    /// Deliver what was measured, and measure no more.
    Rest,
}

/// What a node is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    /// Networks of other nodes' pods, and the nodes that lead there.
    pub(super) routes: Vec<(String, Ipv4Addr)>,
    pub(super) agent: Seat,
    pub(super) server: String,
    pub(super) interval: Duration,
    pub(super) spool: PathBuf,
    pub(super) pods: Vec<Pod>,
}

struct Node {
    agent: Option<run::Handle>,
    pods: Vec<Process>,
}

/// Runs a node until its standard input ends.
///
/// # Errors
/// When something that it is told cannot be done, or a program of its pods ends.
pub(super) fn node() -> anyhow::Result<()> {
    let orders = Orders::new();
    let mut node = Node { agent: None, pods: Vec::new() };
    orders.done(&Ok(()))?;
    while let Some(order) = orders.next(|| node.check())? {
        orders.done(&node.obey(order))?;
    }
    Ok(())
}

impl Node {
    fn obey(&mut self, order: Order) -> anyhow::Result<()> {
        match order {
            Order::Be(task) => self.be(*task),
            Order::Rules(rules) => feed("nft", &["-f", "-"], &rules),
            Order::Rest => {
                if let Some(agent) = self.agent.take() {
                    agent.stop();
                }
                Ok(())
            }
        }
    }

    fn check(&mut self) -> anyhow::Result<()> {
        if self.agent.as_ref().is_some_and(|agent| !agent.is_running()) {
            bail!("the agent has ended; what it wrote above says why");
        }
        match self.pods.iter_mut().find_map(|pod| (!pod.runs()).then(|| pod.name().to_owned())) {
            None => Ok(()),
            Some(name) => bail!("the program of pod {name} has ended"),
        }
    }

    fn be(&mut self, task: Task) -> anyhow::Result<()> {
        let cgroups = cgroup_mount::find()?;
        let place = cgroups.to_str().context("the mount of cgroups has an odd name")?;
        // Of this mount namespace alone. What is mounted there shows the node from outside.
        feed("umount", &["--lazy", place], "")?;
        feed("mount", &["-t", "cgroup2", "none", place], "")?;
        let own = task.agent.make(&cgroups)?;
        let procs = own.join("cgroup.procs");
        fs::write(&procs, "0").with_context(|| format!("{} is refused", procs.display()))?;
        ipv4_alone()?;
        forward()?;
        let mut lines = vec![
            "link set lo up".to_owned(),
            format!("address add {}/24 dev eth0", task.address),
            "link set eth0 up".to_owned(),
            format!("route add default via {}", shop::WAY_IN),
        ];
        lines.extend(task.routes.iter().map(|(to, via)| format!("route add {to} via {via}")));
        ip(&lines)?;
        let mut config = run::Config::new(task.server, task.spool);
        config.interval = task.interval;
        config.node = Some(task.name);
        config.source = Choice::Bpf;
        config.samples = true;
        self.agent = Some(run::spawn(config).context("the agent does not start")?);
        for (number, pod) in task.pods.into_iter().enumerate() {
            let name = pod.name.clone();
            let pod = start(number, pod, &cgroups).with_context(|| format!("pod {name}"))?;
            self.pods.push(pod);
        }
        Ok(())
    }
}

/// Lets packets of others pass, in the network that the calling process is in.
pub(super) fn forward() -> anyhow::Result<()> {
    setting("ipv4/ip_forward")
}

/// The shop speaks IPv4. What the kernel says by itself over IPv6 when a link comes up would be flows to nobody.
pub(super) fn ipv4_alone() -> anyhow::Result<()> {
    match Path::new("/proc/sys/net/ipv6").exists() {
        true => setting("ipv6/conf/all/disable_ipv6"),
        false => Ok(()),
    }
}

fn setting(name: &str) -> anyhow::Result<()> {
    let path = format!("/proc/sys/net/{name}");
    fs::write(&path, "1").with_context(|| format!("{path} is refused"))
}

fn start(number: usize, task: Pod, cgroups: &Path) -> anyhow::Result<Process> {
    let cgroup = task.seat.make(cgroups)?;
    let mut pod = Process::start(&task.name, &cgroup, &["unshare", "--net"], "pod")?;
    // From here on it is in a network of its own.
    pod.wait()?;
    let (device, id, address) = (format!("pod{number}"), pod.id(), task.address);
    ip(&[
        format!("link add {device} type veth peer name eth0 netns {id}"),
        format!("link set {device} up"),
        format!("route add {address} dev {device}"),
    ])?;
    setting(&format!("ipv4/conf/{device}/proxy_arp"))?;
    pod.tell(&task)?;
    Ok(pod)
}

/// Runs a program of a pod until its standard input ends.
///
/// # Errors
/// When its network cannot be set up, or it cannot listen.
pub(super) async fn pod() -> anyhow::Result<()> {
    let orders = Orders::new();
    orders.done(&Ok(()))?;
    let Some(Pod { address, service, day, .. }) = orders.next(|| Ok(()))? else { return Ok(()) };
    ipv4_alone()?;
    ip(&[
        "link set lo up".to_owned(),
        format!("address add {address}/32 dev eth0"),
        "link set eth0 up".to_owned(),
        format!("route add {GATEWAY} dev eth0 scope link"),
        format!("route add default via {GATEWAY}"),
    ])?;
    let running = tokio::spawn(async move { service::run(&[service], day).await });
    orders.done(&Ok(()))?;
    until_the_end(orders, running).await
}

/// Until standard input ends, or what runs does.
pub(super) async fn until_the_end(
    orders: Orders,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let end = tokio::task::spawn_blocking(move || orders.next::<serde_json::Value>(|| Ok(())));
    tokio::select! {
        ended = running => ended?,
        _ = end => Ok(()),
    }
}
