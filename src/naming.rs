//! Names for both ends of flows: what the history remembers of them, and the cluster that is followed.

use std::sync::Arc;

use tokio::task::JoinSet;
use weir_ingest::names;
use weir_ingest::{Enrichment, repair, repair_all};
use weir_query::Database;
use weir_storage::Store;

use crate::config::Kubernetes;

/// What goes on while the server runs; ends when dropped.
#[derive(Debug)]
pub(crate) struct Naming {
    _tasks: JoinSet<()>,
}

impl Naming {
    /// Takes back the names that were known before, names the rows of the log by them, and follows the cluster.
    ///
    /// # Errors
    /// When there is no way to the cluster's API. That it does not answer is none: it is asked again; neither is that
    /// the history of names cannot be read: the cluster and the hosts tell their names anew.
    pub(crate) async fn start(
        kubernetes: Option<&Kubernetes>,
        enrichment: &Enrichment,
        store: &Arc<Store>,
        database: &Database,
    ) -> anyhow::Result<Self> {
        let known = &enrichment.names;
        match database.rows(names::SEED).await {
            Ok(before) => known.seed(&before)?,
            Err(error) => {
                tracing::warn!(%error, "names that were known before cannot be read back");
            }
        }
        repair_all(enrichment, store).await?;
        let mut tasks = JoinSet::new();
        if let Some(Kubernetes { kubeconfig }) = kubernetes {
            let client = names::connect(kubeconfig.as_deref()).await?;
            tasks = names::follow(&client, known);
        }
        tasks.spawn(names::keep_history(Arc::clone(known), Arc::clone(store)));
        tasks.spawn(repair(enrichment.clone(), Arc::clone(store)));
        Ok(Self { _tasks: tasks })
    }
}
