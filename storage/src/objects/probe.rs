//! Whether a bucket refuses the second of two writers.
//!
//! Commits are objects that are made only if there is none of their name. Some servers that speak the
//! protocol of S3 ignore that condition, or check it before they write and not while: two writers
//! then both believe that their commit is the one, and one of them is lost without a word. So each
//! open tries it out, one after the other and several at once, before anything else is written.

use std::sync::Arc;

use futures::future::join_all;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use thiserror::Error as ThisError;
use uuid::Uuid;

/// Writers at once.
const RACERS: usize = 4;

/// Why a bucket cannot hold a store.
#[derive(Debug, ThisError)]
pub(crate) enum ProbeError {
    #[error(
        "the object store does not keep two writers apart: {what}. Commits would be lost silently. Use a store with conditional writes (If-None-Match and If-Match on PUT): Amazon S3, Google Cloud Storage, Azure, MinIO, SeaweedFS, ..."
    )]
    Unconditional { what: &'static str },
    #[error(transparent)]
    Store(#[from] Error),
}

/// Tries out conditional writes below a prefix, in objects that `id` names, and leaves nothing behind.
pub(crate) async fn probe(
    store: &Arc<dyn ObjectStore>,
    prefix: &Path,
    id: Uuid,
) -> Result<(), ProbeError> {
    let at = prefix.clone().join("_weir").join(format!("probe-{}", id.simple()));
    let race = at.clone().join("race");
    let found = try_out(store, &at, &race).await;
    // Also after a failure. One that stays is a few bytes.
    for at in [&at, &race] {
        let _ = store.delete(at).await;
    }
    found
}

async fn try_out(store: &Arc<dyn ObjectStore>, at: &Path, race: &Path) -> Result<(), ProbeError> {
    let unconditional = |what| Err(ProbeError::Unconditional { what });
    let create = || PutOptions::from(PutMode::Create);
    let first = store.put_opts(at, "first".into(), create()).await?;
    match store.put_opts(at, "second".into(), create()).await {
        Err(Error::AlreadyExists { .. }) => {}
        Ok(_) => return unconditional("an object was made twice"),
        Err(error) => return Err(error.into()),
    }
    let version = UpdateVersion { e_tag: first.e_tag, version: first.version };
    let update = || PutOptions::from(PutMode::Update(version.clone()));
    store.put_opts(at, "third".into(), update()).await?;
    match store.put_opts(at, "fourth".into(), update()).await {
        Err(Error::Precondition { .. }) => {}
        Ok(_) => return unconditional("an object was replaced that had changed"),
        Err(error) => return Err(error.into()),
    }
    let racers = (0..RACERS).map(|n| store.put_opts(race, format!("racer {n}").into(), create()));
    let mut won = 0;
    for outcome in join_all(racers).await {
        match outcome {
            Ok(_) => won += 1,
            Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if won > 1 {
        return unconditional("several writers at once all made the same object");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::memory::InMemory;

    use super::*;
    use crate::objects::testing::Fickle;

    #[tokio::test]
    async fn a_store_with_conditions_passes_and_is_left_clean() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        probe(&store, &Path::from("p"), Uuid::nil()).await.unwrap();
        let left: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }

    #[tokio::test]
    async fn a_store_without_conditions_is_refused() {
        let store: Arc<dyn ObjectStore> = Arc::new(Fickle::unconditional());
        let error = probe(&store, &Path::from("p"), Uuid::nil()).await.unwrap_err();
        assert!(matches!(error, ProbeError::Unconditional { .. }), "{error}");
        assert!(error.to_string().contains("If-None-Match"), "{error}");
    }
}
