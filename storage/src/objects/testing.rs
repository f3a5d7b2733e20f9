//! A bucket in memory that misbehaves as tests want it to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

/// A bucket in memory. Clones are the same bucket.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fickle(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    objects: InMemory,
    unconditional: bool,
    dead: AtomicBool,
    /// Puts of names with this text in them are done, and then reported as failed.
    unanswered: Mutex<Option<String>>,
    gets: AtomicUsize,
}

impl Fickle {
    /// One that overlooks every condition of a put.
    pub(crate) fn unconditional() -> Self {
        Self(Arc::new(Inner { unconditional: true, ..Inner::default() }))
    }

    /// Makes every request fail, or succeed again.
    pub(crate) fn set_dead(&self, dead: bool) {
        self.0.dead.store(dead, Ordering::Relaxed);
    }

    /// Loses the answers to puts of names with `text` in them.
    pub(crate) fn set_unanswered(&self, text: Option<&str>) {
        *self.0.unanswered.lock() = text.map(str::to_owned);
    }

    /// Requests that read objects, so far.
    pub(crate) fn gets(&self) -> usize {
        self.0.gets.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<()> {
        if self.0.dead.load(Ordering::Relaxed) {
            return Err(Error::Generic { store: "Fickle", source: "the bucket is dead".into() });
        }
        Ok(())
    }
}

impl fmt::Display for Fickle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fickle")
    }
}

#[async_trait]
impl ObjectStore for Fickle {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> Result<PutResult> {
        self.check()?;
        if self.0.unconditional {
            opts.mode = PutMode::Overwrite;
        }
        let done = self.0.objects.put_opts(location, payload, opts).await?;
        if self.0.unanswered.lock().as_ref().is_some_and(|text| location.as_ref().contains(text)) {
            return Err(Error::Generic { store: "Fickle", source: "the answer is lost".into() });
        }
        Ok(done)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check()?;
        self.0.objects.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check()?;
        self.0.gets.fetch_add(1, Ordering::Relaxed);
        self.0.objects.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match self.check() {
            Ok(()) => self.0.objects.delete_stream(locations),
            Err(e) => futures::stream::once(async { Err(e) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check() {
            Ok(()) => self.0.objects.list(prefix),
            Err(e) => futures::stream::once(async { Err(e) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check()?;
        self.0.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check()?;
        self.0.objects.copy_opts(from, to, options).await
    }
}
