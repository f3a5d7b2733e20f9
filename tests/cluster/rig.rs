//! Three nodes on one machine, as kind makes them: each is a process in namespaces of its own (PID, mount, network,
//! cgroup) and in a cgroup of its own, which it sees as the root. Pods are network namespaces with routes
//! between them, and their processes are in cgroups as a kubelet names them. The control plane has a network
//! namespace of its own, in which the server and the cluster's API listen.
//!
//! ```text
//!   control plane 172.30.0.254 ----+---- node1 172.30.0.1 ---- pods 10.244.1.0/24
//!                               bridge -- node2 172.30.0.2 ---- pods 10.244.2.0/24
//!                                  +---- node3 172.30.0.3 ---- pods 10.244.3.0/24
//! ```
//!
//! Everything ends with the nodes' first processes, which end with the test.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::support::{Background, eventually, run};

/// Runs first in a node: sees its own processes and its own cgroups, and nothing else.
const NODE: &str = r#"
set -e
mount --make-rprivate /
mount -t proc proc /proc
for mount in $(awk '/ - cgroup2 /{print $5}' /proc/self/mountinfo); do umount -l "$mount"; done
mkdir -p /sys/fs/cgroup
mount -t tmpfs none /sys/fs/cgroup
mkdir /sys/fs/cgroup/unified
mount -t cgroup2 none /sys/fs/cgroup/unified
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1
exec sleep 600
"#;

pub(crate) struct Cluster {
    /// Network namespace of the control plane.
    pub(crate) plane: String,
    pub(crate) nodes: Vec<Node>,
    cgroup: PathBuf,
    pods: u32,
    _alone: MutexGuard<'static, ()>,
}

/// They would share names and processors.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) struct Node {
    pub(crate) name: String,
    /// Of its first process, as the test sees it.
    pid: u32,
    cgroup: PathBuf,
    number: u8,
    _unshare: Background,
}

/// A pod's network and cgroup.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) address: String,
    /// The process whose namespaces are the pod's.
    pid: u32,
    /// Joins them.
    namespaces: Vec<String>,
    cgroup: PathBuf,
    /// 64 hexadecimal digits.
    pub(crate) container: String,
}

/// What a process must be root for.
pub(crate) fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("namespaces and BPF want root");
    }
    cgroup_mount().is_none().then_some("no cgroup v2 hierarchy is mounted")
}

fn cgroup_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// Runs ip(8).
fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split_whitespace()));
}

/// Puts the process that this shell becomes into a cgroup.
fn into_cgroup(cgroup: &Path) -> String {
    format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.display())
}

