//! A laboratory: two network namespaces joined by a link, gone when dropped.

use std::error::Error as _;
use std::fs::{self, File};
use std::io;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use weir_agent::bpf::{BpfCollector, Options};
use weir_agent_ebpf::state;

#[path = "path.rs"]
mod path;

use path::Path;

/// The tests measure rates on a whole machine: one at a time.
static SERIAL: Mutex<()> = Mutex::new(());

/// Set where a test must not be skipped.
const REQUIRE: &str = "WEIR_REQUIRE_KERNEL";

/// What joins the two namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// A veth pair; segments of up to 64 KiB cross whole, as by default: one loss is many segments.
    Veth,
    /// A veth pair without offloads: every segment crosses alone, as on a wire.
    VethSegmented,
    /// A path that takes this long in each direction.
    Delayed(Duration),
}

/// One of the two namespaces.
#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) device: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) address6: Ipv6Addr,
    /// The kernel's cookie, as the programs report it.
    pub(crate) cookie: u64,
}

pub(crate) struct Lab {
    pub(crate) a: Namespace,
    pub(crate) b: Namespace,
    /// Carries packets on a delayed link.
    path: Option<Path>,
    _serial: MutexGuard<'static, ()>,
}

/// A child process that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Lab {
    /// Builds it; `None`, with the reason on standard error, if this machine cannot. Then the test is
    /// skipped, or fails if `WEIR_REQUIRE_KERNEL=1` says so.
    pub(crate) fn build(tools: &[&str], link: Link) -> Option<Self> {
        if let Some(reason) = missing(tools) {
            let required = std::env::var_os(REQUIRE).is_some_and(|v| v == "1");
            assert!(!required, "{REQUIRE}=1, but {reason}");
            // Past the test harness, which would hide it.
            let _ = writeln!(std::io::stderr(), "skipped: {reason}");
            return None;
        }
        sweep();
        static NUMBER: AtomicU8 = AtomicU8::new(1);
        let serial = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let namespace = |end: &str, last| Namespace {
            name: format!("weir-{pid}-{number}{end}"),
            device: format!("weir{end}"),
            address: Ipv4Addr::new(10, 213, number, last),
            address6: Ipv6Addr::new(0xfd00, 0x213, number.into(), 0, 0, 0, 0, last.into()),
            cookie: 0,
        };
        let mut lab =
            Self { a: namespace("a", 1), b: namespace("b", 2), path: None, _serial: serial };
        for end in [&lab.a, &lab.b] {
            run("ip", &["netns", "add", &end.name]);
        }
        let (a, b) = (&lab.a, &lab.b);
        let path = match link {
            Link::Veth | Link::VethSegmented => {
                let peer = ["type", "veth", "peer", "name", &b.device, "netns", &b.name];
                run("ip", &[&["-n", &a.name, "link", "add", &a.device], &peer[..]].concat());
                None
            }
            Link::Delayed(delay) => {
                let [a, b] = [a, b].map(|end| {
                    let device = end.device.clone();
                    end.enter(move || path::tun(&device)).join().unwrap()
                });
                Some(Path::join(a, b, delay))
            }
        };
        for end in [a, b] {
            let address = format!("{}/24", end.address);
            run("ip", &["-n", &end.name, "address", "add", &address, "dev", &end.device]);
            let address6 = format!("{}/64", end.address6);
            run("ip", &["-n", &end.name, "address", "add", &address6, "dev", &end.device, "nodad"]);
            run("ip", &["-n", &end.name, "link", "set", "lo", "up"]);
            run("ip", &["-n", &end.name, "link", "set", &end.device, "up"]);
            if link == Link::VethSegmented {
                end.run("ethtool", &["-K", &end.device, "tso", "off", "gso", "off", "gro", "off"]);
            }
        }
        lab.path = path;
        lab.a.cookie = lab.a.enter(netns_cookie).join().unwrap();
        lab.b.cookie = lab.b.enter(netns_cookie).join().unwrap();
        Some(lab)
    }
}

