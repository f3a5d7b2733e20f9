//! Looking after a bucket while it is in use: is it still ours, and what in it belongs to no table?
//!
//! Garbage is looked for by listing each table's folder, without holding the tables. Before anything
//! is removed the table is loaded anew: that fails if another process took the store over, and what
//! is missing in a table that is ours can never be committed to it any more.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::{Bucket, garbage};
use crate::flush::FlushError;
use crate::inner::Inner;

/// How often a writer without anything to commit asks if the store is still its own.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// How long a file stays outside of its table at least.
const GRACE: Duration = Duration::from_secs(3600);

/// Runs until `stop` changes or its sender is gone. Without a bucket there is nothing to do.
pub(crate) async fn run(inner: Arc<Inner>, mut stop: Receiver<()>) {
    let Some(bucket) = inner.place.bucket().cloned() else { return };
    let rounds = async {
        let mut sweep_at = Instant::now();
        while bucket.fenced().is_none() {
            if sweep_at <= Instant::now() {
                if let Err(error) = sweep(&inner, &bucket, GRACE.max(inner.removal_grace)).await {
                    tracing::warn!(%error, "files that no commit names stay in the object store for now");
                }
                sweep_at = Instant::now() + garbage::EVERY;
            }
            tokio::time::sleep(ASK_EVERY).await;
            // A bucket that does not answer is told by whoever wants to write.
            let _ = bucket.check().await;
        }
    };
    tokio::select! {
        _ = stop.changed() => {}
        () = rounds => {}
    }
}

/// Removes data files that were outside of their table for `grace`.
pub(crate) async fn sweep(
    inner: &Arc<Inner>,
    bucket: &Bucket,
    grace: Duration,
) -> Result<(), FlushError> {
    let names: Vec<&'static str> =
        inner.tables.lock().await.iter().map(|(name, _)| *name).collect();
    for name in names {
        let refused = |source| bucket.refused(source);
        let listed: Vec<_> = bucket
            .cache()
            .list(Some(&Path::from(name)))
            .map(|object| object.map(|o| o.location))
            .try_collect()
            .await
            .map_err(refused)?;
        let mut tables = inner.tables.lock().await;
        let Some((_, table)) = tables.iter_mut().find(|(found, _)| *found == name) else {
            continue;
        };
        let folder = format!("{name}/");
        let is_named = |table: &crate::flush::Table, path: &Path| {
            let below = path.as_ref().strip_prefix(&folder).unwrap_or_default();
            table.log.has_file(below) || inner.graveyard.lock().holds(path)
        };
        let found = listed.iter().map(|path| (path.to_string(), is_named(table, path)));
        let gone = bucket.suspects.lock().look(name, found, grace, Instant::now());
        if gone.is_empty() {
            continue;
        }
        table.log.reload().await?;
        inner.committed(name, &table.log.files(), table.log.lsn());
        for path in gone.into_iter().map(Path::from) {
            if !is_named(table, &path) {
                tracing::info!(%path, "removed a data file that no commit names");
                inner.place.remove(&path, 0).await;
            }
        }
    }
    Ok(())
}
