//! Tables in a bucket: `s3://`, `gs://`, `az://`.
//!
//! ```text
//! PREFIX/_weir/store           the store's identity ([`binding`])
//! PREFIX/_weir/writer          who writes to it ([`fence`])
//! PREFIX/_weir/tombstones      deletions that are not over ([`tombstones`])
//! PREFIX/tables/NAME/          a Delta table: _delta_log/ and data files, as on local disk
//!
//! DIR/wal/                     log and list of senders stay on local disk
//! DIR/store                    which store the directory belongs to
//! DIR/tables/NAME/...          data files on their way to the bucket; emptied at open
//! DIR/cache/                   blocks of data files that were read or written ([`cache`])
//! ```
//!
//! Opening a store:
//!
//! 1. [`location`]: read its URL and the environment; [`probe`]: does the bucket keep two writers apart?
//! 2. [`binding`]: directory and store must belong together.
//! 3. [`fence`]: claim the store, in its object and then in each table. Nobody else commits from then on.
//! 4. Load the tables, take the list of deletions over, and replay what this directory's log has beyond its own position in them.
//!
//! A flush writes its files to local disk, uploads them ([`upload`]), and commits them by making the
//! next object of the table's log. While the bucket does not answer, rows stay in memory and in the
//! log, as with a full disk; at the memory bound appends are refused. Files that were uploaded and
//! never committed are found by listing ([`garbage`]).

mod binding;
pub(crate) mod cache;
mod connector;
pub(crate) mod fence;
pub(crate) mod garbage;
mod location;
mod probe;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tombstones;
pub(crate) mod upload;
pub(crate) mod watch;

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use parking_lot::Mutex;
use thiserror::Error;
use url::Url;

use self::binding::{Binding, BindingError};
use self::cache::Cache;
use self::fence::{Claim, FenceError};
use self::garbage::Suspects;
use self::location::{Location, LocationError};
use self::probe::ProbeError;
use self::tombstones::{Held, SharedError};
use crate::durable::{self, FileError};
use crate::paths::DataDir;
use crate::tombstone::Tombstones;

/// Tables in a bucket instead of on local disk.
#[derive(Debug, Clone)]
pub struct ObjectStorage {
    url: String,
    cache_bytes: u64,
    client: Option<Arc<dyn ObjectStore>>,
}

impl ObjectStorage {
    /// The store at `url` (`s3://BUCKET/PREFIX`, `gs://` or `az://`; credentials and endpoint come
    /// from the environment), with at most `cache_bytes` of it kept on local disk; 0 keeps nothing.
    #[must_use]
    pub fn new(url: impl Into<String>, cache_bytes: u64) -> Self {
        Self { url: url.into(), cache_bytes, client: None }
    }

    /// The same with another client of the bucket.
    #[cfg(test)]
    pub(crate) fn with_client(self, client: Arc<dyn ObjectStore>) -> Self {
        Self { client: Some(client), ..self }
    }
}

/// What a bucket did not do.
#[derive(Debug, Error)]
#[error("{url} refuses or does not answer ({advice}): {source}")]
pub(crate) struct Refused {
    url: Location,
    advice: &'static str,
    source: object_store::Error,
}

impl Refused {
    fn new(url: &Location, source: object_store::Error) -> Box<Self> {
        Box::new(Self { url: url.clone(), advice: url.advice(&source), source })
    }
}

/// Why a bucket cannot be used.
#[derive(Debug, Error)]
pub(crate) enum BucketError {
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error("{url}: {source}")]
    Probe { url: String, source: Box<ProbeError> },
    #[error(transparent)]
    Binding(#[from] BindingError),
    #[error("{url}: {source}")]
    Fence { url: String, source: Box<FenceError> },
    #[error(transparent)]
    Store(Box<Refused>),
    #[error(transparent)]
    File(#[from] FileError),
}

impl BucketError {
    /// Whether the bucket or disk may do what they refused at another time.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Store(_) | Self::File(_))
    }
}

