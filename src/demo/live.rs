//! The demo with real processes.
//!
//! ```text
//! clean up after former demos, and be cleaned up after     (leftovers)
//! the cluster's API, and the server that follows it        (cluster_api)
//! the network between nodes, and everybody outside         (outside)
//! the way from there to the server                         (gateway)
//! nodes with their agents and pods                         (node)
//! the incident, day by day                                 (incident)
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Bytes;
use tokio::task::JoinSet;
use weir_agent::cgroup_mount;

use super::gateway::{self, Tape};
use super::incident::{self, HOURS, Incident};
use super::leftovers::Leftovers;
use super::node::{self, Seat};
use super::options::Demo;
use super::outside;
use super::process::Process;
use super::recording::{Recording, Sent, Story};
use super::rhythm::{Day, now_us};
use super::shop::{self, AGENT, NODES, Pod, WAY_IN, WAY_IN_PORT};
use super::{cluster_api, greeting, samples, server_settings};
use crate::serve::Server;

/// What has to be there, and the package of Debian that has it.
const PROGRAMS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
    ("sh", "dash"),
];
/// Ends what is started when this process does: the kernel tells it.
const WITH_US: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];
/// Time until everything is up and the day begins.
const HEAD_START: Duration = Duration::from_secs(6);
/// The way out where it cannot run.
const INSTEAD: &str = "`weir demo --replay` plays a recorded day and needs none of it";
/// How often it is looked whether everything is as it should be.
const LOOK: Duration = Duration::from_millis(200);

/// Says why this machine cannot run it.
///
/// # Errors
/// That reason, and the way out.
fn check() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("namespaces, nftables and BPF want root; {INSTEAD}");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    for (name, package) in PROGRAMS {
        if !is_there(name) {
            bail!("there is no `{name}` in PATH: install {package}; {INSTEAD}");
        }
    }
    Ok(())
}

/// Everything that runs.
#[derive(Debug)]
struct Shop {
    // The first to go.
    nodes: Vec<Process>,
    outside: Process,
    _gateway: JoinSet<()>,
    incident: Incident,
    pods: usize,
}

/// Runs the demo until a signal, or for a day if it is recorded.
///
/// # Errors
/// When something cannot be set up or ends by itself. It is cleaned up after in any case.
pub(super) async fn run(options: &Demo) -> anyhow::Result<()> {
    check()?;
    let cgroups = cgroup_mount::find().context(INSTEAD)?;
    let leftovers = Leftovers::new(Some(&cgroups), options.data.as_ref())?;
    let pods = shop::pods();
    let kubeconfig = leftovers.data.join("kubeconfig");
    let _cluster = cluster_api::serve(&pods, &kubeconfig).await?;
    let settings = server_settings(options, &kubeconfig)?;
    let mut server = Server::start(&leftovers.data.join("history"), &settings).await?;
    let url = format!("http://{}", server.address());
    let now = now_us();
    let head_start = i64::try_from(HEAD_START.as_micros()).unwrap_or_default();
    let day = Day { began_us: now + head_start, seconds: options.day.as_secs_f64() };
    let tape = options.record.as_ref().map(|_| Tape::default());
    let result = match Shop::open(&leftovers, server.address(), options, day, &pods, tape.clone()) {
        Ok(shop) => {
            greeting::started(&url, options, day, shop.pods);
            attend(shop, &mut server, &url, day, options).await
        }
        Err(error) => Err(error.context(format!("the shop cannot be set up; {INSTEAD}"))),
    };
    // Agents have delivered their last rows, or will not any more.
    server.stop().await?;
    drop(leftovers);
    let is_over = result?;
    match (&options.record, tape) {
        (Some(path), Some(tape)) if is_over => record(path, &tape, options, day),
        (Some(path), _) => bail!("the day was not over: {} is not written", path.display()),
        _ => Ok(()),
    }
}

