//! DataFusion over the store: one runtime for the process, one session for each query.
//!
//! A session sees one snapshot of each table, all taken together when it is made, so that everything
//! that one query reads belongs to one moment, whichever tier it is read from. The runtime (memory bound, cache of file footers) is shared.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use weir_storage::{Snapshot, Store};

use crate::budget::{self, Budget, Space, SpaceOf, Spill};
use crate::edges::{EDGES, Edges};
use crate::error::Error;
use crate::flows::{Tiers, bucket_sum};
use crate::prices::{LivePrices, cost, cost_in_billionths};
use crate::promql::Stop;
use crate::samples::{HeadCache, SampleSource, SampleTable, label};
use crate::scan::SnapshotTable;
use crate::scan::indexes::Indexes;
use crate::series::AllSeries;
use crate::session::LazySession;
use crate::sql::bounded::Bounded;
use crate::sql::ending::EndingJoins;

/// Name of the table of flows.
pub(crate) const FLOWS: &str = "flows";
/// Tables that a query can name.
const TABLES: [&str; 6] = [FLOWS, "flows_5m", "flows_1h", "agent_loss", "names", SAMPLES];
/// Name of the table of samples.
const SAMPLES: &str = "samples";
/// Functions whose result is as large as an argument says or many times its input, made at once and
/// outside of the memory bound: a short statement could ask for all memory there is. Their aliases go
/// with them; those that add up what they are given are bounded ([`crate::sql::bounded`]). (`generate_series` and `range` remain as tables, which are made batch by batch.)
const UNBOUNDED: [&str; 16] = [
    "repeat",
    "lpad",
    "rpad",
    "replace",
    "regexp_replace",
    "range",
    "generate_series",
    "array_repeat",
    "array_resize",
    "array_to_string",
    "arrow_cast",
    "arrow_try_cast",
    // Their types have a field for each argument, so that the type alone doubles with each call.
    "arrays_zip",
    "map",
    "named_struct",
    "struct",
];

/// Bounds on all queries together.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Bytes of intermediate results of all running queries. What would exceed it goes to disk where
    /// the operation can do that, and fails where it cannot.
    pub memory_bytes: usize,
    /// Where intermediate results go; `None` keeps everything in memory.
    pub spill_folder: Option<PathBuf>,
    /// Most bytes of them.
    pub spill_bytes: u64,
    /// Bytes of Parquet footers and page indexes kept between queries.
    pub footer_cache_bytes: usize,
    /// Bytes of label indexes kept between queries.
    pub index_cache_bytes: usize,
    /// Bytes of what is known of rows of series, without their values, kept between queries.
    pub head_cache_bytes: usize,
    /// Parallel parts of one query; 0 stands for the number of cores.
    pub parallelism: usize,
    /// What traffic costs.
    pub prices: LivePrices,
}

impl Default for Resources {
    /// 1 GiB for results and nothing on disk, 64 MiB each of footers and label indexes, 32 MiB of heads of series, every core.
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            spill_folder: None,
            spill_bytes: 8 << 30,
            footer_cache_bytes: 64 << 20,
            index_cache_bytes: 64 << 20,
            head_cache_bytes: 32 << 20,
            parallelism: 0,
            prices: LivePrices::default(),
        }
    }
}

/// The store as queries see it.
#[derive(Clone)]
pub struct Database {
    store: Arc<Store>,
    runtime: Runtime,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    /// Queries over `store`.
    #[must_use]
    pub fn new(store: Arc<Store>, resources: &Resources) -> Self {
        Self { store, runtime: Runtime::new(resources) }
    }

    /// How many times the label index of a file could not be used.
    #[must_use]
    pub fn index_failures(&self) -> u64 {
        self.runtime.index_failures()
    }

    /// All rows of an answer, for a server's own questions.
    ///
    /// # Errors
    /// Those of `POST /api/v1/sql`.
    pub async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        let rows = crate::sql::run(&self.session(&Stop::default())?, sql).await?;
        Ok(rows.try_collect().await?)
    }

    /// What each table has now.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        let known = |time: &i64| *time != i64::MIN && *time != i64::MAX;
        let one = |snapshot: &Snapshot| Stored {
            name: snapshot.spec.name,
            rows: snapshot.files.iter().map(|file| file.rows).sum(),
            rows_in_memory: snapshot
                .memory
                .batches()
                .map_or(0, |batches| batches.iter().map(|batch| batch.num_rows() as u64).sum()),
            bytes: snapshot.files.iter().map(|file| file.size).sum(),
            files: snapshot.files.len(),
            oldest: snapshot.files.iter().map(|file| file.min_time).filter(known).min(),
            newest: snapshot.files.iter().map(|file| file.max_time).filter(known).max(),
        };
        self.snapshots().iter().map(one).collect()
    }

    /// A session over the rows that are acknowledged now, for one query.
    pub(crate) fn session(&self, stop: &Stop) -> Result<SessionContext, Error> {
        self.runtime.session_until(self.snapshots(), stop)
    }

    /// All series that are acknowledged now.
    pub(crate) fn series(&self) -> AllSeries {
        let snapshots = self.snapshots();
        let samples = snapshots.iter().find(|s| s.spec.name == SAMPLES).cloned();
        let samples = samples.map(|snapshot| self.runtime.samples(snapshot));
        AllSeries::new(LazySession::new(self.runtime.clone(), snapshots), samples)
    }

    fn snapshots(&self) -> Vec<Snapshot> {
        let mut snapshots = self.store.snapshots();
        snapshots.retain(|snapshot| TABLES.contains(&snapshot.spec.name));
        snapshots
    }
}

