//! `weir demo`: a shop to look at, with one thing that goes wrong.
//!
//! ```text
//! live        real processes on nodes that are namespaces, real traffic, real agents      (root)
//! replay      a day of the same that was recorded                                         (anybody)
//! ```
//!
//! In both, the server is that of `weir serve`: on loopback, with a cluster to follow (`cluster_api`, a stand-in) and
//! names for some ranges.

mod caller;
mod cluster_api;
mod dns;
mod gateway;
mod greeting;
mod incident;
mod leftovers;
mod live;
mod node;
mod options;
mod outside;
mod process;
mod recording;
mod replay;
mod rhythm;
mod samples;
mod service;
mod shop;

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use clap::Parser;

pub(crate) use self::options::{Demo, Part};
use crate::cli::ServerOptions;
use crate::config::Settings;

/// Shortest and longest day.
const DAYS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(24 * 3600));

/// Runs a demo until a signal.
///
/// # Errors
/// When an option is refused, or it cannot be set up.
pub(crate) async fn demo(options: &Demo) -> anyhow::Result<()> {
    if !options.listen.ip().is_loopback() {
        bail!("the demo listens on loopback alone, not on {}", options.listen);
    }
    if options.day < DAYS.0 || options.day > DAYS.1 {
        bail!("a day of the demo takes 30s to 1d, not {:?}", options.day);
    }
    match &options.replay {
        Some(file) => replay::replay(options, file.as_deref()).await,
        None => live::run(options).await,
    }
}

/// Is a process of a demo.
///
/// # Errors
/// When it cannot do what it is told.
pub(crate) async fn part(part: &Part) -> anyhow::Result<()> {
    match part {
        Part::Node => tokio::task::spawn_blocking(node::node).await?,
        Part::Outside => outside::outside().await,
        Part::Pod => node::pod().await,
        Part::CleanUp { cgroup, data } => {
            leftovers::clean_up(cgroup.as_deref(), data.as_deref());
            Ok(())
        }
    }
}

/// Options of the server, alone.
#[derive(Debug, Parser)]
struct Alone {
    #[command(flatten)]
    server: ServerOptions,
}

/// What `weir serve` would be told.
fn server_settings(options: &Demo, kubeconfig: &Path) -> anyhow::Result<Settings> {
    let mut arguments = vec!["weir".into(), "--listen".into(), options.listen.to_string().into()];
    arguments.extend(["--kubeconfig".into(), kubeconfig.as_os_str().to_owned()]);
    for network in shop::NETWORKS {
        arguments.extend(["--network".into(), network.into()]);
    }
    Settings::new(&Alone::try_parse_from(arguments)?.server)
}
