//! Performance metrics of the node and its workloads, for any scraper and for the server.
//!
//! ```text
//! measuring thread  -> workloads, agent       counters that only grow
//! node thread       -> interfaces, ethtool, conntrack usage, once an interval
//! both together     -> /metrics (any number of scrapers), and samples by remote write
//! ```
//!
//! A scrape changes nothing, so any number of scrapers see the same. Counters begin at 0 with the agent or with
//! the workload; one whose workload was not heard of for a quarter of an hour is let go of.

mod agent;
mod ethtool;
mod family;
mod interfaces;
mod node;
mod pod_names;
mod remote_write;
mod server;
mod workloads;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use agent::AgentState;
pub(crate) use family::{Family, Format, render};
pub(crate) use node::Node;
pub(crate) use pod_names::PodNames;
pub(crate) use remote_write::RemoteWrite;
pub use server::ListenError;
pub(crate) use server::Server;
pub(crate) use workloads::Workloads;

/// Where metrics are offered.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// File with the bearer token that a scraper has to give; read again for each request.
    pub token_file: Option<PathBuf>,
    /// Listen wider than loopback without a token.
    pub insecure: bool,
}

/// What is known now, shared by those who find out and those who ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    workloads: Workloads,
    agent: AgentState,
    node: Vec<Family>,
}

impl Metrics {
    /// Nothing is known yet; pods will be told by these names.
    pub(crate) fn new(pods: PodNames) -> Self {
        let known = Known { workloads: Workloads::new(pods), ..Known::default() };
        Self(Arc::new(Mutex::new(known)))
    }

    /// Enters what an interval gave.
    pub(crate) fn interval(&self, enter: impl FnOnce(&mut Workloads, &mut AgentState)) {
        let look = {
            let Known { workloads, agent, .. } = &mut *self.0.lock();
            enter(workloads, agent);
            workloads.take_look()
        };
        // Scrapers need not wait for a disk.
        if let Some(look) = look {
            let found = look.read();
            self.0.lock().workloads.learn(found);
        }
    }

    /// Replaces what is known of the node.
    pub(crate) fn set_node(&self, families: Vec<Family>) {
        self.0.lock().node = families;
    }

    /// Changes the agent's own counters.
    pub(crate) fn agent(&self, change: impl FnOnce(&mut AgentState)) {
        change(&mut self.0.lock().agent);
    }

    /// All families that have a value.
    pub(crate) fn families(&self) -> Vec<Family> {
        let known = self.0.lock();
        let mut all = known.agent.families();
        all.extend(known.workloads.families());
        all.extend(known.node.iter().cloned());
        all.retain(|family| !family.samples.is_empty());
        all
    }
}

/// Name, kind, unit and meaning of every metric there can be, for the documents.
#[must_use]
pub fn catalog() -> Vec<(String, &'static str)> {
    let mut all = AgentState::all();
    all.extend(Workloads::all());
    all.extend(node::all());
    all.into_iter().map(|family| (family.full_name(), family.help)).collect()
}