/// What a table has.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) name: &'static str,
    /// In files.
    pub(crate) rows: u64,
    pub(crate) rows_in_memory: u64,
    /// Of files.
    pub(crate) bytes: u64,
    pub(crate) files: usize,
    /// Bounds of the time of rows in files, microseconds.
    pub(crate) oldest: Option<i64>,
    pub(crate) newest: Option<i64>,
}

/// What sessions share.
#[derive(Clone)]
pub(crate) struct Runtime {
    env: Arc<RuntimeEnv>,
    indexes: Arc<Indexes>,
    heads: Arc<HeadCache>,
    config: SessionConfig,
    prices: LivePrices,
}

impl Runtime {
    pub(crate) fn new(resources: &Resources) -> Self {
        Self::on(resources, Space::of)
    }

    #[expect(
        clippy::expect_used,
        reason = "building the runtime fails only when its spill folder cannot be made, and it has none"
    )]
    pub(crate) fn on(resources: &Resources, space: SpaceOf) -> Self {
        let budget = Arc::new(Budget::new(resources.memory_bytes));
        let builder = |disk| {
            RuntimeEnvBuilder::new()
                .with_memory_pool(budget.clone())
                .with_disk_manager_builder(disk)
                .with_metadata_cache_limit(resources.footer_cache_bytes)
                .build_arc()
        };
        let spill = resources.spill_folder.as_deref();
        let env = builder(budget::spill(spill, resources.spill_bytes)).unwrap_or_else(|error| {
            tracing::warn!(%error, "queries cannot use the disk for intermediate results");
            builder(budget::spill(None, 0)).expect("a runtime without spilling")
        });
        if let Some(folder) = spill.filter(|_| env.disk_manager.tmp_files_enabled()) {
            let (disk, folder) = (env.disk_manager.clone(), folder.to_owned());
            budget.follow(Spill { disk, folder, most: resources.spill_bytes, space });
        }
        let mut config = SessionConfig::new()
            .with_information_schema(true)
            .with_default_catalog_and_schema("weir", "public")
            .set_bool("datafusion.execution.parquet.pushdown_filters", true)
            .set_bool("datafusion.execution.parquet.reorder_filters", true)
            // Their rows can double with each round, and no budget counts them before they are made.
            .set_bool("datafusion.execution.enable_recursive_ctes", false);
        if resources.parallelism > 0 {
            config = config.with_target_partitions(resources.parallelism);
        }
        let indexes = Arc::new(Indexes::new(resources.index_cache_bytes));
        let heads = Arc::new(HeadCache::new(resources.head_cache_bytes));
        let prices = resources.prices.clone();
        Self { env, indexes, heads, config, prices }
    }

    pub(crate) fn index_failures(&self) -> u64 {
        self.indexes.failures()
    }

    /// The series of a snapshot of the table of samples.
    pub(crate) fn samples(&self, snapshot: Snapshot) -> SampleSource {
        let footers = self.env.cache_manager.get_file_metadata_cache();
        SampleSource::new(snapshot, footers, self.indexes.clone(), self.heads.clone())
    }

    /// A session over the given snapshots whose queries end when they are dropped.
    pub(crate) fn session(&self, snapshots: Vec<Snapshot>) -> Result<SessionContext, Error> {
        self.session_until(snapshots, &Stop::default())
    }

    /// A session over the given snapshots whose queries end when `stop` says so.
    pub(crate) fn session_until(
        &self,
        snapshots: Vec<Snapshot>,
        stop: &Stop,
    ) -> Result<SessionContext, Error> {
        let config = self.config.clone().with_extension(Arc::new(Tiers::new(&snapshots)));
        let mut state = SessionStateBuilder::new_with_default_features()
            .with_config(config)
            .with_runtime_env(self.env.clone())
            // Functions that take functions, such as array_transform, can make a list of lists.
            .with_higher_order_functions(Vec::new())
            .with_physical_optimizer_rule(Arc::new(EndingJoins::new(stop.clone())))
            .build();
        state.register_function_rewrite(Arc::new(Bounded))?;
        let session = SessionContext::new_with_state(state);
        session.register_udaf(bucket_sum());
        session.register_udf(label());
        let prices = self.prices.now();
        session.register_udf(cost(&prices));
        session.register_udf(cost_in_billionths(&prices));
        for name in UNBOUNDED {
            session.deregister_udf(name);
        }
        session.register_table(EDGES, Arc::new(Edges))?;
        for snapshot in snapshots {
            self.env
                .register_object_store(&snapshot.object_store_url, snapshot.object_store.clone());
            let name = snapshot.spec.name;
            if snapshot.spec.series {
                session.register_table(name, Arc::new(SampleTable::new(self.samples(snapshot))))?;
                continue;
            }
            session.register_table(
                name,
                Arc::new(SnapshotTable::new(snapshot, self.indexes.clone())),
            )?;
        }
        Ok(session)
    }
}
