//! A cache on local disk of what is read from a bucket.
//!
//! Data files never change, so what is cached of them is right as long as it is whole. Files of up to
//! 128 MiB are read in small pieces (footer, index, the pages that a selector leaves over), so it
//! keeps [`block::SIZE`] blocks and not files: the part of a file that is read is there, the rest
//! takes no room.
//!
//! - A read is cut at block borders. Blocks in the cache are read from it, missing neighbours fetched
//!   in one request, which everyone who needs one of them shares ([`flight`]).
//! - A block that was found on disk at the start counts only once its checksum was compared. After
//!   that, just the bytes that are asked for are read.
//! - Beyond the bound, what was not used for longest goes ([`lru`]).
//! - Files that this process writes are entered before they leave local disk.
//!
//! Nothing depends on the cache: a block that cannot be written or read is fetched.

pub(crate) mod block;
mod flight;
mod lru;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use self::flight::{Flights, Run};
use self::lru::{Entry, Lru};
use crate::disk::{Disk, Mode};
use crate::durable::{self, At, FileError};
use crate::paths::DataDir;

/// Requests for blocks at once; each holds at most 8 MiB.
const REQUESTS: usize = 8;

/// A bucket with the cache before it.
#[derive(Debug, Clone)]
pub(crate) struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bucket: Arc<dyn ObjectStore>,
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    blocks: Mutex<Lru>,
    flights: Flights,
    requests: Arc<Semaphore>,
    hits: AtomicU64,
    misses: AtomicU64,
    warned: AtomicBool,
}

/// Figures of the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Bytes on local disk.
    pub bytes: u64,
    /// Blocks of 1 MiB that were found there.
    pub hits: u64,
    /// Blocks that were fetched from the bucket.
    pub misses: u64,
}

impl Cache {
    /// Opens the cache of a data directory. What is in it and fits the bound is taken
    /// over, the files that were written last first.
    pub(crate) fn open(
        bucket: Arc<dyn ObjectStore>,
        dir: &DataDir,
        limit: u64,
    ) -> std::result::Result<Self, FileError> {
        let (disk, folder) = (dir.disk().clone(), dir.cache());
        durable::create_dir(dir, &folder)?;
        let mut found = Vec::new();
        for entry in disk.read_dir(&folder).at("read folder", &folder)? {
            let path = folder.join(&entry.name);
            match entry.name.to_str() {
                Some(name) if name.contains(".parquet.") => {
                    let metadata = disk.metadata(&path).at("read", &path)?;
                    found.push((metadata.modified, name.to_owned(), metadata.length));
                }
                _ => durable::remove(disk.as_ref(), &path)?,
            }
        }
        found.sort_unstable();
        let mut blocks = Lru::new(limit);
        for (_, name, size) in found {
            for gone in blocks.insert(&name, Entry { size, checked: None }) {
                durable::remove(disk.as_ref(), &folder.join(gone))?;
            }
        }
        Ok(Self(Arc::new(Inner {
            bucket,
            disk,
            folder,
            blocks: Mutex::new(blocks),
            flights: Flights::default(),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            warned: AtomicBool::new(false),
        })))
    }

    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats {
            bytes: self.0.blocks.lock().used(),
            hits: self.0.hits.load(Ordering::Relaxed),
            misses: self.0.misses.load(Ordering::Relaxed),
        }
    }

    /// Enters an object that is in a local file. Blocking.
    pub(crate) fn admit(&self, object: &Path, file: &std::path::Path) {
        let admitted = (|| {
            let open = self.0.disk.open(file, Mode::Read)?;
            let size = open.length()?;
            for number in 0..size.div_ceil(block::SIZE) {
                let length =
                    usize::try_from(block::length(size, number)).map_err(io::Error::other)?;
                let mut body = vec![0; length];
                open.read_exact_at(&mut body, number * block::SIZE)?;
                self.0.keep(object, number, size, &body);
            }
            Ok::<(), io::Error>(())
        })();
        if let Err(error) = admitted {
            tracing::debug!(%error, path = %file.display(), "a new file is not in the cache");
        }
    }

    /// Forgets an object that is gone from the bucket. Blocking.
    pub(crate) fn forget(&self, object: &Path, size: u64) {
        for number in 0..size.div_ceil(block::SIZE) {
            if let Some(name) = block::name(object, number)
                && self.0.blocks.lock().remove(&name)
            {
                let _ = durable::remove(self.0.disk.as_ref(), &self.0.folder.join(name));
            }
        }
    }

    /// Reads ranges of an object; also returns its size.
    async fn read(&self, object: &Path, ranges: &[Range<u64>]) -> Result<(u64, Vec<Bytes>)> {
        let mut needed: BTreeMap<u64, Vec<Range<u64>>> = BTreeMap::new();
        for range in ranges {
            for (number, part) in cut(range) {
                needed.entry(number).or_default().push(part);
            }
        }
        let mut blocks = BTreeMap::new();
        let mut failed = Vec::new();
        while !needed.is_empty() {
            let (inner, of, parts) = (self.0.clone(), object.clone(), needed.clone());
            let local = tokio::task::spawn_blocking(move || inner.read_local(&of, &parts));
            let found = local.await.map_err(|source| Error::JoinError { source })?;
            let missing: BTreeSet<u64> =
                needed.keys().copied().filter(|number| !found.contains_key(number)).collect();
            blocks.extend(found);
            let (waiting, runs) =
                self.0.flights.join(object, &missing, |number| self.0.has(object, number));
            for run in runs {
                tokio::spawn(self.0.clone().fetch(run));
            }
            for (number, flight) in waiting {
                match flight::land(object, flight).await {
                    Ok((size, body)) => {
                        blocks.insert(number, Block { size, parts: vec![(0, body)] });
                    }
                    // Which of them matter is known once a block has told the size of the object.
                    Err(error) => {
                        needed.remove(&number);
                        failed.push((number, error));
                    }
                }
            }
            // What landed between the look and the request is found at the next look.
            needed.retain(|number, _| !blocks.contains_key(number));
        }
        // A range may reach over the end of the object.
        let is_over = |number: u64| blocks.values().any(|b| b.size <= number * block::SIZE);
        if let Some((_, error)) = failed.into_iter().find(|(number, _)| !is_over(*number)) {
            return Err(error);
        }
        let size = blocks.values().map(|b| b.size).next().unwrap_or(0);
        let read = ranges.iter().map(|range| assemble(object, &blocks, range));
        Ok((size, read.collect::<Result<_>>()?))
    }
}