impl Lab {
    /// Waits until every connection has said all that it will say: closed, or with nothing left to
    /// resend (FIN-WAIT-2, TIME-WAIT). Gives up after 20 s; what is still open is the test's to judge.
    pub(crate) fn settle(&self) {
        let quiet = [state::FIN_WAIT2, TIME_WAIT, LISTEN];
        for _ in 0..200 {
            thread::sleep(Duration::from_millis(100));
            let talking = |end: &Namespace| {
                let states = end.enter(tcp_states).join().unwrap();
                states.iter().any(|state| !quiet.contains(state))
            };
            if ![&self.a, &self.b].into_iter().any(talking) {
                return;
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.path = None;
        for end in [&self.a, &self.b] {
            // Also after a failure in `build`, when there may be nothing to delete.
            let _ = Command::new("ip").args(["netns", "delete", &end.name]).output();
        }
    }
}

impl Namespace {
    /// Runs a program to its end and returns its standard output.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut all = vec!["netns", "exec", &self.name, program];
        all.extend(arguments);
        run("ip", &all)
    }

    /// Starts a program in the background.
    pub(crate) fn start(&self, program: &str, arguments: &[&str]) -> Running {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).args(arguments);
        Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Runs a function on a thread of its own inside the namespace.
    pub(crate) fn enter<T: Send + 'static>(
        &self,
        function: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::spawn(move || {
            // SAFETY: a call with a valid descriptor; it moves this thread alone.
            let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(result, 0, "setns: {}", io::Error::last_os_error());
            function()
        })
    }

    /// Loads nftables rules.
    pub(crate) fn nft(&self, rules: &str) {
        self.run("nft", &[rules]);
    }

    /// A counter of this namespace's TCP, by its name in nstat(8).
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let out = self.run("nstat", &["-asz", name]);
        let line = out.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)).unwrap().parse().unwrap()
    }
}

impl Running {
    /// Waits for the end; standard output.
    pub(crate) fn finish(mut self) -> String {
        let stdout = io::read_to_string(self.0.stdout.take().unwrap()).unwrap();
        let stderr = io::read_to_string(self.0.stderr.take().unwrap()).unwrap();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}: {stdout}{stderr}");
        stdout
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(program).args(arguments).output().unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{program} {arguments:?}: {status}: {stdout}{stderr}");
    stdout
}

fn missing(tools: &[&str]) -> Option<String> {
    // SAFETY: no arguments, always succeeds.
    if unsafe { libc::geteuid() } != 0 {
        return Some("not root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |tool: &&str| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file());
    if let Some(tool) = ["ip"].iter().chain(tools).find(|tool| !found(tool)) {
        return Some(format!("no `{tool}` in PATH"));
    }
    static REFUSED: OnceLock<Option<String>> = OnceLock::new();
    REFUSED.get_or_init(refused).clone()
}

/// What this machine does not permit, although the user is root (a container, an old kernel).
fn refused() -> Option<String> {
    let name = format!("weir-{}-probe", std::process::id());
    for verb in ["add", "delete"] {
        let out = Command::new("ip").args(["netns", verb, &name]).output().unwrap();
        if !out.status.success() {
            let why = String::from_utf8_lossy(&out.stderr).into_owned();
            return Some(format!("no network namespaces: {}", why.trim()));
        }
    }
    let start = BpfCollector::start(&Options::default());
    start.err().map(|error| format!("{error}: {:?}", error.source()))
}

const TIME_WAIT: u32 = 6;
const LISTEN: u32 = 10;

/// States of the TCP sockets of the calling thread's network namespace.
fn tcp_states() -> Vec<u32> {
    let mut states = Vec::new();
    for file in ["tcp", "tcp6"] {
        // Without IPv6 there is no second table.
        let path = format!("/proc/thread-self/net/{file}");
        let table = fs::read_to_string(path).unwrap_or_default();
        let field = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
        let column = table.lines().skip(1).filter_map(field);
        states.extend(column.map(|hex| u32::from_str_radix(&hex, 16).unwrap()));
    }
    states
}

/// Deletes the namespaces of test runs that were killed.
fn sweep() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("weir-").and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| fs::metadata(format!("/proc/{pid}")).is_err()) {
            let _ = Command::new("ip").args(["netns", "delete", &name]).output();
        }
    }
}

fn netns_cookie() -> u64 {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie = 0u64;
    let mut length = 8;
    // SAFETY: plain system calls; the option is 8 bytes long.
    let result = unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        assert!(socket >= 0);
        let socket = OwnedFd::from_raw_fd(socket);
        let value = (&raw mut cookie).cast();
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            value,
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "SO_NETNS_COOKIE: {}", io::Error::last_os_error());
    cookie
}
