//! Two network namespaces joined by a veth pair, gone when dropped.

use std::process::{Child, Command, Stdio};

use super::{Background, run, skip};

/// Two hosts on one wire.
pub(crate) struct Pair {
    pub(crate) a: String,
    pub(crate) b: String,
    pub(crate) address_a: String,
    pub(crate) address_b: String,
}

impl Pair {
    /// Makes the namespaces with addresses in 10.213.`subnet`.0/24; `None` after saying why if this
    /// machine cannot, or lacks a program.
    pub(crate) fn new(subnet: u8, programs: &[&str]) -> Option<Self> {
        for program in ["ip"].iter().chain(programs) {
            let found = std::env::var_os("PATH").is_some_and(|path| {
                std::env::split_paths(&path)
                    .chain(["/usr/sbin".into(), "/sbin".into()])
                    .any(|dir| dir.join(program).exists())
            });
            if !found {
                skip(&format!("{program} is not installed"));
                return None;
            }
        }
        let id = format!("{}-{subnet}", std::process::id());
        let pair = Self {
            a: format!("weir-a{id}"),
            b: format!("weir-b{id}"),
            address_a: format!("10.213.{subnet}.1"),
            address_b: format!("10.213.{subnet}.2"),
        };
        let made = Command::new("ip").args(["netns", "add", &pair.a]).output();
        if !made.is_ok_and(|o| o.status.success()) {
            skip("making a network namespace needs root");
            return None;
        }
        let ip = |arguments: &[&str]| run(Command::new("ip").args(arguments));
        ip(&["netns", "add", &pair.b]);
        ip(&[
            "link", "add", "wa", "netns", &pair.a, "type", "veth", "peer", "name", "wb", "netns",
            &pair.b,
        ]);
        for (namespace, device, address) in
            [(&pair.a, "wa", &pair.address_a), (&pair.b, "wb", &pair.address_b)]
        {
            ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", device]);
            ip(&["-n", namespace, "link", "set", device, "up"]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        Some(pair)
    }

    /// A command inside of a namespace.
    pub(crate) fn command(&self, namespace: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, program]);
        command
    }

    /// A program inside of a namespace that is killed when dropped.
    pub(crate) fn background(
        &self,
        namespace: &str,
        program: &str,
        arguments: &[&str],
    ) -> Background {
        let child: Child = self
            .command(namespace, program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Background(child)
    }

    /// Drops what matches at the input of a namespace, with the nftables expression `matching`.
    pub(crate) fn drop_at_input(&self, namespace: &str, matching: &str) {
        for rule in [
            "add table inet weir".to_owned(),
            "add chain inet weir in { type filter hook input priority 0; }".to_owned(),
            format!("add rule inet weir in {matching} drop"),
        ] {
            run(self.command(namespace, "nft").arg(rule));
        }
    }

    /// Smoothed round-trip times, microseconds, of the connections to a port, as `ss` shows them.
    pub(crate) fn round_trips(&self, namespace: &str, port: u16) -> Vec<f64> {
        let filter = format!("dport = :{port}");
        let text = run(self.command(namespace, "ss").args(["-tinH", &filter]));
        text.lines()
            // The connection that carries data, not iperf3's control connection.
            .filter(|line| field(line, "bytes_acked:").is_some_and(|bytes| bytes > 10_000.0))
            .filter_map(|line| field(line, " rtt:"))
            .map(|ms| ms * 1000.0)
            .collect()
    }
}

fn field(line: &str, name: &str) -> Option<f64> {
    let rest = &line[line.find(name)? + name.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

impl Drop for Pair {
    fn drop(&mut self) {
        for namespace in [&self.a, &self.b] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}
