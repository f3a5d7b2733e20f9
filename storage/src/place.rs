//! Where the tables are: on local disk, or in a bucket.
//!
//! Data files are written to local disk in both cases. What differs: with a bucket they are brought
//! there before they are committed, commits are objects, and readers read through a cache.

use std::sync::Arc;

use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::{DeltaTableBuilder, DeltaTableError};
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use crate::delta::log::{LOG_FOLDER, LogError};
use crate::directory::DirectoryLock;
use crate::disk::objects::DiskStore;
use crate::durable::{self, At, FileError};
use crate::local::LocalFiles;
use crate::objects::upload::{UploadError, upload};
use crate::objects::{Bucket, CheckError};
use crate::paths::DataDir;
use crate::tombstone::{TombstoneError, Tombstones};

/// Application transaction whose version is the LSN up to which a table's rows are in files.
///
/// In a bucket, each data directory has a position of its own.
pub(crate) const WAL_APP: &str = "weir/wal";

/// Where the tables are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    dir: DataDir,
    lock: Arc<DirectoryLock>,
    bucket: Option<Arc<Bucket>>,
    /// Nothing may be changed.
    read_only: bool,
}

impl Place {
    pub(crate) fn new(dir: DataDir, lock: Arc<DirectoryLock>, bucket: Option<Arc<Bucket>>) -> Self {
        Self { dir, lock, bucket, read_only: false }
    }

    /// A place on local disk where nothing is changed.
    pub(crate) fn read_only(dir: DataDir, lock: Arc<DirectoryLock>) -> Self {
        Self { dir, lock, bucket: None, read_only: true }
    }

    pub(crate) fn bucket(&self) -> Option<&Arc<Bucket>> {
        self.bucket.as_ref()
    }

    /// Fails if the tables cannot be written now. Local disk says so by itself.
    pub(crate) async fn check(&self) -> Result<(), CheckError> {
        match &self.bucket {
            Some(bucket) => bucket.check().await,
            None => Ok(()),
        }
    }

    /// Who took the tables over from this process.
    pub(crate) fn fenced(&self) -> Option<String> {
        self.bucket.as_ref()?.fenced()
    }

    /// The folder of all tables, for readers.
    pub(crate) fn reader(&self) -> Arc<dyn ObjectStore> {
        match &self.bucket {
            Some(bucket) => Arc::new(bucket.cache().clone()),
            None => Arc::new(DiskStore::read_only(self.dir.disk().clone(), self.dir.tables())),
        }
    }

    /// The same, if the tables are on local disk.
    pub(crate) fn local(&self) -> Option<LocalFiles> {
        let on_disk = self.bucket.is_none();
        on_disk.then(|| LocalFiles::new(self.dir.disk().clone(), self.dir.tables()))
    }

    /// Name of the application transaction of this directory's log.
    pub(crate) fn wal_app(&self) -> &str {
        self.bucket.as_ref().map_or(WAL_APP, |bucket| bucket.wal_app())
    }

    /// A table's URL, and the store of its log.
    pub(crate) fn log_store(&self, table: &str) -> Result<(Url, LogStoreRef), LogError> {
        if let Some(bucket) = &self.bucket {
            let url = bucket.table_url(table);
            let root = bucket.client().clone();
            let below: Arc<dyn ObjectStore> =
                Arc::new(PrefixStore::new(root.clone(), bucket.table(table)));
            let store = default_logstore(below, root, &url, &StorageConfig::default());
            return Ok((url, store));
        }
        let path = self.dir.table(table);
        if !self.read_only {
            durable::create_dir(&self.dir, &path)?;
        }
        let path = self.dir.disk().canonicalize(&path).at("find", &path)?;
        let url = Url::from_directory_path(&path).map_err(|()| LogError::Path(path))?;
        let store = if self.read_only {
            DiskStore::read_only(self.dir.disk().clone(), self.dir.tables())
        } else {
            DiskStore::durable(self.dir.clone(), self.lock.clone())
        };
        let store = location(table)
            .and_then(|location| {
                DeltaTableBuilder::from_url(location.clone())?
                    .with_storage_backend(Arc::new(store), location)
                    .build_storage()
            })
            .map_err(|source| LogError::Delta { url: url.to_string(), source: Box::new(source) })?;
        Ok((url, store))
    }

