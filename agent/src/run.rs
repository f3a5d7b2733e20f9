//! The running agent: one thread measures, one delivers, one reads the node's counters.
//!
//! At each multiple of the interval on the wall clock, the measuring thread
//!
//! 1. collects the sockets from the source, one by one;
//! 2. turns totals into deltas, attributes them, adds them up to rows (`pipeline`);
//! 3. puts them into the spool as a batch with the next sequence number, also when there are no
//!    rows: a batch that says "nothing happened, nothing was lost" is not silence.
//!
//! It never waits for the network. The delivering thread is [`crate::ship`]; the node's own counters are read
//! and shipped by a third one, [`crate::metrics`].

mod clock;
mod measure;
mod pipeline;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::bpf::Options;
use crate::capabilities;
use crate::conntrack::Conntrack;
use crate::metrics::{self, Listen, ListenError, Metrics, Node, PodNames, RemoteWrite};
use crate::rows::Observer;
use crate::ship::tls::Clients;
pub use crate::ship::tls::{TlsError, TlsFiles};
use crate::ship::{Poster, Shipper, Stop, Target};
use crate::source::{Choice, Source, SourceError};
use crate::spool::{Spool, SpoolError};
use measure::Measure;

/// Shortest and longest interval.
pub const INTERVAL_LIMITS: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(3600));

/// How an agent runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Base URL of the server, `http://` or `https://`.
    pub server: String,
    /// Length of an interval, 1 s to 1 h.
    pub interval: Duration,
    /// Directory of the spool; made when missing.
    pub spool: PathBuf,
    /// Bound on the spool's batches, bytes.
    pub spool_bytes: u64,
    /// File with the bearer token for the server: the token alone, or lines `agent TOKEN` as the
    /// server's own file has them. Read again for each request.
    pub token_file: Option<PathBuf>,
    /// Certificates for an `https://` server. Read again when they change.
    pub tls: TlsFiles,
    /// Name of this node; the host name when not given.
    pub node: Option<String>,
    /// Name of the cluster that this node belongs to.
    pub cluster: Option<String>,
    /// Availability zone of this node.
    pub zone: Option<String>,
    /// Region of this node.
    pub region: Option<String>,
    /// How to measure.
    pub source: Choice,
    /// Give up every privilege that is not needed any more once measuring has begun, of the calling thread
    /// too.
    pub drop_privileges: bool,
    /// Read the names that workloads ask for.
    pub dns: bool,
    /// Where metrics are offered to scrapers; `None` offers none.
    pub listen: Option<Listen>,
    /// Where the kubelet keeps the logs of this node's pods, in folders that tell their names (`/var/log/pods`): the
    /// metrics then tell pods by name. Rows tell uids in any case.
    pub pod_logs: Option<PathBuf>,
    /// Ship the same metrics to the server as samples.
    pub samples: bool,
    /// How long [`Handle::stop`] tries to deliver what is left.
    pub drain: Duration,
}

impl Config {
    /// The defaults: 10 s, 256 MiB, automatic source, flows alone.
    #[must_use]
    pub fn new(server: impl Into<String>, spool: impl Into<PathBuf>) -> Self {
        Self {
            server: server.into(),
            interval: Duration::from_secs(10),
            spool: spool.into(),
            spool_bytes: 256 << 20,
            token_file: None,
            tls: TlsFiles::default(),
            node: None,
            cluster: None,
            zone: None,
            region: None,
            source: Choice::Auto,
            drop_privileges: false,
            dns: true,
            listen: None,
            pod_logs: None,
            samples: false,
            drain: Duration::from_secs(5),
        }
    }
}