/// Lets the incident happen, day by day, until a signal, or until the day that is recorded is over: then it is true.
async fn attend(
    mut shop: Shop,
    server: &mut Server,
    url: &str,
    day: Day,
    options: &Demo,
) -> anyhow::Result<bool> {
    let (mut happens, mut since) = (false, 0);
    let signal = server.until_signal();
    tokio::pin!(signal);
    let ended = loop {
        tokio::select! {
            ended = &mut signal => break ended.map(|()| false),
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = now_us();
        if options.record.is_some() && day.since_began(now) >= day.seconds {
            break Ok(true);
        }
        if let Err(error) = shop.check() {
            break Err(error);
        }
        let is_due = incident::happens(day, now);
        if is_due != happens {
            if let Err(error) = shop.set_incident(is_due) {
                break Err(error);
            }
            match is_due {
                true => greeting::incident_begins(url, now),
                false => greeting::incident_ends(url, since, now),
            }
            (happens, since) = (is_due, now);
        }
    };
    eprintln!("\nweir demo ends");
    // Their last batches pass through this process, so not on a thread that serves them.
    tokio::task::spawn_blocking(move || shop.close()).await?;
    ended
}

impl Shop {
    /// Sets everything up. It waits for processes and so holds up the calling thread, which must be the first one of this
    /// process: the kernel ends a process with the thread that started it.
    fn open(
        leftovers: &Leftovers,
        server: SocketAddr,
        options: &Demo,
        day: Day,
        pods: &[Pod],
        tape: Option<Tape>,
    ) -> anyhow::Result<Self> {
        let incident = Incident::among(pods).context("the shop has no pods to go wrong")?;
        let cgroups = leftovers.cgroup.as_ref().context("there is no group of processes")?;
        let cgroup = |name: &str| -> anyhow::Result<PathBuf> {
            let path = cgroups.join(name);
            std::fs::create_dir(&path)
                .with_context(|| format!("cgroup {} is refused", path.display()))?;
            Ok(path)
        };
        let wrapping = |own: &[&'static str]| [&WITH_US[..], own].concat();
        let alone = wrapping(&["unshare", "--net"]);
        let mut outside = Process::start("outside", &cgroup("outside")?, &alone, "outside")?;
        outside.wait().context("the network between the nodes")?;
        let way_in = SocketAddr::from((WAY_IN, WAY_IN_PORT));
        let gateway = gateway::serve(outside.id(), way_in, server, tape)?;
        let apart = wrapping(&[
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--cgroup",
            "--net",
        ]);
        let mut nodes = Vec::new();
        for node in NODES {
            let mut process = Process::start(node.name, &cgroup(node.name)?, &apart, "node")?;
            process.wait()?;
            outside.tell(&outside::Order::Link(node.number, process.id()))?;
            let spool = leftovers.data.join("agents").join(node.name);
            let task = task(node, pods, options, day, format!("http://{way_in}"), spool)?;
            process.tell(&node::Order::Be(Box::new(task)))?;
            nodes.push(process);
        }
        let everybody = shop::outside(pods, options.pages);
        outside.tell(&outside::Order::Be(everybody, day))?;
        Ok(Self { nodes, outside, _gateway: gateway, incident, pods: pods.len() })
    }

    fn check(&mut self) -> anyhow::Result<()> {
        let mut all = self.nodes.iter_mut().chain([&mut self.outside]);
        match all.find_map(|process| (!process.runs()).then(|| process.name().to_owned())) {
            None => Ok(()),
            Some(name) => bail!("{name} has ended; if it could say why, that is written above"),
        }
    }

    fn set_incident(&mut self, happens: bool) -> anyhow::Result<()> {
        let rules = if happens { self.incident.begin() } else { incident::END }.to_owned();
        let node = self.nodes.get_mut(self.incident.pod.node).context("there is no such node")?;
        node.tell(&node::Order::Rules(rules)).context("rules of nftables")
    }

    /// Lets agents deliver what they have, and ends everything.
    fn close(mut self) {
        for node in &mut self.nodes {
            if let Err(error) = node.tell(&node::Order::Rest) {
                tracing::warn!(%error, "an agent did not deliver its last rows");
            }
        }
    }
}

fn task(
    node: shop::Node,
    pods: &[Pod],
    options: &Demo,
    day: Day,
    server: String,
    spool: PathBuf,
) -> anyhow::Result<node::Task> {
    let here = || pods.iter().filter(|pod| NODES.get(pod.node) == Some(&node));
    let agent = here().find(|pod| pod.of.name == AGENT).context("a node has no agent")?;
    let programs = here().filter(|pod| !pod.in_host).map(|pod| node::Pod {
        name: pod.name.clone(),
        seat: Seat::of(pod),
        address: pod.address,
        service: shop::service_of(pods, pod, options.pages),
        day,
    });
    let others = NODES.iter().filter(|other| **other != node);
    Ok(node::Task {
        name: node.name.to_owned(),
        address: node.address(),
        routes: others.map(|o| (format!("10.244.{}.0/24", o.number), o.address())).collect(),
        agent: Seat::of(agent),
        server,
        interval: options.interval,
        spool,
        pods: programs.collect(),
    })
}

/// Writes down what the agents sent.
fn record(path: &std::path::Path, tape: &Tape, options: &Demo, day: Day) -> anyhow::Result<()> {
    let limit = weir_wire::Limits::default().decompressed_bytes;
    let bare = |(sent, body): (Sent, Bytes)| -> anyhow::Result<(Sent, Vec<u8>)> {
        let body = match sent {
            Sent::Flows if weir_wire::frame::is_compressed(&body) => {
                weir_wire::frame::inflate(&body, limit)?
            }
            Sent::Flows => body.to_vec(),
            Sent::Samples => samples::expanded(&body, usize::try_from(limit)?)?,
        };
        Ok((sent, body))
    };
    let bodies = tape.take().into_iter().map(bare).collect::<anyhow::Result<Vec<_>>>()?;
    let at = |hour: f64| day.began_us + (day.seconds_until(hour) * 1e6) as i64;
    let story = Story {
        day,
        incident: (at(HOURS.0), at(HOURS.1)),
        interval: options.interval.as_secs_f64(),
    };
    let recording = Recording { story, bodies };
    recording.write(path)?;
    let size = std::fs::metadata(path).map(|file| file.len()).unwrap_or_default();
    eprintln!("{}: {} bodies in {size} bytes", path.display(), recording.bodies.len());
    Ok(())
}