    /// The deletions that are not over. In a bucket the list is taken over by this.
    pub(crate) async fn load_tombstones(&self) -> Result<Tombstones, TombstoneError> {
        let dir = self.dir.clone();
        let own = tokio::task::spawn_blocking(move || Tombstones::load(&dir)).await??;
        let Some(bucket) = &self.bucket else { return Ok(own) };
        let list = bucket.claim_tombstones(&own).await?;
        // An older version kept them here, where the next writer does not look.
        let dir = self.dir.clone();
        let removed = move || durable::remove(dir.disk().as_ref(), &dir.tombstones());
        tokio::task::spawn_blocking(removed).await??;
        Ok(list)
    }

    /// Makes a list of deletions durable in the place of the one before.
    pub(crate) async fn save_tombstones(&self, list: &Tombstones) -> Result<(), TombstoneError> {
        if let Some(bucket) = &self.bucket {
            return Ok(bucket.save_tombstones(list).await?);
        }
        let (dir, list) = (self.dir.clone(), list.clone());
        tokio::task::spawn_blocking(move || list.save(&dir)).await?
    }

    /// Makes the names of a table's commits durable. A bucket answers only when they are.
    pub(crate) async fn sync_log(&self, table: &str) -> Result<(), FileError> {
        if self.bucket.is_some() {
            return Ok(());
        }
        let (disk, folder) = (self.dir.disk().clone(), self.dir.table(table).join(LOG_FOLDER));
        let cut_short = FileError {
            action: "sync folder",
            path: folder.clone(),
            source: std::io::Error::other("the work was cut short"),
        };
        let synced =
            tokio::task::spawn_blocking(move || durable::sync_dir(disk.as_ref(), &folder)).await;
        synced.unwrap_or(Err(cut_short))
    }

    /// Brings data files that are written to where they can be committed.
    ///
    /// After an error some may be there. [`Place::discard`] removes all of them.
    pub(crate) async fn publish(&self, table: &str, paths: &[String]) -> Result<(), UploadError> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        for path in paths {
            let file = self.dir.table(table).join(path);
            let object = path.split('/').fold(bucket.table(table), |at, part| at.join(part));
            upload(bucket.client(), self.dir.disk(), file.clone(), &object).await?;
            let below = object_path(table, path);
            let (cache, disk) = (bucket.cache().clone(), self.dir.disk().clone());
            tokio::task::spawn_blocking(move || {
                cache.admit(&below, &file);
                durable::remove(disk.as_ref(), &file)
            })
            .await??;
        }
        Ok(())
    }

    /// Removes data files that no commit names. What cannot be removed now is removed later.
    pub(crate) async fn discard(&self, table: &str, paths: Vec<String>) {
        let (dir, folder) = (self.dir.clone(), self.dir.table(table));
        let files = paths.clone();
        let _ = tokio::task::spawn_blocking(move || {
            for path in files {
                if let Err(error) = durable::remove(dir.disk().as_ref(), &folder.join(path)) {
                    tracing::warn!(%error, "a data file that is not needed stays for now");
                }
            }
        })
        .await;
        for path in paths {
            if !self.remove_object(&object_path(table, &path), 0).await {
                // The others would wait as long, and are found as garbage.
                return;
            }
        }
    }

    /// Removes a data file that no table names and nobody reads; `path` is below the tables.
    pub(crate) async fn remove(&self, path: &object_store::path::Path, size: u64) {
        if self.bucket.is_some() {
            self.remove_object(path, size).await;
            return;
        }
        let (disk, file) = (self.dir.disk().clone(), self.dir.tables().join(path.as_ref()));
        let removed =
            tokio::task::spawn_blocking(move || durable::remove(disk.as_ref(), &file)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "a removed file stays on disk until the next start");
        }
    }

    /// Returns if the bucket did what it was asked.
    async fn remove_object(&self, path: &object_store::path::Path, size: u64) -> bool {
        let Some(bucket) = &self.bucket else { return true };
        // What another process has now is not ours to tidy.
        if bucket.fenced().is_some() {
            return false;
        }
        match bucket.cache().delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "a removed file stays in the object store for now");
                return false;
            }
        }
        let (cache, path) = (bucket.cache().clone(), path.clone());
        let _ = tokio::task::spawn_blocking(move || cache.forget(&path, size)).await;
        true
    }
}

/// Where a table is in the store of all tables. The scheme is one for which Delta's crates leave the
/// file system alone: `file` would have them look at it past the store.
fn location(table: &str) -> Result<Url, DeltaTableError> {
    let location = format!("memory:///{table}/");
    Url::parse(&location).map_err(|_| DeltaTableError::InvalidTableLocation(location))
}

fn object_path(table: &str, path: &str) -> object_store::path::Path {
    std::iter::once(table).chain(path.split('/')).collect()
}
