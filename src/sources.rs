//! Files and lists that are read again while the server runs.
//!
//! ```text
//! file:  its stamp changes  ->  it has been still for [`POLL`]  ->  read, checked, used
//! URL:   at the start, then every `--cloud-ranges-interval`, earlier after a failure
//!        ->  fetched ([`fetch`])  ->  checked  ->  used  ->  kept in the data folder ([`kept`])
//! ```
//!
//! What cannot be used leaves what was good before in use; the log and [`status`] say so. Nothing waits for any of
//! this: rows and queries take what is in use at their moment.

mod fetch;
mod kept;
mod lists;
mod status;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use weir_ingest::Enrichment;
use weir_ingest::places::CloudSource;
use weir_query::LivePrices;

use crate::config::Settings;
use fetch::Client;
use kept::Kept;
use lists::List;
pub(crate) use status::Status;
use status::{Outcome, Subject};

/// How often files are looked at.
const POLL: Duration = Duration::from_secs(2);

/// What goes on while the server runs; ends when dropped.
#[derive(Debug)]
pub(crate) struct Sources {
    _tasks: JoinSet<()>,
    status: Arc<Status>,
}

/// Whose content is used when it is read anew.
type Read = Arc<dyn Fn() -> anyhow::Result<()> + Send + Sync>;

impl Sources {
    /// Follows all that the settings name; of URLs, uses the copies that were kept.
    ///
    /// # Errors
    /// The file of authorities cannot be used.
    pub(crate) fn follow(
        data: &Path,
        settings: &Settings,
        seen: &Seen,
        enrichment: &Enrichment,
        prices: &LivePrices,
    ) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let status = Arc::new(Status::default());
        let mut add = |kind, path: &Path, read: Read| {
            let subject = Subject::new(kind, path.display());
            status.tell(&subject, Outcome::Taken);
            let used = seen.stamp(path);
            tasks.spawn(watch(path.to_owned(), used, subject, read, Arc::clone(&status)));
        };
        let places = &enrichment.places;
        for source in &settings.places.cloud_ranges {
            if let CloudSource::File(path) = source {
                let (places, own) = (Arc::clone(places), path.clone());
                add("cloud-ranges", path, Arc::new(move || Ok(places.reread(&own)?)));
            }
        }
        for path in &settings.places.databases {
            let places = Arc::clone(places);
            add("mmdb", path, Arc::new(move || Ok(places.reread_databases()?)));
        }
        if let Some(path) = &settings.hosts {
            let (names, own) = (Arc::clone(&enrichment.names), path.clone());
            add("hosts", path, Arc::new(move || Ok(names.reread_hosts(&own)?)));
        }
        if let Some(path) = &settings.prices {
            let (prices, own) = (prices.clone(), path.clone());
            add("prices", path, Arc::new(move || Ok(prices.reread(&own)?)));
        }
        if let Some(path) = &settings.file {
            let (places, own, given) =
                (Arc::clone(places), path.clone(), settings.given_networks.clone());
            let read = move || {
                places.rename(&crate::config::networks_of(&own, &given)?);
                Ok(())
            };
            add("networks", path, Arc::new(read));
        }
        let client = Client::new(settings.cloud_ranges_ca.as_deref(), fetch::Limits::default())?;
        for source in &settings.places.cloud_ranges {
            let CloudSource::Url(url) = source else { continue };
            let list = List {
                source: source.clone(),
                client: client.clone(),
                kept: Kept::of(data, url),
                places: Arc::clone(places),
                interval: settings.cloud_ranges_interval,
                status: Arc::clone(&status),
            };
            tasks.spawn(list.follow());
        }
        Ok(Self { _tasks: tasks, status })
    }

    /// For the metrics.
    pub(crate) fn status(&self) -> &Arc<Status> {
        &self.status
    }
}

/// When a file was changed, how long it is and which it is: a new one may have been put in its place.
type Stamp = Option<(SystemTime, u64, u64)>;

fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}

/// Files as they were before they were read for the first time, so that what changes while the server starts is seen.
#[derive(Debug)]
pub(crate) struct Seen(HashMap<PathBuf, Stamp>);

impl Seen {
    /// Looks at all files that the settings name.
    pub(crate) fn of(settings: &Settings) -> Self {
        let lists = settings.places.cloud_ranges.iter().filter_map(|source| match source {
            CloudSource::File(path) => Some(path),
            CloudSource::Url(_) => None,
        });
        let single = [&settings.hosts, &settings.prices, &settings.file];
        let paths = lists.chain(&settings.places.databases).chain(single.into_iter().flatten());
        Self(paths.map(|path| (path.clone(), stamp(path))).collect())
    }

    fn stamp(&self, path: &Path) -> Stamp {
        self.0.get(path).copied().flatten()
    }
}

async fn watch(path: PathBuf, mut used: Stamp, subject: Subject, read: Read, status: Arc<Status>) {
    let mut before = stamp(&path);
    loop {
        tokio::time::sleep(POLL).await;
        let now = stamp(&path);
        // Somebody may be writing it.
        let is_still = now == before;
        before = now;
        if now == used || !is_still {
            continue;
        }
        used = now;
        let read = Arc::clone(&read);
        let done = tokio::task::spawn_blocking(move || read()).await;
        match done.map_err(anyhow::Error::from).and_then(|done| done) {
            Ok(()) => {
                tracing::info!(%subject, "has changed and is used from now on");
                status.tell(&subject, Outcome::Taken);
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(%subject, error, "has changed and cannot be used, what it was before stays in use");
                status.tell(&subject, Outcome::Refused);
            }
        }
    }
}
