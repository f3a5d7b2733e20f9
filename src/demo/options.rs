//! The command line of `weir demo`, and of its own processes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::{DEFAULT_LISTEN, parse_duration};

/// `weir demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Address to listen on; loopback alone.
    #[arg(long, value_name = "ADDR:PORT", default_value = DEFAULT_LISTEN)]
    pub(crate) listen: SocketAddr,
    /// Keep the history in this folder (DIR/history) instead of one that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How long a day of the shop takes, 30s to 1d.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub(crate) day: Duration,
    /// How often the agents report, from 1s on.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub(crate) interval: Duration,
    /// Pages a second that visitors ask for at the busiest hour.
    #[arg(long, value_name = "PAGES", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) pages: u32,
    /// Record what the agents send during one day to this file, and end.
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub(crate) record: Option<PathBuf>,
    /// Play a recorded day, as if it ended now, instead of measuring: needs neither root nor BPF. Without FILE it is the
    /// day that is shipped.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub(crate) replay: Option<Option<PathBuf>>,
}

/// What the processes of the demo are; not for people.
#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// The first process of a node, its agent in it.
    Node,
    /// The network between the nodes, and what is outside of the cluster.
    Outside,
    /// A program in a pod.
    Pod,
    /// Waits for the demo's end, however it comes, and removes what it leaves.
    CleanUp {
        /// Group of processes.
        #[arg(long)]
        cgroup: Option<PathBuf>,
        /// Folder of the history.
        #[arg(long)]
        data: Option<PathBuf>,
    },
}
