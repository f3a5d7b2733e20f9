//! Object stores over a disk: the one under the table logs, and the one that readers read from.
//!
//! `object_store`'s own local store does not sync what it writes. A commit that a power failure can
//! take back must not count, since log segments are removed because of it. So a put is synced, and
//! its folder too, before it returns.
//!
//! All file work happens on blocking threads. Ranges are read at their place, one after the other in
//! one go; whole objects come in pieces of [`PIECE`].

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, UploadPart,
};

use super::{Disk, File, Metadata, Mode};
use crate::directory::DirectoryLock;
use crate::durable::{self, At, FileError, Taken};
use crate::paths::DataDir;

const STORE: &str = "DiskStore";

/// Bytes that one read of a whole object takes at most.
const PIECE: u64 = 4 << 20;

/// Files below a folder as objects.
#[derive(Debug, Clone)]
pub(crate) struct DiskStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// What writing needs; `None` for readers.
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Writer {
    /// Where unfinished files are.
    dir: DataDir,
    /// A put may still be under way when everything else is gone.
    _lock: Arc<DirectoryLock>,
}

impl DiskStore {
    /// A store of the data directory's tables; unfinished files are kept in its `tmp`.
    pub(crate) fn durable(dir: DataDir, lock: Arc<DirectoryLock>) -> Self {
        let (disk, root) = (dir.disk().clone(), dir.tables());
        Self(Arc::new(Inner { disk, root, writer: Some(Writer { dir, _lock: lock }) }))
    }

    /// A store of what is below a folder, for readers.
    pub(crate) fn read_only(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        Self(Arc::new(Inner { disk, root, writer: None }))
    }

    async fn write(&self, location: &Path, payload: PutPayload, taken: Taken) -> Result<PutResult> {
        let to = location.clone();
        self.0
            .run(move |store| {
                let Some(Writer { dir, .. }) = &store.writer else { return Err(read_only("put")) };
                let (disk, path) = (store.disk.as_ref(), store.path(&to));
                let written = match path.parent() {
                    Some(folder) => durable::create_dir(dir, folder),
                    None => Ok(()),
                }
                .and_then(|()| {
                    let bytes = payload.iter().map(AsRef::as_ref);
                    durable::write(disk, &dir.new_tmp(), &path, taken, bytes)
                });
                written.map_err(|e| convert(&to, e))
            })
            .await?;
        Ok(PutResult { e_tag: None, version: None })
    }
}

impl Inner {
    /// Does file work where it may block.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.clone();
        if !store.disk.blocks() {
            return work(&store);
        }
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|e| Err(Error::JoinError { source: e }))
    }

    fn path(&self, location: &Path) -> PathBuf {
        self.root.join(location.as_ref())
    }

    fn open(&self, location: &Path) -> Result<(Box<dyn File>, ObjectMeta)> {
        let path = self.path(location);
        let opened = (|| {
            let file = self.disk.open(&path, Mode::Read)?;
            let found = file.metadata()?;
            if found.is_folder {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok((file, found))
        })();
        let (file, found) = opened.at("open", &path).map_err(|e| convert(location, e))?;
        Ok((file, meta(location.clone(), found)))
    }

    /// Objects and folders directly in a folder; nothing if it is not there.
    fn read_folder(&self, folder: &Path) -> Result<(Vec<ObjectMeta>, Vec<Path>)> {
        self.read_folder_after(folder, None)
    }

    /// As [`Inner::read_folder`], of the objects only those after `offset`. Others are not looked at,
    /// so the end of a long log is found without asking the disk for all of it.
    fn read_folder_after(
        &self,
        folder: &Path,
        offset: Option<&Path>,
    ) -> Result<(Vec<ObjectMeta>, Vec<Path>)> {
        let path = self.path(folder);
        let (mut objects, mut folders) = (Vec::new(), Vec::new());
        let entries = match self.disk.read_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((objects, folders)),
            other => other.at("read folder", &path).map_err(|e| convert(folder, e))?,
        };
        for entry in entries {
            // A name that no object can have belongs to someone else.
            let Some(name) = entry.name.to_str() else { continue };
            let Ok(location) = Path::parse(format!("{folder}/{name}")) else { continue };
            if !entry.is_folder && offset.is_some_and(|offset| location <= *offset) {
                continue;
            }
            match self.disk.metadata(&path.join(name)) {
                Ok(found) if found.is_folder => folders.push(location),
                Ok(found) => objects.push(meta(location, found)),
                // Removed since, or a link to nothing.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => {
                    let error = FileError { action: "read", path: path.join(name), source: e };
                    return Err(convert(&location, error));
                }
            }
        }
        objects.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        folders.sort_unstable();
        Ok((objects, folders))
    }

    /// All objects below a folder, in order of location.
    fn walk(&self, folder: &Path, offset: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let (mut found, mut folders) = self.read_folder_after(folder, offset)?;
        while let Some(folder) = folders.pop() {
            let (objects, below) = self.read_folder_after(&folder, offset)?;
            found.extend(objects);
            folders.extend(below);
        }
        found.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }
}

