//! The commit log of one table.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deltalake_core::checkpoints::cleanup_expired_logs_for;
use deltalake_core::kernel::transaction::CommitBuilder;
use deltalake_core::kernel::transaction::CommitProperties;
use deltalake_core::kernel::{Action, Add, Remove, StructField, StructType, Transaction};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTableBuilder, DeltaTableError};
use object_store::path::Path;
use thiserror::Error;
use url::Url;

use super::schema::{self, DATE, PART, SpecError};
use crate::bounds::Interner;
use crate::directory::DirectoryLock;
use crate::disk::Disk;
use crate::disk::objects::DiskStore;
use crate::durable::{self, At, FileError};
use crate::files::{NewFile, stats};
use crate::part::{PartCount, PartId};
use crate::paths::DataDir;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;

mod replace;

/// Application transaction whose version is the LSN up to which a table's rows are in files.
pub(crate) const WAL_APP: &str = "weir/wal";
/// Folder of the log below the table's.
const LOG_FOLDER: &str = "_delta_log";
/// Table property: number of parts that new files are split into.
const PARTS: &str = "weir.parts";
/// Table property: LSN up to which a tier had nothing to take in when it was made.
const FROM_LSN: &str = "weir.fromLsn";
/// Table property: windows of a tier that end later than this (microseconds) are whole.
const COMPLETE_AFTER: &str = "weir.completeAfter";
/// Commits between two checkpoints.
pub(crate) const CHECKPOINT_EVERY: u32 = 50;
/// How long superfluous log files stay, for readers of the table that are at work.
pub(crate) const KEEP_LOG: Duration = Duration::from_secs(3600);

/// Why a table's log cannot be used.
#[derive(Debug, Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("table log {url}: {source}")]
    Delta { url: String, source: Box<DeltaTableError> },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0} is no path that a table can have")]
    Path(std::path::PathBuf),
    #[error(
        "table {url}: column `{column}` is {found} in its log and {expected} in this version of weir; use the version that wrote it"
    )]
    Column { url: String, column: String, found: String, expected: String },
    #[error("table {url} is partitioned or configured by someone else: {what}")]
    Foreign { url: String, what: &'static str },
}

/// Where a table begins that is made beside others which have rows already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// It takes in the rows of later entries.
    pub(crate) lsn: u64,
    /// See [`crate::Snapshot::complete_after`].
    pub(crate) complete_after: i64,
}

impl Origin {
    /// Of a table that misses nothing.
    pub(crate) const START: Self = Self { lsn: 0, complete_after: i64::MIN };
}

/// A table's log, loaded.
#[derive(Debug)]
pub(crate) struct TableLog {
    url: Url,
    disk: Arc<dyn Disk>,
    /// The log's own folder.
    folder: PathBuf,
    store: LogStoreRef,
    state: DeltaTableState,
    spec: Arc<TableSpec>,
    files: HashMap<String, Arc<DataFile>>,
    parts: PartCount,
    lsn: u64,
    /// Label columns whose bounds are kept of each file.
    labels: Arc<[&'static str]>,
    texts: Interner,
    complete_after: i64,
}

impl TableLog {
    /// Loads the table's log; creates the table, with that origin, if there is none.
    pub(crate) async fn open(
        dir: &DataDir,
        lock: &Arc<DirectoryLock>,
        spec: Arc<TableSpec>,
        origin: Origin,
    ) -> Result<Self, LogError> {
        let path = dir.table(spec.name);
        durable::create_dir(dir, &path)?;
        let path = dir.disk().canonicalize(&path).at("find", &path)?;
        let url = Url::from_directory_path(&path).map_err(|()| LogError::Path(path))?;
        let delta = |source| LogError::Delta { url: url.to_string(), source: Box::new(source) };
        let columns = schema::columns(&spec)?;
        let location = location(spec.name).map_err(delta)?;
        let store = DeltaTableBuilder::from_url(location.clone())
            .map_err(delta)?
            .with_storage_backend(Arc::new(DiskStore::durable(dir.clone(), lock.clone())), location)
            .build_storage()
            .map_err(delta)?;
        if !store.is_delta_table_location().await.map_err(delta)? {
            create(&store, &columns, origin).await.map_err(delta)?;
        }
        let folder = dir.table(spec.name).join(LOG_FOLDER);
        let disk = dir.disk().clone();
        sync(disk.clone(), folder.clone()).await?;
        let state = DeltaTableState::try_new(store.as_ref(), None).await.map_err(delta)?;
        let mut log = Self {
            url,
            disk,
            folder,
            store,
            state,
            files: HashMap::new(),
            parts: PartCount::ONE,
            lsn: Origin::START.lsn,
            complete_after: Origin::START.complete_after,
            labels: stats::label_columns(&spec).into(),
            texts: Interner::default(),
            spec,
        };
        log.evolve(columns).await?;
        log.read_state().await?;
        Ok(log)
    }