impl Cluster {
    pub(crate) fn build() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let id = std::process::id();
        let cgroup = cgroup_mount().unwrap().join(format!("weir-cluster-{id}"));
        fs::create_dir_all(&cgroup).unwrap();
        let plane = format!("weir-{id}-plane");
        ip(&format!("netns add {plane}"));
        let mut cluster =
            Self { plane: plane.clone(), nodes: Vec::new(), cgroup, pods: 0, _alone: alone };
        ip(&format!("-n {plane} link set lo up"));
        ip(&format!("-n {plane} link add underlay type bridge"));
        ip(&format!("-n {plane} address add 172.30.0.254/24 dev underlay"));
        ip(&format!("-n {plane} link set underlay up"));
        for number in 1..=3 {
            cluster.add_node(number);
        }
        cluster
    }

    fn add_node(&mut self, number: u8) {
        let name = format!("node{number}");
        let cgroup = self.cgroup.join(&name);
        fs::create_dir_all(&cgroup).unwrap();
        let unshare = Command::new("bash")
            .args(["-c", &into_cgroup(&cgroup), "node", "unshare", "--pid", "--fork", "--mount"])
            .args(["--cgroup", "--net", "--kill-child", "bash", "-c", NODE])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let unshare = Background(unshare);
        // The child of `unshare` has become `sleep` when everything is mounted.
        let mut pid = 0;
        eventually("a node's first process", Duration::from_secs(10), || {
            let children = format!("/proc/{0}/task/{0}/children", unshare.0.id());
            let children = fs::read_to_string(children).unwrap_or_default();
            pid = children.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
        });
        let plane = &self.plane;
        ip(&format!("-n {plane} link add n{number} type veth peer name eth0 netns {pid}"));
        ip(&format!("-n {plane} link set n{number} master underlay up"));
        let node = Node { name, pid, cgroup, number, _unshare: unshare };
        let inside = [
            format!("address add 172.30.0.{number}/24 dev eth0"),
            "link set eth0 up".into(),
            "route add default via 172.30.0.254".into(),
        ];
        inside.iter().for_each(|arguments| node.ip(arguments));
        for other in (1..=3).filter(|other| *other != number) {
            node.ip(&format!("route add 10.244.{other}.0/24 via 172.30.0.{other}"));
        }
        self.nodes.push(node);
    }

    fn cgroup_of(&mut self, node: usize, uid: &str) -> (PathBuf, String) {
        self.pods += 1;
        let container = format!("{:012x}{:052x}", 0xc0de_0000_0000_u64 + u64::from(self.pods), 0);
        let slice = format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_"));
        let cgroup =
            self.nodes[node].cgroup.join("kubepods.slice/kubepods-burstable.slice").join(slice);
        let cgroup = cgroup.join(format!("cri-containerd-{container}.scope"));
        fs::create_dir_all(&cgroup).unwrap();
        (cgroup, container)
    }

    /// A pod of this uid on a node (counted from 0), with the address 10.244.NODE.`last`.
    pub(crate) fn pod(&mut self, node: usize, uid: &str, last: u8) -> Pod {
        let (cgroup, container) = self.cgroup_of(node, uid);
        let node = &self.nodes[node];
        let sleep = Command::new("bash")
            .args(["-c", &into_cgroup(&cgroup), "pod"])
            .args([
                "nsenter",
                "-t",
                &node.pid.to_string(),
                "-a",
                "unshare",
                "--net",
                "sleep",
                "600",
            ])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut sleep = Background(sleep);
        let mut pid = 0;
        eventually("a pod's first process", Duration::from_secs(10), || {
            let all = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            let sleeps = |pid: &&str| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
            };
            pid = all.split_whitespace().find(sleeps).and_then(|p| p.parse().ok()).unwrap_or(0);
            pid > 0
        });
        let address = format!("10.244.{}.{last}", node.number);
        let device = format!("p{}", self.pods);
        // Moved by the number of the process as the node sees it.
        let inner = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let inner = inner.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
        let inner = inner.split_whitespace().last().unwrap();
        node.ip(&format!("link add {device} type veth peer name pod netns {inner}"));
        // Routed, so that also what stays on the node goes through its connection tracking.
        node.ip(&format!("link set {device} up"));
        // The kernel may not have taken down yet what led to a deleted pod of this address.
        node.ip(&format!("route replace {address} dev {device}"));
        run(&mut node.command(&["sysctl", "-qw", &format!("net.ipv4.conf.{device}.proxy_arp=1")]));
        let namespaces = ["-t", &pid.to_string(), "-a"].map(str::to_owned).to_vec();
        let pod = Pod { address, pid, namespaces, cgroup, container };
        let inside = [
            "link set lo up".to_owned(),
            "link set pod name eth0".into(),
            format!("address add {}/32 dev eth0", pod.address),
            "link set eth0 up".into(),
            "route add 169.254.1.1 dev eth0 scope link".into(),
            "route add default via 169.254.1.1".into(),
        ];
        for arguments in inside {
            let command = ["ip"].into_iter().chain(arguments.split_whitespace());
            run(&mut pod.command(&command.collect::<Vec<_>>()));
        }
        // It ends with the pod or the node, not with this handle.
        std::thread::spawn(move || sleep.0.wait());
        pod
    }

    /// A pod in a node's network.
    pub(crate) fn host_pod(&mut self, node: usize, uid: &str) -> Pod {
        let (cgroup, container) = self.cgroup_of(node, uid);
        let node = &self.nodes[node];
        let namespaces = ["-t", &node.pid.to_string(), "-a"].map(str::to_owned).to_vec();
        Pod {
            address: format!("172.30.0.{}", node.number),
            pid: node.pid,
            namespaces,
            cgroup,
            container,
        }
    }

    /// A systemd service of a node, as its cgroup tells.
    pub(crate) fn unit(&self, node: usize, name: &str) -> Pod {
        let node = &self.nodes[node];
        let cgroup = node.cgroup.join("system.slice").join(format!("{name}.service"));
        fs::create_dir_all(&cgroup).unwrap();
        let namespaces = ["-t", &node.pid.to_string(), "-a"].map(str::to_owned).to_vec();
        let address = format!("172.30.0.{}", node.number);
        Pod { address, pid: node.pid, namespaces, cgroup, container: String::new() }
    }

    /// A service: its address leads to one of the backends, turn by turn, on every node.
    pub(crate) fn service(&self, address: &str, port: u16, backends: &[(&Pod, u16)]) {
        let map: Vec<String> = backends
            .iter()
            .enumerate()
            .map(|(at, (pod, port))| format!("{at} : {} . {port}", pod.address))
            .collect();
        let rule = format!(
            "ip daddr {address} tcp dport {port} dnat ip to numgen inc mod {} map {{ {} }}",
            backends.len(),
            map.join(", ")
        );
        for node in &self.nodes {
            for (chain, hook) in [("pre", "prerouting"), ("out", "output")] {
                let chain_of = format!("{{ type nat hook {hook} priority -100; }}");
                node.nft(&format!("add table ip weir; add chain ip weir {chain} {chain_of}"));
                node.nft(&format!("add rule ip weir {chain} {rule}"));
            }
        }
    }

    /// A command in the network of the control plane.
    pub(crate) fn in_plane(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.plane]).arg(program);
        command
    }

    /// Does something on a thread in the network of the control plane.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = fs::File::open(format!("/run/netns/{}", self.plane)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }
}