/// Why the tables in a bucket cannot be written now.
#[derive(Debug, Error)]
pub(crate) enum CheckError {
    #[error(
        "{by} took the object store over; let one process write to it. What was acknowledged here and is not in the tables stays in this directory's log, and enters them when the directory is opened again"
    )]
    Fenced { by: String },
    #[error("{url} has lost its objects; restore the bucket")]
    Gone { url: String },
    #[error(transparent)]
    Store(Box<Refused>),
    #[error("{url}: {source}")]
    Fence { url: String, source: Box<FenceError> },
    #[error("{url}: {source}")]
    Tombstones { url: String, source: Box<SharedError> },
    #[error("the object store did not take everything within {} s", limit.as_secs())]
    Slow { limit: Duration },
}

/// A store in a bucket that this process has claimed.
#[derive(Debug)]
pub(crate) struct Bucket {
    location: Location,
    client: Arc<dyn ObjectStore>,
    cache: Cache,
    claim: Claim,
    wal_app: String,
    /// Who took the store over.
    fenced: Mutex<Option<String>>,
    suspects: Mutex<Suspects>,
    /// The list of deletions; `None` before it was taken over.
    tombstones: tokio::sync::Mutex<Option<Held>>,
}

impl Bucket {
    /// Connects to the bucket and claims the store in it for a directory.
    pub(crate) async fn open(
        options: &ObjectStorage,
        dir: &DataDir,
        now: i64,
    ) -> Result<Self, BucketError> {
        let location = Location::parse(&options.url)?;
        let client = match &options.client {
            Some(client) => client.clone(),
            None => location.connect(std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            }))?,
        };
        let bound = binding::local(dir)?;
        let prefix = &location.prefix;
        let refused = |source| BucketError::Store(Refused::new(&location, source));
        probe::probe(&client, prefix, dir.disk().unique()).await.map_err(|e| match e {
            ProbeError::Store(source) => refused(source),
            other => BucketError::Probe { url: location.to_string(), source: Box::new(other) },
        })?;
        let text = location.to_string();
        let id = binding::store_id(&client, prefix, &text, bound.as_ref(), dir);
        let id = id.await.map_err(|e| match e {
            BindingError::Store(source) => refused(source),
            other => other.into(),
        })?;
        let binding: Binding = match bound {
            Some(bound) => bound,
            None => binding::bind(dir, id)?,
        };
        let (claim, before) =
            fence::claim(&client, prefix, dir.disk().unique(), now).await.map_err(|e| match e {
                FenceError::Store(source) => refused(source),
                other => BucketError::Fence { url: location.to_string(), source: Box::new(other) },
            })?;
        if let Some(before) = before {
            tracing::info!(store = %location, claim = claim.epoch, %before, "took the store over");
        }
        let tables = PrefixStore::new(client.clone(), prefix.clone().join("tables"));
        let cache = Cache::open(Arc::new(tables), dir, options.cache_bytes)?;
        Ok(Self {
            client,
            cache,
            claim,
            wal_app: binding.wal_app(),
            fenced: Mutex::new(None),
            suspects: Mutex::default(),
            tombstones: tokio::sync::Mutex::default(),
            location,
        })
    }

    /// A client of the whole bucket.
    pub(crate) fn client(&self) -> &Arc<dyn ObjectStore> {
        &self.client
    }

    /// The folder of all tables, read through the cache.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// See [`Binding::wal_app`].
    pub(crate) fn wal_app(&self) -> &str {
        &self.wal_app
    }

    /// The epoch of this process's claim.
    pub(crate) fn epoch(&self) -> u64 {
        self.claim.epoch
    }

    /// Where a table is in the bucket.
    pub(crate) fn table(&self, name: &str) -> Path {
        self.location.prefix.clone().join("tables").join(name)
    }

    /// The table's URL, with a slash at its end.
    pub(crate) fn table_url(&self, name: &str) -> Url {
        let mut url = self.location.url.clone();
        url.set_path(&format!("/{}/", self.table(name)));
        url
    }

    /// Who took the store over from this process, if that is known.
    pub(crate) fn fenced(&self) -> Option<String> {
        self.fenced.lock().clone()
    }

    /// Notes that a table belongs to a later claim.
    pub(crate) async fn lost_to(&self, epoch: u64) -> String {
        let by = match fence::holder(&self.client, &self.location.prefix).await {
            Ok(Some(holder)) if holder.epoch >= epoch => holder.to_string(),
            _ => format!("another process (claim {epoch})"),
        };
        self.note_fenced(by)
    }

    /// Asks the bucket if it answers, and if the store is still this process's.
    pub(crate) async fn check(&self) -> Result<(), CheckError> {
        if let Some(by) = self.fenced() {
            return Err(CheckError::Fenced { by });
        }
        match fence::holder(&self.client, &self.location.prefix).await {
            Ok(Some(holder)) if holder.epoch > self.claim.epoch => {
                Err(CheckError::Fenced { by: self.note_fenced(holder.to_string()) })
            }
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(CheckError::Gone { url: self.location.to_string() }),
            Err(FenceError::Store(source)) => Err(self.refused(source)),
            Err(source) => {
                let url = self.location.to_string();
                Err(CheckError::Fence { url, source: Box::new(source) })
            }
        }
    }

    /// Takes the list of deletions over; `more` enters it. Called once the tables are claimed.
    pub(crate) async fn claim_tombstones(
        &self,
        more: &Tombstones,
    ) -> Result<Tombstones, CheckError> {
        let mut held = self.tombstones.lock().await;
        let prefix = &self.location.prefix;
        match tombstones::claim(&self.client, prefix, self.claim.epoch, more).await {
            Ok((list, taken)) => {
                *held = Some(taken);
                Ok(list)
            }
            Err(error) => Err(self.tombstones_refused(error).await),
        }
    }

    /// Makes a list of deletions durable in the place of the one before.
    pub(crate) async fn save_tombstones(&self, list: &Tombstones) -> Result<(), CheckError> {
        let mut held = self.tombstones.lock().await;
        let Some(held) = held.as_mut() else {
            return Err(CheckError::Gone { url: self.location.to_string() });
        };
        match tombstones::save(&self.client, held, list).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.tombstones_refused(error).await),
        }
    }

    async fn tombstones_refused(&self, error: SharedError) -> CheckError {
        match error {
            SharedError::Overtaken { epoch } => {
                CheckError::Fenced { by: self.lost_to(epoch).await }
            }
            SharedError::Store(source) => self.refused(source),
            source => {
                let url = self.location.to_string();
                CheckError::Tombstones { url, source: Box::new(source) }
            }
        }
    }

    fn refused(&self, source: object_store::Error) -> CheckError {
        CheckError::Store(Refused::new(&self.location, source))
    }

    fn note_fenced(&self, by: String) -> String {
        let mut fenced = self.fenced.lock();
        if let Some(known) = &*fenced {
            return known.clone();
        }
        tracing::error!(store = %self.location, %by, "another process took the store over; this one takes no rows any more");
        *fenced = Some(by.clone());
        by
    }
}

/// Refuses a directory that belongs to an object store and is opened without one.
pub(crate) fn refuse_bound(dir: &DataDir) -> Result<(), BucketError> {
    Ok(binding::none(dir)?)
}

/// Removes what a stop left of files on their way to the bucket.
pub(crate) fn empty_outbox(dir: &DataDir) -> Result<(), FileError> {
    let disk = dir.disk().as_ref();
    let mut folders = vec![dir.tables()];
    while let Some(folder) = folders.pop() {
        use crate::durable::At as _;
        for entry in disk.read_dir(&folder).at("read folder", &folder)? {
            let path = folder.join(entry.name);
            if entry.is_folder {
                folders.push(path);
            } else {
                durable::remove(disk, &path)?;
            }
        }
    }
    Ok(())
}