    fn delta(&self, source: DeltaTableError) -> LogError {
        LogError::Delta { url: self.url.to_string(), source: Box::new(source) }
    }

    /// Adds the columns that this version has and the table has not; refuses other differences.
    async fn evolve(&mut self, wanted: Vec<StructField>) -> Result<(), LogError> {
        let table = self.state.schema();
        let mut columns: Vec<StructField> = table.fields().cloned().collect();
        let mut added = false;
        for field in wanted {
            match table.field(field.name()) {
                Some(found) if found.data_type() == field.data_type() => {}
                Some(found) => {
                    return Err(LogError::Column {
                        url: self.url.to_string(),
                        column: field.name().clone(),
                        found: found.data_type().to_string(),
                        expected: field.data_type().to_string(),
                    });
                }
                None => {
                    // Old files do not have it: it reads as null from them.
                    columns.push(StructField::new(field.name(), field.data_type().clone(), true));
                    added = true;
                }
            }
        }
        if added {
            let schema =
                StructType::try_new(columns).map_err(|e| self.delta(DeltaTableError::from(e)))?;
            let metadata = deltalake_core::kernel::MetadataExt::with_schema(
                self.state.metadata().clone(),
                &schema,
            )
            .map_err(|e| self.delta(e.into()))?;
            self.commit_actions(vec![Action::Metadata(metadata)], Vec::new(), write_operation())
                .await?;
        }
        Ok(())
    }

    /// Files, position and part count as the loaded version has them.
    async fn read_state(&mut self) -> Result<(), LogError> {
        let foreign = |what| LogError::Foreign { url: self.url.to_string(), what };
        if self.state.metadata().partition_columns() != [DATE, PART] {
            return Err(foreign("the partition columns are not date and part"));
        }
        let parts = match self.state.metadata().configuration().get(PARTS) {
            None => Some(PartCount::ONE),
            Some(text) => text.parse().ok().and_then(PartCount::new),
        };
        self.parts = parts.ok_or_else(|| foreign("weir.parts is not a power of two"))?;
        let lsn = self
            .state
            .transaction_version(self.store.as_ref(), WAL_APP)
            .await
            .map_err(|e| self.delta(e))?;
        let configuration = self.state.metadata().configuration();
        let origin = match (configuration.get(FROM_LSN), configuration.get(COMPLETE_AFTER)) {
            (None, None) => Some(Origin::START),
            (Some(lsn), Some(after)) => {
                lsn.parse().and_then(|lsn| Ok(Origin { lsn, complete_after: after.parse()? })).ok()
            }
            _ => None,
        };
        let origin =
            origin.ok_or_else(|| foreign("weir.fromLsn or weir.completeAfter is damaged"))?;
        self.complete_after = origin.complete_after;
        self.lsn = lsn.and_then(|lsn| u64::try_from(lsn).ok()).unwrap_or(origin.lsn);
        let mut files = HashMap::new();
        for view in self.state.log_data().iter() {
            let path = view.path().into_owned();
            let file = match self.files.get(&path) {
                Some(known) => known.clone(),
                None => {
                    let size = u64::try_from(view.size()).unwrap_or_default();
                    let part = view.partition_values_map().remove(PART).flatten();
                    let part = part.and_then(|part| PartId::from_number(part.parse().ok()?));
                    Arc::new(data_file(
                        &self.spec,
                        &self.labels,
                        &mut self.texts,
                        (&path, size, part, view.modification_time(), view.stats().as_deref()),
                    ))
                }
            };
            files.insert(path, file);
        }
        self.files = files;
        Ok(())
    }

    /// LSN up to which the table's rows are in files.
    pub(crate) fn lsn(&self) -> u64 {
        self.lsn
    }

    /// See [`crate::Snapshot::complete_after`].
    pub(crate) fn complete_after(&self) -> i64 {
        self.complete_after
    }