/// What was read of a block: pieces and where in the block they begin.
struct Block {
    size: u64,
    parts: Vec<(u64, Bytes)>,
}

/// The blocks that a range touches, and its part in each.
fn cut(range: &Range<u64>) -> impl Iterator<Item = (u64, Range<u64>)> + use<> {
    let Range { start, end } = *range;
    let last = if end > start { end.div_ceil(block::SIZE) } else { start / block::SIZE };
    (start / block::SIZE..last).map(move |number| {
        let base = number * block::SIZE;
        (number, start.max(base) - base..end.min(base + block::SIZE) - base)
    })
}

/// Puts a range together; it is cut short where the object ends.
fn assemble(object: &Path, blocks: &BTreeMap<u64, Block>, range: &Range<u64>) -> Result<Bytes> {
    let mut pieces = Vec::with_capacity(1);
    for (number, part) in cut(range) {
        let lost = || Error::Generic {
            store: "cache",
            source: format!("block {number} of {object} is not what was asked for").into(),
        };
        let Some(block) = blocks.get(&number) else {
            if blocks.values().any(|b| b.size <= number * block::SIZE) {
                break;
            }
            return Err(lost());
        };
        let end = part.end.min(block::length(block.size, number));
        if part.start >= end {
            break;
        }
        let piece = block.parts.iter().find_map(|(at, bytes)| {
            let from = usize::try_from(part.start.checked_sub(*at)?).ok()?;
            let to = usize::try_from(end - at).ok()?;
            (to <= bytes.len()).then(|| bytes.slice(from..to))
        });
        pieces.push(piece.ok_or_else(lost)?);
    }
    match <[Bytes; 1]>::try_from(pieces) {
        Ok([one]) => Ok(one),
        Err(pieces) => {
            let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
            pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
            Ok(whole.freeze())
        }
    }
}

impl Inner {
    /// Whether a block is in the cache.
    fn has(&self, object: &Path, number: u64) -> bool {
        block::name(object, number).is_some_and(|name| self.blocks.lock().touch(&name).is_some())
    }

    /// Reads what is in the cache.
    fn read_local(
        &self,
        object: &Path,
        needed: &BTreeMap<u64, Vec<Range<u64>>>,
    ) -> BTreeMap<u64, Block> {
        let read = |(number, parts): (&u64, &Vec<Range<u64>>)| {
            Some((*number, self.read_block(object, *number, parts)?))
        };
        let found: BTreeMap<u64, Block> = needed.iter().filter_map(read).collect();
        let hits = u64::try_from(found.len()).unwrap_or(u64::MAX);
        self.hits.fetch_add(hits, Ordering::Relaxed);
        found
    }

    fn read_block(&self, object: &Path, number: u64, parts: &[Range<u64>]) -> Option<Block> {
        let name = block::name(object, number)?;
        let entry = self.blocks.lock().touch(&name)?;
        let read = self.read_file(&name, entry, number, parts);
        if read.is_none() {
            // Torn by a power failure, or removed by someone.
            self.blocks.lock().remove(&name);
            let _ = durable::remove(self.disk.as_ref(), &self.folder.join(&name));
        }
        read
    }