fn read(file: &dyn File, location: &Path, range: &Range<u64>) -> Result<Bytes> {
    let length = usize::try_from(range.end.saturating_sub(range.start));
    let read = length.map_err(io::Error::other).and_then(|length| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, range.start).map(|()| bytes)
    });
    match read.at("read", std::path::Path::new(location.as_ref())) {
        Ok(bytes) => Ok(bytes.into()),
        Err(e) => Err(convert(location, e)),
    }
}

/// The rest of a range, piece by piece.
fn pieces(
    store: Arc<Inner>,
    file: Box<dyn File>,
    location: Path,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes>> {
    let start = (store, Arc::<dyn File>::from(file), location, range);
    stream::try_unfold(start, |(store, file, location, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let end = range.end.min(range.start.saturating_add(PIECE));
        let (next, at) = (file.clone(), location.clone());
        let bytes = store.run(move |_| read(next.as_ref(), &at, &(range.start..end))).await?;
        Ok(Some((bytes, (store, file, location, end..range.end))))
    })
    .boxed()
}

fn meta(location: Path, found: Metadata) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: found.modified.into(),
        size: found.length,
        e_tag: None,
        version: None,
    }
}

fn read_only(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.into(), implementer: "a reader's store".into() }
}

fn convert(location: &Path, error: FileError) -> Error {
    let path = location.to_string();
    match error.source.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: Box::new(error) },
        io::ErrorKind::NotFound => Error::NotFound { path, source: Box::new(error) },
        _ => Error::Generic { store: STORE, source: Box::new(error) },
    }
}

impl fmt::Display for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE}({})", self.0.root.display())
    }
}

