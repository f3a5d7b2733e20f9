//! Whether a file holds rows that something hides. Reads the columns that it looks at, no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use thiserror::Error;
use tokio::runtime::Handle;

use crate::compact::reader::FileReader;
use crate::hidden::{self, Hidden};
use crate::series::HiddenPoints;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;

/// Why that cannot be told.
#[derive(Debug, Error)]
pub(crate) enum LookError {
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("the work was cut short: {0}")]
    CutShort(#[from] tokio::task::JoinError),
}

/// Whether any row of a table's file is hidden, or points of one.
pub(crate) async fn has_hidden_rows(
    objects: Arc<dyn ObjectStore>,
    spec: Arc<TableSpec>,
    file: Arc<DataFile>,
    hidden: Arc<Hidden>,
) -> Result<bool, LookError> {
    let runtime = Handle::current();
    // Decoding takes the processor for long.
    let work = move || runtime.block_on(look(objects, &spec, file, &hidden));
    tokio::task::spawn_blocking(work).await?
}

async fn look(
    objects: Arc<dyn ObjectStore>,
    spec: &TableSpec,
    file: Arc<DataFile>,
    hidden: &Arc<Hidden>,
) -> Result<bool, LookError> {
    let builder = ParquetRecordBatchStreamBuilder::new(FileReader::new(objects, file)).await?;
    let columns: BTreeSet<&str> = hidden::columns(std::slice::from_ref(hidden))
        .into_iter()
        .chain([spec.earliest(), spec.time])
        .collect();
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
    let mut batches = builder.with_projection(mask).build()?;
    while let Some(batch) = batches.try_next().await? {
        let found = if spec.series {
            HiddenPoints::of(std::slice::from_ref(hidden), &batch)?.is_some()
        } else {
            hidden.rows(spec.time, &batch)?.has_true()
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