    /// Number of parts that new files are split into.
    pub(crate) fn parts(&self) -> PartCount {
        self.parts
    }

    /// The table's files, oldest first.
    pub(crate) fn files(&self) -> Arc<[Arc<DataFile>]> {
        let mut files: Vec<_> = self.files.values().cloned().collect();
        files.sort_unstable_by(|a, b| {
            (a.min_time, a.path.as_ref()).cmp(&(b.min_time, b.path.as_ref()))
        });
        files.into()
    }

    /// Whether a path below the table's folder is one of its files.
    pub(crate) fn has_file(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Loads what has been committed since, by an attempt of our own that reported an error or by
    /// another program.
    pub(crate) async fn reload(&mut self) -> Result<(), LogError> {
        // A commit whose file has its name but was not synced is seen, and yet may be lost.
        sync(self.disk.clone(), self.folder.clone()).await?;
        self.state =
            DeltaTableState::try_new(self.store.as_ref(), None).await.map_err(|e| self.delta(e))?;
        self.read_state().await
    }

    /// Commits new files together with the LSN up to which the table's rows are now in files.
    ///
    /// After an error the commit may have happened all the same: [`TableLog::reload`] tells.
    pub(crate) async fn add(
        &mut self,
        new: &[NewFile],
        lsn: u64,
        now: i64,
    ) -> Result<(), LogError> {
        let millis = now.div_euclid(1000);
        let actions = new.iter().map(|file| Action::Add(add_action(file, millis))).collect();
        let position = i64::try_from(lsn).unwrap_or(i64::MAX);
        let txn = Transaction::new_with_last_update(WAL_APP, position, Some(millis));
        let expected = self.state.version() + 1;
        self.commit_actions(actions, vec![txn], write_operation()).await?;
        if self.state.version() != expected {
            return self.read_state().await;
        }
        self.lsn = lsn;
        for file in new {
            self.list(file, millis);
        }
        Ok(())
    }

    /// Enters a file that a commit has added.
    fn list(&mut self, file: &NewFile, millis: i64) {
        let part = Some(file.partition.part);
        let data = data_file(
            &self.spec,
            &self.labels,
            &mut self.texts,
            (&file.path, file.size, part, millis, Some(&file.stats.json)),
        );
        self.files.insert(file.path.clone(), Arc::new(data));
    }

    /// Commits that files are no longer part of the table. They stay on disk.
    pub(crate) async fn remove(
        &mut self,
        gone: &[Arc<DataFile>],
        now: i64,
    ) -> Result<(), LogError> {
        let prefix = format!("{}/", self.spec.name);
        let gone: std::collections::HashSet<&str> =
            gone.iter().filter_map(|f| f.path.as_ref().strip_prefix(&prefix)).collect();
        let actions = self
            .state
            .log_data()
            .iter()
            .filter(|view| gone.contains(view.path().as_ref()))
            .map(|view| {
                Action::Remove(Remove {
                    deletion_timestamp: Some(now.div_euclid(1000)),
                    ..view.remove_action(true)
                })
            })
            .collect();
        let operation = DeltaOperation::Delete { predicate: None };
        self.commit_actions(actions, Vec::new(), operation).await?;
        self.files.retain(|path, _| !gone.contains(path.as_str()));
        Ok(())
    }

    async fn commit_actions(
        &mut self,
        actions: Vec<Action>,
        transactions: Vec<Transaction>,
        operation: DeltaOperation,
    ) -> Result<(), LogError> {
        // Looking for superfluous files lists the whole log: not at every commit.
        let properties = CommitProperties::default()
            .with_application_transactions(transactions)
            .with_cleanup_expired_logs(Some(false));
        let prepared = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(&self.state), self.store.clone(), operation)
            .into_prepared_commit_future()
            .await
            .map_err(|e| self.delta(e))?;
        let committed = prepared.await.map_err(|e| self.delta(e))?;
        let version = committed.version;
        // From here on the commit is a fact: checkpoint and cleaning up may fail without undoing it.
        match committed.await {
            Ok(done) => {
                let checkpointed = done.metrics.new_checkpoint_created;
                self.state = done.snapshot();
                if checkpointed && let Err(error) = self.clean_up().await {
                    tracing::warn!(table = self.spec.name, version, %error, "cannot clean the table's log up");
                }
            }
            Err(error) => {
                tracing::warn!(table = self.spec.name, version, %error, "cannot checkpoint the table's log");
                self.state
                    .update(self.store.as_ref(), Some(version))
                    .await
                    .map_err(|e| self.delta(e))?;
            }
        }
        Ok(())
    }

