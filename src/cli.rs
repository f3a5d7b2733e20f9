//! The command line of `weir`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use weir_ingest::places::{CloudSource, Network};

use crate::demo::{Demo, Part};

/// Where the server listens unless told otherwise.
pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:9470";
const DEFAULT_URL: &str = "http://127.0.0.1:9470";

/// The flow history of a cluster: who talks to whom, how much, and how well.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    about,
    after_help = "\
Start here (as root, so that the kernel may be asked):
  weir up
and, a few seconds later, in another terminal:
  weir query 'topk(10, sum by (workload, peer_workload) (rate(flow_tx_bytes_total[1m])))'
  weir sql   'SELECT workload, peer_address, sum(retransmits) FROM flows GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10'
To look at something first, with something that goes wrong in it (without root: weir demo --replay):
  weir demo
Grafana: add a Prometheus data source with the URL http://127.0.0.1:9470"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure this host and keep its history: server and agent in one process.
    Up(Up),
    /// Keep the history that agents on other hosts send.
    Serve(Serve),
    /// Look into a history that no server holds: what it has, and whether it is sound.
    Inspect(Inspect),
    /// Ask a server in PromQL and print the answer as a table.
    Query(Query),
    /// Ask a server in SQL and print the answer as a table.
    Sql(Sql),
    /// Look at a shop with one thing that goes wrong: real traffic of real processes in network namespaces of their
    /// own. Everything is gone when it ends.
    Demo(Demo),
    /// A process of the demo.
    #[command(hide = true, subcommand)]
    DemoPart(Part),
}

/// Options of the server, shared by `up` and `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServerOptions {
    /// Configuration file (TOML). Options given here win over what it says; rules of retention by
    /// matcher are only there.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:9470]. Anything but loopback needs --token-file or
    /// --insecure.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// How long rows are kept: 30d, 12h, 2y, ..., or `off` to keep everything [default: 30d].
    #[arg(long, value_name = "TIME|off", value_parser = parse_retention)]
    pub(crate) retention: Option<Retention>,
    /// The same for rows as agents send them (table flows).
    #[arg(long, value_name = "TIME|off", value_parser = parse_retention)]
    pub(crate) retention_raw: Option<Retention>,
    /// The same for sums of five minutes (table flows_5m).
    #[arg(long, value_name = "TIME|off", value_parser = parse_retention)]
    pub(crate) retention_5m: Option<Retention>,
    /// The same for sums of an hour (table flows_1h).
    #[arg(long, value_name = "TIME|off", value_parser = parse_retention)]
    pub(crate) retention_1h: Option<Retention>,
    /// Refuse samples (remote write, OTLP) that are older than this when they arrive; within it they
    /// may come in any order [default: as long as they are kept].
    #[arg(long, value_name = "TIME|off", value_parser = parse_retention)]
    pub(crate) samples_window: Option<Retention>,
    /// Bytes of all data files above which the oldest are removed, those of the finest tier first:
    /// 200GiB, 2TiB, ...
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) max_bytes: Option<u64>,
    /// Let rows be deleted over HTTP (/api/v1/admin), by whoever has an `admin` token of
    /// --token-file.
    #[arg(long)]
    pub(crate) admin_api: bool,
    /// File of bearer tokens: a line `agent TOKEN` admits a sender of flows or samples, `reader
    /// TOKEN` whoever asks, `admin TOKEN` whoever deletes. Read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Listen on other than loopback addresses without tokens: everyone who reaches the port reads
    /// and writes the history.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Rows are written to Parquet files at least this often [default: 5m].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) flush_interval: Option<Duration>,
    /// Address ranges as AWS, Google Cloud or Azure publish them (JSON), instead of the shipped ones of the same
    /// provider: they say which peers are in a cloud. A file is read again when it changes; a URL (http, https) is
    /// fetched at the start and again. What cannot be right is not used. May be given several times.
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) cloud_ranges: Vec<CloudSource>,
    /// How often ranges are fetched that --cloud-ranges names by a URL, a tenth more or less [default: 24h].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) cloud_ranges_interval: Option<Duration>,
    /// Certificates (PEM) of the authorities that these servers' certificates come from, instead of the public ones.
    #[arg(long, value_name = "FILE")]
    pub(crate) cloud_ranges_ca: Option<PathBuf>,
    /// A name for a range of peers' addresses (label peer_network), as in office=192.0.2.0/24; the longest prefix
    /// wins. May be given several times.
    #[arg(long, value_name = "NAME=CIDR")]
    pub(crate) network: Vec<Network>,
    /// What traffic costs by crossing and cloud service (TOML, see the example in deploy/prices): for the metric
    /// flow_cost_total and the function flow_cost of SQL.
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
    /// Databases in MaxMind's format (GeoLite2-ASN.mmdb, GeoLite2-Country.mmdb or others of their form), for the AS
    /// number and country of external peers. May be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) mmdb: Vec<PathBuf>,
    /// Names of hosts that have no agent, a line ADDRESS NAME [ZONE [REGION]] for each of their addresses.
    #[arg(long, value_name = "FILE")]
    pub(crate) hosts: Option<PathBuf>,
    /// Follow the pods, nodes and services of a Kubernetes cluster, to name both ends of flows: as the service
    /// account of the pod that the server runs in, or by the user's kubeconfig outside of one.
    #[arg(long)]
    pub(crate) kubernetes: bool,
    /// The same by this kubeconfig, with its current context.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Make a label of pods a column of flows for both ends, as in app.kubernetes.io/part-of (columns
    /// label_app_kubernetes_io_part_of and peer_label_...), or under a name of its own, as in team=example.com/team.
    /// May be given several times.
    #[arg(long, value_name = "[NAME=]LABEL")]
    pub(crate) label: Vec<String>,
    /// Keep tables in an object store: s3://BUCKET/PREFIX, gs:// or az://, with credentials and endpoint
    /// from the environment (AWS_*, GOOGLE_*, AZURE_*). The folder of the history keeps the log.
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Megabytes of the object store that are kept on local disk; 0 keeps nothing.
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    pub(crate) cache_mib: u64,
    /// Megabytes of rows held in memory before they are written to files. At twice as much, senders
    /// are told to wait [default: 128].
    #[arg(long, value_name = "MIB")]
    pub(crate) memtable_mib: Option<usize>,
    /// Megabytes that the intermediate results of all running queries may take in memory. Beyond
    /// that, large groupings and sorts use the disk, and other queries fail.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) query_memory_mib: usize,
    /// Megabytes of intermediate results that all queries together may have on disk, below the
    /// history's folder; 0 for none.
    #[arg(long, value_name = "MIB", default_value_t = 8192)]
    pub(crate) query_spill_mib: u64,
    /// Samples and values that one PromQL query may hold at a time, at most 16 bytes each.
    #[arg(long, value_name = "SAMPLES", default_value_t = 50_000_000)]
    pub(crate) query_max_samples: usize,
}