impl Node {
    fn ip(&self, arguments: &str) {
        let command = ["ip"].into_iter().chain(arguments.split_whitespace()).collect::<Vec<_>>();
        run(&mut self.command(&command));
    }

    fn nft(&self, rules: &str) {
        run(&mut self.command(&["nft", rules]));
    }

    /// A command in all of the node's namespaces.
    pub(crate) fn command(&self, command: &[&str]) -> Command {
        let mut nsenter = Command::new("bash");
        nsenter.args([
            "-c",
            &into_cgroup(&self.cgroup),
            "node",
            "nsenter",
            "-t",
            &self.pid.to_string(),
        ]);
        nsenter.arg("-a").args(command).stdin(Stdio::null());
        nsenter
    }
}

impl Pod {
    /// A command in the pod.
    pub(crate) fn command(&self, command: &[&str]) -> Command {
        let mut nsenter = Command::new("bash");
        nsenter.args(["-c", &into_cgroup(&self.cgroup), "pod", "nsenter"]).args(&self.namespaces);
        nsenter.args(command).stdin(Stdio::null());
        nsenter
    }

    /// Starts a command; it ends with the pod or the node.
    pub(crate) fn start(&self, command: &[&str]) -> Child {
        self.command(command).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Ends everything in the pod, and its network with it.
    pub(crate) fn delete(self) {
        write(&self.cgroup.join("cgroup.kill"), "1");
        eventually("a pod's end", Duration::from_secs(10), || {
            !Path::new(&format!("/proc/{}", self.pid)).exists()
        });
    }
}

fn write(path: &Path, text: &str) {
    let file = fs::OpenOptions::new().write(true).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
        eprintln!("{}: {error}", path.display());
    }
}

/// Removes a folder of cgroups from the leaves on.
fn remove_cgroups(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

impl Drop for Cluster {
    fn drop(&mut self) {
        write(&self.cgroup.join("cgroup.kill"), "1");
        self.nodes.clear();
        let _ = Command::new("ip").args(["netns", "delete", &self.plane]).status();
        for _ in 0..50 {
            remove_cgroups(&self.cgroup);
            if !self.cgroup.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        eprintln!("cgroups are left: {}", self.cgroup.display());
    }
}
