//! The object store under the table logs: the local file system, made durable.
//!
//! `object_store`'s own local store does not sync what it writes. A commit that a power failure can
//! take back must not count, since log segments are removed because of it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

use crate::directory::DirectoryLock;
use crate::durable::{self, FileError, Taken};
use crate::paths::DataDir;

const STORE: &str = "DurableStore";

/// Local files that are synced, and their folder too, before a put returns.
#[derive(Debug, Clone)]
pub(crate) struct DurableStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local: LocalFileSystem,
    dir: DataDir,
    /// A put may still be under way when everything else is gone.
    lock: Arc<DirectoryLock>,
}

impl DurableStore {
    /// A store of the whole file system; unfinished files are kept in the data directory.
    pub(crate) fn new(dir: DataDir, lock: Arc<DirectoryLock>) -> Self {
        Self(Arc::new(Inner { local: LocalFileSystem::new(), dir, lock }))
    }

    async fn write(&self, location: &Path, payload: PutPayload, taken: Taken) -> Result<PutResult> {
        let path = self.0.local.path_to_filesystem(location)?;
        let tmp = self.0.dir.new_tmp();
        let lock = self.0.lock.clone();
        let work = tokio::task::spawn_blocking(move || {
            if let Some(folder) = path.parent() {
                durable::create_dir(folder)?;
            }
            let done = durable::write(&tmp, &path, taken, payload.iter().map(AsRef::as_ref));
            drop(lock);
            done
        });
        match work.await {
            Ok(Ok(())) => Ok(PutResult { e_tag: None, version: None }),
            Ok(Err(error)) => Err(convert(location, error)),
            Err(join) => Err(Error::JoinError { source: join }),
        }
    }
}

fn convert(location: &Path, error: FileError) -> Error {
    if error.source.kind() == std::io::ErrorKind::AlreadyExists {
        Error::AlreadyExists { path: location.to_string(), source: Box::new(error) }
    } else {
        Error::Generic { store: STORE, source: Box::new(error) }
    }
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE}({})", self.0.dir.root().display())
    }
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let taken = match opts.mode {
            PutMode::Overwrite => Taken::Replace,
            PutMode::Create => Taken::Refuse,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "conditional update".into(),
                    implementer: STORE.into(),
                });
            }
        };
        self.write(location, payload, taken).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload { store: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.local.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.local.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.local.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.local.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let bytes = self.0.local.get_opts(from, GetOptions::default()).await?.bytes().await?;
        let taken = match options.mode {
            object_store::CopyMode::Overwrite => Taken::Replace,
            object_store::CopyMode::Create => Taken::Refuse,
        };
        self.write(to, bytes.into(), taken).await.map(|_| ())
    }
}

/// An upload in parts, written at once when complete: these are table checkpoints, a few megabytes.
#[derive(Debug)]
struct Upload {
    store: DurableStore,
    location: Path,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.extend(data);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload = std::mem::take(&mut self.parts).into_iter().collect();
        self.store.write(&self.location, payload, Taken::Replace).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn one_of_two_commits_wins_and_nothing_is_left_over() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(tmp.path().to_owned());
        let lock = Arc::new(crate::directory::acquire(&dir).unwrap());
        let store = DurableStore::new(dir.clone(), lock);
        let at = Path::from_absolute_path(tmp.path().join("t/_delta_log/0.json")).unwrap();
        let create = PutOptions::from(PutMode::Create);
        store.put_opts(&at, "first".into(), create.clone()).await.unwrap();
        let second = store.put_opts(&at, "second".into(), create).await;
        assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
        assert_eq!(store.get(&at).await.unwrap().bytes().await.unwrap(), "first");

        let mut upload = store.put_multipart(&at).await.unwrap();
        upload.put_part("in ".into()).await.unwrap();
        upload.put_part("parts".into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(store.get(&at).await.unwrap().bytes().await.unwrap(), "in parts");
        assert_eq!(std::fs::read_dir(dir.tmp()).unwrap().count(), 0);
    }
}