#[async_trait]
impl ObjectStore for DiskStore {
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
        let (pieces_of, location) = (self.0.clone(), location.clone());
        self.0
            .run(move |store| {
                let (file, meta) = store.open(&location)?;
                options.check_preconditions(&meta)?;
                let range = match &options.range {
                    Some(range) => range
                        .as_range(meta.size)
                        .map_err(|e| Error::Generic { store: STORE, source: Box::new(e) })?,
                    None => 0..meta.size,
                };
                let payload = if options.head {
                    stream::empty().boxed()
                } else if range.end.saturating_sub(range.start) <= PIECE {
                    let bytes = read(file.as_ref(), &location, &range)?;
                    stream::once(std::future::ready(Ok(bytes))).boxed()
                } else {
                    pieces(pieces_of, file, location, range.clone())
                };
                Ok(GetResult {
                    payload: GetResultPayload::Stream(payload),
                    meta,
                    range,
                    attributes: Attributes::default(),
                })
            })
            .await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (location, ranges) = (location.clone(), ranges.to_vec());
        self.0
            .run(move |store| {
                let path = store.path(&location);
                let file = store.disk.open(&path, Mode::Read).at("open", &path);
                let file = file.map_err(|e| convert(&location, e))?;
                ranges.iter().map(|range| read(file.as_ref(), &location, range)).collect()
            })
            .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.0.clone();
        locations
            .and_then(move |location| {
                let store = store.clone();
                async move {
                    store
                        .run(move |store| {
                            if store.writer.is_none() {
                                return Err(read_only("delete"));
                            }
                            let path = store.path(&location);
                            let removed = store.disk.remove_file(&path).at("remove", &path);
                            removed.map_err(|e| convert(&location, e)).map(|()| location)
                        })
                        .await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, folder) = (self.0.clone(), prefix.cloned().unwrap_or_default());
        let found = async move { store.run(move |store| store.walk(&folder, None)).await };
        stream::once(found)
            .map_ok(|found| stream::iter(found.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, folder) = (self.0.clone(), prefix.cloned().unwrap_or_default());
        let offset = offset.clone();
        let found = async move { store.run(move |store| store.walk(&folder, Some(&offset))).await };
        stream::once(found)
            .map_ok(|found| stream::iter(found.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = prefix.cloned().unwrap_or_default();
        let read = self.0.run(move |store| store.read_folder(&folder)).await;
        let (objects, common_prefixes) = read?;
        Ok(ListResult { common_prefixes, objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let bytes = self.get_opts(from, GetOptions::default()).await?.bytes().await?;
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
    store: DiskStore,
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
        let store = DiskStore::durable(dir.clone(), lock);
        let at = Path::from("t/_delta_log/0.json");
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

    #[tokio::test]
    async fn readers_get_ranges_pieces_and_lists_but_cannot_write() {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().join("with space %25");
        std::fs::create_dir_all(root.join("a=1/b")).unwrap();
        let large: Vec<u8> = (0..2 * PIECE + 5).map(|n| u8::try_from(n % 251).unwrap()).collect();
        std::fs::write(root.join("a=1/b/large"), &large).unwrap();
        std::fs::write(root.join("a=1/small"), "0123456789").unwrap();
        let store = DiskStore::read_only(Arc::new(crate::disk::real::RealDisk), root);
        let at = Path::from("a=1/b/large");
        let read = store.get(&at).await.unwrap();
        assert_eq!((read.meta.size, read.meta.location.clone()), (2 * PIECE + 5, at.clone()));
        let pieces: Vec<Bytes> = read.into_stream().try_collect().await.unwrap();
        assert_eq!(pieces.len(), 3);
        assert!(pieces.concat() == large);
        let ranges = store.get_ranges(&Path::from("a=1/small"), &[2..4, 9..10]).await.unwrap();
        assert_eq!(ranges, ["23", "9"]);
        let cut = store.get_ranges(&Path::from("a=1/small"), &[0..1, 9..12]).await;
        assert!(matches!(cut, Err(Error::Generic { .. })), "{cut:?}");
        let tail = GetOptions::new().with_range(Some(object_store::GetRange::Suffix(3)));
        let tail = store.get_opts(&Path::from("a=1/small"), tail).await.unwrap();
        assert_eq!((tail.range.clone(), tail.bytes().await.unwrap()), (7..10, "789".into()));
        let names: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
        let names: Vec<_> = names.iter().map(|m| m.location.as_ref()).collect();
        assert_eq!(names, ["a=1/b/large", "a=1/small"]);
        let listed = store.list_with_delimiter(Some(&"a=1".into())).await.unwrap();
        assert_eq!(listed.common_prefixes, [Path::from("a=1/b")]);
        assert_eq!(listed.objects.len(), 1);
        for missing in ["a=1/none", "a=1/b"] {
            let missing = store.head(&Path::from(missing)).await;
            assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
        }
        assert_eq!(store.list(Some(&"none".into())).count().await, 0);
        store.put(&at, "x".into()).await.unwrap_err();
        store.delete(&at).await.unwrap_err();
    }
}
