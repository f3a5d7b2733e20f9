//! The memory that all queries may have together, and what they may put on disk beyond it.
//!
//! `GROUP BY`, `ORDER BY` and joins by sorting write intermediate results to files when memory is
//! used up; what cannot do so fails with a message that names the limit and the option that raises
//! it. The files are in a folder of their own, which goes when the database does.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{
    GreedyMemoryPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
    TrackConsumersPool,
};

/// How many memory consumers an out-of-memory message names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// A bound on the memory of all queries.
#[derive(Debug)]
pub(crate) struct Budget {
    pool: TrackConsumersPool<GreedyMemoryPool>,
    limit: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { pool: TrackConsumersPool::new(GreedyMemoryPool::new(limit), NAMED_CONSUMERS), limit }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "budget of {} bytes", self.limit)
    }
}

impl MemoryPool for Budget {
    fn name(&self) -> &str {
        "budget"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.pool.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.pool.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.pool.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.pool.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.pool.try_grow(reservation, additional).map_err(|error| match error.find_root() {
            DataFusionError::ResourcesExhausted(detail) => {
                DataFusionError::ResourcesExhausted(format!(
                    "all queries together may have {} MiB, --query-memory-mib raises it: {detail}",
                    self.limit >> 20
                ))
            }
            _ => error,
        })
    }

    fn reserved(&self) -> usize {
        self.pool.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

/// Where intermediate results go when memory is used up: into a folder of their own in `folder`, at
/// most `bytes` of them. Without a folder nothing goes to disk.
pub(crate) fn spill(folder: Option<&Path>, bytes: u64) -> DiskManagerBuilder {
    let builder = DiskManagerBuilder::default();
    match folder.filter(|_| bytes > 0) {
        None => builder.with_mode(DiskManagerMode::Disabled),
        Some(folder) => builder
            .with_mode(DiskManagerMode::Directories(vec![folder.to_owned()]))
            .with_max_temp_directory_size(bytes),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use crate::database::{Resources, Runtime};
    use crate::error::Error;

    /// Its groups take far more than 24 MiB, and do not come in order.
    const LARGE: &str = "SELECT count(*) FROM (SELECT concat('a text that takes room ', value * 7919 % \
                         600011) AS k, count(*) AS n FROM generate_series(1, 600000) GROUP BY 1) \
                         WHERE n = 1";

    async fn run(resources: &Resources, sql: &str) -> Result<i64, Error> {
        let session = Runtime::new(resources).session(Vec::new())?;
        let batches = session.sql(sql).await?.collect().await?;
        Ok(batches.iter().map(|b| b.column(0).as_primitive::<Int64Type>().value(0)).sum())
    }

    fn resources() -> Resources {
        Resources { memory_bytes: 24 << 20, parallelism: 1, ..Resources::default() }
    }

    #[tokio::test]
    async fn a_query_beyond_its_budget_names_the_limit_and_the_option() {
        let text = run(&resources(), LARGE).await.expect_err("too large").to_string();
        assert!(text.contains("may have 24 MiB"), "{text}");
        assert!(text.contains("--query-memory-mib"), "{text}");
    }

    #[tokio::test]
    async fn large_groupings_go_to_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let spilling = Resources { spill_folder: Some(folder.path().join("spill")), ..resources() };
        assert_eq!(run(&spilling, LARGE).await.expect("an answer"), 600_000);
        let left = std::fs::read_dir(folder.path().join("spill")).expect("the folder").count();
        assert_eq!(left, 0, "nothing stays behind");
        let little = Resources { spill_bytes: 1 << 20, ..spilling };
        let text = run(&little, LARGE).await.expect_err("too large").to_string();
        assert!(text.contains("--query-spill-mib"), "{text}");
    }
}
