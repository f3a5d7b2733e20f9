//! Bringing a local file to a bucket.
//!
//! A small file is one request. A larger one goes in parts, of which a few are under way at once; if
//! one fails, the upload is aborted, so that the bucket does not keep parts that nobody sees and
//! somebody pays for. (A process that is killed can leave some: give the bucket a lifecycle rule that
//! aborts incomplete multipart uploads after a day.)

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use thiserror::Error;

use crate::disk::{Disk, Mode};
use crate::durable::{At, FileError};

/// Bytes of one request. S3 wants at least 5 MiB of all parts but the last, and takes 10,000 parts.
const PART: u64 = 8 << 20;
/// Parts under way at once, each in memory.
const PARTS_AT_ONCE: usize = 3;

/// Why a file did not get to the bucket.
#[derive(Debug, Error)]
pub(crate) enum UploadError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot upload {object}: {source}")]
    Store { object: Path, source: object_store::Error },
    #[error("the upload was cut short: {0}")]
    Cancelled(#[from] tokio::task::JoinError),
}

/// Uploads a file; an object of that name is replaced.
pub(crate) async fn upload(
    store: &Arc<dyn ObjectStore>,
    disk: &Arc<dyn Disk>,
    file: PathBuf,
    object: &Path,
) -> Result<(), UploadError> {
    let refused = |source| UploadError::Store { object: object.clone(), source };
    let size = disk.metadata(&file).at("read", &file)?.length;
    if size <= PART {
        let bytes = read(disk.clone(), file, 0, size).await?;
        store.put(object, bytes.into()).await.map_err(refused)?;
        return Ok(());
    }
    let mut upload = store.put_multipart(object).await.map_err(refused)?;
    let sent = send_parts(upload.as_mut(), disk, &file, size, object).await;
    let done = match sent {
        Ok(()) => upload.complete().await.map(drop).map_err(refused),
        Err(error) => Err(error),
    };
    if done.is_err() {
        // The bucket may be out of reach for this too.
        let _ = upload.abort().await;
    }
    done
}

async fn send_parts(
    upload: &mut dyn MultipartUpload,
    disk: &Arc<dyn Disk>,
    file: &std::path::Path,
    size: u64,
    object: &Path,
) -> Result<(), UploadError> {
    let refused = |source| UploadError::Store { object: object.clone(), source };
    let starts = (0..size.div_ceil(PART)).map(|n| n * PART);
    let mut parts = futures::stream::iter(starts)
        .map(|start| read(disk.clone(), file.to_owned(), start, PART.min(size - start)))
        .buffered(1);
    let mut sending = futures::stream::FuturesUnordered::new();
    while let Some(part) = parts.try_next().await? {
        if sending.len() >= PARTS_AT_ONCE {
            sending.try_next().await.map_err(refused)?;
        }
        sending.push(upload.put_part(part.into()));
    }
    while sending.try_next().await.map_err(refused)?.is_some() {}
    Ok(())
}

async fn read(
    disk: Arc<dyn Disk>,
    path: PathBuf,
    offset: u64,
    length: u64,
) -> Result<Bytes, UploadError> {
    tokio::task::spawn_blocking(move || {
        let read = (|| {
            let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
            disk.open(&path, Mode::Read)?.read_exact_at(&mut bytes, offset)?;
            Ok(Bytes::from(bytes))
        })();
        Ok(read.at("read", &path)?)
    })
    .await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::real::RealDisk;
    use crate::objects::testing::Fickle;

    #[tokio::test(flavor = "multi_thread")]
    async fn files_arrive_whole() {
        let (tmp, bucket) = (tempfile::tempdir().unwrap(), Fickle::default());
        let store: Arc<dyn ObjectStore> = Arc::new(bucket.clone());
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let object = Path::from("o");
        for size in [0, 1, PART, PART + 1, 5 * PART + 7] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let file = tmp.path().join("file");
            std::fs::write(&file, &bytes).unwrap();
            upload(&store, &disk, file.clone(), &object).await.unwrap();
            assert_eq!(bucket.get(&object).await.unwrap().bytes().await.unwrap(), bytes);
            bucket.set_dead(true);
            let error = upload(&store, &disk, file, &object).await.unwrap_err();
            assert!(error.to_string().contains("cannot upload o"), "{error}");
            bucket.set_dead(false);
        }
    }
}