    fn read_file(
        &self,
        name: &str,
        entry: Entry,
        number: u64,
        parts: &[Range<u64>],
    ) -> Option<Block> {
        let file = self.disk.open(&self.folder.join(name), Mode::Read).ok()?;
        let Some(size) = entry.checked else {
            let mut bytes = vec![0; usize::try_from(file.length().ok()?).ok()?];
            file.read_exact_at(&mut bytes, 0).ok()?;
            let (size, body) = block::decode(&bytes.into(), name, number)?;
            self.blocks.lock().check(name, size);
            return Some(Block { size, parts: vec![(0, body)] });
        };
        let read = parts.iter().map(|part| {
            let end = part.end.min(block::length(size, number));
            let mut bytes = vec![0; usize::try_from(end.saturating_sub(part.start)).ok()?];
            file.read_exact_at(&mut bytes, block::HEADER + part.start).ok()?;
            Some((part.start, Bytes::from(bytes)))
        });
        Some(Block { size, parts: read.collect::<Option<_>>()? })
    }

    /// Fetches blocks, gives them to whoever waits, and keeps them.
    async fn fetch(self: Arc<Self>, mut run: Run) {
        let blocks = run.blocks.clone();
        let object = run.object.clone();
        self.misses.fetch_add(blocks.end - blocks.start, Ordering::Relaxed);
        let fetched = match self.requests.clone().acquire_owned().await {
            Ok(_permit) => self.request(&object, &blocks).await,
            Err(closed) => Err(Error::Generic { store: "cache", source: Box::new(closed) }),
        };
        let (size, bytes) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                let error = Arc::new(error);
                blocks.for_each(|block| run.deliver(block, Err(error.clone())));
                return;
            }
        };
        let mut bodies = Vec::new();
        let mut rest = bytes;
        for number in blocks {
            let Ok(length) = usize::try_from(block::length(size, number)) else { return };
            // What is shorter than its place in the object was cut off on the way: undelivered, it
            // fails.
            if rest.len() < length {
                return;
            }
            let body = rest.split_to(length);
            run.deliver(number, Ok((size, body.clone())));
            bodies.push((number, body));
        }
        let worker = self.clone();
        let _ = tokio::task::spawn_blocking(move || {
            for (number, body) in bodies {
                worker.keep(&object, number, size, &body);
            }
        })
        .await;
        // From here on the blocks are found on disk.
        drop(run);
    }

    async fn request(&self, object: &Path, blocks: &Range<u64>) -> Result<(u64, Bytes)> {
        let range = GetRange::Bounded(blocks.start * block::SIZE..blocks.end * block::SIZE);
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let got = self.bucket.get_opts(object, options).await?;
        let size = got.meta.size;
        Ok((size, got.bytes().await?))
    }

    /// Writes a block's file and lets others go for it.
    fn keep(&self, object: &Path, number: u64, object_size: u64, body: &[u8]) {
        let Some(name) = block::name(object, number) else { return };
        let header = block::header(&name, object_size, body);
        let Ok(size) = u64::try_from(header.len() + body.len()) else { return };
        if size > self.blocks.lock().limit() {
            return;
        }
        let tmp = self.folder.join(format!("tmp-{}", self.disk.unique().simple()));
        let written = (|| {
            let mut file = self.disk.open(&tmp, Mode::Create)?;
            file.write_all(&header)?;
            file.write_all(body)?;
            self.disk.rename(&tmp, &self.folder.join(&name))
        })();
        if let Err(error) = written {
            let _ = durable::remove(self.disk.as_ref(), &tmp);
            if !self.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, folder = %self.folder.display(), "the cache of the object store cannot be written; reads go to the store");
            }
            return;
        }
        // The file first: one that nobody knows of would stay, one that is gone is fetched again.
        let entry = Entry { size, checked: Some(object_size) };
        let gone = self.blocks.lock().insert(&name, entry);
        for gone in gone {
            let _ = durable::remove(self.disk.as_ref(), &self.folder.join(gone));
        }
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({}, {})", self.0.folder.display(), self.0.bucket)
    }
}

#[async_trait]
impl ObjectStore for Cache {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.0.bucket.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.bucket.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let plain = GetOptions { range: options.range.clone(), ..GetOptions::default() };
        let range = match &options.range {
            Some(GetRange::Bounded(range))
                if range.start < range.end
                    && block::name(location, 0).is_some()
                    && options.if_match.is_none()
                    && options.if_none_match.is_none()
                    && options.if_modified_since.is_none()
                    && options.if_unmodified_since.is_none()
                    && options.version.is_none()
                    && !options.head =>
            {
                range.clone()
            }
            // Whole objects are read once, by whoever copies or checks them.
            _ => return self.0.bucket.get_opts(location, options).await,
        };
        let (size, read) = self.read(location, std::slice::from_ref(&range)).await?;
        if range.start >= size {
            // The bucket says it as it should be said.
            return self.0.bucket.get_opts(location, plain).await;
        }
        let meta = ObjectMeta {
            location: location.clone(),
            // Nobody asks when an object that never changes was made.
            last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
            size,
            e_tag: None,
            version: None,
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(
                futures::stream::iter(read.into_iter().map(Ok)).boxed(),
            ),
            meta,
            range: range.start..range.end.min(size),
            attributes: Attributes::default(),
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if block::name(location, 0).is_none() {
            return self.0.bucket.get_ranges(location, ranges).await;
        }
        Ok(self.read(location, ranges).await?.1)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.bucket.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.bucket.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.bucket.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.bucket.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests;
