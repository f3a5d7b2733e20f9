//! The memory that all queries may have together, and what they may put on disk beyond it.
//!
//! `GROUP BY`, `ORDER BY` and joins by sorting write intermediate results to files when memory is
//! used up; what cannot do so fails with a message that names the limit and the option that raises
//! it. The files are in a folder of their own, which goes when the database does.
//!
//! That folder is on the disk of the history, and ingest needs the disk more. So the bound on files
//! goes down as the disk fills: [`KEEP_BYTES`], or a twentieth of a larger disk, stay free of them.
//! It is set anew whenever memory is refused, which is right before anything goes to disk.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{
    GreedyMemoryPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
    TrackConsumersPool,
};

/// How many memory consumers an out-of-memory message names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// Intermediate results leave as much of the disk free, bytes: 1 GiB.
const KEEP_BYTES: u64 = 1 << 30;
/// And this part of a disk.
const KEEP_PART: u64 = 20;

/// A bound on the memory of all queries.
#[derive(Debug)]
pub(crate) struct Budget {
    pool: TrackConsumersPool<GreedyMemoryPool>,
    limit: usize,
    /// Where results go beyond it, once that is known.
    spill: OnceLock<Spill>,
}

/// What a disk has, bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

impl Space {
    /// Of the disk that a folder is on.
    ///
    /// # Errors
    /// Those of statvfs(3).
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let disk = rustix::fs::statvfs(folder)?;
        Ok(Self {
            total: disk.f_blocks.saturating_mul(disk.f_frsize),
            available: disk.f_bavail.saturating_mul(disk.f_frsize),
        })
    }

    /// Bytes that intermediate results may have when they have `used` already.
    fn for_results(self, used: u64) -> u64 {
        let keep = KEEP_BYTES.max(self.total / KEEP_PART);
        used.saturating_add(self.available.saturating_sub(keep))
    }
}

/// Tells what the disk of a folder has.
pub(crate) type SpaceOf = fn(&Path) -> io::Result<Space>;

/// The disk that takes what memory cannot.
#[derive(Debug)]
pub(crate) struct Spill {
    pub(crate) disk: Arc<DiskManager>,
    pub(crate) folder: PathBuf,
    /// Most bytes of files.
    pub(crate) most: u64,
    pub(crate) space: SpaceOf,
}

impl Spill {
    fn adjust(&self) {
        let bytes = match (self.space)(&self.folder) {
            Ok(space) => space.for_results(self.disk.used_disk_space()).min(self.most),
            Err(error) => {
                let folder = self.folder.display();
                tracing::warn!(%folder, %error, "free space of the disk is unknown");
                self.most
            }
        };
        if let Err(error) = self.disk.set_max_temp_directory_size(bytes) {
            tracing::warn!(%error, "bound on intermediate results cannot be set");
        }
    }
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        let pool = TrackConsumersPool::new(GreedyMemoryPool::new(limit), NAMED_CONSUMERS);
        Self { pool, limit, spill: OnceLock::new() }
    }

    /// From now on the bound on files follows the disk.
    pub(crate) fn follow(&self, spill: Spill) {
        spill.adjust();
        // Only the first counts, and there is one.
        let _ = self.spill.set(spill);
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
        let grown = self.pool.try_grow(reservation, additional);
        if grown.is_err()
            && let Some(spill) = self.spill.get()
        {
            spill.adjust();
        }
        grown.map_err(|error| match error.find_root() {
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
    use datafusion::prelude::SessionContext;

    use super::{Space, SpaceOf};
    use crate::database::{Resources, Runtime};
    use crate::error::Error;

    /// Its groups take far more than 24 MiB, and do not come in order.
    const LARGE: &str = "SELECT count(*) FROM (SELECT concat('a text that takes room ', value * 7919 % \
                         600011) AS k, count(*) AS n FROM generate_series(1, 600000) GROUP BY 1) \
                         WHERE n = 1";

    async fn run(resources: &Resources, sql: &str) -> Result<i64, Error> {
        // How full the machine's own disk is must not decide.
        let roomy: SpaceOf = |_| Ok(Space { total: 1 << 40, available: 1 << 39 });
        run_in(&Runtime::on(resources, roomy).session(Vec::new())?, sql).await
    }

    async fn run_in(session: &SessionContext, sql: &str) -> Result<i64, Error> {
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

    #[test]
    fn a_part_of_the_disk_stays_free() {
        let gib = 1 << 30;
        for (total, available, used, expected) in [
            (100 * gib, 50 * gib, 0, 45 * gib),
            (100 * gib, 50 * gib, 7 * gib, 52 * gib),
            (10 * gib, 3 * gib, 0, 2 * gib),
            (10 * gib, gib, 0, 0),
            (10 * gib, gib / 2, 7, 7),
        ] {
            assert_eq!(Space { total, available }.for_results(used), expected);
        }
        let here = Space::of(&std::env::temp_dir()).expect("a disk");
        assert!(here.total > here.available && here.available > 0, "{here:?}");
    }

    #[tokio::test]
    async fn a_disk_without_room_takes_no_results() {
        let folder = tempfile::tempdir().expect("a folder");
        let spilling = Resources { spill_folder: Some(folder.path().into()), ..resources() };
        // The bound on files allows it, the disk does not.
        let full: SpaceOf = |_| Ok(Space { total: 100 << 30, available: 5 << 30 });
        let session = Runtime::on(&spilling, full).session(Vec::new()).expect("a session");
        let text = run_in(&session, LARGE).await.expect_err("no room").to_string();
        assert!(text.contains("needs more disk"), "{text}");
        let wide: SpaceOf = |_| Ok(Space { total: 100 << 30, available: 6 << 30 });
        let session = Runtime::on(&spilling, wide).session(Vec::new()).expect("a session");
        assert_eq!(run_in(&session, LARGE).await.expect("an answer"), 600_000);
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