    /// Removes files of the log that checkpoints make superfluous, once they are [`KEEP_LOG`] old.
    async fn clean_up(&mut self) -> Result<(), DeltaTableError> {
        // The age of a file is by the clock of the disk, whatever the store's own clock says.
        let now = jiff::Timestamp::now().as_millisecond();
        let keep = i64::try_from(KEEP_LOG.as_millis()).unwrap_or(i64::MAX);
        let (version, store) = (self.state.version(), self.store.as_ref());
        let removed =
            cleanup_expired_logs_for(version, store, now.saturating_sub(keep), None).await?;
        if removed > 0 {
            // What is loaded names the files that it came from.
            self.state = DeltaTableState::try_new(store, Some(version)).await?;
        }
        Ok(())
    }
}

/// What readers get to know of a file: its path, size, part, time of commit (milliseconds) and
/// statistics as the log has them.
fn data_file(
    spec: &TableSpec,
    labels: &Arc<[&'static str]>,
    texts: &mut Interner,
    (path, size, part, millis, stats): (&str, u64, Option<PartId>, i64, Option<&str>),
) -> DataFile {
    let path = Path::from_iter(std::iter::once(spec.name).chain(path.split('/')));
    let committed = millis.saturating_mul(1000);
    let unknown = DataFile { part, committed, ..DataFile::unknown(path, size) };
    // A file that another writer added may come without statistics.
    match stats.and_then(|stats| stats::parse(stats, spec.time, labels, texts)) {
        Some(stats::Parsed { rows, min_time, max_time, labels }) => {
            DataFile { rows, min_time, max_time, labels, ..unknown }
        }
        None => unknown,
    }
}

/// Where a table is in the store of all tables. The scheme is one for which Delta's crates leave the
/// file system alone: `file` would have them look at it past the store.
fn location(table: &str) -> Result<Url, DeltaTableError> {
    let location = format!("memory:///{table}/");
    Url::parse(&location).map_err(|_| DeltaTableError::InvalidTableLocation(location))
}

/// Makes the names of the commits in a log's folder durable.
async fn sync(disk: Arc<dyn Disk>, folder: PathBuf) -> Result<(), LogError> {
    let cut_short = FileError {
        action: "sync folder",
        path: folder.clone(),
        source: std::io::Error::other("the work was cut short"),
    };
    let synced =
        tokio::task::spawn_blocking(move || durable::sync_dir(disk.as_ref(), &folder)).await;
    Ok(synced.unwrap_or(Err(cut_short))?)
}

fn write_operation() -> DeltaOperation {
    DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: Some(vec![DATE.to_owned(), PART.to_owned()]),
        predicate: None,
    }
}

async fn create(
    store: &LogStoreRef,
    columns: &[StructField],
    origin: Origin,
) -> Result<(), DeltaTableError> {
    let hours = KEEP_LOG.as_secs() / 3600;
    let configuration = [
        ("delta.checkpointInterval", CHECKPOINT_EVERY.to_string()),
        ("delta.logRetentionDuration", format!("interval {hours} hours")),
        ("delta.enableExpiredLogCleanup", "true".to_owned()),
        (PARTS, PartCount::ONE.get().to_string()),
    ];
    let origin = (origin != Origin::START).then(|| {
        [(FROM_LSN, origin.lsn.to_string()), (COMPLETE_AFTER, origin.complete_after.to_string())]
    });
    let configuration = configuration.into_iter().chain(origin.into_iter().flatten());
    CreateBuilder::new()
        .with_log_store(store.clone())
        .with_columns(columns.iter().cloned())
        .with_partition_columns([DATE, PART])
        .with_configuration(configuration.map(|(key, value)| (key, Some(value))))
        .with_raise_if_key_not_exists(false)
        .await
        .map(|_| ())
}

fn add_action(file: &NewFile, now_millis: i64) -> Add {
    Add {
        path: file.path.clone(),
        partition_values: HashMap::from([
            (DATE.to_owned(), Some(file.partition.date.clone())),
            (PART.to_owned(), Some(file.partition.part.number().to_string())),
        ]),
        size: i64::try_from(file.size).unwrap_or(i64::MAX),
        modification_time: now_millis,
        data_change: true,
        stats: Some(file.stats.json.clone()),
        ..Add::default()
    }
}
