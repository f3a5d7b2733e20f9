//! Nodes that share a kernel, as those of kind do: an agent in a node's namespaces and cgroup tells of that node alone.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::{Lab, Link, Namespace, Running};

const PORT: u16 = 5310;
/// Before the test's process id.
const CGROUP: &str = "weir-nested-";
const METRICS: &str = "127.0.0.1:9471";

/// Becomes the agent, and process 1 of the node: it sees its own processes and its own cgroups, and nothing else.
const NODE: &str = r#"
set -e
mount --make-rprivate /
mount -t proc proc /proc
for mount in $(awk '/ - cgroup2 /{print $5}' /proc/self/mountinfo); do umount -l "$mount"; done
mount -t cgroup2 none /sys/fs/cgroup
exec "$@"
"#;

/// Sends seven datagrams when told to, and stays.
const SENDER: &str = "import socket, sys
sys.stdin.readline()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(7): s.sendto(b'x', (sys.argv[1], int(sys.argv[2])))
sys.stdin.readline()";

struct Node {
    cgroup: PathBuf,
    unshare: Child,
    /// The agent.
    pid: u32,
}

impl Node {
    /// In a network namespace, with an agent that offers its metrics there.
    fn build(network: &Namespace, spool: &Path) -> Self {
        let mount = weir_agent::cgroup_mount::find().unwrap();
        sweep(&mount);
        let cgroup = mount.join(format!("{CGROUP}{}", std::process::id()));
        fs::create_dir_all(&cgroup).unwrap();
        let mut unshare = within(&cgroup);
        unshare
            // Also when the test is killed.
            .args(["setpriv", "--pdeathsig", "KILL", "nsenter"])
            .arg(format!("--net=/run/netns/{}", network.name))
            .args(["unshare", "--pid", "--fork", "--kill-child", "--mount", "--cgroup"])
            .args(["bash", "-c", NODE, "node", env!("CARGO_BIN_EXE_weir-agent")])
            .args(["--server", "http://127.0.0.1:1", "--interval", "1s", "--listen", METRICS])
            .arg("--no-samples")
            .arg("--spool")
            .arg(spool);
        let unshare = unshare.stdin(Stdio::null()).spawn().unwrap();
        let mut node = Self { cgroup, unshare, pid: 0 };
        eventually("the agent measures", || {
            node.pid = node.process("weir-agent").unwrap_or(0);
            node.pid > 0 && scrape(network).contains("weir_agent_intervals_total 2")
        });
        node
    }

    /// A process of the node by its name, as the machine numbers it.
    fn process(&self, name: &str) -> Option<u32> {
        let all = fs::read_to_string(self.cgroup.join("cgroup.procs")).unwrap_or_default();
        let named = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
        };
        all.lines().filter_map(|pid| pid.parse().ok()).find(named)
    }

    /// Starts a command in all of the node's namespaces; it ends with the node.
    fn start(&self, command: &[&str]) -> Running {
        let mut nsenter = within(&self.cgroup);
        nsenter.args(["nsenter", "-a", "-t", &self.pid.to_string()]).args(command);
        Running(nsenter.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // With the first process goes all that is in the namespace.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        for _ in 0..50 {
            if fs::remove_dir(&self.cgroup).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        eprintln!("{} is left", self.cgroup.display());
    }
}

/// Removes the cgroups of test runs that were killed; those that are in use cannot be.
fn sweep(mount: &Path) {
    for entry in fs::read_dir(mount).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(CGROUP) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// A shell that becomes what is added, in a cgroup.
pub(crate) fn within(cgroup: &Path) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", "echo $$ > \"$0\"/cgroup.procs && exec \"$@\""]).arg(cgroup);
    command
}

fn scrape(network: &Namespace) -> String {
    let ask = || {
        let mut stream = TcpStream::connect(METRICS).ok()?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    network.enter(ask).join().unwrap().unwrap_or_default()
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "not within 20 s: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A process of the node that has the number there which another has on the machine.
fn namesake(node: &Node, number: u32) -> Running {
    let script = "echo $(($1 - 1)) > /proc/sys/kernel/ns_last_pid; sleep 60 & echo $!; wait";
    let mut shell = node.start(&["bash", "-c", script, "namesake", &number.to_string()]);
    let mut got = String::new();
    BufReader::new(shell.0.stdout.take().unwrap()).read_line(&mut got).unwrap();
    assert_eq!(got.trim(), number.to_string());
    shell
}

#[test]
fn an_agent_tells_of_its_own_node_alone() {
    let Some(lab) = Lab::build(&["nft", "nsenter", "python3", "setpriv", "unshare"], Link::Veth)
    else {
        return;
    };
    for end in [&lab.a, &lab.b] {
        end.nft("add table inet weir");
        end.nft("add chain inet weir in { type filter hook input priority 0; }");
        end.nft(&format!("add rule inet weir in udp dport {PORT} drop"));
    }
    let spool = tempfile::tempdir().unwrap();
    let node = Node::build(&lab.a, spool.path());
    let (address, port) = (lab.b.address.to_string(), PORT.to_string());
    let mut sender = node.start(&["python3", "-c", SENDER, &address, &port]);
    let mut number = 0;
    eventually("the sender", || {
        number = node.process("python3").unwrap_or(0);
        number > 0
    });
    // What the kernel calls the sender is another process by the node's count.
    let _namesake = namesake(&node, number);
    sender.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let to = (lab.a.address, PORT);
    let from = lab.b.address;
    let send = move || {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        for _ in 0..5 {
            socket.send_to(b"x", to).unwrap();
        }
    };
    lab.b.enter(send).join().unwrap();
    thread::sleep(Duration::from_secs(3));
    let metrics = scrape(&lab.a);
    let lines = |of: &str| -> Vec<&str> {
        metrics.lines().filter(|line| line.starts_with(of) && line.contains("NETFILTER")).collect()
    };
    // Seven were dropped in the other node's network, five in this one's.
    let [total] = lines("weir_node_drops_total")[..] else { panic!("{metrics}") };
    assert!(total.ends_with(" 5"), "{total}");
    let none: [&str; 0] = [];
    assert_eq!(lines("weir_workload_drops_total"), none, "the other node's to count");
    let sent = |name: &str| {
        metrics.lines().any(|line| line.contains("_tx_") && line.contains(&format!("\"{name}\"")))
    };
    assert!(sent("python3") && !sent("sleep"), "{metrics}");
}
