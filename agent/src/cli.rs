//! The command line of `weir-agent`.

mod check;
mod signals;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::metrics::Listen;
use crate::run::{self, Config, TlsFiles};
use crate::source::Choice;

pub use signals::Signals;

/// Measure every flow of this host and ship it to a Weir server.
///
/// As root on Linux 5.10 or newer, BPF programs count each socket in the kernel. Without the
/// privilege, the kernel's socket table is read instead: that sees less, and says so. `weir-agent
/// check` tells what this host allows.
#[derive(Debug, Parser)]
#[command(name = "weir-agent", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  weir-agent --server http://127.0.0.1:9470
  weir-agent --server https://weir.example.net:9470 --token-file /etc/weir/token --interval 1s
  weir-agent check")]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell what this kernel and these privileges allow, and exit.
    Check,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Base URL of the server; batches go to URL/v1/flows.
    #[arg(long, value_name = "URL", env = "WEIR_SERVER", required = true)]
    server: Option<String>,
    /// How often to report, aligned to the clock: 1s to 1h.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    interval: Duration,
    /// Where batches wait while the server is away [default: /var/lib/weir-agent as root, else
    /// $XDG_STATE_HOME/weir-agent or ~/.local/state/weir-agent]
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Most bytes that may wait there; beyond, the oldest batches are dropped and counted.
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20)]
    spool_bytes: u64,
    /// File with the bearer token for the server: the token alone, or the server's own file with a
    /// line `agent TOKEN`. Read again for each request.
    #[arg(long, value_name = "FILE", env = "WEIR_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// File with the certificates (PEM) that the server's may come from, instead of the public authorities.
    /// Read again when it changes, as are the next two.
    #[arg(long, value_name = "FILE", env = "WEIR_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// File with the certificate (PEM) that the agent shows to the server.
    #[arg(long, value_name = "FILE", env = "WEIR_CLIENT_CERT", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// File with its private key (PEM).
    #[arg(long, value_name = "FILE", env = "WEIR_CLIENT_KEY", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Name of this node [default: the host name]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Name of the cluster that this node belongs to.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Availability zone of this node.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Region of this node.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Do not read the names that workloads ask for: rows have no `peer_domain`, and nothing is told of
    /// questions.
    #[arg(long)]
    no_dns: bool,
    /// Where metrics of node and workloads are offered, in OpenMetrics at /metrics; `off` offers none.
    #[arg(long, value_name = "ADDR:PORT|off", default_value = "127.0.0.1:9471", value_parser = listen)]
    listen: ListenArg,
    /// File with a bearer token that scrapers of the metrics have to give. Read again for each request.
    #[arg(long, value_name = "FILE")]
    metrics_token_file: Option<PathBuf>,
    /// Offer metrics on other than loopback addresses without a token.
    #[arg(long)]
    insecure: bool,
    /// Where the kubelet keeps the logs of this node's pods. The names of the folders there name the pods of the
    /// metrics; without them these tell uids.
    #[arg(long, value_name = "DIR", default_value = "/var/log/pods")]
    pod_logs: PathBuf,
    /// Do not ship the metrics to the server as samples.
    #[arg(long)]
    no_samples: bool,
    /// How to measure.
    #[arg(long, value_enum, default_value_t = SourceArg::Auto)]
    source: SourceArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListenArg {
    Off,
    At(SocketAddr),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SourceArg {
    /// BPF where it is permitted, else sock_diag.
    Auto,
    /// BPF or fail.
    Bpf,
    /// The kernel's socket table through netlink.
    #[value(name = "sock_diag")]
    SockDiag,
}

impl Cli {
    /// Does what the command line says, until a signal ends it.
    ///
    /// # Errors
    /// When the agent cannot start.
    pub fn execute(self) -> anyhow::Result<()> {
        if matches!(self.command, Some(Command::Check)) {
            check::print();
            return Ok(());
        }
        // Before the first thread: it and all others inherit the mask.
        let signals = Signals::block().context("signals cannot be blocked")?;
        let args = self.run;
        let server = args.server.context("--server URL is missing")?;
        let spool = match args.spool {
            Some(directory) => directory,
            None => default_spool().context("no home directory; give --spool DIR")?,
        };
        let handle = run::spawn(Config {
            interval: args.interval,
            spool_bytes: args.spool_bytes,
            token_file: args.token_file,
            tls: TlsFiles { ca: args.ca_file, client: args.client_cert.zip(args.client_key) },
            node: args.node,
            cluster: args.cluster,
            zone: args.zone,
            region: args.region,
            listen: match args.listen {
                ListenArg::Off => None,
                ListenArg::At(address) => Some(Listen {
                    address,
                    token_file: args.metrics_token_file,
                    insecure: args.insecure,
                }),
            },
            pod_logs: Some(args.pod_logs),
            samples: !args.no_samples,
            dns: !args.no_dns,
            drop_privileges: true,
            source: match args.source {
                SourceArg::Auto => Choice::Auto,
                SourceArg::Bpf => Choice::Bpf,
                SourceArg::SockDiag => Choice::SockDiag,
            },
            ..Config::new(server, spool)
        })?;
        let signal = loop {
            match signals.wait(Duration::from_secs(1)).context("waiting for a signal")? {
                Some(signal) => break signal,
                // Ending lets the service manager start it anew; the spool keeps what there is.
                None if !handle.is_running() => bail!("a thread of the agent has ended"),
                None => {}
            }
        };
        tracing::info!(signal, "delivering what is left");
        handle.stop();
        Ok(())
    }
}

/// Log lines on standard error; `WEIR_LOG` chooses which.
pub fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WEIR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,weir=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// `/var/lib/weir-agent` for root, else the user's state directory (XDG Base Directory).
fn default_spool() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/weir-agent".into());
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    Some(state?.join("weir-agent"))
}

/// An address with a port, or `off`.
fn listen(text: &str) -> Result<ListenArg, String> {
    if text == "off" {
        return Ok(ListenArg::Off);
    }
    let wrong = |_| format!("`{text}` is no address; write 127.0.0.1:9471, [::1]:9471 or off");
    text.parse().map(ListenArg::At).map_err(wrong)
}

/// A whole number with `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("`{text}` is no duration; write 10s, 1m or 1h");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["weir-agent", "check"]).is_ok());
        assert!(Cli::try_parse_from(["weir-agent"]).is_err());
        let cli = Cli::try_parse_from(["weir-agent", "--server", "http://h", "--interval", "1s"]);
        assert_eq!(cli.unwrap().run.interval, Duration::from_secs(1));
    }

    #[test]
    fn listening() {
        assert_eq!(listen("off"), Ok(ListenArg::Off));
        let all = ListenArg::At("[::]:9471".parse().unwrap());
        assert_eq!(listen("[::]:9471"), Ok(all));
        assert!(listen("9471").is_err() && listen("localhost").is_err());
    }

    #[test]
    fn durations() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "10", "-1s", "1.5s", "1d", "99999999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
