//! Label indexes of files, read once and kept between queries within a bound of bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use weir_storage::{ColumnIndex, DataFile, IndexError, LabelIndex};

/// Bytes from a file's end that are read first: the footer of most files.
pub(super) const FOOTER_BYTES: usize = 64 << 10;

/// What all queries share.
#[derive(Debug)]
pub(crate) struct Indexes {
    limit: usize,
    cache: Mutex<Cache>,
    failures: AtomicU64,
}

/// Where the parts of a file are read from.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) footers: Arc<FileMetadataCache>,
    pub(crate) indexes: Arc<Indexes>,
}

#[derive(Debug, Default)]
struct Cache {
    files: HashMap<Path, File>,
    bytes: usize,
    clock: u64,
}

#[derive(Debug, Default)]
struct File {
    /// Unknown, or none, or the head of the index.
    head: Option<Option<Arc<LabelIndex>>>,
    columns: Vec<(Box<str>, Arc<ColumnIndex>)>,
    bytes: usize,
    used: u64,
}

impl Indexes {
    /// Keeps at most about `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, cache: Mutex::default(), failures: AtomicU64::new(0) }
    }

    /// How many times an index could not be used and a file was read without it.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Counts and reports an index that cannot be used, and lets go of it for good.
    pub(crate) fn fail(&self, path: &Path, error: &IndexError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, "label index cannot be used");
        // A disk that refuses once may not do so again.
        if !matches!(error, IndexError::Read { .. }) {
            self.keep(path, |file| {
                file.columns.clear();
                file.head = Some(None);
            });
        }
    }

    fn head(&self, path: &Path) -> Option<Option<Arc<LabelIndex>>> {
        let mut cache = self.cache.lock();
        cache.clock += 1;
        let now = cache.clock;
        let file = cache.files.get_mut(path)?;
        file.used = now;
        file.head.clone()
    }

    fn columns<'a>(
        &self,
        path: &Path,
        names: &[&'a str],
    ) -> (Vec<(&'a str, Arc<ColumnIndex>)>, Vec<&'a str>) {
        let cache = self.cache.lock();
        let known = cache.files.get(path).map(|f| f.columns.as_slice()).unwrap_or_default();
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            match known.iter().find(|(n, _)| **n == **name) {
                Some((_, column)) => found.push((*name, column.clone())),
                None => missing.push(*name),
            }
        }
        (found, missing)
    }

    fn keep(&self, path: &Path, change: impl FnOnce(&mut File)) {
        let mut cache = self.cache.lock();
        cache.clock += 1;
        let now = cache.clock;
        let file = cache.files.entry(path.clone()).or_default();
        let before = file.bytes;
        change(file);
        file.used = now;
        file.bytes = path.as_ref().len()
            + size_of::<File>()
            + file.head.iter().flatten().map(|h| h.size()).sum::<usize>()
            + file.columns.iter().map(|(n, c)| n.len() + c.size()).sum::<usize>();
        let after = file.bytes;
        cache.bytes = cache.bytes + after - before;
        if cache.bytes > self.limit {
            cache.shrink(self.limit / 4 * 3);
        }
    }
}

/// The footer of a file with the places of its pages, from memory if it was read before.
pub(crate) async fn footer(
    store: &Arc<dyn ObjectStore>,
    footers: &Arc<FileMetadataCache>,
    file: &DataFile,
) -> datafusion::common::Result<Arc<ParquetMetaData>> {
    let meta = PartitionedFile::new(file.path.to_string(), file.size).object_meta;
    DFParquetMetadata::new(store, &meta)
        .with_file_metadata_cache(Some(footers.clone()))
        .with_metadata_size_hint(Some(FOOTER_BYTES))
        .with_page_index_policy(Some(PageIndexPolicy::Optional))
        .fetch_metadata()
        .await
}

impl Cache {
    /// Lets go of the files that were used longest ago.
    fn shrink(&mut self, limit: usize) {
        let mut by_age: Vec<(u64, Path)> =
            self.files.iter().map(|(path, file)| (file.used, path.clone())).collect();
        by_age.sort_unstable();
        for (_, path) in by_age {
            if self.bytes <= limit {
                break;
            }
            if let Some(file) = self.files.remove(&path) {
                self.bytes -= file.bytes;
            }
        }
    }
}

impl Reader {
    /// The index of a file and those of the named columns that are in it; nothing if the file has no
    /// index or a useless one.
    pub(crate) async fn read<'a>(
        &self,
        file: &DataFile,
        names: &[&'a str],
    ) -> Option<(Arc<LabelIndex>, Vec<(&'a str, Arc<ColumnIndex>)>)> {
        let head = match self.indexes.head(&file.path) {
            Some(head) => head?,
            None => self.open(file).await?,
        };
        let (mut columns, mut missing) = self.indexes.columns(&file.path, names);
        missing.retain(|name| head.has(name));
        if !missing.is_empty() {
            let read = match head.read(self.store.as_ref(), &missing).await {
                Ok(read) => read,
                Err(error) => {
                    self.indexes.fail(&file.path, &error);
                    return None;
                }
            };
            self.indexes.keep(&file.path, |known| {
                for (name, column) in &read {
                    if known.columns.iter().all(|(n, _)| **n != **name) {
                        known.columns.push(((*name).into(), column.clone()));
                    }
                }
            });
            columns.extend(read);
        }
        Some((head, columns))
    }

    async fn open(&self, file: &DataFile) -> Option<Arc<LabelIndex>> {
        let meta = PartitionedFile::new(file.path.to_string(), file.size).object_meta;
        let footer = DFParquetMetadata::new(&self.store, &meta)
            .with_file_metadata_cache(Some(self.footers.clone()))
            .with_metadata_size_hint(Some(FOOTER_BYTES))
            .with_page_index_policy(Some(PageIndexPolicy::Skip))
            .fetch_metadata()
            .await
            // Whoever reads the rows meets the same error and can say more of it.
            .ok()?;
        match LabelIndex::open(self.store.as_ref(), &file.path, file.size, &footer).await {
            Ok(head) => {
                let head = head.map(Arc::new);
                self.indexes.keep(&file.path, |known| known.head = Some(head.clone()));
                head
            }
            Err(error) => {
                self.indexes.fail(&file.path, &error);
                None
            }
        }
    }
}
