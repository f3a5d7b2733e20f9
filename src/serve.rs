//! The server: opens the history, serves it, and drains on a signal.
//!
//! ```text
//! open the store (lock, recovery)  ->  bind  ->  serve  ->  SIGINT or SIGTERM
//!   -> `up` stops its agent, whose last batch still gets in
//!   -> no new connections; those under way have 10 s
//!   -> the store writes what is in memory to files and lets go of the directory
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_ingest::names::Names;
use weir_ingest::places::LivePlaces;
use weir_ingest::{Enrichment, Receiver, SamplesReceiver};
use weir_query::{Database, Description, Descriptions, LivePrices};
use weir_storage::{ObjectStorage, Store};

use crate::auth::{self, Tokens};
use crate::cli::Serve;
use crate::config::Settings;
use crate::listen::{self, Limits};
use crate::naming::Naming;
use crate::openapi;
use crate::own_metrics::{self, IngestMetrics};
use crate::sources::{Seen, Sources};

/// Requests under way when the server is told to stop have this long.
const GRACE: Duration = Duration::from_secs(10);

/// A server that is up.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    store: Arc<Store>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    naming: Naming,
    sources: Sources,
}

impl Server {
    /// Opens the history and listens.
    ///
    /// # Errors
    /// When the address is refused, the directory cannot be used or the port is taken.
    pub(crate) async fn start(data: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let tokens = settings.token_file.as_deref().map(Tokens::open).transpose()?;
        if !settings.listen.ip().is_loopback() && tokens.is_none() && !settings.insecure {
            bail!(
                "refusing to listen on {}: whoever reaches it could read and write the history; \
                 give --token-file FILE, or --insecure if the network itself is trusted",
                settings.listen
            );
        }
        if settings.admin_api && tokens.is_none() {
            bail!(
                "refusing to serve the admin API without tokens: every user of this host, and every \
                 page in their browsers, could delete history; give --token-file FILE with a line \
                 `admin TOKEN`"
            );
        }
        // Bound first, so that a taken port is told before a long recovery, and served last.
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
        let address = listener.local_addr()?;
        weir_wire::chosen::choose(&settings.labels).map_err(|error| anyhow!("--label: {error}"))?;
        let seen = Seen::of(settings);
        let places = LivePlaces::open(&settings.places)?;
        let enrichment = Enrichment { places, names: Names::new() };
        if let Some(path) = &settings.hosts {
            enrichment.names.read_hosts(path)?;
        }
        let mut store_options = weir_ingest::store_options_with(data, enrichment.clone());
        store_options.retention = settings.retention.clone();
        store_options.memtable_bytes = settings.memtable_bytes;
        store_options.flush_interval = settings.flush_interval;
        store_options.objects = settings
            .store
            .as_ref()
            .map(|url| ObjectStorage::new(url, settings.cache_mib.saturating_mul(1 << 20)));
        // Its text tells its causes already.
        let store = Store::open(store_options).await.map_err(|e| anyhow!(e.to_string()))?;
        let mut queries = weir_query::Settings::default();
        queries.resources.memory_bytes = settings.query_memory_mib.max(1).saturating_mul(1 << 20);
        queries.resources.spill_bytes = settings.query_spill_mib.saturating_mul(1 << 20);
        if let Some(path) = &settings.prices {
            queries.resources.prices = LivePrices::read(path)?;
        }
        queries.engine.max_samples = settings.query_max_samples.max(1);
        queries.about = settings.about();
        queries.resources.spill_folder = Some(emptied(store.spill_folder()));
        let database = Database::new(store.clone(), &queries.resources);
        let naming =
            Naming::start(settings.kubernetes.as_ref(), &enrichment, &store, &database).await?;
        let prices = &queries.resources.prices;
        let sources = Sources::follow(data, settings, &seen, &enrichment, prices)?;
        let receiver = Receiver::new(store.clone()).with(enrichment);
        let router = router(&store, database, (receiver, &sources), &queries, settings, tokens);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(listen::serve(listener, router, Limits::default(), stopped));
        tracing::info!(%address, data = %data.display(), "listening");
        Ok(Self { address, store, stop, task, naming, sources })
    }

    /// Where it listens; the port is the real one if 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until SIGINT or SIGTERM, or until serving fails.
    ///
    /// # Errors
    /// When serving fails.
    pub(crate) async fn until_signal(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            signal = signal() => signal,
            ended = &mut self.task => {
                ended.context("server task failed")?;
                bail!("serving ended by itself")
            }
        }
    }

    /// Drains: finishes requests under way, writes everything to files, lets go of the directory.
    ///
    /// # Errors
    /// When the last files cannot be written; the log still has the rows then.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        // A task that has ended already (serving failed) must not be asked again.
        if !self.task.is_finished() && tokio::time::timeout(GRACE, &mut self.task).await.is_err() {
            tracing::warn!("requests still under way after {} s are left behind", GRACE.as_secs());
            self.task.abort();
        }
        drop((self.naming, self.sources));
        self.store
            .close()
            .await
            .map_err(|e| anyhow!(e.to_string()))
            .context("history was not written out; its log keeps it")?;
        Ok(())
    }
}

/// Removes what a killed server left in the folder. Nobody else uses it: the store holds the lock.
fn emptied(folder: PathBuf) -> PathBuf {
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let folder = folder.display();
            tracing::warn!(%folder, %error, "left-over intermediate results of queries stay");
        }
        _ => {}
    }
    folder
}

fn router(
    store: &Arc<Store>,
    database: Database,
    (receiver, sources): (Receiver, &Sources),
    queries: &weir_query::Settings,
    settings: &Settings,
    tokens: Option<Arc<Tokens>>,
) -> Router {
    let samples = SamplesReceiver::beside(&receiver, &settings.samples);
    let metrics = IngestMetrics {
        flows: receiver.metrics().clone(),
        samples: samples.metrics().clone(),
        names: receiver.names().clone(),
        sources: Arc::clone(sources.status()),
    };
    let known = samples.metadata().clone();
    let descriptions = Descriptions::new(move |only, tell| {
        known.each(only, |name, metadata| {
            let kind = metadata.metric_type.as_str().to_owned();
            let (unit, help) = (metadata.unit.clone(), metadata.help.clone());
            tell(name, Description { kind, unit, help });
        });
    });
    let queries = weir_query::Settings { descriptions, ..queries.clone() };
    let router = weir_ingest::router(receiver)
        .merge(weir_ingest::samples_router(samples))
        .merge(weir_query::router_over(database.clone(), &queries))
        .merge(own_metrics::router(store.clone(), metrics, database))
        .merge(openapi::router(&openapi::document(tokens.is_some(), settings.admin_api)));
    let router = if settings.admin_api {
        router.merge(weir_query::admin_router(store.clone()))
    } else {
        router
    };
    match tokens {
        None => router.layer(axum::middleware::from_fn(auth::refuse_pages)),
        Some(tokens) => router.layer(axum::middleware::from_fn_with_state(tokens, auth::require)),
    }
}

/// Waits for SIGINT or SIGTERM.
async fn signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// `weir serve`.
///
/// # Errors
/// When the server cannot start, or cannot drain.
pub(crate) async fn serve(options: &Serve) -> anyhow::Result<()> {
    let settings = Settings::new(&options.server)?;
    let data = settings.folder(options.data.as_ref())?;
    let mut server = Server::start(&data, &settings).await?;
    eprintln!("weir serves {} on http://{}", data.display(), server.address());
    let ended = server.until_signal().await;
    eprintln!("weir is writing its history out");
    server.stop().await?;
    ended
}
