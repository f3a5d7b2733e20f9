//! Readers of a snapshot's files that keep the files on disk.
//!
//! A plan that runs is a stream that has let go of the session and the table that it came from. What
//! it keeps until its end is the factory that it gets its readers from: the snapshot is in here.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use object_store::ObjectStore;
use parquet::arrow::async_reader::AsyncFileReader;
use weir_storage::DataFile;

/// Makes readers, and keeps the files of a snapshot for as long as it lives.
#[derive(Debug)]
pub(super) struct Held {
    readers: CachedParquetFileReaderFactory,
    _files: Arc<[Arc<DataFile>]>,
}

impl Held {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        footers: Arc<FileMetadataCache>,
        files: Arc<[Arc<DataFile>]>,
    ) -> Self {
        Self { readers: CachedParquetFileReaderFactory::new(store, footers), _files: files }
    }
}

impl ParquetFileReaderFactory for Held {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        self.readers.create_reader(partition_index, file, metadata_size_hint, metrics)
    }
}