/// Why an agent does not start.
#[derive(Debug, Error)]
pub enum Error {
    /// The server is not a URL that batches can be posted to.
    #[error("server `{0}` is no URL; give http://HOST:PORT or https://HOST:PORT")]
    Server(String),
    /// Certificates are of use to nobody.
    #[error("certificates were given, but server `{0}` is asked without TLS; write https://")]
    TlsWithoutUse(String),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The interval is out of bounds.
    #[error("interval {0:?} is not between 1 s and 1 h")]
    Interval(Duration),
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Metrics cannot be offered.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Nothing can be measured.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The system gives no more threads.
    #[error("agent thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// A running agent. Dropping it ends measuring without a last delivery.
#[derive(Debug)]
pub struct Handle {
    /// Dropped to end the measuring thread.
    measuring: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    /// Disconnected when the delivering thread has ended; joined by nobody, as it may hang.
    shipping: (mpsc::Receiver<()>, JoinHandle<()>),
    /// Dropped to end the thread that reads the node's counters; joined by nobody, as it may wait for the
    /// server.
    node: mpsc::Sender<()>,
    endpoint: Option<metrics::Server>,
    stop: Stop,
    spool: Spool,
    drain: Duration,
}

/// Starts measuring and delivering.
///
/// # Errors
/// When the configuration is refused, the spool is in use, or nothing can be measured.
pub fn spawn(config: Config) -> Result<Handle, Error> {
    let host = config.server.strip_prefix("http://").or(config.server.strip_prefix("https://"));
    if host.is_none_or(|h| h.is_empty() || h.starts_with('/')) {
        return Err(Error::Server(config.server));
    }
    if config.interval < INTERVAL_LIMITS.0 || config.interval > INTERVAL_LIMITS.1 {
        return Err(Error::Interval(config.interval));
    }
    let has_files = config.tls.ca.is_some() || config.tls.client.is_some();
    if has_files && config.server.starts_with("http://") {
        return Err(Error::TlsWithoutUse(config.server));
    }
    let clients = Arc::new(Clients::new(config.tls)?);
    let node = config.node.clone().unwrap_or_else(host_name);
    let spool = Spool::open(&config.spool, config.spool_bytes, &node)?;
    let options = Options { dns: config.dns, ..Options::default() };
    let source = Source::start(config.source, &options)?;
    let conntrack = Conntrack::start();
    give_memory_back();
    // Before there are other threads, which would keep theirs.
    if config.drop_privileges
        && let Err(error) = capabilities::keep_what_is_needed()
    {
        tracing::warn!(%error, "privileges that are not needed could not be given up");
    }
    let pods = || PodNames::new(config.pod_logs.clone());
    let metrics = Metrics::new(pods());
    let endpoint = config.listen.map(|listen| metrics::Server::start(listen, metrics.clone()));
    let endpoint = endpoint.transpose()?;
    let drops = source.counts_drops();
    let observer =
        Observer { node, cluster: config.cluster, zone: config.zone, region: config.region, drops };
    tracing::info!(
        agent = spool.agent(), server = config.server, interval = ?config.interval,
        spool = %config.spool.display(), waiting = spool.len(), "measuring"
    );
    let stop = Stop::default();
    if let Some(endpoint) = &endpoint {
        tracing::info!(address = %endpoint.address(), "metrics are offered");
    }
    let target = Target { server: config.server, token_file: config.token_file };
    let samples = config
        .samples
        .then(|| RemoteWrite::new(Poster::new(target.clone(), Arc::clone(&clients)), &observer));
    let (node, stopped) = mpsc::channel();
    let reading = Node::new(metrics.clone(), pods(), samples);
    named("weir-node", move || reading.run(config.interval, &stopped))?;
    let shipper = Shipper::new(Poster::new(target, clients), spool.clone(), stop.clone());
    let (alive, ended) = mpsc::channel();
    let shipping = named("weir-ship", move || {
        shipper.run();
        drop(alive);
    })?;
    let (sender, receiver) = mpsc::channel();
    let measure = Measure::new(source, conntrack, observer, spool.clone(), metrics);
    let measuring = named("weir-measure", move || measure.run(config.interval, &receiver))?;
    Ok(Handle {
        measuring: Some((sender, measuring)),
        shipping: (ended, shipping),
        node,
        endpoint,
        stop,
        spool,
        drain: config.drain,
    })
}

/// One heap for all threads of this process, whose tables of sockets lie outside of it: what one thread lets go of is
/// the others' to use, and a table that has grown leaves no hole. To be called first.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator's own function; it changes nothing of what is allocated already.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
    }
}

/// What the start took and needs no more: reading the kernel's type information takes three times as much as
/// measuring does.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator's own function, without preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn named(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let body = move || {
        step_aside();
        body();
    };
    std::thread::Builder::new().name(name.into()).spawn(body).map_err(Error::Thread)
}

/// The calling thread never interrupts another to run (`SCHED_BATCH`), and where all processors are busy it gets a
/// tenth of one: what it waits for is held by the kernel meanwhile.
fn step_aside() {
    const NICE: libc::c_int = 10;
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters are valid; the calls concern the calling thread alone. Refusals change nothing.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters);
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
}

impl Handle {
    /// Collects once more, delivers what it can within [`Config::drain`], and ends. What is left
    /// waits in the spool for the next start.
    pub fn stop(mut self) {
        // Nobody is there any more to be told that it has ended.
        let _ = self.node.send(());
        self.end_measuring();
        self.stop.by(Instant::now() + self.drain, &self.spool);
        // A request that was sent before may hang for longer: then the thread is left behind, and
        // its batch stays in the spool.
        let _ = self.shipping.0.recv_timeout(self.drain + Duration::from_millis(500));
        let (waiting, lost) = self.spool.leave();
        if lost > 0 {
            tracing::error!(
                lost,
                "batches that the disk refused and the server did not take are lost"
            );
        }
        if waiting > 0 {
            tracing::warn!(waiting, "server did not take every batch, the rest waits in the spool");
        }
    }

    /// Where metrics are offered.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref().map(metrics::Server::address)
    }

    /// Batches that wait for delivery.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.spool.len()
    }

    /// Both threads run. One ends before [`Handle::stop`] only by a defect, with a panic message on
    /// standard error.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let measuring = self.measuring.as_ref().map(|(_, thread)| thread);
        measuring.is_some_and(|thread| !thread.is_finished()) && !self.shipping.1.is_finished()
    }

    fn end_measuring(&mut self) {
        if let Some((sender, measuring)) = self.measuring.take() {
            drop(sender);
            drop(measuring.join());
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end_measuring();
        self.stop.by(Instant::now(), &self.spool);
    }
}

/// The kernel's host name.
#[must_use]
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".into())
}

#[cfg(test)]
mod tests;