/// `weir up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Folder of the history; made if it is not there [default: ./weir-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How often the agent reports.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) interval: Duration,
    /// Offer the agent's metrics to scrapers, too, on a loopback address at /metrics; their history is kept
    /// in any case.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) agent_listen: Option<SocketAddr>,
    /// The server's options.
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

/// `weir serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Folder of the history; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The server's options.
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

/// `weir inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 sound, 1 damage found, 2 cannot tell.")]
pub(crate) struct Inspect {
    /// Folder of the history.
    pub(crate) dir: PathBuf,
    /// Read everything and check every checksum; counts the distinct values of every label, also of
    /// those that label indexes leave out.
    #[arg(long)]
    pub(crate) verify: bool,
    /// As --verify, and move what is damaged to DIR/quarantine. Nothing is deleted.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where a client finds its server.
#[derive(Debug, Args)]
pub(crate) struct ClientOptions {
    /// URL of the server.
    #[arg(long, value_name = "URL", env = "WEIR_URL", default_value = DEFAULT_URL)]
    pub(crate) url: String,
    /// File whose first `reader` token (or only word) is sent along.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// `weir query`.
#[derive(Debug, Args)]
pub(crate) struct Query {
    /// The expression, for example: sum by (workload) (rate(flow_tx_bytes_total[1m]))
    pub(crate) expression: String,
    /// Evaluate over this long a time up to now instead of at one moment.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) range: Option<Duration>,
    /// Distance of the points of a range.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    pub(crate) step: Duration,
    /// Evaluate at this moment (RFC 3339 or seconds since 1970) instead of now.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// The server.
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// `weir sql`.
#[derive(Debug, Args)]
pub(crate) struct Sql {
    /// The statement, for example: SELECT count(*) FROM flows
    pub(crate) statement: String,
    /// Print the server's answer in this form instead of a table: json, ndjson or csv.
    #[arg(long, value_name = "FORMAT", value_parser = ["json", "ndjson", "csv"])]
    pub(crate) format: Option<String>,
    /// The server.
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// How long rows are kept; `None` for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention(pub(crate) Option<Duration>);

/// Parses `off`, or a time as [`parse_duration`] does, also in years of 365 days: `2y`.
pub(crate) fn parse_retention(text: &str) -> Result<Retention, String> {
    if text == "off" {
        return Ok(Retention(None));
    }
    let years: Option<u32> = text.strip_suffix('y').and_then(|n| n.trim().parse().ok());
    match years.filter(|years| *years > 0) {
        Some(years) => Ok(Retention(Some(Duration::from_secs(365 * 24 * 3600) * years))),
        None => parse_duration(text)
            .map(|d| Retention(Some(d)))
            .map_err(|_| "write a number and a unit, 12h, 30d, 2y, or `off`".to_owned()),
    }
}

/// Parses `512MiB`, `200GiB`, `2TB`; a number alone counts bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let help = "write a number and a unit: 512MiB, 200GiB, 2TiB";
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1000_u64.pow(2),
        "GB" => 1000_u64.pow(3),
        "TB" => 1000_u64.pow(4),
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(help.to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| help.to_owned())?;
    number.checked_mul(scale).filter(|bytes| *bytes > 0).ok_or_else(|| help.to_owned())
}

/// Parses `10s`, `1h30m`, `30d`; days have 24 hours.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let help = "write a number and a unit: 500ms, 10s, 5m, 12h, 30d";
    let span: jiff::Span = text.parse().map_err(|_| help.to_owned())?;
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .ok()
        .and_then(|d| Duration::try_from(d).ok())
        .filter(|d| !d.is_zero())
        .ok_or_else(|| help.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, seconds) in [("10s", 10), ("1h30m", 5400), ("30d", 2_592_000), ("2w", 1_209_600)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "-5s", "0s", "5 parsecs", "1y"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(parse_retention("off"), Ok(Retention(None)));
        let two_years = Duration::from_secs(2 * 365 * 24 * 3600);
        assert_eq!(parse_retention("2y"), Ok(Retention(Some(two_years))));
        for text in ["0y", "y", "-1y", "of"] {
            assert!(parse_retention(text).is_err(), "{text}");
        }
        assert_eq!(parse_bytes("200GiB"), Ok(200 << 30));
        assert_eq!((parse_bytes("2 TB"), parse_bytes("7")), (Ok(2_000_000_000_000), Ok(7)));
        for text in ["", "GiB", "-1GiB", "1.5GiB", "1 parsec", "0", "99999999999TiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
